"""How long the service usually takes to convert a file, learnt from what it has converted."""

from __future__ import annotations

import json
import statistics
from collections import deque

from megamax_sync.store.settings import Settings

_NAME = "conversion_seconds"
#: So many of the last conversions are remembered, and so many are needed to say what is usual.
_REMEMBERED, _NEEDED = 51, 5
#: A conversion is worth no commit of its own: they are written down so many at a time.
_AT_ONCE = 5


class Usual:
    """The median of the last conversions: a single film of four hours changes little."""

    def __init__(self, settings: Settings) -> None:
        """``settings`` are the queue's, so that it outlasts a restart."""
        self._settings = settings
        self._seconds = deque(_numbers(settings.get(_NAME)), _REMEMBERED)
        self._new = 0

    def __call__(self) -> float | None:
        """Return the seconds from arrival to conversion; None while too few are known."""
        return statistics.median(self._seconds) if len(self._seconds) >= _NEEDED else None

    def add(self, seconds: float) -> None:
        """Note that a conversion took so long."""
        self._seconds.append(round(max(0.0, seconds), 1))
        self._new += 1
        if self._new >= _AT_ONCE:
            self._settings.put(_NAME, json.dumps(list(self._seconds)))
            self._new = 0


def _numbers(text: str | None) -> list[float]:
    try:
        return [float(number) for number in json.loads(text or "[]")]
    except (ValueError, TypeError):
        return []
