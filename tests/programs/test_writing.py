"""Files that are filled bit by bit by a process of their own, in the ways of download clients."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE

import pytest

from . import writer
from .place import Place, Started


@contextmanager
def writing(place: Place, how: str, target: Path, content: bytes) -> Iterator[Started]:
    """Run the writer on this target."""
    source = place.aside / "source"
    source.write_bytes(content)
    with place.running(sys.executable, writer.__file__, how, source, target, stdin=PIPE) as started:
        yield started


@pytest.mark.parametrize(
    ("how", "reason"), [("pwrite", "has unwritten holes"), ("mmap", "open for writing")]
)
def test_a_preallocated_file_that_is_filled_in_random_order(
    place: Place, how: str, reason: str
) -> None:
    """Its size is final from the start, and while the writer rests it waits all the same."""
    content = os.urandom(24 * writer.BLOCK + 100)
    target = place.drop / "new" / "film.mkv"
    target.parent.mkdir()
    with writing(place, how, target, content) as started:
        place.wait_reason(target, reason)
        later = place.overtake()
        place.check_arrived(later.values())
        started.input.write(b"\n")
        started.finish()
    place.check({target: content, **later})


@pytest.mark.parametrize("how", ["zeroes", "extend"])
def test_a_file_that_shows_by_time_alone_that_it_is_not_finished(place: Place, how: str) -> None:
    """Nobody has it open and it has no holes: it is waited for as long as it keeps changing."""
    place.rig.stop()
    # Ten pauses of the writer: a machine under load does not turn one into a quiet period.
    place.start(SETTLE_SECONDS=str(10 * writer.PAUSE))
    content = os.urandom(15 * writer.BLOCK)
    target = place.drop / "film.mkv"
    with writing(place, how, target, content) as started:
        place.wait_reason(target, "1 s of quiet left")
        started.finish()
    place.check({target: content})


@pytest.mark.parametrize("suffix", ["part", "crdownload"])
def test_a_download_under_an_unfinished_name(place: Place, suffix: str) -> None:
    """It is taken when it is given its final name, which was held by an empty file till then."""
    content = os.urandom(1_000_000)
    target = place.drop / "film.mp4"
    with writing(place, suffix, target, content) as started:
        place.wait_written(target.with_name(f"film.mp4.{suffix}"))
        later = place.overtake()
        place.check_arrived(later.values())
        started.input.write(b"\n")
        started.finish()
    place.check({target: content, **later})
