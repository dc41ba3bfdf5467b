"""What a rescan need not ask again; and everything that makes it ask."""

from __future__ import annotations

import contextlib
import os
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from megamax_sync.job import VANISHED
from megamax_sync.store.resting import Version
from megamax_sync.watch import memory as memory_module
from megamax_sync.watch.memory import Look, Memory, Passed
from megamax_sync.watch.rules import Rules
from megamax_sync.watch.scanner import Found, walks
from megamax_sync.watch.walker import Walker

from .field import EXTENSIONS, Field, TurnedClock

#: So many that some are passed over by one rescan, and the others by the next.
FOLDERS = [f"{number}" for number in range(16)]


class Library:
    """Folders with a file in each, a walker over them, and a queue that knows them all."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.clock = TurnedClock()
        # Longer than time stamps are doubted.
        self.clock.ahead = 100.0
        self.watched = True
        self.new: set[str] = set()
        self.stir: list[bytes] | None = []
        self.listed: list[str] = []
        self.asked: list[str] = []
        self.offered: list[str] = []
        for name in FOLDERS:
            self.put(f"{name}/known.mkv")
        for name in (*FOLDERS, "."):
            # Another moment than that of whatever happens next.
            os.utime(top / name, (1e9, 1e9))
        self.rules = Rules((os.fsencode(top),), EXTENSIONS)
        self.memory = Memory(self.clock, lambda _folder: self.watched)

    def put(self, name: str, data: bytes = b"video") -> Path:
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def fresh(self, seen: Sequence[Version]) -> set[bytes]:
        self.asked += [self._short(one[0]) for one in seen]
        return {one[0] for one in seen if self._short(one[0]) in self.new}

    def stirred(self) -> list[bytes] | None:
        return self.stir

    def visited(self, folder: bytes) -> bool:
        self.listed.append(self._short(folder))
        return self.watched

    def offer(self, found: list[Found]) -> None:
        self.offered += [self._short(one.path) for one in found]

    def scan(self, *, complete: bool = True) -> tuple[int, int]:
        """Scan everything; return how many files there are, and how many are wanted."""
        self.listed, self.asked, self.offered = [], [], []
        self.memory.begin_scan(self.stir)
        self.stir = []
        files = candidates = 0
        for walk in walks(self.rules, on_folder=self.visited, fresh=self.fresh, memory=self.memory):
            for found in walk:
                self.offer(found)
            files += walk.files
            candidates += walk.candidates
        if complete:
            self.memory.end_scan()
        return files, candidates

    def walker(self) -> Walker:
        """A walker with a memory of its own."""
        return Walker(
            self.rules,
            self.clock,
            lost=lambda _root: False,
            visited=self.visited,
            unreadable=lambda _folder, _why: None,
            queue=self,
            offer=self.offer,
            beat=lambda: None,
        )

    def advance(self, walker: Walker) -> None:
        """Walk until there is nothing to walk."""
        self.listed, self.asked, self.offered = [], [], []
        while walker.busy:
            walker.advance(1.0)

    def rescan(self, walker: Walker) -> None:
        walker.begin_scan()
        self.stir = []
        self.advance(walker)

    def _short(self, path: bytes) -> str:
        return os.path.relpath(os.fsdecode(path), self.top)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """A library on a file system that keeps its folders' times, whatever holds it here."""
    monkeypatch.setattr(memory_module, "filesystem_type", lambda _path: "ext4")
    return Library(tmp_path)


def files_of(folders: Sequence[str]) -> set[str]:
    return {f"{name}/known.mkv" for name in folders}


def test_what_is_known_is_asked_once(library: Library) -> None:
    """The first scan asks about every file, rescans about none; the figures stay those of all."""
    assert library.scan() == (16, 16)
    assert set(library.asked) == files_of(FOLDERS)
    for _ in range(4):
        assert library.scan() == (16, 16)
        assert library.asked == library.offered == []


