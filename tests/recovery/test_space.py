"""Disks that take nothing more, under the queue and under the sidecars."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cli.program import Program, wait_until
from lacking import lacking
from upload.pipeline import rig, wait_for

from megamax_sync.sandbox import Fault, FaultScript, Sandbox


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a file system of one and a half MiB."""
    folder.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1536k,mode=700", "none", str(folder)]
    made = subprocess.run(mount, check=False, capture_output=True)
    if made.returncode:
        lacking("the right to mount a small tmpfs, which gets full: run the tests as root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no byte free; return the file that takes the room."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


def told(program: Program) -> dict[str, Any]:
    """What status --json says of the daemon."""
    daemon: dict[str, Any] = program.run("status", "--json").json()["daemon"]
    return daemon


def test_an_upload_that_ends_on_a_full_disk_outlasts_a_kill(tmp_path: Path) -> None:
    """It was in the journal before: the next start finds it in the account."""
    faults = FaultScript()
    with (
        small_disk(tmp_path / "state") as state,
        Sandbox(tmp_path / "sandbox", faults=faults, step=0.05) as sandbox,
    ):
        program = Program(tmp_path, sandbox)
        faults.add("upload", Fault.hold(), 1)
        program.video("a.mp4")
        with program.running() as running:
            wait_until(lambda: any(one.call == "upload" for one in sandbox.requests))
            ballast = fill(state)
            faults.release()
            wait_until(lambda: len(sandbox.files()) == 1)
            running.wait_for("queue.failed")
            said = told(program)
            assert (said["running"], said["problem"]) == (True, "disk-full")
            assert "no space left" in said["problem_detail"]
            running.end(signal.SIGKILL)
        ballast.unlink()
        with program.running() as running:
            running.wait_for("job.done")
            assert running.saw("upload.reconciled")
        assert len(sandbox.files()) == 1


def test_a_start_on_a_full_disk_waits_for_space(tmp_path: Path) -> None:
    """It says what is wrong, and goes on by itself once there is space."""
    with (
        small_disk(tmp_path / "state") as state,
        Sandbox(tmp_path / "sandbox", step=0) as sandbox,
    ):
        program = Program(tmp_path, sandbox)
        program.video("a.mp4")
        ballast = fill(state)
        with program.running() as running:
            running.wait_for("queue.failed")
            said = told(program)
            assert (said["running"], said["problem"]) == (True, "disk-full")
            ballast.unlink()
            running.wait_for("job.done")
            assert told(program)["problem"] is None
            assert running.end() == 0


def test_a_start_on_a_full_disk_can_be_ended(tmp_path: Path) -> None:
    """A stop is a clean one."""
    with small_disk(tmp_path / "state") as state, Sandbox(tmp_path / "sandbox") as sandbox:
        program = Program(tmp_path, sandbox)
        fill(state)
        with program.running() as running:
            running.wait_for("queue.failed")
            assert running.end() == 0


def test_no_space_for_sidecars_is_said_and_made_good(tmp_path: Path) -> None:
    """The upload counts, its sidecar follows as soon as it can."""
    with small_disk(tmp_path / "sidecars") as sidecars, rig(tmp_path) as made:
        ballast = fill(sidecars)
        made.put("a.mp4")
        made.start(SIDECAR_DIR=str(sidecars))
        wait_for(lambda: made.daemon.problem() is not None)
        problem = made.daemon.problem()
        assert problem is not None
        assert problem.word == "disk-full"
        assert str(sidecars) in problem.detail
        ballast.unlink()
        made.wait_done("a.mp4")
        assert (sidecars / "a.mp4.megamax.json").exists()
        wait_for(lambda: made.daemon.problem() is None)
        assert made.calls("upload") == 1


def test_a_queue_that_becomes_read_only_is_said_and_made_good(tmp_path: Path) -> None:
    """As an ext4 that has found an error does to it: nothing is lost, nothing sent twice."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.hold(), 1)
        data = made.put("a.mp4")
        made.start()
        made.wait_sent("a.mp4")
        made.daemon.store.database.read("PRAGMA query_only = ON")
        made.faults.release()
        wait_for(lambda: made.daemon.problem() is not None)
        problem = made.daemon.problem()
        assert problem is not None
        assert problem.word == "disk-full"
        assert "readonly" in problem.detail
        wait_for(lambda: made.remote(data))
        made.daemon.store.database.read("PRAGMA query_only = OFF")
        made.wait_done("a.mp4")
        wait_for(lambda: made.daemon.problem() is None)
        assert made.calls("upload") == 1
