"""Sidecars of uploads that the queue knows: they tell of a copy or a move, and of no loss."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from upload.pipeline import rig, wait_for

from megamax_sync.job import FileStamp, JobState


def test_a_copy_with_its_sidecar_is_a_duplicate(tmp_path: Path) -> None:
    """Nothing was lost: other new files are sent, whatever the account has under their names."""
    with rig(tmp_path) as made:
        made.put("a.mp4")
        made.start()
        made.wait_done("a.mp4")
        wait_for(made.daemon.watcher.taken_in.is_set)
        (made.drop / "copy").mkdir()
        for name in ("a.mp4.megamax.json", "a.mp4"):
            shutil.copy2(made.drop / name, made.drop / "copy" / name)
        made.wait_state("copy/a.mp4", JobState.SKIPPED)
        made.sandbox.add_file("v.mp4", os.urandom(5000))
        mine = made.put("v.mp4", size=5000)
        made.wait_done("v.mp4")
        assert len(made.remote(mine)) == 1
        assert not made.said("queue.lost")


def test_a_sidecar_from_elsewhere_proves_and_tells_of_no_loss(tmp_path: Path) -> None:
    """A video that comes in from another machine, with its sidecar, has been uploaded."""
    with rig(tmp_path / "one") as other:
        other.put("a.mp4")
        other.start()
        other.wait_done("a.mp4")
        assert other.stop()
        with rig(tmp_path / "two") as made:
            for name in ("LOGIN", "KEY", "API_URL"):
                made.environ[f"MEGAMAX_{name}"] = other.environ[f"MEGAMAX_{name}"]
            made.start()
            wait_for(made.daemon.watcher.taken_in.is_set)
            assert made.stop()
            made.start()
            for name in ("a.mp4.megamax.json", "a.mp4"):
                shutil.copy2(other.drop / name, made.drop / name)
            made.wait_done("a.mp4")
            assert other.calls("upload") == 1
            assert not made.said("queue.lost")


def test_a_move_to_another_disk_takes_the_job_along(tmp_path: Path) -> None:
    """A copy, with times and sidecar, and the old one gone: one job, as for any other move."""
    with rig(tmp_path) as made:
        far = tmp_path / "far"
        far.mkdir()
        made.put("s/a.mp4")
        both = f"{made.drop}:{far}"
        made.start(WATCH=both)
        made.wait_done("s/a.mp4")
        assert made.stop()
        shutil.copytree(made.drop / "s", far / "s")
        shutil.rmtree(made.drop / "s")
        store = made.start(WATCH=both).store
        wait_for(lambda: made.said("file.moved"))
        (job,) = store.views.jobs()
        assert job.path == os.fsencode(far / "s/a.mp4")
        assert made.calls("upload") == 1


def test_a_forgotten_upload_is_proven_by_no_sidecar(tmp_path: Path) -> None:
    """Who hands the file in again wants it sent."""
    with rig(tmp_path) as made:
        data = made.put("a.mp4")
        store = made.start().store
        made.wait_done("a.mp4")
        path = os.fsencode(made.drop / "a.mp4")
        store.orders.forget(made.the_job("a.mp4"))
        store.orders.recall(path)
        stamp, root = FileStamp.of(os.lstat(path)), os.fsencode(made.drop)
        store.jobs.add(path, stamp, root=root, folder=None, ready=False, reason="handed in")
        made.wait_done("a.mp4")
        assert len(made.remote(data)) == 2


def test_after_a_loss_a_duplicate_is_one_again(tmp_path: Path) -> None:
    """Of two sidecars of one upload, one proves it."""
    with rig(tmp_path) as made:
        data = made.put("a.mp4")
        made.start()
        made.wait_done("a.mp4")
        made.put("b.mp4", data)
        made.wait_state("b.mp4", JobState.SKIPPED)
        assert made.stop()
        (tmp_path / "state/queue.db").unlink()
        store = made.start().store
        states = [JobState.DONE, JobState.SKIPPED]
        wait_for(lambda: sorted(job.state for job in store.views.jobs()) == states)
        assert made.calls("upload") == 1
