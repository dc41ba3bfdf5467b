"""The real kernel's limits, with the program as a process: nothing is missed."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

#: Each makes three events, of which the kernel keeps 16,384 unless it is told otherwise.
FILES = 10_000
QUEUED_EVENTS = Path("/proc/sys/fs/inotify/max_queued_events")


@contextlib.contextmanager
def daemon(folder: Path, *before: str) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon on ``folder/drop`` that finds and does not send; ``before`` goes before it."""
    environ = os.environ | {
        "MEGAMAX_LOGIN": "nobody@example.com",
        "MEGAMAX_KEY": "no-real-key",
        "MEGAMAX_API_URL": "http://127.0.0.1:9/api",
        "MEGAMAX_WATCH": str(folder / "drop"),
        "MEGAMAX_STATE_DIR": str(folder / "state"),
        "MEGAMAX_SETTLE_SECONDS": "0.1",
        "MEGAMAX_RESCAN_SECONDS": "0",
        "MEGAMAX_LOG_FORMAT": "json",
    }
    program = [sys.executable, "-m", "megamax_sync"]
    subprocess.run([*program, "pause"], env=environ, check=True, stdout=subprocess.DEVNULL)
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen([*before, *program], env=environ, stderr=log) as process,
    ):
        try:
            until(lambda: "scan.finished" in (folder / "log").read_text(), 20)
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(15)


def until(condition: Callable[[], object], seconds: float) -> float:
    """Wait for a condition; return the seconds that it took."""
    began, pause = time.monotonic(), threading.Event()
    while not condition():
        assert time.monotonic() - began < seconds, "it did not come true"
        pause.wait(0.05)
    return time.monotonic() - began


def queued(folder: Path) -> int:
    """How many jobs the queue holds."""
    with contextlib.closing(sqlite3.connect(folder / "state/queue.db")) as queue:
        (count,) = queue.execute("SELECT count(*) FROM job WHERE state = 'queued'").fetchone()
    return int(count)


def fill(drop: Path, files: int) -> None:
    """Make files in folders of a thousand, which are there and watched."""
    for number in range(files):
        (drop / str(number // 1000) / f"{number}.mkv").write_bytes(b"x")


@pytest.fixture
def few_events() -> Iterator[int]:
    """Have the kernel keep 64 events; skips where that is not allowed."""
    if not os.access(QUEUED_EVENTS, os.W_OK):
        pytest.skip("only root may lower fs.inotify.max_queued_events")
    usual = QUEUED_EVENTS.read_text()
    QUEUED_EVENTS.write_text("64")
    yield 64
    QUEUED_EVENTS.write_text(usual)


def test_a_loss_of_events_makes_no_other(tmp_path: Path, few_events: int) -> None:
    """With more folders than events are kept: to watch each anew would overflow for ever.

    Folders that were moved and replaced meanwhile are watched under the names that they have now.
    """
    drop = tmp_path / "drop"
    for number in range(few_events * 4):
        (drop / str(number)).mkdir(parents=True)

    def losses() -> int:
        return (tmp_path / "log").read_text().count("watch.overflowed")

    with daemon(tmp_path) as process:
        process.send_signal(signal.SIGSTOP)
        for number in range(few_events * 2):
            (drop / str(number) / "a.mkv").write_bytes(b"x")
        (drop / "200").rename(drop / "moved")
        (drop / "201").rename(drop / "200")
        process.send_signal(signal.SIGCONT)
        until(lambda: queued(tmp_path) == few_events * 2, 30)
        # Nothing is scanned any more from here on but what an event names.
        (drop / "0" / "b.mkv").write_bytes(b"x")
        (drop / "200" / "b.mkv").write_bytes(b"x")
        until(lambda: queued(tmp_path) == few_events * 2 + 2, 30)
        until(lambda: (drop / "moved" / "c.mkv").write_bytes(b"x"), 1)
        until(lambda: queued(tmp_path) == few_events * 2 + 3, 30)
    assert losses() == 1


@pytest.mark.timeout(180)
@pytest.mark.parametrize("limit", [None, 64])
def test_no_file_is_missed_by_a_process_that_was_stopped(tmp_path: Path, limit: int | None) -> None:
    """Files made while it sleeps overflow the kernel's queue; a scan finds them, at once."""
    files = FILES if limit is None else FILES // 2
    for number in range(files // 1000):
        (tmp_path / f"drop/{number}").mkdir(parents=True)
    usual = QUEUED_EVENTS.read_text()
    if limit is not None:
        if not os.access(QUEUED_EVENTS, os.W_OK):
            pytest.skip("only root may lower fs.inotify.max_queued_events")
        QUEUED_EVENTS.write_text(str(limit))
    try:
        with daemon(tmp_path) as process:
            process.send_signal(signal.SIGSTOP)
            fill(tmp_path / "drop", files)
            process.send_signal(signal.SIGCONT)
            until(lambda: "watch.overflowed" in (tmp_path / "log").read_text(), 60)
            until(lambda: queued(tmp_path) == files, 90)
    finally:
        QUEUED_EVENTS.write_text(usual)


def test_no_file_is_missed_below_the_limit_on_watches(
    tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    """More folders than watches: one warning, with the remedy, and every file is found."""
    unshare = require_program("unshare")
    shell = 'echo 20 > /proc/sys/user/max_inotify_watches && exec "$@"'
    before = [unshare, "--user", "--map-root-user", "sh", "-c", shell, "sh"]
    try:
        subprocess.run([*before, "true"], check=True, capture_output=True)
    except subprocess.CalledProcessError:
        pytest.skip("no user namespaces here, in which the limit could be lowered")
    for number in range(60):
        (tmp_path / f"drop/{number}").mkdir(parents=True)
    with daemon(tmp_path, *before):
        until(lambda: "max_user_watches" in (tmp_path / "log").read_text(), 10)
        for number in range(60):
            (tmp_path / f"drop/{number}/a.mkv").write_bytes(b"x")
        until(lambda: queued(tmp_path) == 60, 30)
        (tmp_path / "drop/7/new/deep").mkdir(parents=True)
        (tmp_path / "drop/7/new/deep/b.mkv").write_bytes(b"x")
        until(lambda: queued(tmp_path) == 61, 30)
    log = (tmp_path / "log").read_text()
    assert log.count("max_user_watches") == 1
