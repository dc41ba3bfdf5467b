"""Old records go, when there is nothing better to do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from megamax_sync import pruner
from megamax_sync.clock import Clock
from megamax_sync.job import FileStamp
from megamax_sync.pruner import Pruner
from megamax_sync.store import Store

STAMP = FileStamp(1, 1, 1, 1, 1)


class TurnedClock(Clock):
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 1e9

    def monotonic(self) -> float:
        return self.time

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time


class Room:
    """A queue with old records, and who is to see to them."""

    def __init__(self, path: Path) -> None:
        self.clock = TurnedClock()
        self.stop = threading.Event()
        self.store = Store(str(path), self.clock)
        # Queued, said to be gone, and back: two steps more than the last.
        for name in (b"/v/a", b"/v/b"):
            job = self.add(name)
            found = self.store.jobs.get(job)
            assert found is not None
            self.store.jobs.skip(found, "vanished")
        self.pruner = Pruner(
            self.store,
            clock=self.clock,
            stop=self.stop,
            on_error=lambda *_: None,
            on_fine=lambda _: None,
        )

    def add(self, name: bytes) -> int:
        return self.store.jobs.add(name, STAMP, root=b"/v", folder=None, ready=True, reason="found")

    def steps(self) -> int:
        return int(self.store.database.read("SELECT count(*) FROM history")[0][0])


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    """One whose rests are short."""
    monkeypatch.setattr(pruner, "_LEAST", 0.0)
    monkeypatch.setattr(pruner, "_BUSY", 0.0)
    made = Room(tmp_path / "queue.db")
    with made.store:
        yield made


def test_records_are_kept_for_ninety_days(room: Room) -> None:
    """Then each finished job keeps its last step; it is looked after once a day."""
    assert room.pruner.step() == 600.0
    room.clock.time += 601.0
    assert room.pruner.step() == 86400.0
    assert room.steps() == 4
    room.clock.time += pruner.KEPT
    assert room.pruner.step() == 86400.0
    assert room.steps() == 2
    assert room.pruner.step() == 86400.0


def test_uploads_come_first_for_a_day(room: Room) -> None:
    """Who uploads for ever is no reason to grow for ever."""
    room.add(b"/v/new")
    room.clock.time += pruner.KEPT + 10.0
    assert room.store.jobs.claim("me") is not None
    room.pruner._due = room.clock.time
    assert room.pruner.step() == 0.0
    assert room.steps() == 6
    room.clock.time += 86400.0
    assert room.pruner.step() == 86400.0
    assert room.steps() == 4


def test_it_ends_with_the_program(room: Room) -> None:
    """In the middle of it, and while it waits for its time."""
    room.pruner.start()
    room.stop.set()
    room.pruner.join(5)
    assert not room.pruner.is_alive()
    room.clock.time += pruner.KEPT + 601.0
    assert room.pruner.step() is None
