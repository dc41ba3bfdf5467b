"""Walks in slices: whose turn it is, and which folders are left alone for a while."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from megamax_sync.store.resting import Version
from megamax_sync.watch.rules import Rules
from megamax_sync.watch.scanner import Found
from megamax_sync.watch.walker import Walker

from .field import EXTENSIONS, TurnedClock


class StillClock(TurnedClock):
    """A clock that moves only when it is turned."""

    def monotonic(self) -> float:
        return 1000.0 + self.ahead


class Log(list[bytes]):
    """The folders that were walked; to list one takes ``seconds``, to ask the queue an hour."""

    def __init__(self, clock: StillClock) -> None:
        super().__init__()
        self.clock = clock
        self.seconds = 0.0

    def fresh(self, seen: Sequence[Version]) -> set[bytes]:
        self.clock.ahead += 3600 if self.seconds else 0
        return {one[0] for one in seen}

    def stirred(self) -> None:
        return None

    def offer(self, found: list[Found]) -> None:
        self.clock.ahead += 3600 if self.seconds else 0

    def visited(self, folder: bytes) -> bool:
        self.clock.ahead += self.seconds
        self.append(os.path.basename(folder))
        return False


@pytest.fixture
def clock() -> StillClock:
    """A clock that stands still."""
    return StillClock()


@pytest.fixture
def log(clock: StillClock) -> Log:
    """What the walker did."""
    return Log(clock)


@pytest.fixture
def walker(tmp_path: Path, clock: StillClock, log: Log) -> Walker:
    """A walker over three folders in one."""
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    return Walker(
        Rules((os.fsencode(tmp_path),), EXTENSIONS),
        clock,
        lost=lambda _root: False,
        visited=log.visited,
        unreadable=lambda _folder, _why: None,
        queue=log,
        offer=log.offer,
        beat=lambda: None,
    )


def test_a_scan_advances_however_often_folders_are_marked(
    walker: Walker, tmp_path: Path, log: Log
) -> None:
    """Marked walks that take their whole time leave the scan its own."""
    log.seconds = 1.0
    walker.begin_scan()
    for number in range(4):
        (tmp_path / f"m{number}").mkdir()
        walker.mark(os.fsencode(tmp_path / f"m{number}"), False)
        walker.advance(0.5)
    assert log[0::2] == [b"m0", b"m1", b"m2", b"m3"]
    assert log[1::2] == [os.fsencode(tmp_path.name), b"a", b"b", b"c"]


def test_a_folder_that_took_long_is_left_alone_for_ten_times_as_long(
    walker: Walker, tmp_path: Path, clock: StillClock, log: Log
) -> None:
    """Its mark stays, other folders are walked meanwhile, and nobody is woken in vain."""
    log.seconds = 1.0
    large = os.fsencode(tmp_path / "a")
    assert walker.mark(large, False)
    assert not walker.mark(large, False), "it is known already"
    walker.advance(0.5)
    walker.advance(0.5)
    walked = clock.monotonic()
    assert log == [b"a"]
    assert walker.next_walk() is None
    assert walker.mark(large, False), "somebody has to know when it is due"
    walker.advance(0.5)
    assert walker.busy
    assert walker.next_walk() == walked + 10
    assert not walker.mark(large, True)
    log.seconds = 0.0
    assert walker.mark(os.fsencode(tmp_path / "b"), False), "it is not left alone"
    walker.advance(0.5)
    assert log == [b"a", b"b"]
    clock.ahead += 10
    walker.advance(0.5)
    assert log == [b"a", b"b", b"a"]
    assert walker.next_walk() is None


def test_a_tree_is_not_left_alone_for_longer_than_a_minute(
    walker: Walker, tmp_path: Path, clock: StillClock, log: Log
) -> None:
    """A share that is slow to list is looked at all the same."""
    log.seconds = 100.0
    walker.mark(os.fsencode(tmp_path), True)
    for _ in range(5):
        walker.advance(0.5)
    walker.mark(os.fsencode(tmp_path), True)
    assert walker.next_walk() == clock.monotonic() + 60


def test_short_walks_need_no_rest(walker: Walker, tmp_path: Path, log: Log) -> None:
    """A folder whose walk costs next to nothing is walked as often as it is named."""
    for _ in range(3):
        walker.mark(os.fsencode(tmp_path / "a"), False)
        walker.advance(0.5)
    assert log == [b"a"] * 3


class Sick:
    """An entry whose inode the disk does not give."""

    def __init__(self, entry: os.DirEntry[bytes]) -> None:
        self.name, self.path = entry.name, entry.path

    def is_dir(self, *, follow_symlinks: bool) -> bool:
        return False

    def stat(self, *, follow_symlinks: bool) -> os.stat_result:
        raise OSError(errno.EIO, os.strerror(errno.EIO), self.path)


def test_a_file_that_the_disk_does_not_give_is_said_once_and_holds_up_nobody(
    walker: Walker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder's other files are found; each scan tries it again."""
    for name in ("bad.mkv", "good.mkv"):
        (tmp_path / name).write_bytes(b"x")
    scandir = os.scandir

    @contextlib.contextmanager
    def sick(folder: bytes) -> Iterator[Iterator[object]]:
        with scandir(folder) as entries:
            yield (Sick(one) if one.name == b"bad.mkv" else one for one in entries)

    monkeypatch.setattr(os, "scandir", sick)
    found: list[bytes] = []
    walker._offer = lambda files: found.extend(os.path.basename(one.path) for one in files)
    with capture_logs() as lines:
        for _ in range(2):
            walker.begin_scan()
            while not walker.advance(0.5):
                pass
    assert found == [b"good.mkv", b"good.mkv"]
    said = [(line["path"], line["error"]) for line in lines if line["event"] == "watch.degraded"]
    assert said == [(os.fsencode(tmp_path / "bad.mkv"), "cannot be looked at (Input/output error)")]
