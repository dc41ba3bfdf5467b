"""Mirrors and direct links of one converted file: asked for, and when to ask again."""

from __future__ import annotations

import math
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
        #: Calls that had no answer, or were told to wait, and until when nobody makes another one.
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
            return self._still_good(job), refused.server_message or str(refused), True
        except ServiceError as error:
            self._note("direct", error)
            # Trouble with this one call fails nothing and holds up nobody; it is asked again.
            return job.direct, job.direct_error or str(error), False

    def _still_good(self, job: Job) -> str:
        """Return those of a job's links that have not expired: a refusal takes none away."""
        now = self._service_time()
        links = sidecar.direct_of(job.direct or "[]")
        return sidecar.parts_json([one for one in links if _expiry(one) > now])

    def _service_time(self) -> float:
        return self._clock.now() + (self._client.server_clock_offset or 0.0)

    def _is_mute(self, call: str) -> bool:
        return self._clock.monotonic() < self._mute.get(call, 0.0)

    def _note(self, call: str, error: ServiceError) -> None:
        # A time-out for each of a hundred files would hold up everything else.
        pause = max(error.retry_after or 0.0, 0.0 if error.answered else self._cadence.poll)
        if pause:
            self._mute[call] = self._clock.monotonic() + pause

    def held_back(self) -> float:
        """Seconds for which one of the calls is not made for any file."""
        return max(0.0, max(self._mute.values(), default=0.0) - self._clock.monotonic())

    def next_look(
        self, looks: int, direct: str | None, direct_error: str | None, age: float
    ) -> float | None:
        """Seconds until a done job's links are asked for again; None for never.

        ``looks``: how often they were since anything was new; ``direct`` are its links,
        ``direct_error`` why there are none or no newer ones; ``age``: seconds since its conversion.
        """
        waits = [self._cadence.later_mirrors(looks, age)]
        if self._refresh and direct_error is not None:
            waits.append(self._cadence.refused(looks))
        elif self._refresh and direct:
            first = min(map(_expiry, sidecar.direct_of(direct)), default=math.inf)
            if first < math.inf:
                waits.append(self._cadence.renewal(first - self._service_time(), looks))
        wait = min((wait for wait in waits if wait is not None), default=None)
        return None if wait is None else max(wait, self.held_back())


def _expiry(link: sidecar.Direct) -> float:
    """When a link expires, as Unix time; never, where the service does not say."""
    return datetime.fromisoformat(link.expires_at).timestamp() if link.expires_at else math.inf
