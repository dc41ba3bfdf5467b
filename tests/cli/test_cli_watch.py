"""``status`` live and filtered, the timeline of ``show``, and completion."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from rich.console import Console

from cli.program import Program, wait_until
from megamax_sync.cli.board import Board, Snapshot, _shares
from megamax_sync.cli.instance import Instance
from megamax_sync.clock import Clock
from megamax_sync.job import FileStamp, Job
from megamax_sync.store import Store

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
NOW = 1_700_000_000.0
LIVE: dict[str, Any] = {
    "pid": 7,
    "since": "2026-01-01T00:00:00Z",
    "problem": None,
    "problem_detail": None,
    "observer": "inotify",
    "bwlimit": 2 << 20,
    "uploads": [],
}


@pytest.fixture
def store(tmp_path: Any) -> Iterator[Store]:
    """An empty queue."""
    with Store(str(tmp_path / "queue.db"), Clock()) as opened:
        yield opened


def add(store: Store, name: str, *, state: str = "queued", ready: bool = True) -> Job:
    """A job in a state."""
    path = b"/v/" + os.fsencode(name)
    number = store.jobs.add(
        path, FileStamp(4 << 20, 1, 2, 3, 4), root=b"/v", folder=None, ready=ready, reason="found"
    )
    job = store.jobs.get(number)
    assert job is not None
    if state == "failed":
        store.jobs.fail(job, "the file cannot be read\x1b[31m")
    elif state == "uploading":
        store.jobs.claim("me", [path])
    elif state in {"processing", "done"}:
        store.jobs.arrived(
            job, hashid=f"H{number}", status="converting", name=name, size=1,
            uploaded_at=NOW - 100_000, fingerprint=None, stamp=job.stamp, reason="uploaded",
        )  # fmt: skip
        fresh = store.jobs.get(number)
        assert fresh is not None
        if state == "done":
            store.tracking.complete(fresh, reason="converted", check_at=None)
    return job


def drawn(
    store: Store | None,
    live: dict[str, Any] | None,
    width: int = 80,
    height: int = 24,
    *,
    plain: bool = False,
    ailment: str | None = None,
) -> list[str]:
    """The lines of one screen."""
    instance = Instance(True, live, live["pid"], ailment) if live else Instance()
    seen = Snapshot.of(store, instance, NOW)
    console = Console(width=width, height=height, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(Board(plain=plain).draw(seen, width, height))
    lines = [line.rstrip() for line in capture.get().splitlines()]
    assert max(len(line) for line in lines) <= width
    return lines


def test_the_board_without_anything() -> None:
    """No queue and no instance: that is said, and what to do."""
    lines = drawn(None, None)
    assert lines[0] == "megamax-sync"
    assert "not running" in lines[1]
    assert "nothing is in the queue yet" in lines


@pytest.mark.parametrize("width", [80, 120])
def test_the_board_at_work(store: Store, width: int) -> None:
    """Uploads with bar, speed and time left; conversions with their age; failures with reasons."""
    sending = add(store, "sending [bold] " + "long " * 30 + ".mkv", state="uploading")
    add(store, "next.mkv")
    add(store, "open.mkv", ready=False)
    add(store, "converts.mkv", state="processing")
    add(store, "broken.mkv", state="failed")
    add(store, "ended.mkv", state="done")
    upload = {"job": sending.id, "sent": 1 << 20, "size": 4 << 20, "rate": float(1 << 20)}
    gone = {"job": 99, "sent": 0, "size": 0, "rate": 0.0}
    lines = drawn(store, {**LIVE, "uploads": [upload, gone]}, width, 40)
    text = "\n".join(lines)
    assert lines[0] == "megamax-sync · running as process 7 · inotify · limit 2.0 MiB/s"
    assert re.search(r"sending \[bold\] .*…  .* +25%  4\.0 MiB  1\.0 MiB/s  3 s", text)
    assert "job 99" in text
    assert re.search(r"converts\.mkv +converting +1 d\n", text)
    assert re.search(r"broken\.mkv +the file cannot b", text)
    assert re.search(r"open\.mkv +still settling", text)
    assert re.search(r"ended\.mkv +H6", text)
    order = ["Uploading", "In conversion", "Failed", "Next", "Done last"]
    assert [line for line in lines if line in order] == order


def test_problems_come_first(store: Store) -> None:
    """Before everything else, with what they are; a pause, too."""
    store.settings.paused = True
    live = {**LIVE, "problem": "credentials", "problem_detail": "the service\nrejects", "bwlimit":
            2 << 20, "observer": None}  # fmt: skip
    lines = drawn(store, live, ailment="stuck: tracker (silent for 90 s)")
    assert lines[0].endswith("limit 2.0 MiB/s")
    assert lines[1] == "! stuck: tracker (silent for 90 s)"
    assert lines[2].startswith("! credentials: the service\\nrejects")
    assert lines[3].startswith("! paused")


def test_a_sidecar_that_cannot_be_written_is_shown(store: Store) -> None:
    """It is why the job is not done; the service's word says nothing of that."""
    job = add(store, "stuck.mkv", state="processing")
    store.tracking.sidecar_unwritable(job, "no sidecar in /v")
    assert any(re.search(r"stuck\.mkv +no sidecar in /v", line) for line in drawn(store, LIVE))


