"""The allowance that all uploads share."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megamax_sync.api.bandwidth import Bandwidth
from megamax_sync.clock import Clock

from .fakes import FakeClock, FakeStop

MIB = 1 << 20


class Sender(threading.Thread):
    """Sends as fast as it may, as far as the bandwidth is concerned."""

    def __init__(self, bandwidth: Bandwidth, stop: threading.Event, most: int = MIB) -> None:
        super().__init__()
        self._bandwidth = bandwidth
        self._stop_event = stop
        self._most = most
        self.sent: list[tuple[float, int]] = []

    def run(self) -> None:
        while size := self._bandwidth.take(self._most, self._stop_event):
            self.sent.append((time.monotonic(), size))

    @property
    def total(self) -> int:
        return sum(size for _, size in self.sent)


@given(
    rate=st.floats(1, 1e9),
    late=st.lists(st.floats(0, 0.08), min_size=1, max_size=20),
    most=st.integers(1, MIB),
)
def test_a_minute_keeps_to_the_limit(rate: float, late: list[float], most: int) -> None:
    """Whatever the rate, and however late threads wake: within five per cent over a minute."""
    clock = FakeClock()
    stop = FakeStop(clock)
    bandwidth = Bandwidth(lambda: rate, clock)
    began, sent, turns = clock.time, 0, 0
    # Where turns are tiny a part of the minute tells as much.
    while clock.time - began < 60.0 and turns < 2000:
        sent += (size := bandwidth.take(most, stop))
        assert 1 <= size <= min(most, max(1.0, rate * 0.1))
        # What is late by less than a turn is made up for.
        clock.time += min(late[turns % len(late)], 0.8 * size / rate)
        turns += 1
    # The last turn has begun, and its time is still to come; a late one may be caught up with.
    last = max(1.0, rate * 0.1)
    assert abs(sent - rate * (clock.time - began)) <= 0.05 * sent + 2 * last + rate * 0.1


def test_no_second_is_far_from_the_limit() -> None:
    """Also when nothing was sent for a while: what was not used is not made up for."""
    clock = FakeClock()
    stop = FakeStop(clock)
    bandwidth = Bandwidth(lambda: 1000.0, clock)
    clock.time += 3600.0
    began, sent = clock.time, 0
    while clock.time - began < 1.0:
        sent += bandwidth.take(MIB, stop)
    assert 1000 <= sent <= 1250


def test_no_limit_never_waits() -> None:
    """Whole chunks, at once."""
    clock = FakeClock()
    stop = FakeStop(clock)
    bandwidth = Bandwidth(lambda: None, clock)
    assert bandwidth.limit() is None
    assert [bandwidth.take(MIB, stop) for _ in range(100)] == [MIB] * 100
    assert stop.waits == []


def test_workers_have_equal_shares_and_keep_to_it_together() -> None:
    """Four threads of which one asks for less at a time: none has more than its part."""
    stop = threading.Event()
    bandwidth = Bandwidth(lambda: 40.0 * MIB, Clock())
    senders = [Sender(bandwidth, stop) for _ in range(4)]
    for sender in senders:
        sender.start()
    stop.wait(1.5)
    stop.set()
    for sender in senders:
        sender.join(5)
    shares = [sender.total for sender in senders]
    assert sum(shares) == pytest.approx(60 * MIB, rel=0.25)
    assert min(shares) > 0.7 * max(shares)


@pytest.mark.parametrize("later", [100.0 * MIB, None])
def test_a_change_holds_at_once(later: float | None) -> None:
    """Those who wait for a turn of hours ago's limit get one of the new limit's."""
    limits: list[float | None] = [0.001]
    stop = threading.Event()
    bandwidth = Bandwidth(lambda: limits[-1], Clock())
    assert bandwidth.take(MIB, stop) == 1
    sender = Sender(bandwidth, stop)
    sender.start()
    assert not stop.wait(0.1)
    assert not sender.sent
    limits.append(later)
    deadline = time.monotonic() + 5
    while not sender.sent and time.monotonic() < deadline:
        stop.wait(0.01)
    stop.set()
    sender.join(5)
    assert sender.sent


def test_a_stop_ends_the_wait() -> None:
    """Nothing is granted then."""
    clock = FakeClock()
    stop = FakeStop(clock)
    bandwidth = Bandwidth(lambda: 1.0, clock)
    bandwidth.take(1, stop)
    stop.set_after = 0.0
    assert bandwidth.take(1, stop) == 0
