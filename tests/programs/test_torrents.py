"""Torrents of several files, downloaded by real clients into new folders of the watched one."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import RequireProgram

from .place import Place, until
from .swarm import Swarm


def whole(place: Place, torrent: Swarm) -> dict[Path, bytes]:
    """The torrent's files, by where they are to lie."""
    return {place.drop / path: content for path, content in torrent.files.items()}


def wait_one_open(place: Place, torrent: Swarm) -> None:
    """Wait until a file, which may be any, waits for the client that has it open."""
    until(
        lambda: any(place.waited(path, "open for writing") for path in whole(place, torrent)),
        "no file was seen to be open",
    )


def test_a_torrent_by_aria2c(place: Place, require_program: RequireProgram) -> None:
    """Every file has its final name and size from the start, and waits until aria2c is done."""
    torrent = Swarm(place, require_program)
    with torrent.downloading_with_aria2c() as client:
        wait_one_open(place, torrent)
        torrent.go_on.set()
        client.finish()
    place.check(whole(place, torrent))


@pytest.mark.parametrize(
    "preallocation", [pytest.param(1, id="reserved"), pytest.param(2, id="filled with zeroes")]
)
def test_a_torrent_by_transmission_under_the_final_names(
    place: Place, preallocation: int, require_program: RequireProgram
) -> None:
    """It may stall for as long as it likes; the client goes on running when it is complete."""
    torrent = Swarm(place, require_program)
    with torrent.downloading_with_transmission(
        rename_partial_files=False, preallocation=preallocation
    ):
        wait_one_open(place, torrent)
        torrent.go_on.set()
        place.check(whole(place, torrent))


def test_a_torrent_by_transmission_under_unfinished_names(
    place: Place, require_program: RequireProgram
) -> None:
    """Files that end in .part are let be; each is taken once it is renamed."""
    torrent = Swarm(place, require_program)
    with torrent.downloading_with_transmission(rename_partial_files=True):
        until(lambda: any(place.drop.rglob("*.mkv.part")), "nothing is being downloaded")
        torrent.go_on.set()
        place.check(whole(place, torrent))


def test_a_torrent_by_transmission_from_another_file_system(
    place: Place, elsewhere: Path, require_program: RequireProgram
) -> None:
    """It is downloaded elsewhere, and copied into the watched folder when it is complete."""
    torrent = Swarm(place, require_program)
    with torrent.downloading_with_transmission(
        incomplete_dir=str(elsewhere), incomplete_dir_enabled=True
    ):
        until(lambda: any(elsewhere.rglob("*.mkv*")), "nothing is being downloaded")
        torrent.go_on.set()
        place.check(whole(place, torrent))
