"""Looks at the files that wait until they are finished, and has those queued that are."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from megamax_sync.clock import Clock
from megamax_sync.job import VANISHED, FileStamp, JobState
from megamax_sync.store import Store
from megamax_sync.watch.companions import Companions
from megamax_sync.watch.coverage import Coverage
from megamax_sync.watch.intake import Intake
from megamax_sync.watch.need import Need
from megamax_sync.watch.pending import Pending, PendingFiles
from megamax_sync.watch.probe import NO_LEASE, look
from megamax_sync.watch.rules import Rules
from megamax_sync.watch.scanner import Found
from megamax_sync.watch.settle import Settling, Signs, Waits, Writers

_log = structlog.get_logger()

#: Files that are looked at together, with one listing of each folder, and queued in one commit:
#: more would take more memory (4 MiB for 5000), fewer more time.
_BATCH, _COMMIT = 5000, 2000
#: How often it is said that a file still waits for something that may never come, in seconds.
_REMINDER = 86400.0
#: What says nothing about the file: this process, or the machine, has too much open.
_OWN_TROUBLE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
#: A file that has to be looked at again although it is finished.
_AGAIN = {
    Need.LATER: Waits("sending", "being sent", 2.0),
    Need.COMPARE: Waits("compare", "to be compared with what was sent", 0.0),
}
#: Events of the new place may be half a second late, as halves of moves are waited for.
_GONE = Waits("gone", "gone, unless it was moved", 1.5)


@dataclass(frozen=True, slots=True)
class _Looked:
    """A file that has been quiet long enough, and what the closer look showed."""

    path: bytes
    pending: Pending
    settling: Settling
    stamp: FileStamp
    signs: Signs


class Settler:
    """Takes files from *pending* into the queue."""

    def __init__(
        self,
        store: Store,
        rules: Rules,
        intake: Intake,
        coverage: Coverage,
        clock: Clock,
        *,
        settle_seconds: float,
        allow_sparse: bool,
        may_be_found: Callable[[], bool],
        beat: Callable[[], None],
        settled: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        """``may_be_found``: a walk goes on that may find what is gone under another path.

        ``beat`` is called before each file, and may raise to end it all. ``settled`` is told how
        long each file took to be finished, in seconds.
        """
        self._may_be_found = may_be_found
        self._store = store
        self._rules = rules
        self._intake = intake
        self._coverage = coverage
        self._clock = clock
        self._settle_seconds = settle_seconds
        self._allow_sparse = allow_sparse
        self._beat = beat
        self._settled = settled
        self._said_unknown = False
        self.pending = PendingFiles()

    def add(self, path: bytes, root: bytes | None) -> Pending:
        """Begin to wait for a file; the first look is due at once."""
        return self.pending.add(path, root, self._clock.monotonic())

    def adopt(self, path: bytes, root: bytes | None, *, named: bool) -> None:
        """Wait for a file for which a job waits. ``named``: it was handed in."""
        pending = self.pending.get(path) or self.add(path, root)
        pending.asked = True
        pending.named = pending.named or named
        if pending.waits is not None:
            # It was said before there was this job.
            self._tell_job(path, pending.waits)

    def look_at_due(self, until: float) -> None:
        """Look at what is due, and queue what is finished, until this moment."""
        more = True
        while more:
            looked, more = self._look_at_some(until)
            finished = self._judge(looked)
            for start in range(0, len(finished), _COMMIT):
                self._beat()
                self._queue(finished[start : start + _COMMIT], until)

    def _look_at_some(self, until: float) -> tuple[list[_Looked], bool]:
        """Look at a batch; tell with it whether more may be looked at now."""
        looked: list[_Looked] = []
        for number, (path, pending) in enumerate(self.pending.due(self._clock.monotonic()), 1):
            self._beat()
            try:
                one = self._look(path, pending)
            except OSError as error:
                self._failed(path, pending, error)
            else:
                if one is not None:
                    looked.append(one)
            if self._clock.monotonic() >= until:
                break
            if number >= _BATCH:
                return looked, True
        return looked, False

    def _look(self, path: bytes, pending: Pending) -> _Looked | None:
        """Return a file about which only its companions are not known."""
        pending.looked = self._clock.monotonic()
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            self._gone(path, pending)
            return None
        stamp = FileStamp.of(status)
        if pending.settling is None:
            pending.settling = Settling(self._settle_seconds, allow_sparse=self._allow_sparse)
        settling = pending.settling
        pending.changes += int(settling.stamp is not None and settling.stamp != stamp)
        quiet = settling.quiet(stamp, monotonic=pending.looked, wall=self._clock.wall())
        if quiet is not None:
            self._put_off(path, pending, quiet)
            return None
        unwanted = self._rules.unwanted_size(stamp.size)
        # What was handed in by name may be as small as it likes, but not empty.
        if unwanted and not (pending.named and stamp.size):
            # It is perhaps about to be written anew; a job that waits for it need not.
            if self._leave_out(path, unwanted.reason):
                self.pending.remove(path)
            else:
                self._put_off(path, pending, Waits("size", unwanted.reason, 30.0))
            return None
        signs = look(path)
        if signs.writers is Writers.UNKNOWN and not self._said_unknown:
            self._said_unknown = True
            _log.warning("watch.degraded", path=path, error=NO_LEASE)
        return _Looked(path, pending, settling, stamp, signs)

    def _judge(self, looked: Sequence[_Looked]) -> list[Found]:
        """Return those that are finished."""
        finished: list[Found] = []
        # After all of them were looked at: a companion that has come meanwhile is seen.
        companions = Companions()
        for one in looked:
            self._beat()
            signs = one.signs
            try:
                companion = companions.of(one.path, one.pending.root)
            except OSError as error:
                self._failed(one.path, one.pending, error)
                continue
            if companion is not None:
                signs = replace(signs, companion=companion)
            verdict = one.settling.judge(signs, monotonic=one.pending.looked)
            if isinstance(verdict, Waits):
                self._put_off(one.path, one.pending, verdict)
            else:
                finished.append(Found(one.path, one.pending.root, one.stamp))
        return finished

    def _failed(self, path: bytes, pending: Pending, error: OSError) -> None:
        if error.errno in _OWN_TROUBLE:
            raise error
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            self._gone(path, pending)
        else:
            why = error.strerror or str(error)
            self._put_off(path, pending, Waits("unreadable", f"cannot be read ({why})", 30.0))

    def _put_off(self, path: bytes, pending: Pending, waits: Waits) -> None:
        now = self._clock.monotonic()
        # Holes may stay for ever, as in a torrent that has stalled: a reminder once a day.
        again = waits.kind == "holes" and now >= pending.said + _REMINDER
        if again or pending.waits is None or pending.waits.kind != waits.kind:
            pending.said = now
            _log.info("file.waiting", path=path, reason=waits.reason)
            if pending.asked:
                self._tell_job(path, waits)
        soon = pending.soon
        self.pending.wait(path, waits, now + waits.seconds)
        if soon and not pending.soon:
            # Who waits until all is settled waits for this one no longer.
            self._store.database.wake()

    def _tell_job(self, path: bytes, waits: Waits) -> None:
        """Have the job of this path say why it waits; of one that only has to be quiet, nothing.

        Who waits for the job does not wait for what may never come.
        """
        reason = None if waits.kind == "quiet" else waits.reason
        job = self._store.jobs.latest(path)
        if job is not None and job.error != reason:
            self._store.jobs.note_waiting(job, reason)

    def _queue(self, finished: Sequence[Found], until: float) -> None:
        later = self._intake.take(finished, enough=lambda: self._clock.monotonic() >= until)
        again = {one.path: _AGAIN[why] for one, why in later}
        for one in finished:
            waits = again.get(one.path)
            pending = self.pending.get(one.path)
            assert pending is not None
            if waits is None:
                self._settled(self._clock.monotonic() - pending.found)
                self.pending.finish(one.path)
            else:
                self._put_off(one.path, pending, waits)

    def _gone(self, path: bytes, pending: Pending) -> None:
        """Nothing to upload lies there now."""
        if pending.root is not None:
            missing = self._missing(path, pending.root)
            if missing is not None:
                # Not the file is gone, its disk is: wait for that, and judge nothing till then.
                self._put_off(path, pending, Waits("root", missing, 30.0))
                return
        elif self._waits_for(path) and not os.path.isdir(os.path.dirname(path)):
            # Handed in, and nobody watches its disk: a folder that is missing proves nothing.
            self._put_off(path, pending, Waits("root", "its folder is missing", 30.0))
            return
        if self._waits_for(path) and self._may_lie_elsewhere(path, pending):
            return
        self.pending.remove(path)
        self._leave_out(path, VANISHED)

    def _missing(self, path: bytes, root: bytes) -> str | None:
        """Say what of the way to this file is missing; None when it is all there."""
        self._coverage.check()
        roots = self._coverage.roots
        if roots.lost(root):
            return "its watched folder is missing"
        job = self._store.jobs.latest(path)
        if job is not None and roots.unmounted(root, job.stamp.dev):
            return "its file system is not mounted there now"
        return None

    def _may_lie_elsewhere(self, path: bytes, pending: Pending) -> bool:
        """Give a file that is gone the time to be found where it was moved to."""
        now = self._clock.monotonic()
        waited = pending.waits is not None and pending.waits.kind == _GONE.kind
        if waited and not self._may_be_found():
            return False
        self.pending.wait(path, _GONE, now + _GONE.seconds)
        return True

    def _waits_for(self, path: bytes) -> bool:
        """Tell whether a job waits for the look at this file."""
        job = self._store.jobs.latest(path)
        return job is not None and job.state is JobState.QUEUED and not job.ready

    def _leave_out(self, path: bytes, reason: str) -> bool:
        """The job of this path needs no upload; False if there is none that waits for us."""
        job = self._store.jobs.latest(path)
        waits = self._waits_for(path)
        if job is not None and waits:
            if self._store.jobs.skip(job, reason):
                _log.info("file.skipped", job=job.id, path=path, reason=reason)
            else:
                # An earlier attempt may have arrived: the upload looks for that first.
                self._store.jobs.settle(job, job.stamp)
        self._store.database.wake()
        return waits
