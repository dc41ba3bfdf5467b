"""What ``--scan`` and ``upload --wait`` wait for, whoever does the work."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from megamax_sync.cli import output
from megamax_sync.job import Job, JobState
from megamax_sync.store.places import inside, places_of

if TYPE_CHECKING:
    from megamax_sync.cli.progress import Display
    from megamax_sync.cli.signals import Signals
    from megamax_sync.config import Settings
    from megamax_sync.state import StateFolder
    from megamax_sync.store import Store, Tally

#: How often the queue is looked at, in seconds; more rarely where that takes long.
_LOOK, _LOOK_MOST, _LOOK_SHARE = 0.2, 5.0, 20.0


@dataclass(frozen=True)
class Ending:
    """How it ended: the exit status, so far as failed files do not change it, and why."""

    status: int
    reason: str | None = None
    #: Files that are left because they are still being written, with the reason.
    waiting: Mapping[bytes, str] = field(default_factory=dict)


INTERRUPTED = Ending(output.INTERRUPTED, "interrupted; what is left goes on in the next run")
_TIME_IS_OVER = Ending(output.TRY_LATER, "--timeout is over; what is left goes on in the next run")


class Errand:
    """The jobs in some places, until they are through."""

    def __init__(
        self,
        *,
        settings: Settings,
        folder: StateFolder,
        places: list[bytes],
        mark: int,
        until: float | None,
        signals: Signals,
        display: Display,
        handed_in: bool,
    ) -> None:
        """``places`` are folders and files; ``mark`` is the queue's when it began; ``until`` a
        moment of the monotonic clock.
        """
        self.settings = settings
        self.folder = folder
        self.places = places
        self.mark = mark
        self.signals = signals
        self.display = display
        self.handed_in = handed_in
        self._until = until
        self._inside = places_of(places)

    def concerns(self, path: bytes) -> bool:
        """Tell whether a path lies in the places."""
        return inside(path, self._inside)

    def unsettled(self, store: Store) -> list[Job]:
        """Return the jobs in the places whose files the watch does not find finished yet."""
        return [job for job in store.jobs.unsettled() if self.concerns(job.path)]

    def judge(self, tally: Tally, paused: bool, waiting: Mapping[bytes, str]) -> Ending | None:
        """Tell whether all is through, now that nothing more will be found soon."""
        busy = tally.counts[JobState.UPLOADING] or tally.counts[JobState.PROCESSING] or tally.owed
        # Also what goes on while uploads are paused, and elsewhere.
        busy = busy or (self.settings.dedupe and tally.compared)
        ready = tally.counts[JobState.QUEUED] - tally.unsettled
        if busy:
            return None
        if not ready:
            return Ending(output.DONE, waiting=waiting)
        if paused:
            return Ending(
                output.TRY_LATER,
                "uploads are paused; megamax-sync resume lets them go on",
                waiting,
            )
        return None

    def wait(self, look: Callable[[], Ending | None]) -> Ending:
        """Look again and again, until it ends, the time is over, or a signal ends the program."""
        while True:
            began = time.monotonic()
            ending = look()
            if ending is not None:
                return ending
            pause = min(max(_LOOK, (time.monotonic() - began) * _LOOK_SHARE), _LOOK_MOST)
            ending = self.rest(pause)
            if ending is not None:
                return ending

    def rest(self, seconds: float) -> Ending | None:
        """Wait a while; tell whether a signal or --timeout has ended it all."""
        left = math.inf if self._until is None else self._until - time.monotonic()
        if left > 0:
            self.signals.wait(min(seconds, left))
        if self.signals.ending is not None:
            return INTERRUPTED
        return _TIME_IS_OVER if left <= 0 else None
