"""Moving a file so that none is lost, doubled or overwritten."""

from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path
from typing import Any

import pytest

from megamax_sync.after import moving
from megamax_sync.fingerprint import fingerprint_of


def mark(path: Path) -> str:
    """The fingerprint of a file."""
    with open(path, "rb") as file:
        return fingerprint_of(file.fileno())


def test_names_get_a_number_before_the_extension() -> None:
    """As file managers do; names that would be too long are cut, between characters."""
    assert list(itertools.islice(moving.names(b"/f/a.b.mkv"), 3)) == [
        b"/f/a.b.mkv",
        b"/f/a.b (2).mkv",
        b"/f/a.b (3).mkv",
    ]
    long = "ä".encode() * 125 + b".mkv"
    second = list(itertools.islice(moving.names(b"/f/" + long), 2))[1]
    name = os.path.basename(second)
    assert len(name) <= 255
    assert name.decode().endswith("ä (2).mkv")


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    """Nothing, a link, a pipe, a folder: none is a video. What cannot be opened raises."""
    folder = os.fsencode(tmp_path)
    os.symlink(tmp_path, tmp_path / "link")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"x")
    for name in (b"nothing", b"link", b"pipe", b"file/below", b""):
        assert moving.open_regular(folder + b"/" + name) is None
    fd = moving.open_regular(folder + b"/file")
    assert fd is not None
    os.close(fd)
    with pytest.raises(OSError, match="too long"):
        moving.open_regular(folder + b"/" + b"x" * 300)


Breaks = dict[str, tuple[int, int | None]]
#: What a file system answers to renameat2 and to link; None where that works.
FILE_SYSTEMS: Breaks = {
    "both": (0, None),
    "no such rename": (errno.EINVAL, None),
    "no such rename, no links": (errno.ENOSYS, errno.EPERM),
}


@pytest.fixture(params=FILE_SYSTEMS)
def file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One that knows less and less."""
    rename, link = FILE_SYSTEMS[request.param]
    if rename:
        monkeypatch.setattr(moving, "_renameat2", lambda _source, _target: rename)
    if link:

        def refuse(*_args: Any, **_more: Any) -> None:
            raise OSError(link, os.strerror(link))

        monkeypatch.setattr(os, "link", refuse)
    name: str = request.param
    return name


def test_a_rename_never_replaces(tmp_path: Path, file_system: str) -> None:
    """Whatever the file system knows: what is there stays, and the source, too."""
    source, target = os.fsencode(tmp_path / "a"), os.fsencode(tmp_path / "b")
    (tmp_path / "a").write_bytes(b"video")
    (tmp_path / "b").write_bytes(b"other")
    with pytest.raises(FileExistsError):
        moving.rename_anew(source, target)
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()) == (b"video", b"other")
    (tmp_path / "b").unlink()
    moving.rename_anew(source, target)
    assert ((tmp_path / "b").read_bytes(), (tmp_path / "a").exists()) == (b"video", False)
    with pytest.raises(FileNotFoundError):
        moving.rename_anew(source, os.fsencode(tmp_path / "c"))
    assert os.listdir(tmp_path) == ["b"]


def test_without_a_c_library_that_knows_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A link does it."""
    monkeypatch.setattr(moving, "_libc", object())
    (tmp_path / "a").write_bytes(b"video")
    moving.rename_anew(os.fsencode(tmp_path / "a"), os.fsencode(tmp_path / "b"))
    assert os.listdir(tmp_path) == ["b"]


def test_an_error_of_the_link_is_not_taken_for_ignorance(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A disk that is full is no reason to try another way."""

    def full(*_args: Any, **_more: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(moving, "_renameat2", lambda _source, _target: errno.EINVAL)
    monkeypatch.setattr(os, "link", full)
    (tmp_path / "a").write_bytes(b"video")
    with pytest.raises(OSError, match="full"):
        moving.rename_anew(os.fsencode(tmp_path / "a"), os.fsencode(tmp_path / "b"))
    assert os.listdir(tmp_path) == ["a"]


def test_placeholders_are_empty_files(tmp_path: Path) -> None:
    """Nothing else is one."""
    (tmp_path / "empty").touch()
    (tmp_path / "full").write_bytes(b"x")
    os.symlink("empty", tmp_path / "link")
    found = {name: moving.is_placeholder(os.fsencode(tmp_path / name)) for name in
             ("empty", "full", "link", "nothing")}  # fmt: skip
    assert found == {"empty": True, "full": False, "link": False, "nothing": False}


def test_a_copy_has_content_times_and_mode(tmp_path: Path) -> None:
    """It lies under a hidden name, and takes the place of an older one that a kill has left."""
    source, target = tmp_path / "a.mkv", tmp_path / "b.mkv"
    source.write_bytes(os.urandom(3_000_000))
    os.chmod(source, 0o640)
    os.utime(source, ns=(1_000_000_000, 2_000_000_000))
    beats: list[int] = []
    part = moving.temporary(os.fsencode(target))
    with open(part, "wb") as file:
        file.write(b"left over")
    with open(source, "rb") as file:
        made = moving.copy(
            file.fileno(), os.fsencode(target), mark(source), lambda: beats.append(1)
        )
    assert made == part
    assert os.path.basename(part).startswith(b".megamax-")
    status = os.stat(part)
    assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o640, 2_000_000_000)
    with open(part, "rb") as file:
        assert file.read() == source.read_bytes()
    assert len(beats) >= 3


@pytest.mark.parametrize("known", [True, False])
def test_a_copy_that_is_not_the_video_is_dropped(
    tmp_path: Path, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another content than was uploaded, or another than was written: nothing is left behind."""
    source, target = tmp_path / "a.mkv", os.fsencode(tmp_path / "b.mkv")
    source.write_bytes(b"video")
    with open(source, "rb") as file:
        if known:
            with pytest.raises(moving.Changed):
                moving.copy(file.fileno(), target, "xxh3-128:other", lambda: None)
        else:
            monkeypatch.setattr(moving, "fingerprint_of", lambda _fd, _beat: "xxh3-128:other")
            with pytest.raises(OSError, match="reads back"):
                moving.copy(file.fileno(), target, None, lambda: None)
    assert os.listdir(tmp_path) == ["a.mkv"]


def test_a_folder_that_cannot_be_synced_is_no_error(tmp_path: Path) -> None:
    """The names are there all the same."""
    moving.sync_folder(os.fsencode(tmp_path))
    moving.sync_folder(os.fsencode(tmp_path / "gone"))
