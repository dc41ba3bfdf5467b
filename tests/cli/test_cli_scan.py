"""``--scan``: what it waits for, what it says, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from cli.program import Program, wait_until
from megamax_sync.sandbox import Fault, FaultScript, Sandbox


def test_everything_is_uploaded_and_summed_up(program: Program, sandbox: Sandbox) -> None:
    """All files end done, hostile names too; the log goes to stderr, the summary to stdout."""
    names = [b"a.mp4", b"new\nline.mkv", b"-dash.mp4", b"qu\"ote'.mp4", b"lat\xe9in.mp4"]
    for name in names:
        program.video(name)
    result = program.run("--scan")
    assert result.status == 0
    assert result.lines()[-1].startswith("5 done, 0 failed, 0 skipped in ")
    assert '"event": "job.done"' in result.err
    assert len(sandbox.files()) == len(names)
    again = program.run("--scan", "--json")
    assert (again.status, again.json()["done"], again.json()["jobs"]) == (0, 0, [])


def test_the_json_summary_is_one_document(program: Program) -> None:
    """Its keys are the contract's own, and its jobs those of status."""
    path = program.video(b"lat\xe9in.mp4", 4321)
    document = program.run("--scan", "--json").json()
    assert set(document) == {
        "done", "failed", "skipped", "queued", "waiting", "jobs", "seconds", "exit",
    }  # fmt: skip
    (job,) = document["jobs"]
    assert (job["state"], job["size"], job["sent"]) == ("done", 4321, 4321)
    assert "�" in job["path"]
    assert os.path.exists(path + b".megamax.json")


def test_nothing_to_upload_makes_no_call(program: Program, sandbox: Sandbox) -> None:
    """It exits 0, also with credentials that would be rejected."""
    result = program.run("--scan", env={"MEGAMAX_KEY": "not-the-key"})
    assert (result.status, sandbox.requests) == (0, [])


def test_a_missing_folder_is_named_with_the_remedy(stranger: Program) -> None:
    """Exit 2; the option or the variable is named, whichever named the folder."""
    account = {"MEGAMAX_LOGIN": "a", "MEGAMAX_KEY": "bbbbbbbb"}
    gone, file = stranger.home / "gone", stranger.home / "file"
    file.touch()
    result = stranger.run("--watch", str(gone), "--watch", str(file), "--scan", env=account)
    assert (result.status, result.out) == (2, "")
    first, second = result.faults()
    assert first.startswith(f"megamax-sync: --watch: '{gone}' cannot be scanned (No such file")
    assert "make the folder" in first
    assert "it is no folder" in second
    result = stranger.run("--scan", env={**account, "MEGAMAX_WATCH": str(gone)})
    assert result.status == 2
    assert result.faults()[0].startswith(f"megamax-sync: MEGAMAX_WATCH: '{gone}'")


def test_rejected_credentials_end_it_at_once(program: Program) -> None:
    """Exit 3; what was found stays queued."""
    program.video("a.mp4")
    result = program.run("--scan", "--json", env={"MEGAMAX_KEY": "not-the-key"})
    assert result.status == 3
    assert (result.json()["exit"], result.json()["queued"]) == (3, 1)
    assert "not-the-key" not in result.err
    assert program.counts() == {"queued": 1}


def test_a_failing_service_is_waited_for_until_the_timeout(
    program: Program, faults: FaultScript
) -> None:
    """Exit 75 after --timeout; the next run goes on with what is left."""
    faults.add("generate", Fault.status(503), nth=None)
    program.video("a.mp4")
    result = program.run("--timeout", "1", "--scan")
    assert result.status == 75
    assert "1 left for the next run" in result.out
    # Every line of stderr is the log's, also this one.
    assert [json.loads(line) for line in result.err.splitlines()][-1]["event"] == "scan.ended"
    assert "--timeout" in result.err.splitlines()[-1]
    faults.clear()
    assert program.run("--scan").status == 0
    assert program.counts() == {"done": 1}


