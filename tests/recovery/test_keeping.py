"""What is lost while the daemon is at work: noticed, and put back."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli.program import Program, wait_until
from upload.pipeline import Rig, rig, wait_for

from megamax_sync import control
from megamax_sync.cli.context import reading
from megamax_sync.job import JobState
from megamax_sync.recovery import keeper
from megamax_sync.sandbox import Fault, Sandbox
from megamax_sync.state import StateFolder


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test needs to wait for three seconds."""
    monkeypatch.setattr(keeper, "_LOOK", 0.1)


def at_work(made: Rig) -> bytes:
    """Start, with one file done and one being sent; return the content of that."""
    made.put("done.mp4")
    made.start(MIN_RATE="0", TIMEOUT_SECONDS="100")
    made.wait_done("done.mp4")
    wait_for(lambda: made.daemon.store.settings.born is not None)
    wait_for(lambda: made.daemon.keeper._born is not None)
    made.faults.add("upload", Fault.hold(), 1)
    data = made.put("big.mp4", size=3_000_000)
    wait_for(lambda: made.state("big.mp4") is JobState.UPLOADING)
    # So that nobody writes into the folder while it is taken away.
    folder, lineage = StateFolder(str(made.folder / "state")), made.daemon.store.lineage
    wait_for(lambda: folder.noted() == lineage.steps)
    return data


def remove(queue: Path) -> None:
    """Take the queue away, with all that belongs to it."""
    for name in ("queue.db", "queue.db-wal", "queue.db-shm"):
        queue.with_name(name).unlink(missing_ok=True)


def remove_it_alone(queue: Path) -> None:
    """Take the queue away, and leave its WAL."""
    queue.unlink()


def replace(queue: Path) -> None:
    """Put something else in its place."""
    other = queue.with_name("other")
    other.write_bytes(b"something else")
    other.replace(queue)


def remove_the_folder(queue: Path) -> None:
    """Take the whole state folder away."""
    shutil.rmtree(queue.parent)


