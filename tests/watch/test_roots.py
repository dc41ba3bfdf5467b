"""The watched folders themselves."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from lacking import lacking
from structlog.testing import capture_logs

from megamax_sync.watch import limits
from megamax_sync.watch.observer import Observer
from megamax_sync.watch.roots import Roots
from megamax_sync.watch.watcher import Watcher

from .field import Field, until


@pytest.fixture
def mount(tmp_path: Path, require_program: Callable[[str], str]) -> Iterator[Callable[..., None]]:
    """Call mount or umount; skips where that is not allowed. Unmounts at the end."""
    if os.getuid() != 0:
        lacking("the right to mount: run the tests as root")
    place = tmp_path / "drop"
    place.mkdir(exist_ok=True)

    def change(*, there: bool) -> None:
        if there:
            command = [require_program("mount"), "-t", "tmpfs", "tmpfs", str(place)]
        else:
            command = [require_program("umount"), str(place)]
        done = subprocess.run(command, capture_output=True, check=False)
        if there and done.returncode:
            lacking("the right to mount, which this sandbox or container keeps even from root")
        assert done.returncode == 0, done.stderr

    yield change
    if os.path.ismount(place):
        change(there=False)


def hand_back(field: Field) -> None:
    """Have the only job wait for the watch again, as when its file could not be opened."""
    job = field.store.jobs.claim("owner", None)
    assert job is not None
    field.store.jobs.release(job, "it cannot be opened", ready=False)


def test_a_folder_that_is_there_is_no_problem(tmp_path: Path) -> None:
    """What was there and still is needs no word."""
    roots = Roots([os.fsencode(tmp_path)])
    assert roots.check() == []
    assert roots.check() == []
    assert roots.problem() is None
    assert not roots.lost(os.fsencode(tmp_path))


def test_a_missing_folder_is_named_and_comes_back(tmp_path: Path) -> None:
    """Deleted, or not there yet: said in a sentence, until it is there."""
    drop = tmp_path / "drop"
    path = os.fsencode(drop)
    roots = Roots([path])
    assert roots.check() == []
    assert roots.lost(path)
    assert roots.problem() == f"watched folders are missing: {drop}: No such file or directory"
    drop.mkdir()
    assert roots.check() == [path]
    assert roots.problem() is None


def test_a_file_in_its_place_is_no_folder(tmp_path: Path) -> None:
    """A path that is no folder any more counts as missing."""
    drop = tmp_path / "drop"
    drop.touch()
    roots = Roots([os.fsencode(drop)])
    roots.check()
    assert roots.problem() == f"watched folders are missing: {drop}: Not a folder"


def test_an_empty_folder_in_its_place_is_not_believed(tmp_path: Path) -> None:
    """It is probably a mount point without its disk; with something in it, it is the folder."""
    drop = tmp_path / "drop"
    path = os.fsencode(drop)
    drop.mkdir()
    roots = Roots([path])
    roots.check()
    drop.rename(tmp_path / "away")
    drop.mkdir()
    for _ in range(2):
        assert roots.check() == []
        assert roots.lost(path)
    (drop / "a.mkv").touch()
    assert roots.check() == [path]
    assert not roots.lost(path)


def test_another_full_folder_in_its_place_is_watched_anew(tmp_path: Path) -> None:
    """Replaced between two looks, it was never missing, but nothing of it has been seen."""
    drop = tmp_path / "drop"
    drop.mkdir()
    roots = Roots([os.fsencode(drop)])
    roots.check()
    drop.rename(tmp_path / "away")
    drop.mkdir()
    (drop / "a.mkv").touch()
    assert roots.check() == [os.fsencode(drop)]


def test_another_folder_that_cannot_be_read_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can be found in it, so nothing of it is a proof."""

    def refusing(_: bytes) -> object:
        raise PermissionError(13, "Permission denied")

    drop = tmp_path / "drop"
    drop.mkdir()
    roots = Roots([os.fsencode(drop)])
    roots.check()
    drop.rename(tmp_path / "away")
    drop.mkdir()
    (drop / "a.mkv").touch()
    monkeypatch.setattr(os, "scandir", refusing)
    assert roots.check() == []
    assert roots.lost(os.fsencode(drop))


