"""The watched folders themselves."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from megamax_sync.watch.roots import Roots

from .field import Field


@pytest.fixture
def mount(tmp_path: Path, require_program: Callable[[str], str]) -> Iterator[Callable[..., None]]:
    """Call mount or umount; skips where that is not allowed. Unmounts at the end."""
    if os.getuid() != 0:
        pytest.skip("only root can mount")
    place = tmp_path / "drop"
    place.mkdir(exist_ok=True)

    def change(*, there: bool) -> None:
        if there:
            command = [require_program("mount"), "-t", "tmpfs", "tmpfs", str(place)]
        else:
            command = [require_program("umount"), str(place)]
        done = subprocess.run(command, capture_output=True, check=False)
        if there and done.returncode:
            pytest.skip("mounting is not allowed here")
        assert done.returncode == 0, done.stderr

    yield change
    if os.path.ismount(place):
        change(there=False)


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
    job = field.store.jobs.claim("owner", None)
    assert job is not None
    field.store.jobs.release(job, "it cannot be opened", ready=False)
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
