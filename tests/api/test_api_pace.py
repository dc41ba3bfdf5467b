"""The rate of calls, and the circuit breaker."""

from __future__ import annotations

import contextlib
import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megamax_sync import errors
from megamax_sync.api.pace import Gate, Pacer
from megamax_sync.api.retry import RetryPolicy
from megamax_sync.clock import Clock

from .fakes import FakeClock, FakeStop

FAULT = errors.ServiceFault("broken", retry_after=100.0)
REJECTED = errors.CredentialsRejected("no")


@given(rate=st.floats(0.1, 50), idle=st.lists(st.floats(0, 3), max_size=5))
def test_pacer_never_exceeds_its_rate(rate: float, idle: list[float]) -> None:
    """In no window are there more calls than the rate allows, and bursts go at once."""
    clock = FakeClock()
    stop = FakeStop(clock)
    pacer = Pacer(rate, clock)
    burst = math.ceil(rate)
    times = []
    for pause in [*idle, *[0.0] * 60]:
        clock.time += pause
        assert pacer.wait(stop)
        times.append(clock.time)
    for early, late in zip(times, times[burst:], strict=False):
        assert late - early >= max(1.0, burst / rate) - 1e-6
    assert clock.time - 1000.0 <= sum(idle) + len(times) / rate + 1e-6


def test_pacer_stops_and_waits_without_a_stop() -> None:
    """A stop ends the wait; without an event it just waits; a rate of 0 never waits."""
    clock = FakeClock()
    stop = FakeStop(clock)
    pacer = Pacer(1, clock)
    assert pacer.wait(stop)
    stop.set_after = 0.0
    assert not pacer.wait(stop)
    real = Pacer(1000, Clock())
    assert all(real.wait() for _ in range(1001))
    unlimited = Pacer(0, clock)
    assert all(unlimited.wait(stop) for _ in range(100))


