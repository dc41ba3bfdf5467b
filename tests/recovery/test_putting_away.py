"""MEGAMAX_AFTER_DONE beside a loss: a video goes only after an upload of its own, of this queue."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from upload.pipeline import Rig, rig, wait_for

from megamax_sync.job import JobState


def drain(made: Rig) -> None:
    """Have a video sent and deleted: what was owed before it has been dealt with then."""
    made.put("last.mp4", size=9000)
    wait_for(lambda: made.state("last.mp4") is JobState.DONE)
    wait_for(lambda: not (made.drop / "last.mp4").exists())
    wait_for(lambda: not made.daemon.store.outbox.due_after())


def break_a_page(queue: Path, table: str) -> None:
    """Leave nothing that makes sense on the first page of a table or index."""
    with sqlite3.connect(queue) as raw:
        sql = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        (root,) = raw.execute(sql, (table,)).fetchone()
    raw.close()
    data = bytearray(queue.read_bytes())
    data[(root - 1) * 4096 : root * 4096] = b"\x77" * 4096
    queue.write_bytes(data)


def test_videos_done_before_the_setting_are_kept_when_the_queue_is_lost(tmp_path: Path) -> None:
    """What their sidecars prove was done once: it is not done again."""
    with rig(tmp_path) as made:
        made.put("a.mp4")
        made.start()
        made.wait_done("a.mp4")
        assert made.stop()
        (tmp_path / "state/queue.db").unlink()
        made.start(AFTER_DONE="delete")
        made.wait_done("a.mp4")
        drain(made)
        assert (made.drop / "a.mp4").exists()


def test_an_archive_is_not_handed_in_anew_when_the_queue_is_damaged(tmp_path: Path) -> None:
    """Videos that were put away have no watched folder, as if somebody had named them."""
    with rig(tmp_path) as made:
        archive = tmp_path / "archive"
        archive.mkdir()
        made.put("a.mp4")
        made.start(AFTER_DONE=f"move:{archive}")
        wait_for((archive / "a.mp4.megamax.json").exists)
        wait_for(lambda: not made.daemon.store.outbox.owed())
        assert made.stop()
        break_a_page(tmp_path / "state/queue.db", "job_by_state")
        made.start(AFTER_DONE="delete")
        drain(made)
        (said,) = made.said("queue.lost")
        assert said["handed_in"] == 0
        assert (archive / "a.mp4").exists()


def test_a_duplicate_that_takes_an_upload_over_is_kept(tmp_path: Path) -> None:
    """It has become ``done``, and was never sent."""
    with rig(tmp_path) as made:
        data = made.put("a.mp4")
        made.start(AFTER_DONE="delete")
        wait_for(lambda: not (made.drop / "a.mp4").exists())
        made.put("b.mp4", data)
        made.wait_state("b.mp4", JobState.SKIPPED)
        made.daemon.store.orders.forget(made.the_job("a.mp4"))
        made.wait_done("b.mp4")
        drain(made)
        assert (made.drop / "b.mp4").exists()


def test_a_video_whose_upload_was_only_found_is_kept(tmp_path: Path) -> None:
    """Another video of its name and size was uploaded by hand: this one may be all there is."""
    with rig(tmp_path) as made:
        mine = made.put("video.mp4")
        made.sandbox.add_file("video.mp4", b"x" * len(mine))
        made.start(ADOPT="true", AFTER_DONE="delete")
        made.wait_done("video.mp4")
        drain(made)
        assert (made.drop / "video.mp4").read_bytes() == mine
        (said,) = made.said("file.kept")
        assert said["path"] == made.the_job("video.mp4").path
        assert "not sent from here" in made.history("video.mp4")[-1].reason
