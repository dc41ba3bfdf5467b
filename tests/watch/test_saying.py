"""Why a file waits is said, and not said again and again."""

from __future__ import annotations

import os

import pytest
from structlog.testing import capture_logs

from megamax_sync.watch import settler as settler_module
from megamax_sync.watch.settle import Signs, Writers

from .field import Field


def test_a_file_with_holes_is_mentioned_once_a_day(field: Field) -> None:
    """It waits for ever, and a reminder comes each day, not each look."""
    path = field.file("torrent.mkv", b"")
    os.truncate(path, 1 << 20)
    watcher = field.watch()
    with capture_logs() as said:
        for _ in range(60):
            field.run(watcher, ahead=3600)
    holes = [one for one in said if one["event"] == "file.waiting" and "holes" in one["reason"]]
    assert 2 <= len(holes) <= 4
    assert field.queued() == set()


def test_that_no_lease_can_be_had_is_said_once(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files without a lease make one warning; both are taken, once we have seen them rest."""
    monkeypatch.setattr(settler_module, "look", lambda _path: Signs(Writers.UNKNOWN))
    field.file("a.mkv")
    field.file("b.mkv")
    watcher = field.watch()
    with capture_logs() as said:
        field.run(watcher)
        assert field.queued() == set()
        field.run(watcher, ahead=10)
    unknown = [one for one in said if one["event"] == "watch.degraded"]
    assert len(unknown) == 1
    assert "unknown" in unknown[0]["error"]
    assert field.queued() == {"drop/a.mkv", "drop/b.mkv"}
