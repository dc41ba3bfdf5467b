"""The loop that finds finished files: dirty folders in, queued jobs out."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator

import structlog

from megamax_sync.clock import Clock
from megamax_sync.errors import UploadCancelled
from megamax_sync.job import VANISHED, FileStamp, Job, JobState
from megamax_sync.loop import Loop
from megamax_sync.store import Store
from megamax_sync.watch.intake import Intake
from megamax_sync.watch.observer import Observer
from megamax_sync.watch.pending import Pending, PendingFiles
from megamax_sync.watch.probe import look
from megamax_sync.watch.roots import Roots
from megamax_sync.watch.rules import Folders, Rules, outermost
from megamax_sync.watch.scanner import Found, Walk
from megamax_sync.watch.settle import Finished, Settling, Signs, Waits, Writers

_log = structlog.get_logger()

#: How long one step may walk or look before it gives way to the other work, in seconds.
_SLICE = 0.2
#: Finished files that are queued in one commit.
_BATCH = 200


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
        observe: bool,
        clock: Clock,
        stop: threading.Event,
        on_error: Callable[[str, BaseException], None],
        on_fine: Callable[[str], None],
    ) -> None:
        """``observe`` False: scan once, and again only when told; for ``--scan``."""
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
        self._observer = Observer(self.mark) if observe else None
        self.roots = Roots(rules.roots)
        self._lock = threading.Lock()
        self._dirty: dict[bytes, bool] = {}
        self._walks: Iterator[None] | None = None
        self._rescan_at: float | None = 0.0
        self._pending = PendingFiles()
        self._started = False
        #: Set once everything has been walked for the first time.
        self.scanned = threading.Event()

    @property
    def observer_kind(self) -> str | None:
        """How events come in: ``inotify``; None when none do."""
        return None if self._observer is None else "inotify"

    # -- told from outside -------------------------------------------------------------------

    def mark(self, folder: bytes, subtree: bool) -> None:
        """Have a folder looked at soon. Called on any thread; does next to nothing."""
        with self._lock:
            first = not self._dirty
            self._dirty[folder] = self._dirty.get(folder, False) or subtree
        if first:
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
        if not self.scanned.is_set() or self._dirty or self._walks is not None:
            return False
        return not any(one.soon for _, one in self._pending.items())

    def close(self, timeout: float) -> None:
        """End the observer's threads."""
        if self._observer is not None and self._started:
            self._observer.stop(timeout)

    # -- the loop ----------------------------------------------------------------------------

    def step(self) -> float | None:
        """Walk a little, look at what is due, queue what is finished."""
        if not self._started:
            self._start_observer()
        now = self.clock.monotonic()
        if self._rescan_at is not None and now >= self._rescan_at and self._walks is None:
            self._walks = self._full_scan()
        until = now + _SLICE
        self._adopt_unsettled()
        self._walk_dirty(until)
        self._walk_on(until)
        self._look_at_due(until)
        return self._seconds_to_next()

    def _start_observer(self) -> None:
        self._started = True
        if self._observer is not None:
            for root, error in self._observer.start(outermost(self._rules.roots)):
                _log.warning("watch.degraded", path=root, error=error.strerror)
        _log.info("watch.started", folders=list(self._rules.roots), observer=self.observer_kind)

    def _seconds_to_next(self) -> float | None:
        with self._lock:
            if self._dirty or self._walks is not None:
                return 0.0
        due = self._pending.next_due()
        moments = [] if due is None else [due]
        if self._rescan_at is not None:
            moments.append(self._rescan_at)
        return max(0.0, min(moments) - self.clock.monotonic()) if moments else None

    # -- walking -----------------------------------------------------------------------------

    def _full_scan(self) -> Iterator[None]:
        began, files, candidates = self.clock.monotonic(), 0, 0
        self.roots.check()
        for root in outermost(self._rules.roots):
            if self.roots.lost(root):
                continue
            walk = Walk(self._rules, root)
            for found in walk:
                self._offer(found)
                yield
            files += walk.files
            candidates += walk.candidates
            for folder, why in walk.unreadable:
                _log.warning("watch.degraded", path=folder, error=why)
        seconds = round(self.clock.monotonic() - began, 3)
        _log.info("scan.finished", seconds=seconds, files=files, candidates=candidates)
        self._rescan_at = (
            self.clock.monotonic() + self._rescan_seconds if self._rescan_seconds else None
        )

    def _walk_on(self, until: float) -> None:
        while self._walks is not None and self.clock.monotonic() < until:
            self._beat_or_stop()
            try:
                next(self._walks)
            except StopIteration:
                self._walks = None
                self._look_at_due(until)
                self.scanned.set()
                self._store.database.wake()

    def _walk_dirty(self, until: float) -> None:
        while self.clock.monotonic() < until:
            with self._lock:
                if not self._dirty:
                    return
                folder, subtree = self._dirty.popitem()
            if self._wanted_folder(folder):
                for found in Walk(self._rules, folder, subtree=subtree):
                    self._beat_or_stop()
                    self._offer(found)

    def _wanted_folder(self, folder: bytes) -> bool:
        """Tell whether a walk of everything would come to this folder, too."""
        if folder in self._rules.roots:
            return True
        root = self._rules.root_of(folder)
        if root is None or not os.path.isdir(folder):
            return False
        # The rules speak of folders on the way to a file; any name in it will do.
        probe = os.path.join(folder, b"x")
        part, unwanted = root.rstrip(b"/"), None
        for name in probe[len(part) + 1 :].split(b"/")[:-1]:
            part += b"/" + name
            unwanted = unwanted or self._rules.unwanted_folder(part, root)
        return unwanted is None

    def _offer(self, found: list[Found]) -> None:
        now = self.clock.monotonic()
        fresh = []
        for one in found:
            pending = self._pending.get(one.path)
            if pending is None:
                fresh.append(one)
            elif pending.waits is not None and pending.waits.kind != "quiet":
                # Something happened in its folder: what it waited for may be over.
                self._pending.put_off(one.path, now)
        for one in self._intake.sift(fresh):
            _log.debug("file.found", path=one.path, size=one.stamp.size)
            self._add_pending(one.path, one.root)

    # -- settling ----------------------------------------------------------------------------

    def _adopt_unsettled(self) -> None:
        for job in self._store.jobs.unsettled():
            if job.path not in self._pending:
                self._add_pending(job.path, job.root)

    def _add_pending(self, path: bytes, root: bytes | None) -> None:
        settling = Settling(self._settle_seconds, allow_sparse=self._allow_sparse)
        self._pending.add(path, root, settling, self.clock.monotonic())

    def _look_at_due(self, until: float) -> None:
        finished: list[Found] = []
        for path, pending in self._pending.due(self.clock.monotonic()):
            self._beat_or_stop()
            self._look(path, pending, finished)
            if len(finished) >= _BATCH:
                self._queue(finished)
                finished = []
            if self.clock.monotonic() >= until:
                break
        if finished:
            self._queue(finished)

    def _look(self, path: bytes, pending: Pending, finished: list[Found]) -> None:
        try:
            status = os.lstat(path)
        except OSError as error:
            self._gone(path, pending, error)
            return
        if not stat.S_ISREG(status.st_mode):
            self._gone(path, pending, None)
            return
        stamp = FileStamp.of(status)
        before = pending.settling.stamp
        pending.changes += int(before is not None and before != stamp)
        monotonic, wall = self.clock.monotonic(), self.clock.wall()
        verdict: Finished | Waits | None
        verdict = pending.settling.quiet(stamp, monotonic=monotonic, wall=wall)
        if verdict is None:
            verdict = pending.settling.judge(_signs(path, pending.root))
        if isinstance(verdict, Finished):
            finished.append(Found(path, pending.root, stamp))
            return
        self._put_off(path, pending, verdict)

    def _put_off(self, path: bytes, pending: Pending, waits: Waits) -> None:
        if pending.waits is None or pending.waits.kind != waits.kind:
            _log.info("file.waiting", path=path, reason=waits.reason)
            job = self._store.jobs.latest(path)
            if job is not None and waits.kind != "quiet":
                self._store.jobs.note_waiting(job, waits.reason)
        pending.waits = waits
        self._pending.put_off(path, self.clock.monotonic() + waits.seconds)

    def _queue(self, finished: list[Found]) -> None:
        for one in self._intake.take(finished):
            pending = self._pending.get(one.path)
            if pending is not None:
                self._put_off(one.path, pending, Waits("sending", "being sent", 2.0))
            finished.remove(one)
        for one in finished:
            self._pending.remove(one.path)

    def _gone(self, path: bytes, pending: Pending, error: OSError | None) -> None:
        """Nothing to upload lies there now."""
        if pending.root is not None:
            self.roots.check()
            if self.roots.lost(pending.root):
                # Not the file is gone, its disk is: wait for that, and judge nothing till then.
                waits = Waits("root", "its watched folder is missing", 30.0)
                self._put_off(path, pending, waits)
                return
        if isinstance(error, PermissionError):
            self._put_off(path, pending, Waits("unreadable", "its folder cannot be read", 30.0))
            return
        self._pending.remove(path)
        job: Job | None = self._store.jobs.latest(path)
        queued = job is not None and job.state is JobState.QUEUED
        if job is not None and queued and self._store.jobs.skip(job, VANISHED):
            _log.info("file.skipped", job=job.id, path=path, reason=VANISHED)

    def _beat_or_stop(self) -> None:
        self.beat()
        if self.stop_event.is_set():
            raise UploadCancelled("stopping")


def _signs(path: bytes, root: bytes | None) -> Signs:
    try:
        return look(path, root)
    except OSError:
        # It cannot be read: let the upload find that out, which says so in the job's own state.
        return Signs(Writers.UNKNOWN)
