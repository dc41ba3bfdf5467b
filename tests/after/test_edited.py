"""MEGAMAX_AFTER_DONE in a whole daemon."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from upload.pipeline import rig, wait_for

from megamax_sync.sandbox import Fault


@pytest.mark.parametrize("after", ["delete", "move"])
def test_what_was_changed_unseen_is_sent_before_it_goes(tmp_path: Path, after: str) -> None:
    """In place, with its time put back: only who reads it before deleting it finds out."""
    with rig(tmp_path) as made:
        archive = tmp_path / "archive"
        archive.mkdir()
        first = made.put("a.mp4")
        made.faults.add("mirrors", Fault.hold(), 1)
        made.start(AFTER_DONE=after if after == "delete" else f"move:{archive}")
        wait_for(lambda: made.calls("mirrors"))
        path = made.drop / "a.mp4"
        times = path.stat()
        second = b"X" + first[1:] if first[:1] != b"X" else b"Y" + first[1:]
        with path.open("r+b") as file:
            file.write(second)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        made.faults.release()
        wait_for(lambda: made.said("file.kept"))
        wait_for(lambda: made.said("file.deleted") or made.said("file.put_away"), 20.0)
        assert (len(made.remote(first)), len(made.remote(second))) == (1, 1)
        assert not path.exists()
        if after == "move":
            assert (archive / "a.mp4").read_bytes() == second
