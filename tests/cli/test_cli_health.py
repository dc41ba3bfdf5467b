"""``health`` and ``backup``: how the instance is, and a copy of its queue."""

from __future__ import annotations

import os
import re
import signal
import stat
import threading
from pathlib import Path

import pytest
from upload.pipeline import rig, wait_for

from cli.program import Program
from megamax_sync import health, loop
from megamax_sync.cli.instance import look_at
from megamax_sync.cli.run import summary
from megamax_sync.control import ask
from megamax_sync.job import JobState
from megamax_sync.state import StateFolder


def test_a_running_daemon_is_healthy_and_none_is_not(program: Program) -> None:
    """0 while it gets on, 1 when it does not run, each with its reason."""
    with program.daemon():
        result = program.run("health")
        assert (result.status, result.lines()) == (0, ["all parts get on"])
    result = program.run("health")
    assert result.status == 1
    assert "no instance is running" in result.out


def test_a_stopped_daemon_is_not_healthy(program: Program) -> None:
    """One that does not answer is as good as none; and ``status`` calls it no running one."""
    with program.daemon() as daemon:
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            assert program.run("health").status == 1
            running, problem = program.run("status").lines()[:2]
            assert running == f"running as process {daemon.process.pid}"
            assert problem.startswith("problem: it does not answer")
        finally:
            daemon.process.send_signal(signal.SIGCONT)


def test_a_part_that_hangs_is_named_though_it_holds_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever blocks, and whatever it has locked: the parts can still be asked for."""
    monkeypatch.setattr(loop, "SILENCE", 0.5)
    go_on = threading.Event()
    with rig(tmp_path) as made:
        made.start()
        daemon = made.daemon

        def hang() -> float | None:
            with daemon.store.transaction():
                go_on.wait(20)
            return None

        monkeypatch.setattr(daemon.tracker, "step", hang)
        daemon.store.database.wake()
        wait_for(lambda: daemon.tracker.pulse().stuck)
        socket = os.path.join(daemon.settings.state_dir, "control.sock")
        verdict = health.verdict(ask(socket, "parts"))
        assert "tracker" in verdict.stuck
        assert any("hang" in place for place in daemon.tracker.place())
        folder = StateFolder(daemon.settings.state_dir)
        ailment = look_at(folder).ailment or ""
        assert re.search(r"stuck: .*tracker \(silent for \d+ s\)", ailment)
        go_on.set()
        wait_for(lambda: health.verdict(ask(socket, "parts")).healthy)


def test_the_status_line_says_what_is_going_on() -> None:
    """What there is of each, and how fast; nothing of what there is not."""
    nothing = dict.fromkeys(JobState, 0)
    assert summary(nothing, 0.0) == "nothing to do, 0 done"
    busy = {**nothing, JobState.UPLOADING: 2, JobState.QUEUED: 14, JobState.PROCESSING: 3}
    assert summary(busy, 48e6) == "2 uploading at 45.8 MiB/s, 14 queued, 3 converting"
    assert summary({**nothing, JobState.FAILED: 1}, 0.0) == "1 failed"


def test_backup_copies_the_queue_of_a_running_daemon(program: Program) -> None:
    """The copy is private, is a queue of its own, and takes nobody's place unasked."""
    copy = program.home / "copy.db"
    assert program.run("backup", str(copy)).status == 1
    with program.daemon() as daemon:
        program.video("a.mp4")
        daemon.wait_for("job.done")
        result = program.run("backup", str(copy))
        assert result.status == 0
        assert str(copy) in result.out
        assert program.run("backup", str(copy)).faults()[0].endswith("or add --force")
        assert program.run("backup", "--force", str(copy)).status == 0
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    (program.state / "queue.db").unlink()
    copy.rename(program.state / "queue.db")
    assert program.counts() == {"done": 1}


def test_backup_names_what_is_wrong_with_its_target(program: Program) -> None:
    """A folder, the queue itself, and a place that is not there."""
    program.run("pause")
    for target, words in (
        (program.home, "is a folder"),
        (program.state / "queue.db", "is the queue's own"),
        (program.state / "queue.db-wal", "is the queue's own"),
    ):
        result = program.run("backup", str(target))
        assert (result.status, words in result.faults()[0]) == (2, True)
    target = program.home / "no" / "copy"
    result = program.run("backup", str(target))
    assert result.status == 1
    # The queue is fine: it is the copy that has no place.
    assert f"the copy {target} cannot be made: No such file" in result.faults()[0]