class Told:
    """A gate on a fake clock, with what it told."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.stop = FakeStop(self.clock)
        self.pauses: list[tuple[str, float]] = []
        self.resumes: list[tuple[str, int]] = []
        self.gate = Gate(
            RetryPolicy(1, 10),
            self.clock,
            on_pause=lambda reason, seconds, _: self.pauses.append((reason, seconds)),
            on_resume=lambda reason, failures: self.resumes.append((reason, failures)),
        )

    def run(self, error: Exception | None = None) -> bool:
        """Pass the gate, and fail with ``error`` inside."""
        if error is None:
            with self.gate.pass_(self.stop) as passed:
                return passed is not None
        with pytest.raises(type(error)), self.gate.pass_(self.stop):
            raise error
        return True


def test_open_gate() -> None:
    """An open gate lets all through, and says nothing."""
    told = Told()
    assert told.run()
    assert told.run(errors.FileChanged("x"))
    assert (told.stop.waits, told.pauses, told.resumes) == ([], [], [])
    told.gate.retry_now()
    assert told.gate.until is None


def test_pause_and_resume() -> None:
    """A failure closes it for the asked time; a failed probe goes unsaid; a success opens it."""
    told = Told()
    told.run(FAULT)
    assert (told.gate.paused_reason, told.gate.error, told.gate.until) == ("service", FAULT, 1100.0)
    told.run(FAULT)
    assert told.clock.time == 1100.0
    assert told.run()
    assert told.clock.time == 1200.0
    assert told.pauses == [("service", 100.0)]
    assert told.resumes == [("service", 2)]
    assert (told.gate.paused_reason, told.gate.error, told.gate.until) == (None, None, None)


def test_credentials() -> None:
    """Rejected credentials are tried again after 60 s, growing to 300 s; a new reason is said."""
    told = Told()
    told.run(FAULT)
    waits = []
    for _ in range(5):
        told.run(REJECTED)
        assert told.gate.until is not None
        waits.append(told.gate.until - told.clock.time)
    assert waits == [60.0, 120.0, 240.0, 300.0, 300.0]
    assert [reason for reason, _ in told.pauses] == ["service", "credentials"]


def test_who_has_waited_elsewhere_asks_again() -> None:
    """Of all who passed before it closed, or as earlier probes, none may go on but the last."""
    told = Told()
    gate, stop = told.gate, told.stop
    with gate.pass_(stop) as early:
        assert early is not None
        assert gate.still_holds(early)
        told.run(FAULT)
        assert not gate.still_holds(early)
        told.clock.time += 100.0
        with gate.pass_(stop) as first:
            assert first is not None
            told.clock.time += 800.0
            assert gate.still_holds(first)
            told.clock.time += 899.0
            assert gate.still_holds(first)
            # The lease is over, and the next one is let through.
            told.clock.time += 901.0
            with gate.pass_(stop) as second:
                assert second is not None
                assert not gate.still_holds(first)
                assert gate.still_holds(second)


@pytest.mark.parametrize(
    ("error", "opens"),
    [
        (errors.RemoteFileMissing("x"), True),
        (errors.DirectLinksRefused("x"), True),
        (errors.UploadRefused("x", status=413), True),
        (errors.FileChanged("x"), False),
        (errors.UploadCancelled("x"), False),
        (RuntimeError("x"), False),
    ],
)
def test_what_a_probe_proves(error: Exception, opens: bool) -> None:
    """Only what came as an answer opens the gate; else the next caller is the probe."""
    told = Told()
    told.run(FAULT)
    told.run(error)
    assert (told.gate.paused_reason is None) is opens
    assert told.run()
    assert told.gate.paused_reason is None
    assert told.clock.time == 1100.0


def test_failures_in_flight_count_once() -> None:
    """Calls that were under way when it closed neither prolong the pause nor end it."""
    told = Told()
    with contextlib.suppress(errors.ServiceFault), told.gate.pass_(told.stop):
        told.run(FAULT)
        told.run(FAULT)
        raise FAULT
    assert len(told.pauses) == 1
    assert told.gate.until == 1200.0
    told = Told()
    with told.gate.pass_(told.stop):
        told.run(FAULT)
    assert told.gate.paused_reason == "service"


def test_one_probe_with_a_lease() -> None:
    """While a probe is out nobody else passes, until its lease ends."""
    told = Told()
    told.run(FAULT)
    with told.gate.pass_(told.stop):
        assert told.clock.time == 1100.0
        assert told.run()
        assert told.clock.time == 2000.0
    assert told.resumes == [("service", 1)]


def test_who_does_not_wait_is_told_at_once() -> None:
    """It passes an open gate, and one at which nobody else knocks."""
    told = Told()
    with told.gate.pass_(told.stop, wait=False) as passed:
        assert passed
    told.run(FAULT)
    began = told.clock.time
    with told.gate.pass_(told.stop, wait=False) as passed:
        assert passed is None
    told.gate.retry_now()
    with (
        told.gate.pass_(told.stop) as probe,
        told.gate.pass_(told.stop, wait=False) as passed,
    ):
        assert probe
        assert passed is None
    assert told.clock.time == began


def test_retry_now() -> None:
    """New credentials are tried at once."""
    told = Told()
    told.run(REJECTED)
    told.stop.during = told.gate.retry_now
    assert told.run()
    assert told.clock.time == 1001.0


def test_stop_while_waiting() -> None:
    """A stop ends the wait, and the caller is told."""
    told = Told()
    told.run(FAULT)
    told.stop.set_after = 3.0
    assert not told.run()
    assert told.clock.time == 1003.0


def test_gate_without_callbacks_over_threads() -> None:
    """Many threads behind one outage send one probe at a time, and all end up through."""
    gate = Gate(RetryPolicy(0.02, 0.05), Clock())
    left = [3]
    busy: list[int] = []
    most: list[int] = []

    def fail() -> None:
        if left[0]:
            left[0] -= 1
            raise errors.ServiceUnreachable("x")

    def work() -> None:
        while True:
            try:
                with gate.pass_(threading.Event()):
                    if gate.paused_reason:
                        busy.append(1)
                        most.append(len(busy))
                        busy.pop()
                    fail()
                    return
            except errors.ServiceUnreachable:
                continue

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert gate.paused_reason is None
    assert max(most, default=1) == 1
