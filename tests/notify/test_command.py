"""MEGAMAX_ON_DONE and MEGAMAX_ON_FAILED: what a command gets, and how its end is taken."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from upload.pipeline import wait_for

from megamax_sync.childenv import child_environment
from megamax_sync.notify import command, process
from megamax_sync.notify.command import Commands, Desk

from .conftest import Post

SECRETS = {
    "MEGAMAX_KEY": "k3y",
    "MEGAMAX_LOGIN_FILE": "/run/login",
    "CREDENTIALS_DIRECTORY": "/run/credentials",
    "NOTIFY_SOCKET": "/run/notify",
    "WATCHDOG_USEC": "1",
    "WATCHDOG_PID": "1",
}


def runners(post: Post, *argv: str, event: str = "done", number: int = 1) -> list[Commands]:
    """Those who run this command."""
    post.store.outbox.listen({"command": ["done", "failed"]})
    desk = Desk(post.store)
    return [
        Commands(
            one,
            desk=desk,
            commands={event: argv},
            environ={**os.environ, **SECRETS, "LANG": "C"},
            state_dir="/the/state",
            **post.common(),
        )
        for one in range(number)
    ]


def python(code: str) -> tuple[str, ...]:
    """A command that runs this code."""
    return (sys.executable, "-S", "-c", code)


def test_a_command_is_told_by_its_environment(post: Post, tmp_path: Path) -> None:
    """Event, path as bytes, hashid, sidecar, error and the state folder; nothing that is secret."""
    out = tmp_path / "out"
    (runner,) = runners(post, "sh", "-c", f"env -0 > '{out}'; cat >> '{out}'")
    post.job(b"/v/\xff \xc3\xa4\n.mkv")
    post.store.database.write("UPDATE outbox SET sidecar = ?", b"/v/\xff.json")
    runner.step()
    given = dict(one.split(b"=", 1) for one in out.read_bytes().split(b"\0") if one)
    assert {name: value for name, value in given.items() if name.startswith(b"MEGAMAX_")} == {
        b"MEGAMAX_EVENT": b"done",
        b"MEGAMAX_PATH": b"/v/\xff \xc3\xa4\n.mkv",
        b"MEGAMAX_HASHID": b"H1",
        b"MEGAMAX_SIDECAR": b"/v/\xff.json",
        b"MEGAMAX_ERROR": b"",
        b"MEGAMAX_STATE_DIR": b"/the/state",
    }
    assert not {name.decode() for name in given} & SECRETS.keys()
    assert given[b"PATH"] == os.environb[b"PATH"]
    assert post.left() == []


def test_the_environment_of_children() -> None:
    """Nothing of ours, whatever its case; what is given comes on top."""
    assert child_environment({**SECRETS, "megamax_key": "k", "HOME": "/h"}, {"X": "1"}) == {
        "HOME": "/h",
        "X": "1",
    }


def test_a_failure_is_told_with_its_error(post: Post, tmp_path: Path) -> None:
    """By the command for that event alone; where there is none, nothing is left."""
    out = tmp_path / "out"
    code = f'echo "$MEGAMAX_EVENT:$MEGAMAX_ERROR:$MEGAMAX_HASHID" >> "{out}"'
    (runner,) = runners(post, "sh", "-c", code, event="failed")
    post.job(error="broken\0 file")
    post.job(b"/v/b.mkv")
    runner.step()
    runner.step()
    assert out.read_text("utf-8") == "failed:broken file:\n"
    assert post.left() == []


def test_output_goes_into_the_log(post: Post) -> None:
    """At debug, so much of it; a program that writes without end is not listened to for ever."""
    (runner,) = runners(post, *python("print('x' * 10_000_000)"))
    post.job()
    with capture_logs() as events:
        runner.step()
    (ended,) = [one for one in events if one["event"] == "hook.ended"]
    assert (ended["log_level"], ended["status"], ended["output"]) == ("debug", 0, "x" * 4096)


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (("sh", "-c", "exit 3"), "sh ended with exit status 3"),
        (("sh", "-c", "kill -9 $$"), "sh was ended by signal 9"),
        (("/no/such/program",), "/no/such/program cannot be started (No such file or directory)"),
    ],
)
def test_a_command_that_fails_is_run_three_times(
    post: Post, argv: tuple[str, ...], reason: str
) -> None:
    """Each failure is said, and then it is given up."""
    (runner,) = runners(post, *argv)
    job = post.job()
    with capture_logs() as events:
        runner.step()
        assert post.left() == [("done", 1)]
        assert (runner.step() or 0) > 50
        for _ in range(2):
            post.due_now()
            runner.step()
    said = [one for one in events if one["event"] == "hook.failed"]
    assert [one["error"] for one in said] == [reason] * 3
    assert [one["given_up"] for one in said] == [0, 0, 1]
    assert (said[0]["job"], said[0]["path"], said[0]["about"]) == (job.id, job.path, "done")
    assert post.left() == []


def test_one_that_takes_too_long_is_killed_with_all_its_children(
    post: Post, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that will not listen; it is not run again."""
    monkeypatch.setattr(command, "SECONDS", 0.5)
    monkeypatch.setattr(process, "_GRACE", 0.2)
    pids = tmp_path / "pids"
    code = f"trap '' TERM; echo $$ > '{pids}'; sleep 60 & echo $! >> '{pids}'; wait; sleep 60"
    (runner,) = runners(post, "sh", "-c", code)
    post.job()
    with capture_logs() as events:
        runner.step()
    (said,) = [one for one in events if one["event"] == "hook.failed"]
    assert said["error"] == "sh did not end within 0.5 s, and was killed"
    assert post.left() == []
    numbers = [int(line) for line in pids.read_text("utf-8").split()]
    assert len(numbers) == 2
    wait_for(lambda: not any(_runs(pid) for pid in numbers))


