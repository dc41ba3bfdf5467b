"""Clocks that are wrong, and jump: no storm, no freeze."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from upload.pipeline import rig, wait_for

from megamax_sync import daemon
from megamax_sync.clock import Clock
from megamax_sync.job import JobState

YEARS = 10 * 365 * 86400.0


class WrongClock(Clock):
    """A wall clock that is wrong by some seconds, and can be set while it runs."""

    wrong = 0.0

    def __init__(self) -> None:
        super().__init__()
        # What Clock does, by this wall.
        self._offset += WrongClock.wrong

    def wall(self) -> float:
        return time.time() + WrongClock.wrong


@pytest.fixture(autouse=True)
def _by_the_wrong_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "Clock", WrongClock)
    monkeypatch.setattr(WrongClock, "wrong", 0.0)


@pytest.mark.parametrize(
    "wrong", [YEARS, -YEARS, -time.time() + 86400.0], ids=["ahead", "behind", "in 1970"]
)
def test_a_start_by_a_clock_that_is_wrong_by_years_recovers(tmp_path: Path, wrong: float) -> None:
    """By the wrong one, the right one, and again: nothing waits, and each is sent once."""
    with rig(tmp_path) as made:
        sent: list[str] = []
        for clock in (wrong, 0.0, wrong, 0.0):
            WrongClock.wrong = clock
            made.start()
            store = made.daemon.store
            made.wait_done(*sent)
            store.settings.paused = True
            name = f"{len(sent)}.mp4"
            made.put(name, size=2000 + len(sent))
            job = made.wait_state(name, JobState.QUEUED)
            due = made.daemon.clock.now() + 1.0
            store.database.write("UPDATE job SET next_attempt_at = ? WHERE id = ?", due, job.id)
            store.settings.paused = False
            assert made.stop()
            sent.append(name)
        made.start()
        made.wait_done(*sent)
        assert made.calls("upload") == len(sent)


@pytest.mark.parametrize("jump", [YEARS, -YEARS])
def test_a_jump_while_it_runs_changes_nothing(tmp_path: Path, jump: float) -> None:
    """Jobs, looks and retries go on at their pace, and at rest nothing is asked more often."""
    with rig(tmp_path) as made:
        made.put("a.mp4")
        made.start()
        made.wait_done("a.mp4")
        WrongClock.wrong = jump
        made.put("b.mp4")
        made.wait_done("b.mp4")
        calls = made.calls()
        assert not made.daemon.stopping.wait(0.5)
        assert made.calls() == calls
        assert made.calls("upload") == 2


@pytest.mark.parametrize("ahead", [3600.0, YEARS])
def test_a_file_from_the_future_does_not_wait_for_it(tmp_path: Path, ahead: float) -> None:
    """Its times are not believed; it only has to be quiet while we look."""
    with rig(tmp_path) as made:
        path = made.drop / "a.mp4"
        path.write_bytes(b"from the future")
        os.utime(path, (time.time() + ahead,) * 2)
        made.start(SETTLE_SECONDS="0.2")
        made.wait_done("a.mp4")


def test_what_was_converted_in_the_future_is_done_in_ten_minutes(tmp_path: Path) -> None:
    """A file without mirrors does not wait until the clock that was ahead has been caught up."""
    with rig(tmp_path) as made:
        made.put("a.mp4")
        WrongClock.wrong = YEARS
        made.start()
        made.wait_done("a.mp4")
        store = made.daemon.store
        store.database.write("UPDATE job SET state = 'processing', check_at = ?", YEARS + 4e9)
        assert made.stop()
        WrongClock.wrong = 0.0
        made.start()
        made.wait_done("a.mp4")
        job = made.the_job("a.mp4")
        now = made.daemon.clock.now()
        assert job.converted_at is not None
        assert max(job.converted_at, job.created_at, job.updated_at) <= now
        wait_for(lambda: made.the_job("a.mp4").sidecar_due is False)
