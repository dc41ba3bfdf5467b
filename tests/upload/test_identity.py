"""The same content under two names is sent once, and what is moved is not sent again."""

from __future__ import annotations

import os
from pathlib import Path

from megamax_sync.job import JobState
from upload.pipeline import Rig, rig, wait_for

DONE, FAILED, QUEUED, SKIPPED = JobState.DONE, JobState.FAILED, JobState.QUEUED, JobState.SKIPPED


def assert_duplicate(made: Rig, name: str, original: str, data: bytes) -> None:
    """The content is in the account once, and both sidecars name it."""
    (copy,) = made.remote(data)
    job = made.wait_state(name, SKIPPED)
    assert job.error == f"duplicate of {made.drop / original}"
    first, second = made.sidecar(original), made.sidecar(name)
    assert first is not None
    assert second is not None
    assert first["hashid"] == second["hashid"] == copy.hashid
    assert second["source"]["name"] == os.path.basename(name)
    assert second["status"] == "converted"
    assert second["mirrors"] == first["mirrors"]


def test_two_that_come_together_are_sent_once(tmp_path: Path) -> None:
    """Of two files of one content, the second waits and gets the first one's links."""
    with rig(tmp_path) as made:
        data = made.put("a.mp4")
        made.put("b.mkv", data)
        made.start()
        made.wait_done("a.mp4")
        assert_duplicate(made, "b.mkv", "a.mp4", data)
        (said,) = made.said("file.skipped")
        assert said["job"] == made.the_job("b.mkv").id
        assert said["path"] == os.fsencode(made.drop / "b.mkv")
        assert said["reason"] == f"duplicate of {made.drop / 'a.mp4'}"


def test_a_renamed_video_is_not_sent_again(tmp_path: Path) -> None:
    """Its job and its sidecar follow it."""
    with rig(tmp_path) as made:
        data = made.put("a.mp4")
        made.start()
        made.wait_done("a.mp4")
        job = made.the_job("a.mp4")
        (made.drop / "deep").mkdir()
        (made.drop / "a.mp4").rename(made.drop / "deep/b.mp4")
        wait_for(lambda: made.sidecar("deep/b.mp4") and not made.sidecar("a.mp4"))
        assert made.the_job("deep/b.mp4").id == job.id
        document = made.sidecar("deep/b.mp4")
        assert document is not None
        assert document["source"]["name"] == "b.mp4"
        (said,) = made.said("file.moved")
        assert said["path"] == os.fsencode(made.drop / "deep/b.mp4")
        assert said["old_path"] == os.fsencode(made.drop / "a.mp4")
        assert len(made.remote(data)) == len(made.sandbox.files()) == 1
