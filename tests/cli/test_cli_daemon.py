"""The daemon as a process: its start, its end, its signals, and who works beside it."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from canary import holds_secrets

from cli.program import Program, Running, wait_until
from megamax_sync.sandbox import Fault, FaultScript, Sandbox


@contextmanager
def systemd(folder: Path) -> Iterator[tuple[socket.socket, dict[str, str]]]:
    """A socket such as systemd listens on, and the environment that names it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(folder / "notify"))
        listener.settimeout(20)
        yield listener, {"NOTIFY_SOCKET": str(folder / "notify")}


def heard(listener: socket.socket, start: str) -> str:
    """Wait for a message that begins so."""
    while True:
        message = listener.recv(4096).decode()
        if message.startswith(start):
            return message


def rejections(daemon: Running) -> int:
    """How often settings were refused so far."""
    return sum(event["event"] == "config.rejected" for event in daemon.events())


def test_a_video_that_appears_is_uploaded(program: Program, sandbox: Sandbox) -> None:
    """The daemon sees it, sends it, and stops cleanly on SIGTERM."""
    with program.daemon() as daemon:
        program.video("a.mp4")
        daemon.wait_for("job.done")
        document = program.run("status", "--json").json()
        assert document["daemon"]["running"] is True
        assert document["daemon"]["pid"] == daemon.process.pid
        assert document["daemon"]["observer"] is not None
        assert daemon.end() == 0
        assert daemon.saw("daemon.stopped", clean=True)
    assert len(sandbox.files()) == 1


def test_sigterm_during_an_upload_puts_it_back(program: Program, faults: FaultScript) -> None:
    """It is gone within ten seconds, though the receiver is stuck, and the job is queued."""
    faults.add("upload", Fault.stall(), nth=None)
    program.video("a.mp4", 30_000_000)
    with program.running(until="upload.started") as daemon:
        began = time.monotonic()
        assert daemon.end() == 0
        assert time.monotonic() - began < 10
    job = program.job(1)
    assert job["state"] == "queued"
    assert job["history"][-1]["reason"]


def test_a_second_instance_is_told_to_come_later(program: Program) -> None:
    """Exit 75 and the first one's process, while the first one goes on."""
    with program.daemon() as daemon:
        result = program.run()
        assert result.status == 75
        assert f"in use by process {daemon.process.pid}" in result.faults()[0]
        assert daemon.process.poll() is None


def test_what_it_needs_is_told_at_once(program: Program, stranger: Program) -> None:
    """Folders and credentials: exit 2, one line for each that is missing."""
    result = program.run(env={"MEGAMAX_WATCH": ""})
    assert (result.status, len(result.faults())) == (2, 1)
    result = stranger.run()
    assert result.status == 2
    assert [line.split(":")[1] for line in result.faults()] == [" MEGAMAX_LOGIN", " MEGAMAX_KEY"]


def test_a_missing_watched_folder_does_not_stop_it(program: Program) -> None:
    """It says so, lives, and status names the problem."""
    gone = program.home / "gone"
    with program.running(env={"MEGAMAX_WATCH": str(gone)}, until="watch.lost"):
        daemon = program.run("status", "--json").json()["daemon"]
        assert daemon["problem"] == "watch"
        assert str(gone) in daemon["problem_detail"]
        text = program.run("status").out
        assert "problem: watch: " in text


def test_sighup_reads_a_changed_key(program: Program, sandbox: Sandbox) -> None:
    """The service rejects the old one; after SIGHUP the upload goes through, unstopped."""
    key = program.home / "key"
    key.write_text("an-old-key")
    env = {"MEGAMAX_KEY": "", "MEGAMAX_KEY_FILE": str(key)}
    program.video("a.mp4")
    with program.running(env=env, until="service.paused") as daemon:
        assert program.run("status", "--json").json()["daemon"]["problem"] == "credentials"
        attached = program.run("--scan", env=env)
        assert attached.status == 3
        key.write_text(sandbox.key)
        holds_secrets(key)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("job.done")
        assert not daemon.saw("daemon.stopping")
        log = str(daemon.events())
    assert sandbox.key not in log
    assert "an-old-key" not in log


