"""Torrents of several files, downloaded by real clients into new folders of the watched one."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import RequireProgram

from .place import Place
from .swarm import swarm


def test_a_torrent_by_aria2c(place: Place, require_program: RequireProgram) -> None:
    """Every file has its final name and size from the start, and waits until aria2c is done."""
    with swarm(place, require_program) as torrent:
        first = place.drop / next(iter(torrent.files))
        with torrent.downloading_with_aria2c(place.drop) as leecher:
            place.wait_written(first)
            with leecher.standing_still():
                place.wait_reason(first, "open for writing")
            leecher.finish()
    place.check({place.drop / path: content for path, content in torrent.files.items()})


@pytest.mark.parametrize(
    "preallocation", [pytest.param(1, id="reserved"), pytest.param(2, id="filled with zeroes")]
)
def test_a_torrent_by_transmission_under_the_final_names(
    place: Place, preallocation: int, require_program: RequireProgram
) -> None:
    """It may stall for as long as it likes; the client goes on running when it is complete."""
    with swarm(place, require_program) as torrent:
        first = place.drop / next(iter(torrent.files))
        with torrent.downloading_with_transmission(
            place.drop, rename_partial_files=False, preallocation=preallocation
        ) as leecher:
            place.wait_written(first)
            with leecher.standing_still():
                place.wait_reason(first, "open for writing")
            place.check({place.drop / path: content for path, content in torrent.files.items()})


def test_a_torrent_by_transmission_under_unfinished_names(
    place: Place, require_program: RequireProgram
) -> None:
    """Files that end in .part are let be; each is taken once it is renamed."""
    with (
        swarm(place, require_program) as torrent,
        torrent.downloading_with_transmission(place.drop, rename_partial_files=True),
    ):
        place.check({place.drop / path: content for path, content in torrent.files.items()})


def test_a_torrent_by_transmission_from_another_file_system(
    place: Place, elsewhere: Path, require_program: RequireProgram
) -> None:
    """It is downloaded elsewhere, and copied into the watched folder when it is complete."""
    with (
        swarm(place, require_program) as torrent,
        torrent.downloading_with_transmission(
            place.drop, incomplete_dir=str(elsewhere), incomplete_dir_enabled=True
        ),
    ):
        place.check({place.drop / path: content for path, content in torrent.files.items()})
