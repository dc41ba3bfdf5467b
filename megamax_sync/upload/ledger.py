"""What becomes of a job after an attempt: each outcome, written down and said."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import structlog

from megamax_sync.api.retry import RetryPolicy, Stop
from megamax_sync.clock import Clock
from megamax_sync.errors import (
    FileChanged,
    FileError,
    FileVanished,
    MegamaxError,
    ServiceError,
    StoreError,
    UploadCancelled,
)
from megamax_sync.job import Job
from megamax_sync.store import Store
from megamax_sync.upload.sending import Discarded, OutcomeUnknown, Sent

_log = structlog.get_logger()
_T = TypeVar("_T")

#: The gate hears of a failure only after the job is back in the queue; until then no other worker
#: is to take the job through it, in seconds.
_GATE_CLOSES = 0.1


class Ledger:
    """Records outcomes. None is lost to a queue that cannot be written for a while."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        policy: RetryPolicy,
        max_attempts: int,
        first_lookup: float,
        stop: Stop,
        on_error: Callable[[str, BaseException], None],
        on_fine: Callable[[str], None],
    ) -> None:
        """``first_lookup``: seconds until a lost upload is first looked for in the list."""
        self._store = store
        self._clock = clock
        self._policy = policy
        self._max_attempts = max_attempts
        self._first_lookup = first_lookup
        self._stop = stop
        self._on_error = on_error
        self._on_fine = on_fine

    def wait_as(self, stop: Stop) -> None:
        """Wait until ``stop``, where the queue cannot be written; for one who is watched over."""
        self._stop = stop

    def look_again(self, job: Job, wait: float) -> None:
        """The list does not show it yet; ask again in ``wait`` seconds."""
        reason = "looking for it in the account's list"
        due = self._clock.now() + wait
        self.release(job, reason, not_before=due, failed=True, error=job.error)

    def used_up(self, job: Job) -> bool:
        """Fail a job that has no attempts left; called once its lost uploads are settled."""
        if job.attempts < self._max_attempts:
            return False
        self._fail(job, job.error or "too many attempts", job.attempts)
        return True

    def arrived(self, job: Job, attempt: int, sent: Sent) -> None:
        """The service has it."""
        answer = sent.answer

        def write() -> bool:
            with self._store.transaction():
                self._store.journal.arrived(attempt, answer.hashid)
                uploaded = answer.uploaded_at.timestamp() if answer.uploaded_at else None
                return self._store.jobs.arrived(
                    job,
                    hashid=answer.hashid,
                    status=answer.status,
                    name=answer.name,
                    size=answer.size,
                    uploaded_at=uploaded if uploaded is not None else self._clock.wall(),
                    fingerprint=sent.fingerprint,
                    stamp=sent.stamp,
                    reason=f"uploaded as {answer.hashid}",
                )

        if not self._record(write):
            error = "the job was dropped while it was sent"
            self._record(lambda: self._store.journal.discarded(attempt, answer.hashid, error))
            _log.warning(
                "upload.discarded", job=job.id, path=job.path, hashid=answer.hashid, error=error
            )
            return
        fresh = self._record(lambda: self._store.jobs.get(job.id))
        _log.info(
            "upload.finished",
            job=job.id,
            # Where it has been moved to while it was sent.
            path=(fresh or job).path,
            hashid=answer.hashid,
            size=job.stamp.size,
            seconds=round(sent.seconds, 3),
        )

    def outcome_unknown(self, job: Job, attempt: int, lost: OutcomeUnknown) -> bool:
        """The body went out and no believable answer came; True if the service is not to blame."""
        error = str(lost.cause)
        self._record(lambda: self._store.journal.unknown(attempt, error, lost.fingerprint))
        if isinstance(lost.cause, UploadCancelled):
            # Nobody is: we did not wait for the answer.
            due = self._clock.now() + _GATE_CLOSES
            self.release(job, error, not_before=due, error=job.error)
            return True
        return self._put_back_suspect(job, lost.cause, self._first_lookup)

    def service_failed(self, job: Job, attempt: int, error: MegamaxError) -> bool:
        """It certainly did not arrive; True if that is the file's fault."""
        self._record(lambda: self._store.journal.failed(attempt, str(error)))
        return self._put_back_suspect(job, error, _GATE_CLOSES)

    def discarded(self, job: Job, attempt: int, discarded: Discarded) -> bool:
        """It arrived as something else; True if the service is to blame for that."""
        error, hashid = str(discarded.cause), discarded.hashid
        self._record(lambda: self._store.journal.discarded(attempt, hashid, error))
        _log.warning("upload.discarded", job=job.id, path=job.path, hashid=hashid, error=error)
        if isinstance(discarded.cause, FileChanged):
            self.release(job, error, ready=False)
            return False
        return not self._put_back_suspect(job, discarded.cause, _GATE_CLOSES)

    def _put_back_suspect(self, job: Job, error: MegamaxError, at_least: float) -> bool:
        """Put a job back after a failure that need not be its own; True if it was its own.

        An error to a body counts as the file's once another upload has succeeded since the last
        such error: then the service is well, and it must be this file.
        """
        answered = isinstance(error, ServiceError) and error.answered
        files_fault = (
            answered
            and job.suspect_at is not None
            and self._record(self._another_arrived_since(job.suspect_at))
        )
        attempts = job.attempts + int(files_fault)
        unsettled = self._record(lambda: self._store.journal.unknown_of(job))
        if files_fault and attempts >= self._max_attempts and not unsettled:
            self._fail(job, f"{error} ({attempts} attempts)", attempts)
            return True
        wait = max(at_least, self._policy.delay(attempts, error) if files_fault else 0.0)
        self.release(
            job,
            str(error),
            not_before=self._clock.now() + wait,
            charge=files_fault,
            suspect=answered,
            failed=True,
            error=str(error),
        )
        self._say_retry(job, error, attempts, wait)
        return files_fault

    def file_failed(
        self, job: Job, attempt: int, error: FileError, *, under_way: bool = False
    ) -> None:
        """The file itself cannot be sent, at least not now; ``under_way``: some of it was."""
        self._record(lambda: self._store.journal.failed(attempt, str(error)))
        if isinstance(error, FileVanished | FileChanged):
            told = _log.bind(job=job.id, path=job.path)
            if under_way:
                told.warning("upload.discarded", error=str(error))
            else:
                # Of a disk that was unmounted, one for each file that waits.
                told.info("upload.called_off", reason=str(error))
            # What became of it is for the watch to find out; it costs no attempt.
            self.release(job, str(error), ready=False)
            return

        def put_back(due: float) -> None:
            reason = str(error)
            self.release(job, reason, not_before=due, charge=True, failed=True, error=reason)

        self._charge(job, error, put_back)

    def has_no_place(self, job: Job, error: FileError) -> None:
        """The sidecar of a queued job cannot be written, at least not now."""
        self._charge(
            job,
            error,
            lambda due: self._record(lambda: self._store.twins.postpone(job, str(error), due)),
        )

    def _charge(self, job: Job, error: FileError, put_back: Callable[[float], object]) -> None:
        """Fail a job whose attempts are used up, else have it put back until a moment."""
        attempts = job.attempts + 1
        if error.final or attempts >= self._max_attempts:
            self._fail(job, str(error), attempts)
            return
        wait = self._policy.delay(attempts, error)
        put_back(self._clock.now() + wait)
        self._say_retry(job, error, attempts, wait)

    def abandon(self, job: Job, attempt: int | None, error: str) -> None:
        """Something nobody foresaw: the job goes back, and what may have arrived is looked up."""
        if attempt is not None:
            self._record(lambda: self._store.journal.abandon(attempt, error))
        self.hand_back(job, error)

    def give_back(self, job: Job, attempt: int, reason: str) -> None:
        """Nothing was sent, or not all of it, and nobody is to blame."""
        self._record(lambda: self._store.journal.failed(attempt, reason))
        self.release(job, reason, not_before=self._clock.now() + _GATE_CLOSES, error=job.error)

    def hand_back(self, job: Job, reason: str, *, error: str | None = None) -> None:
        """Put a job back that failed at no fault of its own."""
        due = self._clock.now() + _GATE_CLOSES
        self.release(job, reason, not_before=due, failed=True, error=error)

    @staticmethod
    def _say_retry(job: Job, error: MegamaxError, attempts: int, wait: float) -> None:
        # What was said of this job already is not said again, for as long as an outage lasts.
        known = job.error == str(error) and job.attempts == attempts
        told = _log.bind(job=job.id, path=job.path, error=str(error))
        if known:
            told.debug("upload.retry_scheduled", attempts=attempts, seconds=round(wait, 1))
        else:
            told.warning("upload.retry_scheduled", attempts=attempts, seconds=round(wait, 1))

    def _another_arrived_since(self, moment: float) -> Callable[[], bool]:
        return lambda: self._store.journal.another_arrived_since(moment)

    def _fail(self, job: Job, error: str, attempts: int) -> None:
        self._record(lambda: self._store.jobs.fail(job, error, attempts=attempts))
        _log.error("job.failed", job=job.id, path=job.path, error=error)

    def release(
        self,
        job: Job,
        reason: str,
        *,
        ready: bool = True,
        not_before: float = 0.0,
        charge: bool = False,
        suspect: bool = False,
        failed: bool = False,
        error: str | None = None,
    ) -> None:
        """Put a job back into the queue; see :meth:`megamax_sync.store.jobs.Jobs.release`."""
        self._record(
            lambda: self._store.jobs.release(
                job,
                reason,
                ready=ready,
                not_before=not_before,
                charge=charge,
                suspect=suspect,
                failed=failed,
                error=error,
            )
        )

    def _record(self, write: Callable[[], _T]) -> _T:
        """Write down what has happened, however long the queue cannot be written."""
        while True:
            try:
                result = write()
            except StoreError as error:
                self._on_error("ledger", error)
                if self._stop.wait(1.0):
                    raise
            else:
                self._on_fine("ledger")
                return result
