"""Time that passes only when it is waited for."""

from __future__ import annotations

from collections.abc import Callable

from megamax_sync.clock import Clock


class FakeClock(Clock):
    """A clock that stands still."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 1000.0

    def monotonic(self) -> float:
        return self.time

    def now(self) -> float:
        return self.time


class FakeStop:
    """An event whose wait turns the clock, and that may be set at some moment."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.waits: list[float] = []
        #: Seconds of waiting after which it is set; None for never.
        self.set_after: float | None = None
        self.during: Callable[[], None] | None = None

    def is_set(self) -> bool:
        return self.set_after is not None and sum(self.waits) >= self.set_after

    def wait(self, timeout: float | None = None, /) -> bool:
        assert timeout is not None
        self.waits.append(timeout)
        self.clock.time += timeout
        if self.during:
            self.during()
        return self.is_set()