def test_a_folder_that_cannot_be_watched_anew_is_walked_all_the_same(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may have no watch left; what lies there is found."""

    def refusing(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    watcher = field.watch(observe=True)
    field.run(watcher)
    field.drop.rename(field.base / "away")
    field.drop.mkdir()
    field.file("a.mkv")
    assert watcher.coverage._observer is not None
    monkeypatch.setattr(watcher.coverage._observer, "watch", refusing)
    field.run(watcher, ahead=11)
    assert field.queued() == {"drop/a.mkv"}


def test_a_folder_of_an_older_configuration_is_looked_at(tmp_path: Path) -> None:
    """Jobs outlive the list of watched folders."""
    roots = Roots([])
    assert not roots.lost(os.fsencode(tmp_path))
    assert roots.lost(os.fsencode(tmp_path / "gone"))


def test_an_unmounted_disk_makes_nothing_vanish(field: Field, mount: Callable[..., None]) -> None:
    """Its files wait until it is back, and go on from there."""
    mount(there=True)
    path = field.file("a.mkv")
    watcher = field.watch()
    field.run(watcher)
    hand_back(field)
    mount(there=False)
    field.run(watcher, ahead=60)
    assert field.reasons(watcher) == {"a.mkv": "its watched folder is missing"}
    assert field.known(path).error == "its watched folder is missing"
    assert "drop" in (watcher.coverage.roots.problem() or "")
    mount(there=True)
    field.file("a.mkv", b"video")
    field.run(watcher, ahead=60)
    assert watcher.coverage.roots.problem() is None
    # It may have the numbers of the old one, and then looks as if it had grown.
    field.run(watcher, ahead=60)
    assert field.queued() == {"drop/a.mkv"}


def test_a_folder_beneath_an_unmounted_disk_is_not_taken_for_it(
    field: Field, mount: Callable[..., None]
) -> None:
    """Whatever lies in it: a marker that says that the disk is missing, or other videos."""
    (field.drop / "NOT_MOUNTED.txt").touch()
    mount(there=True)
    path = field.file("a.mkv")
    watcher = field.watch()
    field.run(watcher)
    hand_back(field)
    mount(there=False)
    with capture_logs() as said:
        for _ in range(3):
            field.run(watcher, ahead=60)
    assert [one["event"] for one in said if one["event"] == "watch.lost"] == ["watch.lost"]
    assert "unmounted" in (watcher.coverage.roots.problem() or "")
    assert field.known(path).error == "its watched folder is missing"
    mount(there=True)
    field.file("a.mkv", b"video")
    for _ in range(2):
        field.run(watcher, ahead=60)
    assert watcher.coverage.roots.problem() is None
    assert field.queued() == {"drop/a.mkv"}


@pytest.mark.parametrize("below", [False, True])
def test_what_a_mount_covers_has_not_vanished(
    field: Field, mount: Callable[..., None], *, below: bool
) -> None:
    """Nor what was on a disk that is mounted below a watched folder, when that is taken away."""
    if below:
        mount(there=True)
    covered = field.file("covered.mkv")
    watcher = field.watch(field.base) if below else field.watch()
    field.run(watcher)
    hand_back(field)
    mount(there=not below)
    field.file("b.mkv")
    with capture_logs() as said:
        for _ in range(3):
            field.run(watcher, ahead=60)
    assert field.known(covered).error == "its file system is not mounted there now"
    assert "drop/b.mkv" in field.queued()
    lost = [one["error"] for one in said if one["event"] == "watch.lost"]
    assert lost == ([] if below else ["Another file system lies over it; what it covers waits"])
    assert watcher.coverage.roots.problem() is None
    if below:
        mount(there=True)
        field.file("covered.mkv")
    else:
        mount(there=False)
    for _ in range(3):
        field.run(watcher, ahead=60)
    assert "drop/covered.mkv" in field.queued()


def test_a_mount_over_a_watched_folder_is_walked(field: Field, mount: Callable[..., None]) -> None:
    """A disk that comes later lies over the folder without any event; it is noticed all the same,
    and its later events are, too.
    """
    watcher = field.watch(observe=True)
    field.run(watcher)
    mount(there=True)
    field.file("a.mkv")
    field.run(watcher, ahead=11)
    assert field.queued() == {"drop/a.mkv"}


def no_limit_is_named(watcher: Watcher, said: Sequence[Mapping[str, object]]) -> None:
    """Nobody is told to raise a limit that was not reached."""
    assert watcher.coverage.problem() is None
    assert [one for one in said if one["event"] == "watch.degraded"] == []
    assert watcher.coverage.kind == "inotify"


@pytest.mark.usefixtures("no_canaries")
def test_a_mount_over_a_folder_below_is_walked_and_watched(
    field: Field, mount: Callable[..., None]
) -> None:
    """It comes without any event, and so do its files; with it goes what it has covered."""
    watcher = field.watch(field.base, observe=True)
    with capture_logs() as said:
        field.run(watcher)
        mount(there=True)
        field.file("a.mkv")
        field.run(watcher, ahead=6)
        field.run(watcher, ahead=60)
        assert field.queued() == {"drop/a.mkv"}
        # Its later events arrive.
        field.file("b.mkv")
        until(lambda: watcher._walker.busy)
        field.run(watcher)
        assert field.queued() == {"drop/a.mkv", "drop/b.mkv"}
        mount(there=False)
        until(lambda: watcher._walker.busy)
        field.run(watcher, ahead=6)
        field.run(watcher, ahead=3)
        # As do those of what lay below it.
        field.file("c.mkv")
        until(lambda: watcher._walker.busy)
        field.run(watcher)
        assert "drop/c.mkv" in field.queued()
    no_limit_is_named(watcher, said)


@pytest.mark.usefixtures("no_canaries")
def test_an_unmounted_watched_folder_is_not_taken_for_a_limit(
    field: Field, mount: Callable[..., None]
) -> None:
    """Its watches are gone with it: it is missing, and nothing else is said of it."""
    mount(there=True)
    field.file("in/a.mkv")
    watcher = field.watch(observe=True)
    with capture_logs() as said:
        field.run(watcher)
        mount(there=False)
        until(lambda: watcher._walker.busy)
        for _ in range(3):
            field.run(watcher, ahead=6)
        assert "watched folders are missing" in (watcher.coverage.problem() or "")
        mount(there=True)
        field.file("b.mkv")
        for _ in range(3):
            field.run(watcher, ahead=6)
    no_limit_is_named(watcher, said)
    assert watcher.coverage.visited(os.fsencode(field.drop))


@pytest.mark.usefixtures("no_canaries")
def test_a_folder_whose_watch_is_gone_is_watched_again(field: Field) -> None:
    """The kernel takes one, so none is missing for a limit; later events in it arrive."""
    inner = field.file("in/a.mkv").parent
    watcher = field.watch(observe=True)
    with capture_logs() as said:
        field.run(watcher)
        observer = watcher.coverage._observer
        assert observer is not None
        (_, group, path) = observer._holding(os.fsencode(inner))[0]
        with group._lock:
            group._remove_callbacks([group._active_callbacks_by_path[path]])
        assert not watcher.coverage.visited(os.fsencode(inner))
        field.run(watcher, ahead=3)
        assert watcher.coverage.visited(os.fsencode(inner))
        field.file("in/b.mkv")
        until(lambda: watcher._walker.busy)
        field.run(watcher)
    assert field.queued() == {"drop/in/a.mkv", "drop/in/b.mkv"}
    no_limit_is_named(watcher, said)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(12, "Cannot allocate memory"), "the kernel takes no watch (Cannot allocate"),
        (OSError(28, "No space left on device"), "the limit on inotify watches is reached"),
        (None, "they give no events, for no known reason"),
    ],
)
def test_why_a_folder_is_not_watched_is_found_out(
    field: Field, monkeypatch: pytest.MonkeyPatch, error: OSError | None, reason: str
) -> None:
    """By trying: what the kernel says is what is said."""
    (field.drop / "in").mkdir()
    monkeypatch.setattr(Observer, "covers", lambda _self, folder: not folder.endswith(b"/in"))
    monkeypatch.setattr(limits, "refusal", lambda _folder: error)
    watcher = field.watch(observe=True)
    field.run(watcher)
    field.run(watcher, ahead=3)
    assert reason in (watcher.coverage.problem() or "")


def test_the_kernel_is_asked_whether_it_takes_a_watch(tmp_path: Path) -> None:
    """Its own error is what comes back."""
    assert limits.refusal(os.fsencode(tmp_path)) is None
    error = limits.refusal(os.fsencode(tmp_path / "gone"))
    assert error is not None
    assert error.strerror == "No such file or directory"
