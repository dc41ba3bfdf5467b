"""What lies beside a file, and what that says."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from megamax_sync.watch.companions import Companions, companion_of


def companion(path: Path, root: Path | None = None) -> str | None:
    return Companions().of(os.fsencode(path), None if root is None else os.fsencode(root))


@pytest.mark.parametrize(
    "name",
    [
        "a.mkv.aria2",
        "a.mkv.part",
        "a.mkv.!qB",
        "a.mkv.tmp",
        "a.mkv.ytdl",
        "a.mkv.part-Frag12",
        "a.temp.mkv",
        ".a.mkv.Ab3dE9",
        ".a.mkv.000000",
    ],
)
def test_a_companion_is_named(tmp_path: Path, name: str) -> None:
    """What lies beside a file can say that it is still being fetched; another file's does not."""
    (tmp_path / name).touch()
    assert companion(tmp_path / "a.mkv", tmp_path) == name
    assert companion(tmp_path / "b.mkv", tmp_path) is None


@pytest.mark.parametrize(
    "name",
    [
        "a.mkv.nfo",
        "a.mkv.PART",
        "a.part",
        "a.f137.mkv",
        ".a.mkv.Ab3dE",
        ".a.mkv.Ab3dE9x",
        ".a.mkv.Ab3d-9",
        ".a.mkvxAb3dE9",
        "a.mkv.Ab3dE9",
        "xa.mkv.part",
        ".a.mkv.swp",
    ],
)
def test_other_neighbours_are_none(name: str) -> None:
    """A subtitle, an editor's file or yt-dlp's kept streams hold nothing up."""
    assert companion_of(os.fsencode(name)) != b"a.mkv"


@pytest.mark.parametrize(
    "name", ["a.fhls-1204.mp4.part", "a.f137.mp4.ytdl", "a.faudio_1.mp4.part-Frag3", "a.temp.mkv"]
)
def test_a_stream_waits_while_another_is_fetched_or_all_are_merged(
    tmp_path: Path, name: str
) -> None:
    """By its name it may be a video of its own, as it is when nothing else is going on."""
    stream = tmp_path / "a.fgroup_a-audio_1.mp4"
    assert companion(stream) is None
    (tmp_path / name).touch()
    assert companion(stream) == name
    assert companion(tmp_path / "b.fgroup_a-audio_1.mp4") is None
    assert companion(tmp_path / "a.german.mp4") is None


def test_of_several_companions_the_same_is_named_each_time(tmp_path: Path) -> None:
    """Whatever order the folder is listed in."""
    for name in ("a.mkv.part", ".a.mkv.zzzzzz", ".a.mkv.Ab3dE9", "a.mkv.aria2"):
        (tmp_path / name).touch()
    assert companion(tmp_path / "a.mkv") == ".a.mkv.Ab3dE9"


def test_names_of_any_bytes_have_companions(tmp_path: Path) -> None:
    """A line break, and what is no UTF-8."""
    for name in (b"a\nb.mkv", b"\xff.mkv"):
        path = os.path.join(os.fsencode(tmp_path), name)
        for beside in (
            path + b".part",
            os.path.join(os.fsencode(tmp_path), b"." + name + b".aaaaaa"),
        ):
            open(beside, "wb").close()
            assert Companions().of(path, None) == os.fsdecode(os.path.basename(beside))
            os.unlink(beside)


@pytest.mark.parametrize("name", ["x" * 243 + ".mkv", "x" * 251 + ".mkv"])
def test_a_name_too_long_for_rsync_is_known_by_its_beginning(tmp_path: Path, name: str) -> None:
    """The temporary name holds as much of it as there is room for."""
    (tmp_path / f".{name[:246]}.Ab3dE9").touch()
    assert companion(tmp_path / name) == f".{name[:246]}.Ab3dE9"
    assert companion(tmp_path / ("y" * 251 + ".mkv")) is None


def test_the_control_file_of_a_whole_folder_counts(tmp_path: Path) -> None:
    """aria2 keeps one beside the torrent's folder; one beside the watched folder is no matter."""
    root = tmp_path / "drop"
    deep = root / "torrent" / "disc"
    deep.mkdir(parents=True)
    path = deep / "a.mkv"
    (tmp_path / "drop.aria2").touch()
    assert companion(path, root) is None
    (root / "torrent.aria2").touch()
    companions = Companions()
    for name in ("a.mkv", "b.mkv"):
        assert companions.of(os.fsencode(deep / name), os.fsencode(root)) == "torrent.aria2"
    assert companions.of(os.fsencode(root / "c.mkv"), os.fsencode(root)) is None
    assert companion(path) is None


def test_a_folder_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred files of one folder cost one listing, not a thousand questions."""
    listed = []
    real = os.listdir

    def counted(folder: bytes) -> list[bytes]:
        listed.append(folder)
        return real(folder)

    monkeypatch.setattr(os, "listdir", counted)
    companions = Companions()
    for number in range(100):
        assert companions.of(os.fsencode(tmp_path / f"{number}.mkv"), None) is None
    assert listed == [os.fsencode(tmp_path)]


def test_a_folder_that_may_not_be_listed_is_asked_name_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was handed in may lie in one that may only be entered."""

    def refusing(_folder: bytes) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refusing)
    assert companion(tmp_path / "a.mkv") is None
    (tmp_path / "a.mkv.part").touch()
    assert companion(tmp_path / "a.mkv") == "a.mkv.part"


def test_a_folder_without_any_is_told(tmp_path: Path) -> None:
    """By one answer for all of its files; the control file of a folder above counts, too."""
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "a.mkv").touch()
    root, where = os.fsencode(tmp_path), os.fsencode(folder)
    assert Companions().none_in(where, root)
    (tmp_path / "a.aria2").touch()
    assert not Companions().none_in(where, root)
    assert Companions().none_in(where, None)
    (folder / "a.f1.mkv.part").touch()
    assert not Companions().none_in(where, None)
    assert not Companions().none_in(b"x" * 300, None)


def test_a_folder_that_is_gone_holds_nothing(tmp_path: Path) -> None:
    """Its files are gone, too, which is seen elsewhere; any other error is no answer."""
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.rmtree(folder)
    assert companion(folder / "a.mkv") is None
    folder.symlink_to(folder)
    with pytest.raises(OSError, match="symbolic links"):
        companion(folder / "a.mkv")
