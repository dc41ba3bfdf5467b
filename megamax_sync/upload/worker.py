"""The upload worker: one thread that claims jobs, sends them, and tells the gates how it went."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from io import FileIO

import structlog

from megamax_sync.api.bandwidth import Bandwidth
from megamax_sync.api.client import MegamaxClient
from megamax_sync.api.pace import Gate, Pass
from megamax_sync.api.retry import RetryPolicy, unless_stopped
from megamax_sync.clock import Clock
from megamax_sync.errors import (
    CredentialsRejected,
    FileChanged,
    FileError,
    FileVanished,
    MegamaxError,
    ServiceError,
    StoreError,
    UploadCancelled,
)
from megamax_sync.job import Job
from megamax_sync.loop import Loop
from megamax_sync.store import Attempt, Store
from megamax_sync.upload.adoption import Adoption
from megamax_sync.upload.ledger import Ledger
from megamax_sync.upload.lookup import Lookup
from megamax_sync.upload.reconcile import UNKNOWN_CLOCK
from megamax_sync.upload.sending import (
    Discarded,
    OutcomeUnknown,
    Progress,
    Sending,
    open_unchanged,
)

_log = structlog.get_logger()

#: How often the lease of a long upload is prolonged, in seconds.
_RENEW_SECONDS = 60.0


class _Neutral(Exception):
    """Leave both gates without a report. ``wait``: seconds until the next step."""

    def __init__(self, wait: float | None) -> None:
        super().__init__()
        self.wait = wait


class Uploader(Loop):
    """Claims, checks, sends, verifies. Several run beside one another, each with its own client."""

    def __init__(
        self,
        number: int,
        *,
        store: Store,
        client: MegamaxClient,
        api_gate: Gate,
        upload_gate: Gate,
        policy: RetryPolicy,
        ledger: Ledger,
        lookup: Lookup,
        adoption: Adoption,
        may_look_up: Callable[[], bool],
        bandwidth: Bandwidth,
        preflight: Callable[[Job], None],
        owner: str,
        under: Sequence[bytes] | None,
        dedupe: bool,
        clock: Clock,
        stop: threading.Event,
        on_error: Callable[[str, BaseException], None],
        on_fine: Callable[[str], None],
        count: Callable[[int], None] = lambda _nbytes: None,
    ) -> None:
        """``preflight`` raises :class:`FileError` for a job whose links would have no place.

        ``under``: send only what lies in these folders; None for everything. ``dedupe``: send
        only what was compared with what is sent already, by somebody else. ``count`` is told of
        the bytes that go out.
        """
        super().__init__(
            f"uploader-{number}",
            changes=store.database.work_to_send,
            clock=clock,
            stop=stop,
            on_error=on_error,
            on_fine=on_fine,
        )
        self._store = store
        self._client = client
        client.wait_as(self.patience, self.beat, self.within)
        self._api_gate = api_gate
        self._upload_gate = upload_gate
        self._policy = policy
        ledger.wait_as(self.patience)
        self._ledger = ledger
        self._lookup = lookup
        self._adoption = adoption
        self._may_look_up = may_look_up
        self._bandwidth = bandwidth
        self._preflight = preflight
        self._owner = f"{owner}/{number}"
        self._under = under
        self._dedupe = dedupe
        self._count = count
        self._renewed_at = 0.0
        #: The job that was claimed in this step, and its attempt once one was begun.
        self._claimed: tuple[Job, int | None] | None = None
        #: The upload under way, for those who show it.
        self.progress: Progress | None = None

    def abort(self) -> None:
        """End the upload under way at once; from another thread, with the stop set."""
        self._client.abort()

    def step(self) -> float | None:
        """Send one job, if there is one and the service takes any."""
        waits = [self._send_one(), self._adoption.tidy()]
        return min((wait for wait in waits if wait is not None), default=None)

    def _send_one(self) -> float | None:
        if self._store.settings.paused:
            return None
        # What goes wrong has been dealt with further down; here it only tells the gates.
        with contextlib.suppress(ServiceError, CredentialsRejected, FileError):
            try:
                with self._upload_gate.pass_(self.patience) as passed:
                    if passed is None:
                        return None
                    job, attempt, fd, url = self._prepare(passed)
                    with open(fd, "rb", buffering=0) as file:
                        self._send(job, attempt, file, url)
            except _Neutral as neutral:
                return neutral.wait
            finally:
                self._let_go()
        return 0.0

    def _let_go(self) -> None:
        """See to it that no claim outlives its step, whatever went wrong in it."""
        claimed, self._claimed = self._claimed, None
        if claimed is None:
            return
        job, attempt = claimed
        with contextlib.suppress(StoreError):
            if self._store.jobs.holds(job, self._owner):
                self._ledger.abandon(job, attempt, "the upload ended in an unexpected way")

    # -- before ------------------------------------------------------------------------------

    def _prepare(self, upload_pass: Pass) -> tuple[Job, int, int, str]:
        """Claim a job and get ready to send it: its file open, its URL asked for."""
        try:
            with self._api_gate.pass_(self.patience) as passed:
                if passed is None:
                    raise _Neutral(None)
                if not self._upload_gate.still_holds(upload_pass):
                    # The wait for the API was a long one: all who waited would send at once.
                    raise _Neutral(0.0)
                return self._claim_and_open()
        except (ServiceError, CredentialsRejected) as error:
            # The API's trouble says nothing about the upload host.
            raise _Neutral(0.0) from error

    def _claim_and_open(self) -> tuple[Job, int, int, str]:
        # Asked again: the wait at the gates may have been a long one.
        if self._store.settings.paused:
            raise _Neutral(None)
        lookups = self._may_look_up()
        # A claim that the power takes away is one of which nothing was sent: see Journal.sending.
        with self._store.transaction(durable=False):
            job = self._store.jobs.claim(
                self._owner, self._under, cleared=self._dedupe, lookups=lookups
            )
            unknown = self._store.journal.unknown_of(job) if job else []
            sent_now = job is not None and not unknown and not job.lookup
            # In the same commit as the claim: from now on no twin of it is claimed.
            attempt = self._store.journal.begin(job) if job and sent_now else None
        self._claimed = None if job is None else (job, attempt)
        if job is None:
            due = self._store.jobs.next_claim(self._under, cleared=self._dedupe, lookups=lookups)
            raise _Neutral(None if due is None else max(0.05, due - self.clock.now()))
        if attempt is None:
            if unknown:
                self._reconcile(job, unknown)
            else:
                self._adopt(job)
            raise _Neutral(0.0)
        try:
            fd = open_unchanged(job)
            try:
                self._preflight(job)
                return job, attempt, fd, self._upload_url()
            except BaseException:
                os.close(fd)
                raise
        except FileError as error:
            self._ledger.file_failed(job, attempt, error)
            raise _Neutral(0.0) from error
        except Exception as error:
            self._ledger.give_back(job, attempt, str(error))
            raise

    def _upload_url(self) -> str:
        attempts = self._api_gate.attempts
        with unless_stopped(self.patience):
            return self._policy.call(self._client.upload_url, stop=self.patience, attempts=attempts)

    def _reconcile(self, job: Job, unknown: list[Attempt]) -> None:
        """Look for a job's lost uploads in the account's list; the job is taken care of then."""
        try:
            with unless_stopped(self.patience):
                wait = self._lookup.settle(self._client, job, unknown, self.beat_or_stop)
        except MegamaxError as error:
            self._ledger.hand_back(job, str(error), error=job.error)
            raise
        if wait is None:
            return
        if wait > 0:
            self._ledger.look_again(job, wait)
        elif not self._ledger.used_up(job):
            # Not begun here: only a claim sees to it that no twin is open at the same time.
            self._ledger.release(job, "it did not arrive", error=job.error)

    def _adopt(self, job: Job) -> None:
        """See whether the account has a job's file already; the job is taken care of then."""
        try:
            with unless_stopped(self.patience):
                wait = self._adoption.settle(self._client, job, self.beat_or_stop)
        except (FileVanished, FileChanged) as error:
            # What became of it is for the watch to find out.
            self._ledger.release(job, str(error), ready=False)
        except MegamaxError as error:
            self._ledger.hand_back(job, str(error), error=job.error)
            raise
        else:
            if wait is not None and wait > 0:
                self._ledger.look_again(job, wait)
            elif wait is not None:
                self._ledger.release(job, "the account does not have it", error=job.error)

    # -- sending -----------------------------------------------------------------------------

    def _send(self, job: Job, attempt: int, file: FileIO, url: str) -> None:
        self._renewed_at = self.clock.monotonic()
        self.progress = Progress(job.id, job.stamp.size, self._count)
        sending = Sending(
            self._store,
            self._client,
            self.clock,
            stop=self.stop_event,
            still_ours=lambda: self._still_ours(job),
            beat=self.beat_or_stop,
            turn=lambda most: self._bandwidth.take(most, self.patience),
        )
        try:
            self._store.journal.sending(attempt, self._service_time())
            _log.info(
                "upload.started", job=job.id, path=job.path, size=job.stamp.size, folder=job.folder
            )
            sent = sending.send(job, attempt, file, url, self.progress)
        except OutcomeUnknown as lost:
            if self._ledger.outcome_unknown(job, attempt, lost):
                raise _Neutral(0.0) from lost
            raise lost.cause from lost
        except Discarded as discarded:
            if self._ledger.discarded(job, attempt, discarded):
                raise discarded.cause from discarded
        except UploadCancelled as cancelled:
            self._ledger.give_back(job, attempt, str(cancelled))
            raise _Neutral(0.0) from cancelled
        except FileError as error:
            self._ledger.file_failed(job, attempt, error, under_way=True)
            raise
        except StoreError:
            # The queue's trouble, which says nothing about the upload: see _let_go.
            raise
        except MegamaxError as error:
            if self._ledger.service_failed(job, attempt, error):
                raise _Neutral(0.0) from error
            raise
        except Exception as error:
            # A bug, or a file system that fails: the attempt stays open, and is looked up.
            self._ledger.release(job, f"unexpected {type(error).__name__}", error=job.error)
            raise
        else:
            self._ledger.arrived(job, attempt, sent)
        finally:
            self.progress = None

    def _service_time(self) -> float:
        """What the service's own clock says now, or a moment that it has certainly passed."""
        offset = self._client.server_clock_offset
        return self.clock.now() + (-UNKNOWN_CLOCK if offset is None else offset)

    def _still_ours(self, job: Job) -> bool:
        if self.progress is not None:
            sent = self.progress.sent
            _log.debug("upload.progressed", job=job.id, path=job.path, sent=sent)
        now = self.clock.monotonic()
        try:
            if now - self._renewed_at < _RENEW_SECONDS:
                return self._store.jobs.holds(job, self._owner)
            self._renewed_at = now
            return self._store.jobs.renew(job, self._owner)
        except StoreError:
            # A full disk under the queue is no reason to end an upload that goes well.
            return True
