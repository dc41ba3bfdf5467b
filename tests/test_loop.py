"""The loop: it goes on whatever happens, stops at once, and shows how it is."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from megamax_sync import loop as loops
from megamax_sync.clock import Clock
from megamax_sync.loop import Loop
from megamax_sync.store.database import Database


class Turned(Clock):
    """A clock that tests turn."""

    time = 100.0

    def monotonic(self) -> float:
        return self.time


class Steps(Loop):
    """Does what it is told."""

    def __init__(self, changes: Database, step: Callable[[], float | None]) -> None:
        self.errors: list[BaseException] = []
        self.fine = threading.Event()
        self.turned = Turned()
        super().__init__(
            "steps",
            changes=changes,
            clock=self.turned,
            stop=threading.Event(),
            on_error=lambda _, error: self.errors.append(error),
            on_fine=lambda _: self.fine.set(),
        )
        self._step = step

    def step(self) -> float | None:
        return self._step()

    def end(self) -> None:
        """Stop it as the daemon does."""
        self.stop_event.set()
        self._changes.wake()
        self.join(10)
        assert not self.is_alive()


@pytest.fixture
def changes(tmp_path: object) -> Database:
    """Something to wait on."""
    return Database(f"{tmp_path}/q")


def test_an_error_ends_nothing_and_is_waited_after_ever_longer(
    changes: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each error is reported; the pauses double up to the last, and start over after a success."""
    monkeypatch.setattr(loops, "_LAST_PAUSE", 4.0)
    failures = iter([True, True, True, True, False, True])
    pauses: list[float | None] = []

    def step() -> float | None:
        if next(failures):
            raise ZeroDivisionError
        return 0.0

    steps = Steps(changes, step)

    def rest(seconds: float | None) -> bool:
        pauses.append(seconds)
        if len(pauses) == 5:
            steps.stop_event.set()
        return steps.stop_event.is_set()

    monkeypatch.setattr(steps, "rest", rest)
    steps.run()
    assert pauses == [1.0, 2.0, 4.0, 4.0, 1.0]
    assert len(steps.errors) == 5
    changes.close()


def test_an_error_amid_the_stop_is_not_reported(changes: Database) -> None:
    """What breaks because all is being closed is nobody's trouble."""

    def step() -> float | None:
        steps.stop_event.set()
        raise ZeroDivisionError

    steps = Steps(changes, step)
    steps.run()
    assert steps.errors == []
    changes.close()


@pytest.mark.parametrize("wait", [None, 3600.0])
def test_a_change_wakes_it_and_a_stop_ends_it_at_once(
    changes: Database, wait: float | None
) -> None:
    """Neither is slept through, however long it meant to wait."""
    stepped = threading.Semaphore(0)

    def step() -> float | None:
        stepped.release()
        return wait

    steps = Steps(changes, step)
    assert steps.pulse().stuck
    steps.start()
    assert stepped.acquire(timeout=10)
    changes.write("INSERT INTO setting VALUES ('a', 'b')")
    assert stepped.acquire(timeout=10)
    assert steps.fine.is_set()
    steps.end()
    changes.close()


def test_a_stop_during_the_step_is_not_waited_after(changes: Database) -> None:
    """It ends without a wake."""

    def step() -> float | None:
        steps.stop_event.set()
        return None

    steps = Steps(changes, step)
    steps.start()
    steps.join(10)
    assert not steps.is_alive()
    changes.close()


def test_the_pulse_tells_work_from_rest_from_being_stuck(changes: Database) -> None:
    """Silent in a step is stuck, silent at rest is well, and a beat is a sign of life."""
    inside, go_on, rested = threading.Event(), threading.Event(), threading.Event()

    def step() -> float | None:
        inside.set()
        go_on.wait(10)
        rested.set()
        steps.patience.wait()
        return None

    steps = Steps(changes, step)
    steps.start()
    assert inside.wait(10)
    steps.turned.time += loops.SILENCE + 1
    assert steps.pulse() == loops.Pulse("steps", loops.SILENCE + 1, True)
    steps.beat()
    assert not steps.pulse().stuck
    steps.turned.time += loops.SILENCE + 1
    go_on.set()
    assert rested.wait(10)
    while steps.pulse().stuck:
        pass
    assert steps.pulse().age == 0.0
    assert not steps.patience.is_set()
    steps.end()
    assert steps.patience.is_set()
    assert steps.pulse().stuck
    changes.close()


def test_a_wait_that_was_announced_may_last_as_long_as_announced(changes: Database) -> None:
    """A wait for the network with its time-out is no sign of being stuck; outliving it is."""
    steps = Steps(changes, lambda: None)
    steps.is_alive = lambda: True  # type: ignore[method-assign] # it need not run for this
    with steps.within(300):
        steps.turned.time += 300
        assert steps.pulse() == loops.Pulse("steps", 300, False)
        steps.turned.time += 10
        assert steps.pulse().stuck
    assert not steps.pulse().stuck
    steps.turned.time += loops.SILENCE + 1
    assert steps.pulse().stuck
    with steps.within(None):
        steps.turned.time += 1e6
        assert not steps.pulse().stuck
    changes.close()


def test_silence_is_seen_within_a_minute() -> None:
    """That is what is promised, wherever a loop blocks without having announced it."""
    assert loops.SILENCE < 60


def test_it_can_be_told_where_a_loop_is(changes: Database) -> None:
    """The place, by file, line and function, without any value; nothing once it has ended."""
    inside, go_on = threading.Event(), threading.Event()

    def step() -> float | None:
        inside.set()
        go_on.wait(10)
        return None

    steps = Steps(changes, step)
    assert steps.place() == []
    steps.start()
    assert inside.wait(10)
    places = steps.place()
    assert any(place.startswith("tests/test_loop.py:") for place in places)
    assert places[-1].endswith((" wait", " acquire"))
    go_on.set()
    steps.end()
    changes.close()


def test_rest_counts_as_a_sign_of_life(changes: Database) -> None:
    """At no moment of waking up does the last sign seem to be the one before the rest."""
    steps = Steps(changes, lambda: None)
    seen: list[tuple[bool, float]] = []

    def beat() -> None:
        seen.append((steps._resting, 0.0))

    steps.beat = beat  # type: ignore[method-assign] # to see what holds while it is called
    assert not steps.rest(0.0)
    steps._wait(-1, 0.0)
    assert seen == [(True, 0.0), (True, 0.0)]
    changes.close()
