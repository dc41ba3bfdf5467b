"""Back-off, and calls that are tried again."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megamax_sync import errors
from megamax_sync.api.retry import RetryPolicy

from .fakes import FakeClock, FakeStop


@given(failures=st.integers(-1, 5000), seed=st.integers())
def test_delay_is_jittered_within_its_step(failures: int, seed: int) -> None:
    """The wait is between a tenth of the step and the step, and the step is capped."""
    step = min(5.0 * 2 ** min(max(failures - 1, 0), 20), 100.0)
    assert step / 10 <= RetryPolicy(5, 100, random.Random(seed)).delay(failures) <= step


@pytest.mark.parametrize(("asked", "least"), [(None, 0.5), (0.0, 0.5), (500.0, 500.0)])
def test_retry_after_wins_when_longer(asked: float | None, least: float) -> None:
    """A longer Retry-After wins over the cap; a shorter one does not shorten the wait."""
    error = errors.ServiceFault("busy", retry_after=asked)
    delay = RetryPolicy(5, 100).delay(1, error)
    assert least <= delay <= max(5.0, asked or 0.0)


def call(
    outcomes: list[BaseException | str], stop: FakeStop, attempts: int = 3
) -> tuple[str, list[BaseException | str]]:
    def fn() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    return RetryPolicy(1, 10).call(fn, stop=stop, attempts=attempts), outcomes


def test_call_tries_again() -> None:
    """No answer and 5xx are tried again, after a wait on the stop event."""
    stop = FakeStop(FakeClock())
    outcomes: list[BaseException | str] = [errors.ServiceUnreachable("a"), errors.ServiceFault("b")]
    outcomes.append("fine")
    assert call(outcomes, stop) == ("fine", [])
    assert len(stop.waits) == 2


def test_call_gives_up() -> None:
    """After the last attempt the last error comes out as it is."""
    with pytest.raises(errors.ServiceFault, match="b"):
        call(
            [errors.ServiceUnreachable("a"), errors.ServiceFault("b"), "x"],
            FakeStop(FakeClock()),
            2,
        )


def test_call_leaves_other_errors() -> None:
    """What another attempt cannot change is raised at once."""
    stop = FakeStop(FakeClock())
    with pytest.raises(errors.ServiceRefusal):
        call([errors.ServiceRefusal("no"), "x"], stop)
    assert stop.waits == []


def test_call_leaves_long_waits_to_the_caller() -> None:
    """A service that asks for an hour does not hold the caller for one."""
    stop = FakeStop(FakeClock())
    with pytest.raises(errors.ServiceFault):
        call([errors.ServiceFault("busy", retry_after=3600), "x"], stop)
    assert stop.waits == []


def test_call_stops_at_once() -> None:
    """A stop ends the wait and there is no further attempt."""
    stop = FakeStop(FakeClock())
    stop.set_after = 0.0
    outcomes: list[BaseException | str] = [errors.ServiceFault("busy"), "x"]
    with pytest.raises(errors.UploadCancelled):
        call(outcomes, stop)
    assert outcomes == ["x"]
