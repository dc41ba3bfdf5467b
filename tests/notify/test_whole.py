"""A whole daemon whose jobs end: what others get of it, and what becomes of the videos."""

from __future__ import annotations

import os
from pathlib import Path

from upload.pipeline import rig, wait_for

from megamax_sync.job import JobState
from megamax_sync.sandbox import Fault

from .receiver import Receiver


def test_done_is_told_and_the_video_moved(tmp_path: Path, listener: Receiver) -> None:
    """The command sees it in its place, then it goes with its sidecar, and is never found again."""
    target, out = tmp_path / "away", tmp_path / "out"
    target.mkdir()
    script = (
        f'test -e "$MEGAMAX_PATH" && test -e "$MEGAMAX_SIDECAR" && echo $MEGAMAX_EVENT >> {out}'
    )
    with rig(tmp_path) as made:
        data = made.put("show/a.mkv")
        made.start(
            AFTER_DONE=f"move:{target}",
            ON_DONE=f"sh -c '{script}'",
            WEBHOOK=listener.url,
            RESCAN_SECONDS="0.2",
        )
        wait_for((target / "show/a.mkv.megamax.json").exists)
        wait_for(lambda: not (made.drop / "show/a.mkv.megamax.json").exists())
        assert (target / "show/a.mkv").read_bytes() == data
        assert out.read_text("utf-8") == "done\n"
        wait_for(lambda: len(listener.requests) == 1)
        (document,) = listener.documents()
        assert document["mirrors"]
        # Rescans go on meanwhile.
        wait_for(lambda: len(made.said("scan.finished")) > 3)
        counts = made.daemon.store.views.counts()
        assert {state: count for state, count in counts.items() if count} == {JobState.DONE: 1}
        assert len(made.remote(data)) == 1
        # Another video of that name has a way of its own.
        made.put("show/a.mkv")
        wait_for((target / "show/a (2).mkv.megamax.json").exists)


def test_failed_is_told_with_its_reason(tmp_path: Path, listener: Receiver) -> None:
    """And the file stays, whatever is to become of those that are done."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.status(415, "no video"), nth=None)
        made.put("a.mkv")
        made.start(AFTER_DONE="delete", WEBHOOK=listener.url)
        wait_for(lambda: listener.requests)
        (document,) = listener.documents()
        assert (document["event"], document["hashid"]) == ("failed", None)
        assert "415" in document["error"]
        assert (made.drop / "a.mkv").exists()


def test_deleted_videos_are_neither_vanished_nor_new(tmp_path: Path) -> None:
    """The job stays done over rescans and restarts, and its sidecar is kept."""
    with rig(tmp_path) as made:
        data = made.put("a.mkv")
        made.start(AFTER_DONE="delete")
        wait_for(lambda: not (made.drop / "a.mkv").exists())
        made.stop()
        made.start(AFTER_DONE="delete")
        wait_for(lambda: made.said("scan.finished"))
        assert made.state("a.mkv") is JobState.DONE
        # A canary of the watch may be there for a moment.
        left = [name for name in os.listdir(made.drop) if not name.startswith(".")]
        assert left == ["a.mkv.megamax.json"]
        assert len(made.remote(data)) == 1
