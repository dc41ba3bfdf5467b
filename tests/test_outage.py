"""A week without the service: how often it is asked, and how much is written down.

Real loops with real back-off, on a clock that turns only when every one of them waits: a week
takes seconds.
"""

from __future__ import annotations

import heapq
import itertools
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs
from upload.pipeline import QUICK

from megamax_sync.clock import Clock
from megamax_sync.config import load
from megamax_sync.daemon import Daemon
from megamax_sync.errors import CredentialsRejected, MegamaxError, ServiceFault, ServiceUnreachable
from megamax_sync.job import FileStamp, JobState
from megamax_sync.stages import Stages
from megamax_sync.state import StateFolder

WEEK = 7 * 86400.0


class TurningClock(Clock):
    """Turns to the next moment somebody waits for, once all ``threads`` wait."""

    def __init__(self, threads: int) -> None:
        super().__init__()
        self.time = 1_700_000_000.0
        self.began = self.time
        self._threads = threads
        self._turned = threading.Condition()
        self._alarms: list[tuple[float, int]] = []
        self._tickets = itertools.count()
        self.over = False

    def monotonic(self) -> float:
        return self.time

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time

    def sleep(self, seconds: float | None) -> bool:
        """Wait; True when the week is over."""
        with self._turned:
            ticket = next(self._tickets)
            heapq.heappush(self._alarms, (self.time + min(seconds or WEEK, WEEK), ticket))
            if len(self._alarms) == self._threads:
                self._turn()
            while not self.over and any(one == ticket for _, one in self._alarms):
                self._turned.wait(20)
            return self.over

    def _turn(self) -> None:
        moment, _ = heapq.heappop(self._alarms)
        self.time = max(self.time, moment)
        self.over = self.over or self.time - self.began >= WEEK
        self._turned.notify_all()

    def end(self) -> None:
        """Let everybody go."""
        with self._turned:
            self.over = True
            self._turned.notify_all()


class Outage:
    """A client whose calls fail, some of them; counts all."""

    def __init__(self, api: MegamaxError | None, upload: MegamaxError | None) -> None:
        self.calls: Counter[str] = Counter()
        self._api = api
        self._upload = upload
        self.server_clock_offset = 0.0

    def wait_as(self, *_: object) -> None:
        """Nothing here waits."""

    def abort(self) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        """Nothing is open."""

    def upload_url(self) -> str:
        self._ask("generate", self._api)
        return "https://upload.example/1"

    def upload(self, *_: object, **__: object) -> None:
        self._ask("upload", self._upload)

    def files(self, **_: object) -> list[object]:
        self._ask("files", self._api)
        return []

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self._ask(name, self._api)

    def _ask(self, call: str, error: MegamaxError | None) -> None:
        self.calls[call] += 1
        if error is not None:
            raise error


DOWN = ServiceUnreachable("no answer from api.example (ConnectError: refused)")
BUSY = ServiceFault("the service is in trouble (HTTP 503)", answered=True)
DENIED = CredentialsRejected("the service rejects the login or key (HTTP 401)")


@dataclass(frozen=True)
class Week:
    """What fails all week, and what that may cost at the most."""

    name: str
    api: MegamaxError | None
    upload: MegamaxError | None
    most_calls: int
    most_lines: int


def told(counts: Counter[str]) -> str:
    """Counts, for people."""
    return ", ".join(f"{name} {number}" for name, number in counts.items())


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits at a gate looks every ten minutes, or a week would take a million looks."""
    monkeypatch.setattr("megamax_sync.api.pace._LOOK", 600.0)


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("coarse")
@pytest.mark.parametrize(
    "week",
    [
        Week("the API gives no answer", DOWN, DOWN, 900, 10),
        Week("the API is busy", BUSY, BUSY, 900, 10),
        Week("the upload host gives no answer", None, DOWN, 1500, 600),
        Week("the credentials are wrong", DENIED, DENIED, 2500, 10),
    ],
)
def test_a_week_long_outage_is_a_bounded_number_of_requests_and_lines(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    week: Week,
) -> None:
    """Default settings, 50 files in the queue: nothing is given up, and no attempt is used up."""
    outage = Outage(week.api, week.upload)
    clock = TurningClock(threads=3)
    monkeypatch.setattr("megamax_sync.daemon.Clock", lambda: clock)
    monkeypatch.setattr(Stages, "_client", lambda *_: outage)
    settings = load(
        environ={
            "MEGAMAX_LOGIN": "someone@example.org",
            "MEGAMAX_KEY": "a key",
            "MEGAMAX_WATCH": str(tmp_path),
            "MEGAMAX_STATE_DIR": str(tmp_path / "state"),
            "MEGAMAX_SETTLE_SECONDS": QUICK["MEGAMAX_SETTLE_SECONDS"],
        }
    )
    folder = StateFolder(settings.state_dir)
    folder.make()
    daemon = Daemon(settings, folder, scan=True)
    for number in range(50):
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(b"x" * (number + 1))
        daemon.store.jobs.add(
            bytes(path),
            FileStamp.of(path.stat()),
            root=None,
            folder=None,
            ready=True,
            reason="found",
        )
    # The watch is not part of this; the two uploaders and the tracker are.
    loops = [*daemon.uploaders, daemon.tracker]
    stop = cast("Any", daemon.stopping)
    monkeypatch.setattr(stop, "wait", clock.sleep)
    monkeypatch.setattr(daemon.store.database, "wait", lambda _seen, seconds: clock.sleep(seconds))
    monkeypatch.setattr(stop, "is_set", lambda: clock.over)
    with capture_logs() as lines:
        for loop in loops:
            loop.start()
        for loop in loops:
            loop.join(100)
        clock.end()
    assert not any(loop.is_alive() for loop in loops)
    assert clock.time - clock.began >= WEEK
    problem = daemon.problem()
    jobs = daemon.store.views.jobs()
    daemon.store.close()
    calls = sum(outage.calls.values())
    events = Counter(one["event"] for one in lines if one["log_level"] != "debug")
    with capsys.disabled():
        sys.stdout.write(
            f"\n| {week.name} | {calls} ({told(outage.calls)}) "
            f"| {events.total()} ({told(events)}) |\n"
        )
    assert problem is not None
    assert problem.word == ("credentials" if week.api is DENIED else "unreachable")
    assert {(job.state, job.attempts) for job in jobs} == {(JobState.QUEUED, 0)}
    assert 100 < calls < week.most_calls
    assert events.total() < week.most_lines
    assert events["service.paused"] <= 2
