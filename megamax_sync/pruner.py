"""Keeps the queue's records from growing for ever, when there is nothing better to do."""

from __future__ import annotations

import threading
from collections.abc import Callable

from megamax_sync.clock import Clock
from megamax_sync.job import JobState
from megamax_sync.loop import Loop
from megamax_sync.store import Store

#: How long the records of jobs that are done or skipped are kept, in seconds.
KEPT = 90 * 86400.0
#: Old records are looked for so soon after the start, and so often, in seconds.
_FIRST, _EVERY = 600.0, 86400.0
#: The rest between batches: so many times as long as one took, and the least, in seconds.
_REST, _LEAST = 20.0, 0.05
#: Uploads are waited for so long at a time, and for a day in all; then it is done beside them.
_BUSY = 600.0


class Pruner(Loop):
    """Prunes, a small batch at a time, while nothing is being sent."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        stop: threading.Event,
        on_error: Callable[[str, BaseException], None],
        on_fine: Callable[[str], None],
    ) -> None:
        super().__init__(
            "pruner",
            changes=_Nothing(stop),
            clock=clock,
            stop=stop,
            on_error=on_error,
            on_fine=on_fine,
        )
        self._store = store
        self._due = clock.monotonic() + _FIRST

    def step(self) -> float | None:
        """Prune if that is due; return the seconds until it is."""
        now = self.clock.monotonic()
        if now < self._due:
            return self._due - now
        if self._busy() and now < self._due + _EVERY:
            self.rest(_BUSY)
            return 0.0
        before = self.clock.wall() - KEPT
        for prune in (self._store.pruning.prune_history, self._store.pruning.prune_attempts):
            last: int | None = 0
            while last is not None:
                began = self.clock.monotonic()
                last = prune(last, before)
                took = self.clock.monotonic() - began
                if self.rest(max(_LEAST, took * _REST)):
                    return None
        self._due = self.clock.monotonic() + _EVERY
        return _EVERY

    def _busy(self) -> bool:
        return bool(self._store.views.counts()[JobState.UPLOADING])


class _Nothing:
    """No change is of interest here, but for the end."""

    version = 0

    def __init__(self, stop: threading.Event) -> None:
        self._end = stop

    def wait(self, seen: int, timeout: float | None) -> int:
        """Wait for that time."""
        self._end.wait(timeout)
        return seen

    def wake(self) -> None:
        """Nobody has to."""
