"""How much was sent in each half minute of the last hour."""

from __future__ import annotations

import threading
from collections import deque

#: Each sample stands for so many seconds, and so many of them make the hour.
SAMPLE_SECONDS = 30.0
SAMPLES = 120


class Throughput:
    """Samples of a counter of bytes. Fed by one thread, read by others."""

    def __init__(self, now: float, counter: int) -> None:
        """``now`` is by the monotonic clock, in seconds."""
        self._lock = threading.Lock()
        self._at, self._counter = now, counter
        self._rates: deque[float] = deque(maxlen=SAMPLES)

    def sample(self, now: float, counter: int) -> None:
        """Note what has been sent by now; call it about every :data:`SAMPLE_SECONDS`."""
        with self._lock:
            past = now - self._at
            if past <= 0:
                return
            # A machine that slept, or a thread that was held up, leaves a gap of that length.
            rate = max(0, counter - self._counter) / past
            self._rates.extend([rate] * max(1, min(SAMPLES, round(past / SAMPLE_SECONDS))))
            self._at, self._counter = now, counter

    def rates(self) -> list[float]:
        """Return bytes a second, the oldest first; as many as there have been samples."""
        with self._lock:
            return list(self._rates)
