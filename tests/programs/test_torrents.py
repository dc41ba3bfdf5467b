"""Torrents of several files, downloaded by real clients into new folders of the watched one."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from conftest import RequireProgram

from .place import Place, until
from .swarm import Swarm


def wait_one_open(place: Place, torrent: Swarm) -> None:
    """Wait until a file, which may be any, waits for the client that has it open."""
    until(
        lambda: any(place.waited(path, "open for writing") for path in torrent.files),
        "no file was seen to be open",
    )


def test_a_torrent_by_aria2c(place: Place, require_program: RequireProgram) -> None:
    """Every file has its final name and size from the start, and waits until aria2c is done."""
    torrent = Swarm(place, require_program, "show")
    with torrent.downloading_with_aria2c() as client:
        wait_one_open(place, torrent)
        torrent.go_on.set()
        client.finish()
    place.check(torrent.files)


def test_torrents_by_transmission(
    place: Place, elsewhere: Path, require_program: RequireProgram
) -> None:
    """Under the final names or others, wherever it keeps them and however it reserves space.

    All at once, since it lets every peer wait for ten seconds. None of the clients ends.
    """
    ways: dict[str, dict[str, str | int | bool]] = {
        "reserved": {"rename_partial_files": False, "preallocation": 1},
        "zeroes": {"rename_partial_files": False, "preallocation": 2},
        "part": {"rename_partial_files": True},
        "copied": {"incomplete_dir": str(elsewhere), "incomplete_dir_enabled": True},
    }
    torrents = {name: Swarm(place, require_program, name) for name in ways}
    with ExitStack() as clients:
        for name, torrent in torrents.items():
            clients.enter_context(torrent.downloading_with_transmission(**ways[name]))
        wait_one_open(place, torrents["reserved"])
        wait_one_open(place, torrents["zeroes"])
        until(lambda: any((place.drop / "part").rglob("*.part")), "part does not download")
        until(lambda: any(elsewhere.rglob("*.mkv*")), "copied does not download")
        for torrent in torrents.values():
            torrent.go_on.set()
        place.check(
            {path: content for one in torrents.values() for path, content in one.files.items()}
        )
