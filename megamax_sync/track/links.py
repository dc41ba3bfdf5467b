"""Mirrors and direct links of one converted file: asked for, and when to ask again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol, TypeVar

from megamax_sync import sidecar
from megamax_sync.api.client import MegamaxClient
from megamax_sync.api.models import MirrorGroup
from megamax_sync.clock import Clock
from megamax_sync.errors import DirectLinksRefused, RemoteFileMissing, ServiceError
from megamax_sync.job import Job, JobState
from megamax_sync.track.cadence import Cadence

_T = TypeVar("_T")


class Caller(Protocol):
    """Makes a call, some attempts at the most, and raises what the last one did."""

    def __call__(self, call: Callable[[], _T], attempts: int, /) -> _T: ...


class Links:
    """Asks for links. Trouble with these calls holds up nobody else."""

    def __init__(
        self, client: MegamaxClient, call: Caller, cadence: Cadence, clock: Clock, *, refresh: bool
    ) -> None:
        """``refresh``: renew direct links before they expire."""
        self._client = client
        self._call = call
        self._cadence = cadence
        self._clock = clock
        self._refresh = refresh
        #: Calls that had no answer, and until when nobody waits for another one of theirs.
        self._mute: dict[str, float] = {}

    def mirrors(self, job: Job) -> list[MirrorGroup] | None:
        """Ask for mirrors; None when that call is in trouble.

        Whether it is that call alone, or the service, is for the caller to find out.
        Raises :class:`RemoteFileMissing` when the service has lost the file since its conversion.
        """
        if self._is_mute("mirrors"):
            return None
        try:
            return self._call(lambda: self._client.mirrors(job.hashid or ""), 1)
        except RemoteFileMissing:
            if job.state is JobState.PROCESSING:
                self._call(lambda: self._client.file(job.hashid or ""), 1)
            return []
        except ServiceError as error:
            self._note("mirrors", error)
            return None

    def direct(self, job: Job) -> tuple[str | None, str | None, bool]:
        """Ask for direct links: them, the refusal's text, and whether that is the last word."""
        if self._is_mute("direct"):
            return job.direct, job.direct_error, False
        try:
            links = self._call(lambda: self._client.direct(job.hashid or ""), 1)
            return sidecar.direct_json(links), None, True
        except DirectLinksRefused as refused:
            return "[]", refused.server_message or str(refused), True
        except ServiceError as error:
            self._note("direct", error)
            # Trouble with this one call fails nothing and holds up nobody; it is asked again.
            return job.direct, job.direct_error or str(error), False

    def _is_mute(self, call: str) -> bool:
        return self._clock.monotonic() < self._mute.get(call, 0.0)

    def _note(self, call: str, error: ServiceError) -> None:
        if not error.answered:
            # A time-out for each of a hundred files would hold up everything else.
            self._mute[call] = self._clock.monotonic() + self._cadence.poll

    def next_look(self, job: Job, direct: str | None, age: float) -> float | None:
        """Seconds until a done job's links are asked for again; None for never.

        ``direct`` are its links, ``age`` the seconds since its conversion.
        """
        looks = job.checks if job.state is JobState.DONE else 0
        waits = [self._cadence.later_mirrors(looks, age)]
        if self._refresh and direct:
            expiries = [
                datetime.fromisoformat(link.expires_at).timestamp()
                for link in sidecar.direct_of(direct)
                if link.expires_at
            ]
            if expiries:
                offset = self._client.server_clock_offset or 0.0
                left = min(expiries) - (self._clock.now() + offset)
                waits.append(self._cadence.renewal(left))
        return min((wait for wait in waits if wait is not None), default=None)
