"""Folders that may not be read: said, looked at again, and walked when they can be read."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from megamax_sync.watch.coverage import CHECK_SECONDS, POLL_SECONDS
from megamax_sync.watch.unreadable import Unreadable
from megamax_sync.watch.watcher import Watcher

from .field import Field

#: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: what lets root read everything.
_PASSES_ALL = (1 << 1) | (1 << 2)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


pytestmark = pytest.mark.usefixtures("no_canaries")


@pytest.fixture(autouse=True)
def _as_anybody() -> Iterator[None]:
    """Have permissions hold for this thread, and those that it starts, also where it is root's."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = _Header(0x20080522, 0), (_Data * 2)()
    assert libc.capget(ctypes.byref(header), data) == 0
    before = data[0].effective
    data[0].effective = before & ~_PASSES_ALL
    assert libc.capset(ctypes.byref(header), data) == 0
    yield
    data[0].effective = before
    assert libc.capset(ctypes.byref(header), data) == 0


def problem(watcher: Watcher) -> str:
    """What the watch complains of; empty when all is well."""
    return watcher.coverage.problem() or ""


def test_a_watched_folder_that_may_not_be_read_is_lost_until_it_can_be(field: Field) -> None:
    """From the start: said as any other that is missing, and walked and watched within a check."""
    field.file("a.mkv")
    field.drop.chmod(0)
    watcher = field.watch(observe=True)
    with capture_logs() as said:
        field.run(watcher)
        assert "drop: It cannot be read (Permission denied)" in problem(watcher)
        field.run(watcher, ahead=CHECK_SECONDS)
        field.drop.chmod(0o700)
        field.run(watcher, ahead=CHECK_SECONDS)
    assert problem(watcher) == ""
    assert field.queued() == {"drop/a.mkv"}
    events = [one["event"] for one in said if one["event"].startswith("watch.")]
    assert events == ["watch.lost", "watch.started", "watch.recovered"]
    field.run(watcher, ahead=3)
    assert problem(watcher) == ""
    assert watcher.coverage.visited(os.fsencode(field.drop))


@pytest.mark.parametrize("mode", [0o000, 0o600, 0o300])
def test_a_watched_folder_that_may_be_read_no_longer_is_noticed(field: Field, mode: int) -> None:
    """Nothing of it has vanished; what has come meanwhile is found."""
    kept = field.file("a.mkv")
    watcher = field.watch(observe=True)
    field.run(watcher)
    field.drop.chmod(mode)
    with capture_logs() as said:
        field.run(watcher, ahead=CHECK_SECONDS)
        assert "It cannot be read" in problem(watcher)
        assert watcher.coverage.roots.lost(os.fsencode(field.drop))
        field.drop.chmod(0o700)
        field.file("b.mkv")
        field.run(watcher, ahead=CHECK_SECONDS)
        field.run(watcher, ahead=60)
    assert problem(watcher) == ""
    assert field.queued() == {"drop/a.mkv", "drop/b.mkv"}
    assert field.known(kept).error is None
    assert [one["event"] for one in said if one["event"].startswith("watch.")] == [
        "watch.lost",
        "watch.recovered",
    ]


@pytest.mark.parametrize("mode", [0o000, 0o600, 0o300])
@pytest.mark.parametrize("at_start", [True, False])
def test_a_folder_below_that_may_not_be_read_is_looked_at_again(
    field: Field, mode: int, *, at_start: bool
) -> None:
    """Said once, a problem as long as it lasts; found, watched and said when it can be read."""
    inner = field.file("in/deep/a.mkv").parent.parent
    if at_start:
        inner.chmod(mode)
    watcher = field.watch(observe=True)
    with capture_logs() as said:
        field.run(watcher)
        inner.chmod(mode)
        # By an event, where it was readable before.
        watcher.mark(os.fsencode(inner), True)
        field.run(watcher)
        # What may be listed and not entered has folders that cannot be read, or files.
        assert problem(watcher).startswith(f"1 folders cannot be read: {inner}")
        assert "(Permission denied)" in problem(watcher)
        for _ in range(3):
            field.run(watcher, ahead=POLL_SECONDS)
        inner.chmod(0o700)
        (inner / "deep/b.mkv").write_bytes(b"video")
        field.run(watcher, ahead=POLL_SECONDS + 1)
        field.run(watcher, ahead=60)
    assert field.queued() == {"drop/in/deep/a.mkv", "drop/in/deep/b.mkv"}
    assert problem(watcher) == ""
    told = [(one["event"], one.get("error")) for one in said if one.get("path")]
    assert [one for one in told if one[0].startswith("watch.")] == [
        ("watch.degraded", "the folder cannot be read (Permission denied)"),
        ("watch.recovered", None),
    ]
    # There is no limit in the way of watching it.
    assert watcher.coverage.kind == "inotify"
    for folder in (inner, inner / "deep"):
        assert watcher.coverage.visited(os.fsencode(folder)), folder


def test_a_folder_that_goes_unread_is_forgotten(tmp_path: Path) -> None:
    """Nobody looks again for what is no more; others are counted, and one of them named."""
    marked: list[bytes] = []
    folders = Unreadable(lambda folder, _subtree: marked.append(folder), 10.0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir(mode=0)
        folders.failed(os.fsencode(tmp_path / name), "Permission denied", 1.0)
    assert (folders.problem() or "").startswith(
        f"2 folders cannot be read: {tmp_path}/a (Permission denied), and 1 more"
    )
    assert folders.due == 11.0
    (tmp_path / "a").rmdir()
    folders.tick(10.0)
    assert "2 folders" in (folders.problem() or "")
    folders.tick(11.0)
    assert "1 folders" in (folders.problem() or "")
    (tmp_path / "b").rmdir()
    folders.tick(21.0)
    assert folders.problem() is None
    assert marked == []


def test_a_folder_that_may_be_listed_and_not_entered_is_not_passed_over(field: Field) -> None:
    """Its names are known, and nothing of what they name."""
    inner = field.file("in/a.mkv").parent
    inner.chmod(0o600)
    watcher = field.watch()
    field.run(watcher)
    assert problem(watcher).startswith(f"1 folders cannot be read: {inner} (Permission denied)")
    inner.chmod(0o700)
    field.run(watcher, ahead=POLL_SECONDS)
    assert field.queued() == {"drop/in/a.mkv"}
