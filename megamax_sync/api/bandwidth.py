"""How fast bodies are sent: one allowance for all uploads together."""

from __future__ import annotations

import threading
from collections.abc import Callable

from megamax_sync.api.retry import Stop
from megamax_sync.clock import Clock

#: One turn is worth this long of the limit, in seconds: smooth within a second, and still whole
#: chunks at the rates at which their number would cost something.
_TURN = 0.1
#: Time that nobody used is made up for, up to so many seconds: threads wake late.
_CREDIT = 0.1
#: How often those who wait look whether the limit has changed, in seconds.
_LOOK = 0.2


class Bandwidth:
    """Hands out turns to send, each at its moment.

    ``limit`` gives bytes a second, None for no limit. It is asked again and again, so it may change
    whenever it likes: the turns that were waited for are then given out anew.

    Turns come in the order in which they were asked for and are worth the same, so those who send
    as fast as they may have equal shares; what slower ones leave goes to the others.
    """

    def __init__(self, limit: Callable[[], float | None], clock: Clock) -> None:
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._rate: float | None = None
        #: Counts up with each change of the limit.
        self._age = 0
        #: When the next turn begins.
        self._next = clock.monotonic()

    def limit(self) -> float | None:
        """Return the limit in force now, in bytes a second; None for no limit."""
        # What it goes by is not made for two threads at once.
        with self._lock:
            return self._limit()

    def take(self, most: int, stop: Stop) -> int:
        """Wait for a turn; return how many of ``most`` bytes may be sent now.

        That is 0 only if ``stop`` was set first.
        """
        age, turn, size = -1, 0.0, 0
        while not stop.is_set():
            with self._lock:
                now = self._clock.monotonic()
                rate = self._look(now)
                if rate is None:
                    return most
                if age != self._age:
                    size = max(1, min(most, int(rate * _TURN)))
                    age, turn = self._age, max(self._next, now - _CREDIT)
                    self._next = turn + size / rate
            if turn <= now:
                return size
            stop.wait(min(turn - now, _LOOK))
        return 0

    def _look(self, now: float) -> float | None:
        rate = self._limit()
        if rate != self._rate:
            self._rate, self._next = rate, now
            self._age += 1
        return rate