def test_sighup_changes_the_bandwidth_limit_of_uploads_under_way(program: Program) -> None:
    """They go on: whoever lifts a limit does not want the first 50 GB sent again."""
    config = program.home / "config.env"
    config.write_text("MEGAMAX_BWLIMIT=100K\n")
    program.video("a.mp4", 20 << 20)
    with program.running("--config", str(config), until="upload.started") as daemon:
        config.write_text("MEGAMAX_BWLIMIT=off\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("job.done")
        names = [event["event"] for event in daemon.events()]
    assert names.count("upload.started") == 1
    assert names.index("config.reloaded") < names.index("upload.finished")


def test_sighup_has_a_service_tried_at_once_that_was_in_trouble(
    program: Program, faults: FaultScript
) -> None:
    """With the same credentials, and long before the wait is over."""
    faults.add("generate", Fault.status(503), nth=None)
    env = {"MEGAMAX_RETRY_SECONDS": "3600"}
    program.video("a.mp4")
    with program.running(env=env, until="service.paused") as daemon:
        faults.clear()
        assert not daemon.saw("service.resumed")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("job.done")
        assert not daemon.saw("daemon.stopping")


def test_rejected_credentials_are_read_again_unasked(program: Program, sandbox: Sandbox) -> None:
    """Whoever mends the file need not tell the daemon."""
    key = program.home / "key"
    key.write_text("an-old-key")
    program.video("a.mp4")
    env = {"MEGAMAX_KEY": "", "MEGAMAX_KEY_FILE": str(key)}
    with program.running(env=env, until="service.paused") as daemon:
        key.write_text(sandbox.key)
        holds_secrets(key)
        daemon.wait_for("job.done")


def test_sighup_takes_new_settings_in_the_same_process(program: Program) -> None:
    """Another folder is watched from then on; faulty settings change nothing and are told."""
    config = program.home / "settings.env"
    other = program.home / "other"
    other.mkdir()
    config.write_text(f"MEGAMAX_WATCH={program.watch}\n")
    env = {"MEGAMAX_WATCH": ""}
    with program.daemon("--config", str(config), env=env) as daemon:
        for faulty in ("MEGAMAX_WORKERS=many", "MEGAMAX_WATCH="):
            config.write_text(f"MEGAMAX_WATCH={program.watch}\n{faulty}\n")
            seen = rejections(daemon)
            daemon.process.send_signal(signal.SIGHUP)
            while rejections(daemon) == seen:
                assert daemon.process.poll() is None
        config.write_text(f"MEGAMAX_WATCH={other}\nMEGAMAX_EXCLUDE=never*\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("watch.started", folders=[str(other)])
        program.video("b.mp4", folder=other)
        daemon.wait_for("job.done", path=str(other / "b.mp4"))
        assert daemon.end() == 0


def test_sighup_cannot_move_the_queue(program: Program) -> None:
    """Another state folder is refused; the one in use goes on being used."""
    config = program.home / "settings.env"
    config.write_text(f"MEGAMAX_STATE_DIR={program.state}\n")
    env = {"MEGAMAX_STATE_DIR": ""}
    with program.daemon("--config", str(config), env=env) as daemon:
        config.write_text(f"MEGAMAX_STATE_DIR={program.home / 'elsewhere'}\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("config.rejected")
        program.video("a.mp4")
        daemon.wait_for("job.done")


def test_systemd_is_told(program: Program, tmp_path: Path) -> None:
    """Ready, a status line, the watchdog, a reload, and the stop."""
    with systemd(tmp_path) as (listener, env):
        watchdog = {"WATCHDOG_USEC": "400000"}
        with program.running(env={**env, **watchdog}) as daemon:
            heard(listener, "READY=1")
            assert heard(listener, "STATUS=") == "STATUS=nothing to do, 0 done"
            heard(listener, "WATCHDOG=1")
            daemon.process.send_signal(signal.SIGHUP)
            assert "MONOTONIC_USEC=" in heard(listener, "RELOADING=1")
            heard(listener, "READY=1")
            daemon.process.send_signal(signal.SIGTERM)
            heard(listener, "STOPPING=1")
            assert daemon.process.wait(30) == 0


def test_settings_that_cannot_be_built_leave_the_old_ones(program: Program) -> None:
    """What only the parts themselves find wrong is told, and the old settings work on."""
    config = program.home / "settings.env"
    bundle = program.home / "ca.pem"
    config.write_text("")
    with program.daemon("--config", str(config)) as daemon:
        bundle.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
        config.write_text(f"MEGAMAX_CA_FILE={bundle}\n")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("config.rejected")
        program.video("a.mp4")
        daemon.wait_for("job.done")
        assert daemon.end() == 0


def test_scan_beside_a_daemon_waits_for_it(program: Program, sandbox: Sandbox) -> None:
    """It hands over what it finds, of folders that the daemon does not watch, too."""
    other = program.home / "other"
    program.video("a.mp4", folder=other)
    path = program.video("open.mp4", folder=other)
    env = {"MEGAMAX_WATCH": str(other), "MEGAMAX_LOGIN": "", "MEGAMAX_KEY": ""}
    with program.daemon() as daemon, open(path, "ab"):
        result = program.run("--scan", "--json", env=env)
        assert (result.status, result.json()["done"]) == (0, 1)
        (waiting,) = result.json()["waiting"]
        assert waiting["path"] == os.fsdecode(path)
        assert daemon.saw("job.done")
        assert program.run("pause").status == 0
        program.video("b.mp4", folder=other)
        assert program.run("--scan", env=env).status == 75
    assert len(sandbox.files()) == 1


def test_scan_beside_a_daemon_leaves_a_file_that_keeps_changing(program: Program) -> None:
    """One that is written with pauses is never quiet; it is named, and not waited for."""
    path = program.video("grows.mp4")
    env = {"MEGAMAX_SETTLE_SECONDS": "2"}
    with (
        program.daemon(env=env),
        program.popen("--scan", "--json", env=env) as scan,
    ):

        def grown() -> bool:
            with open(path, "ab") as file:
                file.write(b"more")
            return scan.poll() is not None

        wait_until(grown)
        out, _ = scan.communicate()
    assert scan.returncode == 0
    assert b"still changing" in out


def test_scan_beside_a_daemon_leaves_what_that_has_long_found_unfinished(program: Program) -> None:
    """The daemon has said before what each of them waits for; nobody waits for them again."""
    path = program.video("open.mp4")
    os.truncate(program.video("holes.mp4", 0), 1 << 20)
    program.video("part.mp4.aria2")
    program.video("part.mp4")
    names = ["holes.mp4", "open.mp4", "part.mp4"]
    with open(path, "ab"), program.daemon() as daemon:

        def told() -> set[str]:
            return {
                os.path.basename(one["path"])
                for one in daemon.events()
                if one["event"] == "file.waiting" and "quiet" not in one["reason"]
            }

        wait_until(lambda: told() == set(names))
        result = program.run("--scan", "--json")
        assert result.status == 0
        waiting = {os.path.basename(one["path"]): one["reason"] for one in result.json()["waiting"]}
        assert sorted(waiting) == names
        assert waiting["open.mp4"].startswith("open for writing (pid ")
        result = program.run("upload", path, "--wait")
        assert result.status == 0
        (said,) = [line for line in result.lines() if line.startswith("waiting ")]
        assert said.startswith(f"waiting {os.fsdecode(path)}: open for writing (pid ")


@pytest.mark.parametrize(
    "later", [{"MEGAMAX_EXCLUDE": "a.*"}, {"MEGAMAX_EXTENSIONS": "mkv"}, {"MEGAMAX_WATCH": "other"}]
)
def test_what_is_queued_is_sent_whatever_the_settings_leave_out_later(
    program: Program, later: dict[str, str]
) -> None:
    """A name is judged when its job is made; what takes the file's place is judged anew."""
    (program.home / "other").mkdir()
    path = program.video("a.mp4")
    assert program.run("pause").status == 0
    assert program.run("--scan").status == 75
    with program.daemon(env=later) as daemon:
        assert program.run("resume").status == 0
        daemon.wait_for("job.done", path=os.fsdecode(path))
    assert os.path.exists(path + b".megamax.json")
    program.video("a.mp4", 3000)
    assert program.run("--scan", env=later).status == 0
    assert program.counts() == {"done": 1}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_a_scan_leaves_the_daemon_alone(
    program: Program, faults: FaultScript, number: int
) -> None:
    """130, and the daemon goes on."""
    faults.add("generate", Fault.status(503), nth=None)
    program.video("a.mp4")
    with program.daemon() as daemon:
        with program.running("--scan", until="scan.attached") as scan:
            assert scan.end(number) == 130
        assert daemon.process.poll() is None
