"""Which bandwidth limit holds, by the clock on the wall and by who has set one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from megamax_sync.bwlimit import BandwidthLimit
from megamax_sync.clock import Clock
from megamax_sync.config import read_timetable
from megamax_sync.errors import StoreError
from megamax_sync.store import Store

ZONE = "Europe/Berlin"


class WallClock(Clock):
    """A clock on the wall that stands where it is put."""

    def __init__(self, time_: float = 1e9) -> None:
        super().__init__()
        self.time = time_

    def wall(self) -> float:
        return self.time

    def put(self, text: str, *, fold: int = 0) -> None:
        local = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(ZONE), fold=fold)
        self.time = local.timestamp()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A queue."""
    with Store(str(tmp_path / "queue.db"), Clock()) as opened:
        yield opened


@pytest.fixture
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A place whose clocks are changed."""
    monkeypatch.setenv("TZ", ZONE)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_berlin")
def test_it_changes_at_the_minute_also_when_the_clocks_change(store: Store) -> None:
    """Local time counts: an hour that is skipped is over, one that comes twice comes twice."""
    clock = WallClock()
    timetable = read_timetable("01:30,1B 02:30,2B 03:30,3B")
    limit = BandwidthLimit(store, timetable, clock)
    seen = {}
    for text, fold in (
        # In March the hour from two to three is left out.
        ("2026-03-29T01:29:59.9", 0), ("2026-03-29T01:30:00", 0), ("2026-03-29T01:59:59.9", 0),
        ("2026-03-29T03:00:00", 0), ("2026-03-29T03:30:00", 0),
        # In October it comes twice.
        ("2026-10-25T02:29:59", 0), ("2026-10-25T02:30:00", 0), ("2026-10-25T02:29:59", 1),
        ("2026-10-25T02:30:00", 1), ("2026-10-25T03:30:00", 0),
    ):  # fmt: skip
        clock.put(text, fold=fold)
        seen[text[5:16], fold, clock.time % 60 > 59] = limit()
    assert list(seen.values()) == [3, 1, 1, 2, 3, 1, 2, 1, 2, 3]


def test_what_was_set_beats_what_was_configured(store: Store) -> None:
    """At once, as text with a timetable's syntax; None goes back."""
    limit = BandwidthLimit(store, read_timetable("7B"), Clock())
    assert limit() == 7
    store.settings.bwlimit = "1M"
    assert limit() == 1 << 20
    store.settings.bwlimit = "off"
    assert limit() is None
    store.settings.bwlimit = "00:00,5B"
    assert limit() == 5
    store.settings.bwlimit = None
    assert limit() == 7
    assert BandwidthLimit(store, read_timetable("off"), Clock())() is None
    limit.configure(read_timetable("9B"))
    assert limit() == 9
    store.settings.bwlimit = "5B"
    limit.configure(read_timetable("11B"))
    assert limit() == 5
    store.settings.bwlimit = None
    assert limit() == 11


def test_a_text_that_nobody_can_read_leaves_the_configured_one(store: Store) -> None:
    """It is said, once."""
    limit = BandwidthLimit(store, read_timetable("7B"), Clock())
    with capture_logs() as events:
        store.settings.bwlimit = "warp 9"
        assert [limit(), limit()] == [7, 7]
    assert [event["event"] for event in events] == ["bwlimit.unusable"]


def test_a_queue_that_cannot_be_read_changes_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What held before holds, until it can be read again."""
    store.settings.bwlimit = "5B"
    limit = BandwidthLimit(store, read_timetable("7B"), Clock())
    assert limit() == 5
    store.settings.bwlimit = "6B"

    def broken(_name: str) -> str:
        raise StoreError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(store.settings, "get", broken)
        assert limit() == 5
    assert limit() == 6