@pytest.mark.parametrize(
    "lose", [remove, remove_it_alone, replace, remove_the_folder], ids=lambda one: one.__name__
)
def test_a_queue_that_is_taken_away_is_put_back(
    tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    """From what is open: an upload under way goes on, and others find the queue again."""
    queue = tmp_path / "state/queue.db"
    with rig(tmp_path) as made:
        data = at_work(made)
        lose(queue)
        wait_for(lambda: made.said("queue.restored"))
        made.faults.release()
        (said,) = made.said("queue.restored")
        assert said["reason"] == ("replaced" if lose is replace else "deleted")
        if lose is replace:
            assert Path(said["set_aside"]).read_bytes() == b"something else"
        made.wait_done("done.mp4", "big.mp4")
        assert made.calls("upload") == 2
        assert len(made.remote(data)) == 1
        assert not [step for step in made.history("big.mp4") if step.state == "queued"][1:]
        folder = StateFolder(str(tmp_path / "state"))
        assert folder.in_use()
        with reading(folder) as store:
            assert store is not None
            assert store.views.counts()[JobState.DONE] == 2
        wait_for(lambda: control.ask(folder.socket, "live") is not None)
        # The restored one is what the next start goes on with.
        assert made.stop()
        made.start()
        made.wait_done("done.mp4", "big.mp4")
        assert not made.said("queue.lost")
        assert made.calls("upload") == 2


def test_a_queue_that_is_put_back_is_put_back_again(tmp_path: Path) -> None:
    """Once is not all."""
    queue = tmp_path / "state/queue.db"
    with rig(tmp_path) as made:
        at_work(made)
        for times in (1, 2):
            remove(queue)
            wait_for(lambda times=times: len(made.said("queue.restored")) == times)  # type: ignore[misc]  # the default binds the loop's value; mypy cannot tell its type
        made.faults.release()
        made.wait_done("big.mp4")


def test_a_folder_that_another_instance_has_taken_is_given_up(tmp_path: Path) -> None:
    """Deleted and taken by another: there are never two at work on it."""
    with rig(tmp_path) as made:
        at_work(made)
        shutil.rmtree(tmp_path / "state")
        other = StateFolder(str(tmp_path / "state"))
        other.make()
        other.lock()
        try:
            wait_for(made.daemon.keeper.broken.is_set)
            assert not (tmp_path / "state/queue.db").exists()
        finally:
            other.unlock()


def test_after_a_sleep_everybody_looks_what_is_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waits stand still while the machine sleeps, and links expire."""
    with rig(tmp_path) as made:
        made.put("a.mp4")
        made.start()
        made.wait_done("a.mp4")
        due = made.daemon.clock.now() + 3600
        made.daemon.store.tracking.track(made.the_job("a.mp4"), check_at=due)
        before, awake = made.calls("direct"), time.clock_gettime
        assert not made.daemon.stopping.wait(0.5)
        assert made.calls("direct") == before
        monkeypatch.setattr(time, "clock_gettime", lambda which: awake(which) + 7200)
        wait_for(lambda: made.calls("direct") > before)


def overwritten(queue: Path) -> None:
    """Write anything over all of it."""
    size = queue.stat().st_size
    with queue.open("r+b") as file:
        file.write(os.urandom(size))


def emptied(queue: Path) -> None:
    """Cut it off at its start."""
    os.truncate(queue, 0)


@pytest.mark.parametrize("lose", [overwritten, emptied], ids=lambda one: one.__name__)
def test_a_queue_that_is_destroyed_at_work_is_made_again(
    tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    """The program begins anew, by itself, and sends nothing twice."""
    with Sandbox(tmp_path / "sandbox", step=0.05) as sandbox:
        program = Program(tmp_path, sandbox)
        for number in range(10):
            program.video(f"{number}.mp4", 2000 + number)
        with program.running() as running:
            wait_until(lambda: len(sandbox.files()) == 10)
            wait_until(lambda: sum(one["event"] == "job.done" for one in running.events()) == 10)
            # What still stands in the WAL would outlast that.
            with contextlib.closing(sqlite3.connect(program.state / "queue.db")) as queue:
                queue.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            lose(program.state / "queue.db")
            wait_until(
                lambda: running.saw("queue.rebuilt") or running.saw("queue.restored"), "its return"
            )
            program.video("new.mp4")
            wait_until(lambda: len(sandbox.files()) == 11)
            wait_until(lambda: program.run("status", "--json").json()["counts"]["done"] == 11)
            assert running.end() == 0
        assert len(sandbox.files()) == 11


@pytest.mark.parametrize("how", ["deleted", "garbage", "cut"])
def test_a_sidecar_that_is_lost_is_written_again(tmp_path: Path, how: str) -> None:
    """The next rescan finds it; the others are not touched."""
    with rig(tmp_path) as made:
        made.put("a.mp4")
        made.put("b.mp4")
        made.start(RESCAN_SECONDS="0.2")
        made.wait_done("a.mp4", "b.mp4")
        before = made.sidecar("a.mp4")
        assert before is not None
        other = _written(made.drop / "b.mp4.megamax.json")
        lost = made.drop / "a.mp4.megamax.json"
        if how == "deleted":
            lost.unlink()
        elif how == "garbage":
            lost.write_bytes(os.urandom(100))
        else:
            os.truncate(lost, 10)
        wait_for(lambda: made.said("sidecar.lost"))
        wait_for(lambda: _is_whole(lost))
        again = made.sidecar("a.mp4")
        assert again is not None
        assert {**again, "updated_at": ""} == {**before, "updated_at": ""}
        assert _written(made.drop / "b.mp4.megamax.json") == other


def test_a_sidecar_is_not_written_for_a_video_that_is_gone(tmp_path: Path) -> None:
    """Whoever deletes both wants both deleted."""
    with rig(tmp_path) as made:
        made.put("a.mp4")
        made.start(RESCAN_SECONDS="0.2")
        made.wait_done("a.mp4")
        (made.drop / "a.mp4").unlink()
        (made.drop / "a.mp4.megamax.json").unlink()
        rounds: list[int] = []
        original = made.daemon.keeper._upkeep.round

        def counted() -> Iterator[None]:
            rounds.append(1)
            return original()

        made.daemon.keeper._upkeep.round = counted  # type: ignore[method-assign]  # the real one still runs; this counts its calls
        wait_for(lambda: len(rounds) >= 2)
        assert not (made.drop / "a.mp4.megamax.json").exists()
        assert not made.said("sidecar.lost")


def test_a_scan_writes_lost_sidecars_again(tmp_path: Path) -> None:
    """Also the one-shot run, before it ends."""
    with Sandbox(tmp_path / "sandbox", step=0) as sandbox:
        program = Program(tmp_path, sandbox)
        program.video("a.mp4")
        assert program.run("--scan").status == 0
        (program.watch / "a.mp4.megamax.json").unlink()
        assert program.run("--scan").status == 0
        assert (program.watch / "a.mp4.megamax.json").exists()


def _written(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def _is_whole(path: Path) -> bool:
    try:
        return path.read_bytes().endswith(b"}\n")
    except OSError:
        return False
