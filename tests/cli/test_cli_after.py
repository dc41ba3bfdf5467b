"""What follows a job's end, as the real program does it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from notify.receiver import receiver

from cli.program import Program, wait_until


def test_scan_waits_for_what_follows(program: Program, tmp_path: Path) -> None:
    """Commands, webhook, message and move are through when it ends, and it counts what it moved."""
    away, out = tmp_path / "away", tmp_path / "out"
    away.mkdir()
    program.video("a.mp4")
    program.video("show/b.mp4")
    call = f'{sys.executable} -m megamax_sync show "$MEGAMAX_HASHID" --json >> {out}'
    with receiver() as listener:
        env = {
            "MEGAMAX_ON_DONE": f"sh -c 'sleep 0.5; {call}'",
            "MEGAMAX_AFTER_DONE": f"move:{away}",
            "MEGAMAX_WEBHOOK": listener.url,
            "MEGAMAX_NOTIFY": f"json://127.0.0.1:{listener.port}/message",
        }
        result = program.run("--scan", env=env)
        assert (result.status, result.lines()[-1][:27]) == (0, "2 done, 0 failed, 0 skipped")
        paths = sorted(path for path, _, _ in listener.requests)
        assert paths == ["/hook?token=s3cr3t-t0ken"] * 2 + ["/message"]
    assert sorted(str(path.relative_to(away)) for path in away.rglob("*.*")) == [
        "a.mp4", "a.mp4.megamax.json", "show/b.mp4", "show/b.mp4.megamax.json",
    ]  # fmt: skip
    assert [path for path in program.watch.rglob("*") if not path.is_dir()] == []
    # A command that calls megamax-sync has found the queue.
    assert out.read_text("utf-8").count('"history"') == 2
    assert program.run("--scan", env=env).status == 0


def test_scan_beside_a_daemon_waits_too(program: Program, tmp_path: Path) -> None:
    """For the commands that the daemon runs."""
    out = tmp_path / "out"
    env = {"MEGAMAX_ON_DONE": f"sh -c 'sleep 1; echo $MEGAMAX_EVENT >> {out}'"}
    with program.daemon(env=env):
        program.video("a.mp4")
        assert program.run("--scan").status == 0
        assert out.read_text("utf-8") == "done\n"


def test_a_kill_loses_nothing_that_was_to_be_told(program: Program, tmp_path: Path) -> None:
    """The command that was running, and the webhook that was not taken, come with the next run."""
    out = tmp_path / "out"
    with receiver() as listener:
        listener.open.clear()
        env = {
            "MEGAMAX_ON_DONE": f"sh -c 'echo run >> {out}; sleep 2'",
            "MEGAMAX_WEBHOOK": listener.url,
        }
        program.video("a.mp4")
        with program.daemon(env=env) as daemon:
            wait_until(lambda: bool(listener.requests) and out.exists())
            daemon.end(signal.SIGKILL)
        listener.open.set()
        env["MEGAMAX_ON_DONE"] = f"sh -c 'echo run >> {out}'"
        assert program.run("--scan", env=env).status == 0
        assert len({one["id"] for one in listener.documents()}) == 1
        assert len(listener.requests) == 2
    assert out.read_text("utf-8") == "run\nrun\n"


def test_in_the_sandbox_it_is_all_off(stranger: Program, tmp_path: Path) -> None:
    """No command, no POST, no move."""
    stranger.video("a.mp4")
    with receiver() as listener:
        env = {
            "MEGAMAX_ON_DONE": f"touch {tmp_path}/out",
            "MEGAMAX_AFTER_DONE": "delete",
            "MEGAMAX_WEBHOOK": listener.url,
            "MEGAMAX_NOTIFY": f"json://127.0.0.1:{listener.port}/",
        }
        assert stranger.run("--sandbox", "--scan", env=env).status == 0
        assert listener.requests == []
    assert (stranger.watch / "a.mp4").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("call", [("--scan",), ()])
def test_a_wrong_address_is_said_at_the_start(program: Program, call: tuple[str, ...]) -> None:
    """Exit status 2, its number, and not what it is."""
    result = program.run(*call, env={"MEGAMAX_NOTIFY": "nosuch://s3cr3t"})
    assert result.status == 2
    (fault,) = result.faults()
    assert fault.startswith("megamax-sync: MEGAMAX_NOTIFY: address 1 of 1 is none that Apprise")
    assert "s3cr3t" not in result.err + result.out


def test_secrets_stay_out_of_the_queue_and_the_log(program: Program) -> None:
    """Neither the addresses nor their parts, also when nobody is there."""
    program.video("a.mp4")
    env = {
        "MEGAMAX_WEBHOOK": "http://127.0.0.1:9/wh-s3cr3t?k=wq-s3cr3t",
        "MEGAMAX_WEBHOOK_SECRET": "ws-s3cr3t",
        "MEGAMAX_NOTIFY": "json://127.0.0.1:9/n-s3cr3t",
        "MEGAMAX_LOG_LEVEL": "debug",
    }
    result = program.run("--scan", env=env)
    assert result.status == 0
    assert result.err.count("hook.failed") == 2
    assert "s3cr3t" not in result.err + result.out
    for name in os.listdir(program.state):
        if name.startswith("queue.db"):
            assert b"s3cr3t" not in (program.state / name).read_bytes()
