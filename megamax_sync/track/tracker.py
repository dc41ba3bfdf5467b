"""The loop that follows each hashid from onqueue to its links."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog

from megamax_sync import sidecar
from megamax_sync.api.client import MegamaxClient
from megamax_sync.api.models import RemoteFile
from megamax_sync.api.pace import Gate
from megamax_sync.api.retry import RetryPolicy, unless_stopped
from megamax_sync.clock import Clock
from megamax_sync.errors import CredentialsRejected, RemoteFileMissing, ServiceError
from megamax_sync.job import REMOTE_UNFINISHED, Job, JobState
from megamax_sync.loop import Loop
from megamax_sync.store import Store
from megamax_sync.track.cadence import MIRRORS_DUE, Cadence
from megamax_sync.track.conversion import Conversion
from megamax_sync.track.links import Links
from megamax_sync.track.statuses import Keep, Statuses
from megamax_sync.track.usual import Usual
from megamax_sync.track.writer import SidecarWriter

_log = structlog.get_logger()
_T = TypeVar("_T")

#: So many jobs of one state are looked at in one step, and held in memory meanwhile: of what is in
#: conversion one list serves them all.
_AT_ONCE = {JobState.PROCESSING: 10_000, JobState.DONE: 20}
#: How long it leaves a gate alone at which another one knocks, in seconds.
_KNOCK = 1.0
#: Sidecars that come due during a long round of calls are written this often, in seconds.
_WRITE_SECONDS = 1.0


class Tracker(Loop):
    """Asks, notices changes, fetches links, renews them, and has the sidecars written."""

    lull = 0.05

    def __init__(
        self,
        *,
        store: Store,
        client: MegamaxClient,
        gate: Gate,
        policy: RetryPolicy,
        usual: Usual,
        cadence: Cadence,
        writer: SidecarWriter,
        refresh_links: bool,
        follow_done: bool,
        under: Sequence[bytes] | None,
        clock: Clock,
        stop: threading.Event,
        on_error: Callable[[str, BaseException], None],
        on_fine: Callable[[str], None],
    ) -> None:
        """``follow_done`` False looks only at what is in conversion; ``under`` only below these."""
        super().__init__(
            "tracker",
            changes=store.database,
            clock=clock,
            stop=stop,
            on_error=on_error,
            on_fine=on_fine,
        )
        self._store = store
        self._client = client
        client.wait_as(self.patience, self.beat, self.within)
        self._gate = gate
        self._policy = policy
        self._cadence = cadence
        self._writer = writer
        writer.on_paid = self._paid
        self._statuses = Statuses(self._list, self._file)
        self._write_at = 0.0
        self._write_again: float | None = None
        self._links = Links(client, self._call, cadence, clock, refresh=refresh_links)
        self._states = (
            [JobState.PROCESSING, JobState.DONE] if follow_done else [JobState.PROCESSING]
        )
        self._under = under
        self._conversion = Conversion(store, cadence, usual, clock)
        self._caught_up = False

    def abort(self) -> None:
        """End the call under way at once; from another thread, with the stop set."""
        self._client.abort()

    def step(self) -> float | None:
        """Write the sidecars that are due, then look at what is due."""
        if not self._caught_up:
            self._conversion.bring_forward()
            self._caught_up = True
        self._write_sidecars()
        now = self.clock.now()
        # A closed gate is not waited at: sidecars can be written meanwhile.
        if (self._gate.until or 0.0) <= now and (self._gate.until is not None or self._due(0.0)):
            # The gate has been told by what passes through it.
            with (
                contextlib.suppress(ServiceError, CredentialsRejected),
                self._gate.pass_(self.patience, wait=False) as passed,
            ):
                if passed:
                    self._ask()
        due = self._store.tracking.next_check(states=self._states, under=self._under)
        # Behind a closed gate somebody has to knock, also when nothing is due for long.
        if (until := self._gate.until) is not None:
            # Another may be the one that knocks, and takes its time.
            waits = [max(_KNOCK, until - self.clock.now())]
        else:
            waits = [] if due is None else [max(0.0, due - self.clock.now())]
        if self._write_again is not None:
            waits.append(max(0.0, self._write_again - self.clock.monotonic()))
        return min(waits, default=None)

    def _write_sidecars(self) -> None:
        retry, now = self._writer.write_due(self.beat), self.clock.monotonic()
        self._write_again = None if retry is None else now + retry
        self._write_at = now + _WRITE_SECONDS

    def _ask(self) -> None:
        # What is due soon goes along: one list serves them all.
        jobs = self._due(self._cadence.poll / 2)
        if jobs:
            self._look(jobs)
        else:
            # Only to see whether the service is well again, so that nobody has to wait for work.
            self._list(None, REMOTE_UNFINISHED[0], lambda _file: False)

    def _due(self, ahead: float) -> list[Job]:
        """Return what is due; of what is done, which no list serves, only a few and none early."""
        look, jobs = self._store.tracking.to_check, list[Job]()
        for state in self._states:
            soon = ahead if state is JobState.PROCESSING else 0.0
            jobs += look(soon, states=[state], under=self._under, most=_AT_ONCE[state])
        return jobs

    def _look(self, jobs: Sequence[Job]) -> None:
        answered, failed = 0, None
        converting = [job for job in jobs if job.converted_at is None]
        converted = [job for job in jobs if job.converted_at is not None]
        for job, said in self._statuses.ask(converting):
            # A list may tell of thousands, each of which is written down.
            self.beat()
            if isinstance(said, ServiceError):
                failed = said
                self._conversion.postpone(job)
                continue
            answered += 1
            if said is None:
                self._conversion.denied(job)
            elif self._conversion.heard(job, said):
                # Its links at once: one sidecar then shows both.
                failed = self._finish(self._fresh(job)) or failed
        for job in converted:
            error = self._finish(job)
            answered += error is None
            failed = error or failed
        if failed is not None and not answered:
            # Not one file, the service is in trouble.
            raise failed

    def _finish(self, job: Job | None) -> ServiceError | None:
        """Fetch a converted file's links; return what went wrong with this file alone."""
        if job is None:
            return None
        try:
            self._fetch_links(job)
        except RemoteFileMissing:
            if job.state is JobState.DONE:
                # Its links are those of then; nothing is to be sent again for that.
                self._conversion.postpone(job)
            else:
                self._conversion.denied(job)
        except ServiceError as error:
            self._conversion.postpone(job)
            if not error.answered:
                raise
            return error
        return None

    def _fresh(self, job: Job) -> Job | None:
        return self._store.jobs.get(job.id)

    # -- links -------------------------------------------------------------------------------

    def _fetch_links(self, job: Job) -> None:
        """Ask for mirrors and direct links; finish the job when they are in the sidecar."""
        groups = self._links.mirrors(job)
        # What was there before is not taken away by an answer that lacks it.
        mirrors = sidecar.mirrors_json(groups) if groups else (job.mirrors or "[]")
        direct, direct_error, settled = self._links.direct(job)
        if groups is None and not settled:
            # Is it these calls for this file, or the service? A call that fails tells the gate.
            self._file(job.hashid or "")
        now = self.clock.now()
        changed = (mirrors, direct, direct_error) != (job.mirrors, job.direct, job.direct_error)
        begins = direct_error is not None and job.direct_error is None
        checks = 0 if mirrors != job.mirrors or begins else job.checks + 1
        changes: dict[str, object] = {"checks": checks}
        if changed:
            changes |= {
                "mirrors": mirrors,
                "direct": direct,
                "direct_error": direct_error,
                "sidecar_due": 1,
            }
        age = now - (job.converted_at or now)
        has_mirrors = any(group.mirrors for group in sidecar.mirrors_of(mirrors))
        wait: float | None
        if job.state is JobState.DONE:
            wait = self._links.next_look(checks, direct, direct_error, age)
        elif age >= MIRRORS_DUE or (has_mirrors and settled):
            # Nothing more is asked: it is done as soon as its sidecar shows this.
            wait = None
        else:
            held_back = min(self._links.held_back(), MIRRORS_DUE - age)
            wait = max(self._cadence.first_mirrors(job.checks), held_back)
        check_at = None if wait is None else now + wait
        self._store.tracking.track(job, check_at=check_at, **changes)
        fresh = self._store.jobs.get(job.id)
        if fresh is None:
            return
        if fresh.sidecar_due:
            self._writer.write(fresh)
        else:
            self._paid(fresh)
        if job.state is JobState.DONE and direct != job.direct:
            _log.info("links.refreshed", job=job.id, path=job.path, hashid=job.hashid)

    def _paid(self, job: Job) -> None:
        """Its sidecar shows all that is known; finish the job, if nothing more is to be asked."""
        if job.state is JobState.QUEUED:
            error = self._store.twins.skip(job)
            if error is not None:
                _log.info(
                    "file.skipped", job=job.id, path=job.path, reason=error, hashid=job.hashid
                )
            return
        finished = job.converted_at is not None and job.check_at is None
        if not finished or job.state is not JobState.PROCESSING:
            return
        now = self.clock.now()
        age = now - (job.converted_at or now)
        wait = self._links.next_look(0, job.direct, job.direct_error, age)
        check_at = None if wait is None else now + wait
        if self._store.tracking.complete(job, reason="converted", check_at=check_at):
            _log.info("job.done", job=job.id, path=job.path, hashid=job.hashid)

    # -- calls -------------------------------------------------------------------------------

    def _list(self, folder: int | None, status: str | None, keep: Keep) -> list[RemoteFile]:
        return self._call(lambda: self._client.files(folder=folder, status=status, keep=keep))

    def _file(self, hashid: str) -> RemoteFile:
        return self._call(lambda: self._client.file(hashid))

    def _call(self, call: Callable[[], _T], attempts: int = 3) -> _T:
        """Make an idempotent call, trying again at once what may be a hiccup."""
        self.beat_or_stop()
        if self.clock.monotonic() >= self._write_at:
            # Thousands of calls, at the rate that is allowed, take long.
            self._write_sidecars()
        attempts = min(attempts, self._gate.attempts)
        with unless_stopped(self.patience):
            return self._policy.call(call, stop=self.patience, attempts=attempts)