def test_a_folder_that_is_the_same_is_listed_by_one_rescan_in_three(library: Library) -> None:
    """Each in its turn, so that every file is looked at by one of three rescans."""
    library.scan()
    turns: list[str] = []
    for _ in range(3):
        library.scan()
        assert len(library.listed) < len(FOLDERS)
        turns += library.listed
    assert sorted(turns) == sorted([*FOLDERS, "."])


def test_a_change_in_place_is_found_by_the_third_rescan(library: Library) -> None:
    """It does not show by its folder."""
    library.scan()
    for name in FOLDERS:
        library.put(f"{name}/known.mkv", b"another video")
    asked: set[str] = set()
    for _ in range(3):
        library.scan()
        asked |= set(library.asked)
    assert asked == files_of(FOLDERS)


def test_turns_go_by_scans_that_were_completed(library: Library) -> None:
    """A scan that is cut short may not have come to the folders whose turn it was."""
    library.scan()
    library.scan(complete=False)
    listed = set(library.listed)
    library.scan(complete=False)
    assert set(library.listed) == listed
    library.scan()
    library.scan()
    assert not set(library.listed) & listed


@pytest.mark.parametrize("change", ["add", "replace", "folder"])
def test_what_shows_by_a_folder_is_found_by_the_next_rescan(library: Library, change: str) -> None:
    """New names, other files under old names, and new folders: whosever turn it is."""
    library.scan()
    if change == "replace":
        for name in FOLDERS:
            library.put(f"{name}/.new", b"another").rename(library.top / name / "known.mkv")
        wanted = files_of(FOLDERS)
    else:
        place = "more/new.mkv" if change == "folder" else "new.mkv"
        wanted = {f"{name}/{place}" for name in FOLDERS}
        for one in wanted:
            library.put(one)
    library.new = wanted
    library.scan()
    assert set(library.offered) == wanted