def test_paused_uploads_are_not_waited_for(program: Program, sandbox: Sandbox) -> None:
    """Exit 75 if there is something to upload, 0 if there is not; resume lets it go on."""
    assert program.run("pause").status == 0
    assert program.run("--scan").status == 0
    program.video("a.mp4")
    result = program.run("--scan")
    assert (result.status, sandbox.files()) == (75, [])
    assert "paused" in result.err.splitlines()[-1]
    program.run("resume")
    assert program.run("--scan").status == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_it(program: Program, faults: FaultScript, number: int) -> None:
    """Exit 130; the upload goes back into the queue at no cost."""
    faults.add("upload", Fault.stall(), nth=None)
    program.video("a.mp4", 30_000_000)
    with program.running("--scan", until="upload.started") as scan:
        assert scan.end(number) == 130
    assert program.job(1)["state"] == "queued"
    assert program.run("status", "--json").json()["jobs"][0]["attempts"] == 0


def test_a_second_signal_kills(program: Program, faults: FaultScript) -> None:
    """Whoever asks twice does not wait for a clean stop; the next run loses nothing."""
    faults.add("upload", Fault.stall(), nth=None)
    program.video("a.mp4", 30_000_000)
    with program.running("--scan", until="upload.started") as scan:
        scan.process.send_signal(signal.SIGINT)
        scan.wait_for("daemon.stopping")
        status = scan.end(signal.SIGINT)
    # On a quick machine the clean stop may win.
    assert status in {-signal.SIGINT, 130}
    faults.clear()
    assert program.run("--scan").status == 0


def test_failures_count_as_long_as_the_file_is_there(program: Program, faults: FaultScript) -> None:
    """Exit 1 now and in later runs, without another try; 0 once the file is gone."""
    faults.add("upload", Fault.status(415, "no video"))
    path = program.video("a.mp4")
    first = program.run("--scan")
    assert first.status == 1
    assert first.lines()[0].startswith(f"failed {path.decode()}: ")
    later = program.run("--scan", "--json")
    assert (later.status, later.json()["failed"], later.json()["done"]) == (1, 1, 0)
    os.unlink(path)
    assert program.run("--scan").status == 0


def test_a_file_that_is_being_written_is_left_for_the_next_run(program: Program) -> None:
    """It is named with the reason, the rest is done, and the exit status is 0."""
    program.video("done.mp4")
    path = program.video("open.mp4")
    with open(path, "ab"):
        result = program.run("--scan", "--json")
    assert result.status == 0
    document = result.json()
    assert document["done"] == 1
    (waiting,) = document["waiting"]
    assert waiting["path"] == path.decode()
    assert "open for writing" in waiting["reason"]


def test_a_conversion_that_is_under_way_is_waited_for(
    program: Program, sandbox: Sandbox, faults: FaultScript
) -> None:
    """A run that finds nothing new still waits for what an earlier one has sent."""
    faults.add("files", Fault.status(503), nth=None)
    faults.add("file", Fault.status(503), nth=None)
    program.video("a.mp4")
    with program.running("--scan", until="upload.finished") as scan:
        assert scan.end() == 130
    assert program.counts() == {"processing": 1}
    faults.clear()
    result = program.run("--scan", "--json")
    assert (result.status, result.json()["done"], len(sandbox.files())) == (0, 1, 1)


def test_an_interrupt_while_nothing_is_to_be_done(program: Program, faults: FaultScript) -> None:
    """SIGTERM ends a run that waits for the service, quickly and with 130."""
    faults.add("generate", Fault.status(503), nth=None)
    program.video("a.mp4")
    with program.running("--scan", until="service.paused") as scan:
        assert scan.end() == 130


