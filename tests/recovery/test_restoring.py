"""A backup that takes the queue's place: what was sent since it was made is not sent again."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from upload.pipeline import Rig, rig, wait_for

from megamax_sync.clock import Clock
from megamax_sync.sandbox import Fault
from megamax_sync.store import Store

NAMES = ("a.mp4", "b.mp4", "c.mp4", "d.mp4")


def queued(made: Rig, name: str) -> bool:
    """Tell whether a file is in the queue, and might be sent."""
    job = made.job(name)
    return job is not None and job.ready


def back_up_then_send(made: Rig) -> Path:
    """Make a copy of a queue with files that wait to be sent, and send them; return the copy.

    One of them has failed once by then, and one is replaced afterwards by a new version.
    """
    copy = made.folder / "backup.db"
    made.put("old.mp4", size=700)
    store = made.start().store
    made.wait_done("old.mp4")
    made.faults.add("upload", Fault.status(422), 1)
    made.put("a.mp4", size=2000)
    wait_for(lambda: any(one.error for one in store.views.jobs()))
    store.settings.paused = True
    store.orders.retry(made.the_job("a.mp4"))
    for number, name in enumerate(NAMES[1:], 2001):
        made.put(name, size=number)
    wait_for(lambda: all(queued(made, name) for name in NAMES))
    store.database.copy_to(os.fspath(copy))
    store.settings.paused = False
    made.wait_done(*NAMES)
    made.put("old.mp4", size=800)
    wait_for(lambda: made.calls("upload") == 7)
    made.wait_done("old.mp4")
    assert made.stop()
    # Only the account's list tells of these.
    for name in NAMES[:2]:
        (made.drop / f"{name}.megamax.json").unlink()
    return copy


def restore(made: Rig, copy: Path) -> None:
    """Do as docs/operations.md says."""
    for suffix in ("", "-wal", "-shm"):
        (made.folder / f"state/queue.db{suffix}").unlink(missing_ok=True)
    shutil.copy(copy, made.folder / "state/queue.db")


def see_nothing_sent(made: Rig) -> None:
    """Start, and see that all is done without an upload."""
    uploads = made.calls("upload")
    made.start().store.settings.paused = False
    made.wait_done(*NAMES, "old.mp4")
    assert made.calls("upload") == uploads
    wait_for(lambda: made.said("queue.rebuilt"))
    (said,) = made.said("queue.lost")
    assert said["reason"] == "an earlier copy of it was put in its place"
    made.events.clear()


def test_what_a_backup_has_queued_is_not_sent_again(tmp_path: Path) -> None:
    """Its sidecars are asked, and the list; each time that it is put there, and only then."""
    with rig(tmp_path) as made:
        copy = back_up_then_send(made)
        for _ in range(2):
            restore(made, copy)
            see_nothing_sent(made)
            assert made.stop()
        made.start()
        made.wait_done(*NAMES)
        assert not made.said("queue.lost")


def test_a_backup_in_a_new_place_is_looked_through_too(tmp_path: Path) -> None:
    """Of what was done since, nothing is left there but the sidecars."""
    with rig(tmp_path) as made:
        copy = back_up_then_send(made)
        shutil.rmtree(tmp_path / "state")
        (tmp_path / "state").mkdir(0o700)
        restore(made, copy)
        see_nothing_sent(made)


@pytest.mark.parametrize("mark", ["", "what is this", "-5", "9" * 30])
def test_a_mark_that_says_nothing_is_no_sign_of_a_loss(tmp_path: Path, mark: str) -> None:
    """Earlier versions left an empty one."""
    with rig(tmp_path) as made:
        made.put("a.mp4")
        made.start()
        made.wait_done("a.mp4")
        assert made.stop()
        (tmp_path / "state/queue.made").write_text(mark)
        made.start()
        made.wait_done("a.mp4")
        assert made.stop()
        assert not made.said("queue.lost")
        with Store(str(tmp_path / "state/queue.db"), Clock()) as store:
            assert int((tmp_path / "state/queue.made").read_text()) == store.lineage.steps