@pytest.mark.parametrize("doubt", ["young", "unwatched", "remote"])
def test_a_folder_is_always_listed_when_its_times_prove_nothing(
    library: Library, doubt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It changed just now, nobody watches it, or its file system does not keep the times."""
    if doubt == "young":
        library.clock.ahead = 0.0
    elif doubt == "unwatched":
        library.watched = False
    else:
        monkeypatch.setattr(memory_module, "filesystem_type", lambda _path: "vfat")
    library.scan()
    for _ in range(2):
        library.scan()
        assert set(library.listed) == {*FOLDERS, "."}
        assert library.asked == []


def test_a_folder_that_was_young_when_it_was_listed_is_listed_again(library: Library) -> None:
    """A second change within the same tick would not have shown."""
    library.clock.ahead = 0.0
    library.scan()
    library.clock.ahead = 100.0
    library.scan()
    assert set(library.listed) == {*FOLDERS, "."}


def test_what_was_offered_is_offered_again(library: Library) -> None:
    """Until the queue has it: it may wait, or its offer may have been lost."""
    library.new = files_of(FOLDERS)
    for _ in range(3):
        library.scan()
        assert set(library.offered) == files_of(FOLDERS)
    library.scan()
    library.new = set()
    library.scan()
    assert set(library.asked) == files_of(FOLDERS)


def test_a_job_that_was_stirred_has_its_folder_asked_about(library: Library) -> None:
    """Its file is the same, but the queue may want it now."""
    library.scan()
    for name in FOLDERS[:8]:
        library.stir = [os.fsencode(library.top / name / "known.mkv")]
        library.scan()
        assert library.asked == [f"{name}/known.mkv"]


def test_when_nobody_knows_what_was_stirred_all_is_asked(library: Library) -> None:
    """Another process may have dropped any job."""
    library.scan()
    library.stir = None
    library.scan()
    assert set(library.asked) == files_of(FOLDERS)


def test_a_folder_that_is_gone_is_forgotten(library: Library) -> None:
    """It may come back as it was, when its jobs are others."""
    library.scan()
    away = library.top.parent / f"{library.top.name}-away"
    (library.top / "0" / "deep").mkdir()
    library.put("0/deep/known.mkv")
    library.scan()
    known = len(library.memory)
    (library.top / "0").rename(away)
    library.scan()
    assert len(library.memory) == known - 2
    away.rename(library.top / "0")
    library.scan()
    assert set(library.asked) == {"0/known.mkv", "0/deep/known.mkv"}


def test_a_folder_that_cannot_be_listed_is_forgotten(library: Library) -> None:
    """What is in it now, nobody has seen."""
    library.scan()
    away = library.top.with_name(f"{library.top.name}-away")
    library.top.rename(away)
    library.top.symlink_to(library.top.name)
    library.scan()
    assert len(library.memory) == 0
    library.top.unlink()
    away.rename(library.top)
    library.scan()
    assert set(library.asked) == files_of(FOLDERS)


def test_a_folder_in_which_a_file_goes_meanwhile_is_not_remembered(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listing is of no moment at which it was so."""
    real, doomed = os.scandir, library.put("3/doomed.mkv")

    @contextlib.contextmanager
    def scandir(folder: bytes) -> Iterator[Iterator[os.DirEntry[bytes]]]:
        with real(folder) as entries:
            listed = list(entries)
            if folder == os.fsencode(doomed.parent):
                doomed.unlink()
            yield iter(listed)

    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", scandir)
        library.scan()
    assert len(library.memory) == len(FOLDERS)
    library.scan()
    assert library.asked == ["3/known.mkv"]


def test_an_event_has_the_queue_asked(library: Library) -> None:
    """By the walk that follows, and by the next scan; whatever lay there before."""
    walker = library.walker()
    library.rescan(walker)
    library.rescan(walker)
    assert library.asked == []
    for name in FOLDERS:
        walker.mark(os.fsencode(library.top / name), False)
    library.advance(walker)
    assert set(library.asked) == files_of(FOLDERS)
    library.rescan(walker)
    assert set(library.asked) == files_of(FOLDERS)
    library.rescan(walker)
    assert library.asked == []


def test_a_watched_folder_that_is_marked_as_a_whole_is_forgotten(library: Library) -> None:
    """Also what a walk does not come to just then: events were lost, or its disk was."""
    library.put("0/deep/known.mkv")
    walker = library.walker()
    library.rescan(walker)
    away = library.top.parent / f"{library.top.name}-away"
    (library.top / "0").rename(away)
    walker.mark(os.fsencode(library.top), True)
    library.advance(walker)
    away.rename(library.top / "0")
    library.rescan(walker)
    assert {"0/known.mkv", "0/deep/known.mkv"} <= set(library.asked)


def test_a_walker_asks_what_the_queue_stirred(library: Library) -> None:
    """At the beginning of each scan."""
    walker = library.walker()
    library.rescan(walker)
    library.stir = [os.fsencode(library.top / "5/known.mkv")]
    library.rescan(walker)
    assert library.asked == ["5/known.mkv"]


def test_it_is_no_larger_than_promised(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than 30 MiB for 100,000 folders; and no more than so many of them."""
    monkeypatch.setattr(memory_module, "_MOST", 5000)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        parents: dict[bytes, list[bytes]] = {}
        for number in range(6000):
            parent = b"/srv/media/library/series/%04d a show of some name" % (number // 10)
            parents.setdefault(parent, []).append(parent + b"/Season %02d" % (number % 10))
        for parent, below in parents.items():
            library.memory.keep(parent, Look(1 << 60), 1 << 61, Passed(0, 0, tuple(below)))
            for folder in below:
                library.memory.keep(folder, Look(1 << 60), 1 << 61, Passed(24, 24, ()))
        del parents, below
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(library.memory) == 5000
    assert (after - before) / 5000 < 30 * (1 << 20) / 100_000


def test_a_file_that_was_called_vanished_is_found_by_the_next_rescan(field: Field) -> None:
    """It lies there as it always did, so only the queue's history tells."""
    path = field.file("a.mkv")
    watcher = field.watch(rescan=10.0)
    field.run(watcher)
    field.run(watcher, ahead=10.0)
    assert field.store.jobs.skip(field.known(path), VANISHED)
    field.run(watcher, ahead=10.0)
    assert field.queued() == {"drop/a.mkv"}