def test_new_links_make_no_video_done_last(store: Store) -> None:
    """Its place, and how long ago it was, are those of its end."""
    for number, name in enumerate(("old.mkv", "new.mkv")):
        job = add(store, name, state="done")
        store.database.write(
            "UPDATE history SET at = ? WHERE job = ? AND state = 'done'",
            *(NOW - 86400 * (2 - number), job.id),
        )
    fresh = store.jobs.latest(b"/v/old.mkv")
    assert fresh is not None
    store.tracking.track(fresh, direct="[]", sidecar_due=1)
    lines = drawn(store, LIVE)
    new, old = (next(line for line in lines if name in line) for name in ("new.mkv", "old.mkv"))
    assert lines.index(new) < lines.index(old)
    assert (new.split()[-2:], old.split()[-2:]) == (["1", "d"], ["2", "d"])


def test_a_small_screen_shows_a_part_of_each(store: Store) -> None:
    """And says how much more there is; nothing is wider or longer than the screen."""
    for number in range(20):
        add(store, f"f{number}.mkv", state="failed")
        add(store, f"q{number}.mkv")
    lines = drawn(store, LIVE, 60, 12)
    assert len(lines) <= 12
    assert any(re.fullmatch(r"Failed · 1\d more", line) for line in lines)
    assert any(re.fullmatch(r"Next · 1\d more", line) for line in lines)
    assert _shares([5, 1, 9], 8) == [4, 1, 3]
    assert _shares([1], 9) == [1]
    assert _shares([3, 3], -2) == [0, 0]


def test_a_terminal_without_utf_8_gets_ascii(store: Store) -> None:
    """Also in names."""
    add(store, "ä" + "x" * 100, state="failed")
    text = "\n".join(drawn(store, LIVE, plain=True))
    assert text.isascii()
    assert "\\xe4xxx" in text


