"""The loop that finds finished files: dirty folders in, queued jobs out."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Sequence

import structlog

from megamax_sync.clock import Clock
from megamax_sync.errors import UploadCancelled
from megamax_sync.job import VANISHED, FileStamp, Job, JobState
from megamax_sync.loop import Loop
from megamax_sync.store import Store
from megamax_sync.watch.coverage import Coverage
from megamax_sync.watch.intake import Intake, Need
from megamax_sync.watch.pending import Pending, PendingFiles
from megamax_sync.watch.probe import NO_LEASE, look
from megamax_sync.watch.rules import Folders, Rules, Unwanted
from megamax_sync.watch.scanner import Found
from megamax_sync.watch.settle import Finished, Settling, Waits, Writers
from megamax_sync.watch.walker import Walker

_log = structlog.get_logger()

#: How long one step may walk or look before it gives way to the other work, in seconds.
_SLICE = 0.2
#: Finished files that are queued in one commit.
_BATCH = 200
#: A file that waits is looked at this often at the most, whatever happens in its folder.
_LOOK_PAUSE = 1.0
#: How often it is said that a file still waits for something that may never come, in seconds.
_REMINDER = 86400.0
#: What says nothing about the file: this process, or the machine, has too much open.
_OWN_TROUBLE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
#: A file that has to be looked at again although it is finished.
_AGAIN = {
    Need.LATER: Waits("sending", "being sent", 2.0),
    Need.COMPARE: Waits("compare", "to be compared with what was sent", 0.0),
}


class Watcher(Loop):
    """Scans, waits until files are finished, and queues them."""

    def __init__(
        self,
        store: Store,
        rules: Rules,
        folders: Folders,
        *,
        settle_seconds: float,
        allow_sparse: bool,
        rescan_seconds: float,
        observer: str | None,
        clock: Clock,
        stop: threading.Event,
        on_error: Callable[[str, BaseException], None],
        on_fine: Callable[[str], None],
    ) -> None:
        """``observer`` is MEGAMAX_OBSERVER; None to scan once, and again only when told."""
        super().__init__(
            "watcher",
            changes=store.database,
            clock=clock,
            stop=stop,
            on_error=on_error,
            on_fine=on_fine,
        )
        self._store = store
        self._rules = rules
        self._settle_seconds = settle_seconds
        self._allow_sparse = allow_sparse
        self._rescan_seconds = rescan_seconds
        self._intake = Intake(store, folders, self._beat_or_stop)
        self.coverage = Coverage(
            rules.roots,
            self.mark,
            mode=observer,
            wake=store.database.wake,
            expected=store.views.waits_in,
            clock=clock,
        )
        self._walker = Walker(
            rules,
            clock,
            lost=self.coverage.roots.lost,
            visited=self.coverage.visited,
            offer=self._offer,
            beat=self._beat_or_stop,
        )
        self._rescan_at: float | None = 0.0
        self._pending = PendingFiles()
        self._unsettled_mark = 0
        self._started = False
        self._said_unknown = False
        self._watched_until = 0.0
        #: Set once everything has been walked for the first time.
        self.scanned = threading.Event()

    # -- told from outside -------------------------------------------------------------------

    def mark(self, folder: bytes, subtree: bool) -> None:
        """Have a folder looked at soon. Called on any thread; does next to nothing."""
        if self._walker.mark(folder, subtree):
            self._store.database.wake()

    def waiting(self) -> list[tuple[bytes, str]]:
        """Return the files that are not finished, with the reason."""
        return [
            (path, one.waits.reason) for path, one in self._pending.items() if one.waits is not None
        ]

    def settled(self) -> bool:
        """Tell whether nothing more will be found soon: the rest is still being written.

        A file that only needs its quiet period counts as soon; one that changed again and again
        while it was watched, is open, or is incomplete, does not.
        """
        if not self.scanned.is_set() or self._walker.busy:
            return False
        return not any(one.soon for _, one in self._pending.items())

    def close(self, timeout: float) -> None:
        """End the observer's threads."""
        if self._started:
            self.coverage.stop(timeout)

    # -- the loop ----------------------------------------------------------------------------

    def step(self) -> float | None:
        """Walk a little, look at what is due, queue what is finished."""
        if not self._started:
            self._started = True
            self.coverage.start()
        now = self.clock.monotonic()
        walk_at = self._walker.next_walk()
        walking = walk_at is not None and walk_at <= now
        self._watched_until = now + self.coverage.tick(busy=walking)
        if self._rescan_at is not None and now >= self._rescan_at and not self._walker.scanning:
            self._walker.begin_scan()
        self._adopt_unsettled()
        if self._walker.advance(_SLICE):
            self._rescan_at = self.clock.monotonic() + self._rescan_seconds
            if not self._rescan_seconds:
                self._rescan_at = None
            self.scanned.set()
            self._store.database.wake()
        # A slice of its own: a long scan must not hold up what is finished.
        self._look_at_due(self.clock.monotonic() + _SLICE)
        return self._seconds_to_next()

    def _seconds_to_next(self) -> float | None:
        dues = (self._walker.next_walk(), self._pending.next_due())
        moments = [due for due in dues if due is not None]
        if self._rescan_at is not None:
            moments.append(self._rescan_at)
        if self._rules.roots:
            moments.append(self._watched_until)
        return max(0.0, min(moments) - self.clock.monotonic()) if moments else None

    def _offer(self, found: list[Found]) -> None:
        now = self.clock.monotonic()
        fresh = []
        for one in found:
            pending = self._pending.get(one.path)
            if pending is None:
                fresh.append(one)
            elif pending.waits is not None and pending.waits.kind != "quiet":
                # Something happened in its folder: what it waited for may be over.
                soon = max(now, pending.looked + _LOOK_PAUSE)
                self._pending.put_off(one.path, min(pending.due, soon))
        for one in self._intake.sift(fresh):
            _log.debug("file.found", path=one.path, size=one.stamp.size)
            self._add_pending(one.path, one.root)

    # -- settling ----------------------------------------------------------------------------

    def _adopt_unsettled(self) -> None:
        unsettled, mark = self._store.jobs.unsettled_since(self._unsettled_mark)
        for path, root in unsettled:
            if path not in self._pending:
                self._add_pending(path, root)
        self._unsettled_mark = mark

    def _add_pending(self, path: bytes, root: bytes | None) -> None:
        settling = self._pending.recall(path)
        if settling is None:
            settling = Settling(self._settle_seconds, allow_sparse=self._allow_sparse)
        self._pending.add(path, root, settling, self.clock.monotonic())

    def _look_at_due(self, until: float) -> None:
        finished: list[Found] = []
        for path, pending in self._pending.due(self.clock.monotonic()):
            self._beat_or_stop()
            found = self._look(path, pending)
            if found is not None:
                finished.append(found)
            if len(finished) >= _BATCH:
                self._queue(finished, until)
                finished = []
            if self.clock.monotonic() >= until:
                break
        if finished:
            self._queue(finished, until)

    def _look(self, path: bytes, pending: Pending) -> Found | None:
        """Return a file that is finished."""
        pending.looked = self.clock.monotonic()
        try:
            status = os.lstat(path)
            if not stat.S_ISREG(status.st_mode):
                self._gone(path, pending)
                return None
            stamp = FileStamp.of(status)
            verdict = self._judge(path, pending, stamp)
        except OSError as error:
            if error.errno in _OWN_TROUBLE:
                raise
            if isinstance(error, FileNotFoundError | NotADirectoryError):
                self._gone(path, pending)
            else:
                why = error.strerror or str(error)
                self._put_off(path, pending, Waits("unreadable", f"cannot be read ({why})", 30.0))
            return None
        if isinstance(verdict, Waits):
            self._put_off(path, pending, verdict)
            return None
        if isinstance(verdict, Unwanted):
            # It is perhaps about to be written anew; a job that waits for it need not.
            if self._leave_out(path, verdict.reason):
                self._pending.remove(path)
            else:
                self._put_off(path, pending, Waits("size", verdict.reason, 30.0))
            return None
        return Found(path, pending.root, stamp)

    def _judge(
        self, path: bytes, pending: Pending, stamp: FileStamp
    ) -> Finished | Waits | Unwanted:
        before = pending.settling.stamp
        pending.changes += int(before is not None and before != stamp)
        quiet = pending.settling.quiet(
            stamp, monotonic=self.clock.monotonic(), wall=self.clock.wall()
        )
        if quiet is not None:
            return quiet
        unwanted = self._rules.unwanted_size(stamp.size)
        # What was handed in by name may be as small as it likes, but not empty.
        if unwanted and (pending.root is not None or not stamp.size):
            return unwanted
        signs = look(path, pending.root)
        if signs.writers is Writers.UNKNOWN and not self._said_unknown:
            self._said_unknown = True
            _log.warning("watch.degraded", path=path, error=NO_LEASE)
        return pending.settling.judge(signs)

    def _put_off(self, path: bytes, pending: Pending, waits: Waits) -> None:
        now = self.clock.monotonic()
        # Holes may stay for ever, as in a torrent that has stalled: a reminder once a day.
        again = waits.kind == "holes" and now >= pending.said + _REMINDER
        if again or pending.waits is None or pending.waits.kind != waits.kind:
            pending.said = now
            _log.info("file.waiting", path=path, reason=waits.reason)
            job = self._store.jobs.latest(path)
            if job is not None and waits.kind != "quiet":
                self._store.jobs.note_waiting(job, waits.reason)
        soon, pending.waits = pending.soon, waits
        self._pending.put_off(path, now + waits.seconds)
        if soon and not pending.soon:
            # Who waits until all is settled waits for this one no longer.
            self._store.database.wake()

    def _queue(self, finished: Sequence[Found], until: float) -> None:
        later = self._intake.take(finished, enough=lambda: self.clock.monotonic() >= until)
        again = {one.path: _AGAIN[why] for one, why in later}
        for one in finished:
            pending = self._pending.get(one.path)
            assert pending is not None
            if one.path in again:
                self._put_off(one.path, pending, again[one.path])
            else:
                self._pending.finish(one.path)

    def _gone(self, path: bytes, pending: Pending) -> None:
        """Nothing to upload lies there now."""
        if pending.root is not None:
            self.coverage.check()
            if self.coverage.roots.lost(pending.root):
                # Not the file is gone, its disk is: wait for that, and judge nothing till then.
                waits = Waits("root", "its watched folder is missing", 30.0)
                self._put_off(path, pending, waits)
                return
        elif not os.path.isdir(os.path.dirname(path)):
            # Handed in, and nobody watches its disk: a folder that is missing proves nothing.
            self._put_off(path, pending, Waits("root", "its folder is missing", 30.0))
            return
        self._pending.remove(path)
        self._leave_out(path, VANISHED)

    def _leave_out(self, path: bytes, reason: str) -> bool:
        """The job of this path needs no upload; False if there is none that waits for us."""
        job: Job | None = self._store.jobs.latest(path)
        waits = job is not None and job.state is JobState.QUEUED and not job.ready
        if job is not None and waits:
            if self._store.jobs.skip(job, reason):
                _log.info("file.skipped", job=job.id, path=path, reason=reason)
            else:
                # An earlier attempt may have arrived: the upload looks for that first.
                self._store.jobs.settle(job, job.stamp)
        self._store.database.wake()
        return waits

    def _beat_or_stop(self) -> None:
        self.beat()
        if self.stop_event.is_set():
            raise UploadCancelled("stopping")
