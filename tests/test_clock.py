"""Time that never jumps, and how it is written."""

from __future__ import annotations

import time

import pytest

from megamax_sync.clock import Clock, iso


def test_a_run_is_not_moved_by_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedules follow the monotonic clock; only what people read follows the wall."""
    clock = Clock()
    before = clock.now()
    monkeypatch.setattr(time, "time", lambda: 12.0)
    assert clock.wall() == 12.0
    assert before <= clock.now() < before + 60
    assert clock.monotonic() <= clock.monotonic()


def test_sleep_counts_for_schedules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Links expire while a laptop sleeps."""
    clock = Clock()
    before, slept, awake = clock.now(), clock.slept(), time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda which: awake(which) + 3600)
    assert clock.now() - before >= 3600
    assert 3599 < clock.slept() - slept < 3601


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (1681528521.9, "2023-04-15T03:15:21Z"),
        (0, "1970-01-01T00:00:00Z"),
        (-62135596800, "0001-01-01T00:00:00Z"),
        (253402300800, "9999-12-31T23:59:59Z"),
        (-1e18, "0001-01-01T00:00:00Z"),
    ],
)
def test_every_moment_can_be_written(moment: float, text: str) -> None:
    """Four digits of year, always; what lies outside is put at the edge."""
    assert iso(moment) == text