@contextmanager
def watching(program: Program) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run ``status --watch`` on a terminal; yields it and our end."""
    ours, theirs = pty.openpty()
    env = {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    with program.popen(
        "status", "--watch", env=env, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        try:
            yield process, ours
        finally:
            process.kill()
            os.close(ours)


@pytest.mark.parametrize("leave", [b"q", signal.SIGINT])
def test_watch_on_a_terminal(stranger: Program, leave: bytes | signal.Signals) -> None:
    """It draws on a screen of its own, and q or Ctrl-C leaves it, as it was."""
    with watching(stranger) as (process, ours):
        written = bytearray()
        while b"q leaves" not in written:
            written += os.read(ours, 65536)
        # A key that means nothing, and one of several bytes.
        os.write(ours, b"x")
        os.write(ours, b"\x1b[A")
        if isinstance(leave, bytes):
            os.write(ours, leave)
        else:
            process.send_signal(leave)
        while process.poll() is None:
            try:
                written += os.read(ours, 65536)
            except OSError:
                break
        assert process.wait(30) == 0
    text = written.decode()
    assert text.index("\x1b[?1049h") < text.index("\x1b[?1049l")
    assert "not running" in _ESCAPES.sub("", text)


def test_watch_in_a_pipe(stranger: Program) -> None:
    """Plain text, again when something has changed; the end of the reader is its own."""
    with stranger.popen("status", "--watch") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"not running\n"
        stranger.run("upload", stranger.video("a.mp4"))
        wait_until(lambda: b"1 queued" in ((process.stdout and process.stdout.readline()) or b""))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    with stranger.popen("status", "--watch") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 0
    assert stranger.run("status", "--watch", "--json").status == 2


def test_status_is_filtered_and_sorted(stranger: Program) -> None:
    """By state, by place, by size; the counts stay those of all."""
    stranger.video("a/small.mp4", 10)
    stranger.video("b/large.mp4", 1000)
    assert stranger.run("upload", str(stranger.watch)).status == 0

    def sizes(*arguments: str) -> list[int]:
        document = stranger.run("status", "--json", *arguments).json()
        assert document["counts"]["queued"] == 2
        return [job["size"] for job in document["jobs"]]

    assert sizes("--sort", "size") == [1000, 10]
    assert sizes("--path", str(stranger.watch / "a")) == [10]
    assert sizes("--state", "done", "--state", "failed") == []
    assert sizes("--state", "done", "--state", "queued", "--limit", "1") != []
    # The history is a timeline.
    assert re.search(r"history\n  \S+Z +queued +found", stranger.run("show", "1").out)


def test_shells_can_complete(stranger: Program) -> None:
    """Commands and options, by the words that the shell hands over."""
    env = {
        "_MEGAMAX_SYNC_COMPLETE": "complete_bash",
        "COMP_WORDS": "megamax-sync sta",
        "COMP_CWORD": "1",
    }
    result = stranger.run(env=env)
    assert (result.status, result.lines()) == (0, ["status"])


def test_zsh_completes_at_the_first_tab(
    stranger: Program, require_program: Callable[[str], str]
) -> None:
    """In a new shell, as it is set up by ``--install-completion``; and at the second one."""
    zsh = require_program("zsh")
    command = stranger.home / "bin/megamax-sync"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m megamax_sync "$@"\n')
    command.chmod(0o755)
    env = {**stranger.env, "HOME": str(stranger.home), "TERM": "dumb", "PATH":
           f"{command.parent}:{os.environ['PATH']}"}  # fmt: skip
    # It asks its parent which shell it is, so that has to stay.
    order = [zsh, "-fc", "megamax-sync --install-completion; exit $?"]
    subprocess.run(order, env=env, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    ours, theirs = pty.openpty()
    # Files that others may write to would be asked about.
    rc = stranger.home / ".zshrc"
    text = rc.read_text().replace("compinit\n", "compinit -u\n")
    rc.write_text(text + "PS1='ready> '; preexec() { print \"<<$1>>\" }\n")
    written = bytearray()
    with subprocess.Popen(
        [zsh, "-i"], env=env, cwd=stranger.home, stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True,
    ) as shell:  # fmt: skip
        os.close(theirs)
        try:
            for times in (1, 2):
                while written.count(b"ready> ") < times:
                    written += os.read(ours, 65536)
                os.write(ours, b"megamax-sync expl\t\n")
                while written.count(b">>") < times:
                    written += os.read(ours, 65536)
        finally:
            shell.kill()
            os.close(ours)
    assert re.findall(rb"<<(.*?) ?>>", bytes(written)) == [b"megamax-sync explain"] * 2