@pytest.mark.parametrize("with_header", [False, True])
def test_a_queue_whose_making_was_cut_short_is_made(program: Program, with_header: bool) -> None:
    """A disk that was full at the first start leaves an empty database: as good as none."""
    program.state.mkdir()
    queue = program.state / "queue.db"
    with contextlib.closing(sqlite3.connect(queue)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    if not with_header:
        queue.write_bytes(b"")
    assert program.run("status").status == 0
    program.video("a.mp4")
    assert program.run("--scan").status == 0
    assert program.counts() == {"done": 1}


def test_a_daemon_that_does_not_answer_holds_up_nobody(program: Program) -> None:
    """Stopped by SIGSTOP: --timeout holds to about a second, and pause returns."""
    with program.daemon() as daemon:
        # Stopped in the middle of a commit it would hold the queue, too: see the next test.
        daemon.freeze()
        while program.queue_is_held():
            daemon.process.send_signal(signal.SIGCONT)
            daemon.freeze()
        program.video("a.mp4")
        try:
            began = time.monotonic()
            assert program.run("--timeout", "1", "--scan").status == 75
            assert time.monotonic() - began < 20
            began = time.monotonic()
            assert program.run("pause").status == 0
            assert time.monotonic() - began < 20
        finally:
            daemon.process.send_signal(signal.SIGCONT)


def test_a_queue_that_is_held_for_long_is_waited_for_as_long_as_wanted(program: Program) -> None:
    """--timeout and SIGTERM hold against it; an order says who is in the way, and exits 75."""
    program.video("a.mp4")
    (program.home / "elsewhere").mkdir()
    with program.daemon(env={"MEGAMAX_WATCH": str(program.home / "elsewhere")}):
        with contextlib.closing(sqlite3.connect(program.state / "queue.db")) as connection:
            connection.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            assert program.run("--timeout", "1", "--scan").status == 75
            assert time.monotonic() - began < 20
            result = program.run("pause")
            assert result.status == 75
            assert "held by another process" in "".join(result.faults())
            with program.running("--scan") as scan:
                wait_until(lambda: scan.opened(program.state / "queue.db"), "the queue is open")
                assert scan.end(signal.SIGTERM) == 130
            connection.execute("ROLLBACK")
        assert program.run("pause").status == 0


def test_a_damaged_queue_is_told_with_the_remedy(program: Program) -> None:
    """Exit 1 and one line that names the file; --scan sets it aside and makes another."""
    program.state.mkdir()
    queue = program.state / "queue.db"
    queue.write_bytes(b"this is no database at all, " * 200)
    for arguments in (["status"], ["pause"]):
        result = program.run(*arguments)
        assert result.status == 1, arguments
        (line,) = result.faults()
        assert str(queue) in line
        assert "makes it again from what is left" in line
    assert program.run("--scan").status == 0
    assert any(name.startswith("queue.db.") for name in os.listdir(program.state))


def test_a_state_folder_that_cannot_be_made_is_a_fault_of_the_settings(
    program: Program, tmp_path: Path
) -> None:
    """Exit 2, naming the variable."""
    (tmp_path / "file").touch()
    env = {"MEGAMAX_STATE_DIR": str(tmp_path / "file" / "state")}
    for arguments in (["--scan"], ["pause"], []):
        result = program.run(*arguments, env=env)
        assert (result.status, len(result.faults())) == (2, 1)
        assert "MEGAMAX_STATE_DIR" in result.faults()[0]
    assert program.run("status", env=env).status == 0


def test_it_takes_over_from_an_instance_that_ends(program: Program, faults: FaultScript) -> None:
    """Where the daemon stops while --scan waits, --scan does the rest itself."""
    faults.add("generate", Fault.status(503), nth=None)
    program.video("a.mp4")
    with program.daemon() as daemon:
        daemon.wait_for("service.paused")
        with program.running("--scan", until="scan.attached") as scan:
            assert daemon.end() == 0
            scan.wait_for("daemon.started")
            faults.clear()
            wait_until(lambda: scan.process.poll() is not None)
            assert scan.process.returncode == 0
    assert program.counts() == {"done": 1}


def test_interrupted_beside_a_daemon_it_names_what_is_left(
    program: Program, faults: FaultScript
) -> None:
    """Also jobs that nothing has happened to meanwhile."""
    faults.add("generate", Fault.status(503), nth=None)
    path = os.fsdecode(program.video("a.mp4"))
    with program.daemon(env={"MEGAMAX_RETRY_SECONDS": "3600"}) as daemon:
        daemon.wait_for("service.paused")
        log = program.home / "scan.log"
        with (
            open(log, "wb") as errors,
            program.popen("--scan", "--json", stderr=errors) as scan,
        ):
            wait_until(lambda: b"scan.attached" in log.read_bytes())
            scan.send_signal(signal.SIGINT)
            out, _ = scan.communicate(timeout=30)
    result = json.loads(out)
    assert (result["exit"], result["queued"]) == (130, 1)
    assert [(job["path"], job["state"]) for job in result["jobs"]] == [(path, "queued")]
