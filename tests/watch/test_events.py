"""The watcher at work: its own thread, the kernel's events, other programs' files.

There is no rescan after the first one, so whatever is found was found through events.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from megamax_sync.job import JobState
from megamax_sync.watch.watcher import Watcher

from .field import Field, until, write_through, writer

SETTLE = 0.05


def start(field: Field, *roots: Path, settle: float = SETTLE) -> Watcher:
    """Start a watcher and wait for its first scan."""
    watcher = field.watch(*roots, settle=settle, observe=True)
    watcher.start()
    assert watcher.scanned.wait(10)
    return watcher


def expect(field: Field, *names: str) -> None:
    """Wait until exactly these are queued."""
    until(lambda: field.queued() >= set(names))
    assert field.queued() == set(names)


@pytest.fixture
def tree(field: Field) -> Path:
    """A tree of videos outside the watched folder."""
    top = field.base / "tree"
    for name in ("a.mkv", "in/b.mkv", "in/deep/c.mkv", "in/notes.txt"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(b"video")
    return top


TREE = ("drop/tree/a.mkv", "drop/tree/in/b.mkv", "drop/tree/in/deep/c.mkv")


@pytest.mark.parametrize(
    "command",
    [
        ["cp", "-r", "{tree}", "{drop}/tree"],
        ["cp", "-rl", "{tree}", "{drop}/tree"],
        ["mv", "{tree}", "{drop}/tree"],
        ["sh", "-c", "tar -C {base} -c tree | tar -C {drop} -x"],
        ["rsync", "-a", "{tree}", "{drop}/"],
    ],
    ids=["cp", "hard links", "mv", "tar", "rsync"],
)
def test_trees_are_found_however_they_come(
    field: Field, tree: Path, command: list[str], require_program: Callable[[str], str]
) -> None:
    """Each program makes its own events, and no file is missed."""
    require_program(command[0])
    start(field)
    places = {"tree": str(tree), "drop": str(field.drop), "base": str(field.base)}
    subprocess.run([part.format(**places) for part in command], check=True)
    expect(field, *TREE)


def test_new_folders_and_their_files_are_found(field: Field) -> None:
    """A file written right after its folders were made needs no event of its own."""
    start(field)
    names = {f"n{n}/x/y/{n}.mkv" for n in range(50)}
    for name in sorted(names):
        path = field.drop / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"video")
    expect(field, *(f"drop/{name}" for name in names))


@pytest.mark.parametrize("name", ["a.mkv.part", ".a.mkv.Xq1z0P", "a.tmp"])
def test_a_file_renamed_when_it_is_complete_is_found(field: Field, name: str) -> None:
    """Under its temporary name it is nothing, under its own it is a video."""
    start(field)
    (field.drop / name).write_bytes(b"video")
    (field.drop / "other.mkv").write_bytes(b"video")
    expect(field, "drop/other.mkv")
    (field.drop / name).rename(field.drop / "a.mkv")
    expect(field, "drop/other.mkv", "drop/a.mkv")


def test_a_hard_link_and_strange_names_are_found(field: Field) -> None:
    """Cross-seeding links; names may hold any byte."""
    start(field)
    (field.base / "seed").write_bytes(b"video")
    names = [b"link.mkv", b"\xff\xfe.mkv", b"two\nlines.mkv"]
    for name in names:
        os.link(field.base / "seed", os.path.join(os.fsencode(field.drop), name))
    expect(field, *(os.fsdecode(b"drop/" + name) for name in names))


def test_no_file_is_taken_while_another_process_writes_it(field: Field) -> None:
    """Not even when it pauses for many quiet periods; after its close it is taken whole."""
    watcher = start(field)
    path = field.drop / "a.mkv"
    with writer(path) as process:
        for _ in range(3):
            write_through(process, b"x" * 1000)
            # It may have been empty when its creation was told of, and writing is no event.
            watcher.mark(os.fsencode(field.drop), False)
            until(lambda: "open for writing" in field.reasons(watcher).get("a.mkv", ""))
            assert field.queued() == set()
    expect(field, "drop/a.mkv")
    assert field.known(path).stamp.size == 3000


def test_a_watched_link_gives_events_under_its_own_name(field: Field) -> None:
    """Events speak of the real folder, jobs of the one that the user named."""
    link = field.base / "link"
    link.symlink_to(field.drop)
    start(field, link)
    field.file("in/a.mkv", age=0)
    expect(field, "link/in/a.mkv")


def test_a_folder_reached_through_a_link_is_watched_too(field: Field) -> None:
    """It lies below another watched folder by name only."""
    (field.base / "real/in").mkdir(parents=True)
    (field.drop / "link").symlink_to(field.base / "real")
    start(field, field.drop, field.drop / "link/in")
    (field.base / "real/in/a.mkv").write_bytes(b"video")
    (field.drop / "b.mkv").write_bytes(b"video")
    expect(field, "drop/b.mkv", "drop/link/in/a.mkv")


def test_the_innermost_of_nested_folders_is_told(field: Field) -> None:
    """A hidden folder that was named is watched; its file counts once."""
    inner = field.drop / ".hidden"
    inner.mkdir()
    start(field, field.drop, inner)
    path = inner / "a.mkv"
    path.write_bytes(b"video")
    expect(field, "drop/.hidden/a.mkv")
    assert field.known(path).root == os.fsencode(inner)


def test_a_deleted_folder_that_comes_back_is_watched_again(field: Field) -> None:
    """Its watch died with it; both what lies in it then and what comes later are found."""
    watcher = start(field)
    until(lambda: not os.listdir(field.drop))
    field.drop.rmdir()
    field.clock.ahead += 11
    field.store.database.wake()
    until(lambda: watcher.coverage.roots.problem() is not None)
    field.file("a.mkv", age=11)
    field.store.database.wake()
    expect(field, "drop/a.mkv")
    assert watcher.coverage.roots.problem() is None
    field.file("later.mkv", age=0)
    expect(field, "drop/a.mkv", "drop/later.mkv")


def test_a_folder_that_is_missing_at_the_start_is_no_end(field: Field) -> None:
    """It is said, and watched once it is there."""
    late = field.base / "late"
    watcher = start(field, field.drop, late)
    assert watcher.coverage.roots.problem() is not None
    late.mkdir()
    field.clock.ahead += 11
    field.store.database.wake()
    until(lambda: watcher.coverage.roots.problem() is None)
    (late / "a.mkv").write_bytes(b"video")
    expect(field, "late/a.mkv")


def test_an_idle_watcher_rests(field: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing to do, and with a file that waits for its writer, it does next to nothing."""
    watcher = start(field)
    steps = Counted(watcher.step)
    monkeypatch.setattr(watcher, "step", steps)
    with writer(field.drop / "a.mkv") as process:
        write_through(process, b"video")
        # It may have been empty when its creation was told of, and writing is no event.
        watcher.mark(os.fsencode(field.drop), False)
        until(lambda: "open for writing" in field.reasons(watcher).get("a.mkv", ""))
        before = steps.calls
        field.stop.wait(1.0)
        assert steps.calls - before <= 10
    expect(field, "drop/a.mkv")
    before = steps.calls
    field.stop.wait(0.5)
    assert steps.calls - before <= 10


