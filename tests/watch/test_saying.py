"""Why a file waits is said, and not said again and again."""

from __future__ import annotations

import os

import pytest
from structlog.testing import capture_logs

from megamax_sync.watch import settler as settler_module
from megamax_sync.watch.rules import Rules
from megamax_sync.watch.settle import Signs, Writers

from .field import EXTENSIONS, Field, stamp_of, writer


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


def test_a_job_that_comes_later_is_told_why_its_file_waits(field: Field) -> None:
    """Who hands a file in may come long after the watch has said what it waits for."""
    path = field.file("a.mkv")
    field.file("a.mkv.aria2")
    watcher = field.watch()
    field.run(watcher)
    name, stamp = os.fsencode(path), stamp_of(path)
    field.store.jobs.add(name, stamp, root=None, folder=None, ready=False, reason="handed in")
    field.run(watcher)
    assert field.known(path).error == "companion a.mkv.aria2"


def test_a_job_is_not_told_any_longer_what_is_over(field: Field) -> None:
    """Once its file only has to be quiet, who waits for it is to wait for that."""
    path = field.file("a.mkv")
    name, stamp = os.fsencode(path), stamp_of(path)
    field.store.jobs.add(name, stamp, root=None, folder=None, ready=False, reason="handed in")
    watcher = field.watch()
    with writer(path):
        field.run(watcher)
        assert (field.known(path).error or "").startswith("open for writing")
    path.write_bytes(b"its end")
    field.run(watcher, ahead=40)
    assert "quiet" in field.reasons(watcher)["a.mkv"]
    assert field.known(path).error is None


def test_a_file_that_is_waited_for_and_then_named_may_be_small(field: Field) -> None:
    """It was found when it was larger, and somebody wants it as it is now."""
    path = field.file("a.mkv", b"x" * 2000)
    field.file("a.mkv.aria2")
    rules = Rules((os.fsencode(field.drop),), EXTENSIONS, min_size=1000)
    watcher = field.watch(rules=rules)
    field.run(watcher)
    path.write_bytes(b"small")
    name, stamp = os.fsencode(path), stamp_of(path)
    field.store.jobs.add(name, stamp, root=None, folder=None, ready=False, reason="handed in")
    (field.drop / "a.mkv.aria2").unlink()
    # It has changed, and then its companion is gone: quiet is asked for each time.
    for _ in range(3):
        field.run(watcher, ahead=40)
    assert field.queued() == {"drop/a.mkv"}