def _runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text("utf-8").rsplit(")", 1)[1][:3]
    except OSError:
        return False


def test_what_a_command_leaves_running_is_not_waited_for(post: Post, tmp_path: Path) -> None:
    """It holds the pipe, and nobody minds; nor one that closes it early."""
    end = tmp_path / "end"
    os.mkfifo(end)
    (runner,) = runners(post, "sh", "-c", f"cat '{end}' & exec 1>&- 2>&-; sleep 0.1")
    post.job()
    runner.step()
    assert post.left() == []
    with open(end, "w", encoding="utf-8"):
        pass


def test_several_run_at_a_time_and_each_once(post: Post, tmp_path: Path) -> None:
    """Two beside one another, whatever the number of letters."""
    code = f"cd '{tmp_path}'; touch on-$$; ls on-* | wc -l >> most; sleep 0.3; rm on-$$; echo >> n"
    pair = runners(post, "sh", "-c", code, number=2)
    for number in range(4):
        post.job(b"/v/%d.mkv" % number)
    post.run(*pair)
    wait_for(lambda: post.left() == [], 20)
    assert len((tmp_path / "n").read_text("utf-8").splitlines()) == 4
    most = [int(line) for line in (tmp_path / "most").read_text("utf-8").split()]
    assert max(most) == 2


def test_the_stop_ends_it_and_it_is_run_again(
    post: Post, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM, and the next start runs it once more: at least once."""
    out = tmp_path / "out"
    code = f"trap 'echo term >> \"{out}\"; exit' TERM; echo run >> '{out}'; sleep 60 & wait"
    (runner,) = runners(post, "sh", "-c", code)
    post.job()
    post.run(runner)
    wait_for(out.exists)
    post.end()
    assert out.read_text("utf-8") == "run\nterm\n"
    assert post.left() == [("done", 0)]
    post.stop = threading.Event()
    post.loops = []
    post.run(*runners(post, "sh", "-c", f"echo again >> '{out}'"))
    wait_for(lambda: post.left() == [])
    assert out.read_text("utf-8") == "run\nterm\nagain\n"
