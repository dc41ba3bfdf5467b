"""What a walk finds, and what it leaves out."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest

from megamax_sync.watch.rules import Rules, Unwanted
from megamax_sync.watch.scanner import PIECE, Found, Walk, _Listing, natural, walks


def rules(*roots: Path, exclude: tuple[str, ...] = ()) -> Rules:
    return Rules(tuple(os.fsencode(root) for root in roots), frozenset({"mkv"}), exclude)


def found(wanted: Rules) -> list[Found]:
    return [one for walk in walks(wanted) for folder in walk for one in folder]


def below(base: Path, files: list[Found]) -> list[str]:
    return [os.path.relpath(os.fsdecode(one.path), base) for one in files]


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_files_come_in_natural_order_folder_by_folder(tmp_path: Path) -> None:
    """Episode 2 is uploaded before episode 10."""
    for name in ("ep 10.mkv", "ep 2.mkv", "Ep 1.mkv", "s10/a.mkv", "s9/a.mkv"):
        put(tmp_path / name)
    assert below(tmp_path, found(rules(tmp_path))) == [
        "Ep 1.mkv",
        "ep 2.mkv",
        "ep 10.mkv",
        "s9/a.mkv",
        "s10/a.mkv",
    ]


def test_a_large_folder_comes_in_pieces(tmp_path: Path) -> None:
    """Whoever walks can do other work within it; the order is that of the whole folder."""
    count = 2 * PIECE + 10
    for number in range(count):
        (tmp_path / f"{number}.mkv").write_bytes(b"x")
    (walk,) = walks(rules(tmp_path))
    pieces = list(walk)
    assert [len(piece) for piece in pieces] == [0, 0, PIECE, PIECE, 10]
    files = [one for piece in pieces for one in piece]
    assert below(tmp_path, files) == [f"{number}.mkv" for number in range(count)]
    assert walk.files == walk.candidates == count


def test_natural_order_takes_any_name() -> None:
    """Names that begin with digits, hold none, or are no UTF-8 compare with one another."""
    names = [b"a", b"2", b"\xff2", b"01", b""]
    assert sorted(names, key=natural) == [b"", b"01", b"2", b"a", b"\xff2"]


def test_nested_watched_folders_count_once(tmp_path: Path) -> None:
    """A file is found once, below the innermost of its watched folders."""
    put(tmp_path / "a.mkv")
    put(tmp_path / "in/b.mkv")
    files = found(rules(tmp_path / "in", tmp_path))
    assert below(tmp_path, files) == ["a.mkv", "in/b.mkv"]
    assert [one.root for one in files] == [os.fsencode(tmp_path), os.fsencode(tmp_path / "in")]


def test_a_watched_folder_inside_one_that_is_not_entered_is_walked(tmp_path: Path) -> None:
    """Hidden, excluded, and reached through a link: it was named, so it counts."""
    put(tmp_path / ".hidden/in/a.mkv")
    put(tmp_path / "raw/in/b.mkv")
    put(tmp_path / "raw/c.mkv")
    put(tmp_path / "elsewhere/in/d.mkv")
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "link").symlink_to(tmp_path / "elsewhere")
    roots = [tmp_path / ".hidden/in", tmp_path / "raw/in", tmp_path, drop / "link/in"]
    names = below(tmp_path, found(rules(*roots, exclude=("raw/", "elsewhere/"))))
    assert sorted(names) == [".hidden/in/a.mkv", "drop/link/in/d.mkv", "raw/in/b.mkv"]


def test_folders_that_are_not_wanted_are_not_entered(tmp_path: Path) -> None:
    """An excluded tree costs no listing."""
    put(tmp_path / "raw/deep/a.mkv")
    (walk,) = walks(rules(tmp_path, exclude=("raw/",)))
    assert list(walk) == [[]]
    assert (walk.files, walk.candidates) == (0, 0)


@dataclass
class Heard:
    """What a walk says of the files that it leaves out."""

    rules: dict[str, str]

    def __call__(self, path: bytes, unwanted: Unwanted) -> None:
        self.rules[os.path.basename(os.fsdecode(path))] = unwanted.rule


def test_links_and_what_is_no_file_are_left_out_by_name(tmp_path: Path) -> None:
    """Files that are links are said so; folders that are links are not entered."""
    put(tmp_path / "elsewhere/real.mkv")
    drop = tmp_path / "drop"
    put(drop / "empty.mkv").write_bytes(b"")
    (drop / "link.mkv").symlink_to(tmp_path / "elsewhere/real.mkv")
    (drop / "dangling.mkv").symlink_to(tmp_path / "nowhere")
    (drop / "folder").symlink_to(tmp_path / "elsewhere")
    (drop / "loop.mkv").symlink_to(drop)
    os.mkfifo(drop / "pipe.mkv")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(drop / "socket.mkv"))
    heard = Heard({})
    files = [f for walk in walks(rules(drop), on_unwanted=heard) for folder in walk for f in folder]
    assert files == []
    assert heard.rules == {
        "empty.mkv": "empty",
        "link.mkv": "symlink",
        "dangling.mkv": "symlink",
        "folder": "symlink",
        "loop.mkv": "symlink",
        "pipe.mkv": "not-regular",
        "socket.mkv": "not-regular",
    }


def test_a_watched_folder_may_be_a_link(tmp_path: Path) -> None:
    """Its files go by the name that the user gave."""
    put(tmp_path / "real/a.mkv")
    (tmp_path / "drop").symlink_to(tmp_path / "real")
    assert below(tmp_path, found(rules(tmp_path / "drop"))) == ["drop/a.mkv"]


@pytest.mark.parametrize("name", [b"\xff\xfe.mkv", b"two\nlines.mkv", b'it\'s "new".mkv'])
def test_any_name_is_found(tmp_path: Path, name: bytes) -> None:
    """Paths are bytes from end to end."""
    put(Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))))
    (one,) = found(rules(tmp_path))
    assert one.path == os.fsencode(tmp_path) + b"/" + name


def test_a_folder_alone(tmp_path: Path) -> None:
    """A dirty folder is listed without what lies below it."""
    put(tmp_path / "a.mkv")
    put(tmp_path / "in/b.mkv")
    (folder,) = Walk(rules(tmp_path), os.fsencode(tmp_path), subtree=False)
    assert below(tmp_path, folder) == ["a.mkv"]


def test_what_is_gone_or_not_ours_is_nothing(tmp_path: Path) -> None:
    """A folder that went, became a file, or lies outside the watched ones gives no files."""
    put(tmp_path / "drop/file")
    wanted = rules(tmp_path / "drop")
    for name in ("drop/gone", "drop/file", "elsewhere"):
        walk = Walk(wanted, os.fsencode(tmp_path / name))
        assert list(walk) == [[]]
        assert walk.unreadable == []


def test_a_folder_that_cannot_be_listed_is_reported(tmp_path: Path) -> None:
    """The walk goes on, and knows what it has not seen."""
    drop = tmp_path / "drop"
    drop.mkdir()
    # A link to itself cannot be listed by anybody, root included.
    (drop / "loop").symlink_to(drop / "loop")
    walk = Walk(rules(drop), os.fsencode(drop / "loop"))
    assert list(walk) == [[]]
    assert [why for _, why in walk.unreadable] == ["Too many levels of symbolic links"]


def test_a_file_that_goes_while_it_is_listed_is_no_error(tmp_path: Path) -> None:
    """Between the listing and the look at a file it may be deleted."""
    put(tmp_path / "a.mkv")
    wanted, top = rules(tmp_path), os.fsencode(tmp_path)
    with os.scandir(top) as entries:
        piece = list(entries)
    (tmp_path / "a.mkv").unlink()
    listing = _Listing(top, top)
    Walk(wanted, top)._sort_out(piece, listing, whole=True)
    assert (listing.rest, listing.restless) == ([], True)