class Counted:
    """A function that counts its calls."""

    def __init__(self, function: Callable[[], float | None]) -> None:
        self.calls = 0
        self._function = function

    def __call__(self) -> float | None:
        self.calls += 1
        return self._function()


def test_our_own_sidecars_are_no_news(field: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each would have its folder walked again."""
    watcher = start(field)
    marked: list[bytes] = []
    real = watcher._walker.mark

    def marking(folder: bytes, subtree: bool) -> bool:
        marked.append(folder)
        return real(folder, subtree)

    monkeypatch.setattr(watcher._walker, "mark", marking)
    for number in range(10):
        temporary = field.drop / f".megamax-{number}.new"
        temporary.write_text("{}")
        temporary.rename(field.drop / f"{number}.mkv.megamax.json")
    (field.drop / "in").mkdir()
    until(lambda: marked)
    assert marked == [os.fsencode(field.drop / "in")]


def test_a_stop_in_the_middle_of_a_scan_is_fast(field: Field) -> None:
    """Nobody waits for 10,000 folders."""
    for outer in range(100):
        for inner in range(100):
            (field.drop / f"{outer}/{inner}").mkdir(parents=True)
    watcher = field.watch(observe=True)
    watcher.start()
    until(lambda: watcher._walker.scanning)
    began = time.monotonic()
    field.stop.set()
    field.store.database.wake()
    watcher.close(5)
    watcher.join(5)
    assert not watcher.is_alive()
    assert time.monotonic() - began < 2
    assert not watcher.scanned.is_set()


def test_a_watcher_that_never_started_can_be_closed(field: Field) -> None:
    """Stopping does not depend on how far the start has come."""
    watcher = field.watch(observe=True)
    watcher.close(1)
    watcher._started = True
    watcher.close(1)


def test_20000_files_in_one_folder_are_found(field: Field) -> None:
    """By the scan, and each exactly once."""
    for number in range(20_000):
        (field.drop / f"{number}.mkv").touch()
        os.truncate(field.drop / f"{number}.mkv", 1)
    watcher = field.watch(settle=0, observe=True, allow_sparse=True)
    watcher.start()
    assert watcher.scanned.wait(90)
    until(lambda: field.store.views.counts()[JobState.QUEUED] == 20_000, 90)
    until(watcher.settled)
    assert field.errors == []
