"""The loop that finds out whether a file's content is sent, or has been, under another name.

Only a job whose size another one has comes here (``cleared = 0``). Reading may take as long as the
disk needs, so it is done on a thread of its own, before the job may be claimed, and with nothing
locked; what is decided is one commit a job. Hard links are the same content without reading.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence

import structlog

from megamax_sync.clock import Clock
from megamax_sync.errors import FileError
from megamax_sync.fingerprint import fingerprint_of, regular_file
from megamax_sync.identity import Lies, has_crossed, has_moved, lies
from megamax_sync.job import FileStamp, Job, JobState, duplicate_of
from megamax_sync.loop import Loop
from megamax_sync.store import Store
from megamax_sync.upload.ledger import Ledger

_log = structlog.get_logger()

#: Jobs that are asked for in one query.
_BATCH = 100


class _Elsewhere(Exception):
    """The file is not, or no longer, what the job says."""


class Comparer(Loop):
    """Clears jobs for sending, or has them wait for the one that has their content."""

    lull = 0.02

    def __init__(
        self,
        store: Store,
        *,
        ledger: Ledger,
        preflight: Callable[[Job], None],
        lost: Callable[[bytes], bool],
        under: Sequence[bytes] | None,
        clock: Clock,
        stop: threading.Event,
        on_error: Callable[[str, BaseException], None],
        on_fine: Callable[[str], None],
    ) -> None:
        """``preflight`` raises :class:`FileError` for a job whose links would have no place;
        ``lost`` tells which watched folders are missing.

        ``under``: compare only what lies in these folders; None for everything.
        """
        super().__init__(
            "comparer",
            changes=store.database,
            clock=clock,
            stop=stop,
            on_error=on_error,
            on_fine=on_fine,
        )
        self._store = store
        ledger.wait_as(self.patience)
        self._ledger = ledger
        self._preflight = preflight
        self._lost = lost
        self._under = under

    def step(self) -> float | None:
        """Compare what waits for it."""
        jobs = self._store.twins.to_compare(self._under, _BATCH)
        for job in jobs:
            self.beat_or_stop()
            self._compare(job)
        if jobs:
            return 0.0
        due = self._store.twins.next_to_compare(self._under)
        return None if due is None else max(0.05, due - self.clock.now())

    def _compare(self, job: Job) -> None:
        twins = self._store.twins
        try:
            stamp = _look(job)
        except OSError:
            # Whoever is going to send it finds that out, too, and says it.
            twins.clear(job)
            return
        if self._store.journal.unknown_of(job):
            # Has it arrived? Looking that up comes before everything else.
            twins.clear(job)
            return
        fingerprint = job.fingerprint
        for other in twins.of_file(job):
            if other.path == job.path:
                # Changed in place, its time put back: that is why it has another job.
                continue
            if lies(other.path, stamp) is Lies.THE_SAME:
                if other.fingerprint is None:
                    self._wait_for(job, other)
                    return
                fingerprint = other.fingerprint
            elif has_moved(other, stamp, self._lost) and self._follow(other, job):
                return
        try:
            if fingerprint is None and twins.has_rival(job):
                fingerprint = self._read(job)
        except (OSError, _Elsewhere):
            twins.clear(job)
            return
        if fingerprint is not None:
            twins.read(job, fingerprint)
        for other in twins.unread(job):
            if not self._has_read(other):
                # It is going to be known what was sent, or that nothing was.
                self._wait_for(job, other)
                return
        self._decide(job, stamp)

    def _has_read(self, other: Job) -> bool:
        """Learn another job's content; False if that has to be waited for."""
        try:
            self._store.twins.read(other, self._read(other))
        except (FileNotFoundError, NotADirectoryError, _Elsewhere):
            return other.state not in {JobState.QUEUED, JobState.UPLOADING}
        except OSError:
            # Nobody can tell, and nobody can send it either.
            return True
        return True

    def _decide(self, job: Job, stamp: FileStamp) -> None:
        twins = self._store.twins
        fresh = self._store.jobs.get(job.id)
        first = None if fresh is None else twins.first_of(fresh)
        if first is not None and has_crossed(first, stamp, self._lost) and self._follow(first, job):
            return
        if first is not None:
            self._wait_for(job, first)
        else:
            twins.clear(job)

    def _wait_for(self, job: Job, first: Job) -> None:
        done = first.state is JobState.DONE
        if done:
            try:
                self._preflight(job)
            except FileError as error:
                self._ledger.has_no_place(job, error)
                return
        if self._store.twins.wait(job, first) and not done:
            reason = f"{duplicate_of(first.path)}, which is {first.state}"
            _log.info("file.waiting", job=job.id, path=job.path, reason=reason)

    def _follow(self, first: Job, job: Job) -> bool:
        """Have the job that stands for a file follow it to where a new one was made for it."""
        if not self._store.moving.take_place_of(first, job):
            return False
        _log.info("file.moved", job=first.id, path=job.path, old_path=first.path)
        return True

    def _read(self, job: Job) -> str:
        """Return the fingerprint of a job's file. Raises OSError and :class:`_Elsewhere`."""
        with regular_file(job.path) as fd:
            fingerprint = fingerprint_of(fd, self.beat_or_stop) if _is(job, fd) else None
            if fingerprint is None or not _is(job, fd):
                raise _Elsewhere
            return fingerprint


def _look(job: Job) -> FileStamp:
    """Return how a job's file is now; raises OSError if it is not the version of the job."""
    stamp = FileStamp.of(os.lstat(job.path))
    if not job.stamp.same_version(stamp):
        raise FileNotFoundError
    return stamp


def _is(job: Job, fd: int) -> bool:
    return job.stamp.same_version(FileStamp.of(os.fstat(fd)))
