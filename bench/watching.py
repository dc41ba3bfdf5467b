"""What watching costs: scans against ``find``, idle time, and how soon a file is sent."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import threading
import time
from datetime import datetime
from functools import partial
from pathlib import Path

from figures import Figures
from programs import (
    PROGRAM,
    cpu_seconds,
    daemon,
    environment,
    peak_of,
    peak_rss_mib,
    sandbox,
    voluntary_switches,
)

from megamax_sync.clock import Clock
from megamax_sync.job import FileStamp, match_key
from megamax_sync.store import Store

_ROUNDS = 5
_IDLE_SECONDS = 20.0
#: How many events the kernel keeps for each watcher that is to begin from now on.
_EVENTS_KEPT = Path("/proc/sys/fs/inotify/max_queued_events")


def bench_scan(figures: Figures, folder: Path, entries: int) -> None:
    """The daemon's scans of a large library, and ``find``'s."""
    figures.begin(
        "scan",
        f"{entries:,} files in {entries // 100:,} folders, against `find -type f` over the same "
        "tree, run in turn. Known: every file is `done` in the queue. The first scan looks each up "
        "there; of the three rescans after it each lists one third of the folders, as nothing has "
        "changed. Times are those of `scan.finished`, but for those of a whole process. `find "
        "-type f` only lists; `find -size +0` looks at each file, as has to be done to see a "
        "change.",
    )
    drop = folder / "drop"
    for number in range(entries // 100):
        below = drop / f"{number // 50:02}" / f"{number:04}"
        below.mkdir(parents=True)
        for name in range(100):
            (below / f"video {name:03}.mkv").write_bytes(b"video")
    _preview(figures, folder, "all new")
    _scan_unknown(figures, folder, entries)
    _fill(folder, drop)
    finds, sized, colds, firsts, agains, peaks = [], [], [], [], [], []
    for _ in range(_ROUNDS):
        finds.append(_find(drop, "-type", "f"))
        sized.append(_find(drop, "-size", "+0"))
        began = time.perf_counter()
        with daemon(environment(folder, MEGAMAX_RESCAN_SECONDS="1")) as running:
            first = running.wait_for(_scanned)
            colds.append(time.perf_counter() - began)
            firsts.append(first["seconds"])
            agains.append(sum(running.wait_for(_scanned)["seconds"] for _ in range(3)) / 3)
            peaks.append(peak_rss_mib(running.pid))
            running.stop()
        if first["candidates"] != entries:
            raise SystemExit(f"the scan saw {first['candidates']} files")
    pairs = list(zip(finds, colds, firsts, agains, strict=True))
    figures.add("`find -type f`", finds, "s")
    figures.add("first scan of a process, all known", firsts, "s")
    figures.add("first scan, against `find`", [f / n for n, _, f, _ in pairs], "times", below=8)
    looked = [f / n for f, n in zip(firsts, sized, strict=True)]
    figures.add("first scan, against `find -size +0`", looked, "times")
    figures.add("from the start of the process to the end of that scan", colds, "s")
    figures.add("start and first scan, against `find`", [c / n for n, c, _, _ in pairs], "times")
    figures.add("rescan, all known", agains, "s")
    figures.add("rescan, against `find`", [a / n for n, _, _, a in pairs], "times", below=5)
    figures.add("peak resident memory of the daemon, all known", peaks, "MiB", below=90)
    _preview(figures, folder, "all known")


def bench_million(figures: Figures, folder: Path, files: int) -> None:
    """What ``--scan --dry-run`` takes for a very large library."""
    figures.begin("million", f"{files:,} files in {files // 1000:,} folders, `--scan --dry-run`.")
    for number in range(files // 1000):
        below = folder / "drop" / f"{number:04}"
        below.mkdir(parents=True)
        for name in range(1000):
            # Links of one file: an inode for each would be a gigabyte.
            path = below / f"video {name:03}.mkv"
            if name:
                os.link(below / "video 000.mkv", path)
            else:
                path.write_bytes(b"video")
    _preview(figures, folder, "all new", rounds=3)


def _preview(figures: Figures, folder: Path, what: str, *, rounds: int = _ROUNDS) -> None:
    """Have each file judged, and nothing done."""
    finds, previews, peaks = [], [], []
    for _ in range(rounds):
        finds.append(_find(folder / "drop", "-size", "+0"))
        seconds, peak = peak_of([PROGRAM, "--scan", "--dry-run"], environment(folder))
        previews.append(seconds)
        peaks.append(peak)
    ratios = [p / f for p, f in zip(previews, finds, strict=True)]
    figures.add(f"`--scan --dry-run`, {what}", previews, "s")
    figures.add(f"`--scan --dry-run` against `find -size +0`, {what}", ratios, "times", below=6)
    figures.add(f"peak resident memory of `--scan --dry-run`, {what}", peaks, "MiB", below=150)


def _scan_unknown(figures: Figures, folder: Path, entries: int) -> None:
    settings = environment(folder)
    subprocess.run([PROGRAM, "pause"], env=settings, check=True, stdout=subprocess.DEVNULL)
    began = time.perf_counter()
    with daemon(settings) as running:
        queued = 0
        for event in running.events():
            queued += event["event"] == "file.queued"
            if queued == entries:
                break
        figures.add(
            "all files new, uploads paused: all queued after", time.perf_counter() - began, "s"
        )
        figures.add(
            "all files new: peak resident memory of the daemon",
            peak_rss_mib(running.pid),
            "MiB",
            below=90,
        )
        running.stop()


def bench_stopped(figures: Figures, folder: Path, files: int) -> None:
    """Files that come while the daemon is stopped, more than the kernel keeps events for."""
    figures.begin(
        "stopped",
        f"{files:,} files in {files // 100:,} folders, made while the daemon is stopped by "
        "SIGSTOP, so that the kernel's queue of events overflows; uploads are paused, and the next "
        "periodic rescan is an hour away. Times are from SIGCONT.",
    )
    for kept in (_EVENTS_KEPT.read_text().strip(), "64"):
        _come_while_stopped(figures, folder / kept, files, kept)


def _come_while_stopped(figures: Figures, folder: Path, files: int, kept: str) -> None:
    folders = [folder / "drop" / f"{number:04}" for number in range(files // 100)]
    for below in folders:
        below.mkdir(parents=True)
    settings = environment(folder, MEGAMAX_SETTLE_SECONDS="0", MEGAMAX_RESCAN_SECONDS="3600")
    subprocess.run([PROGRAM, "pause"], env=settings, check=True, stdout=subprocess.DEVNULL)
    before = _EVENTS_KEPT.read_text()
    try:
        if kept != before.strip():
            _EVENTS_KEPT.write_text(kept)
        with daemon(settings) as running:
            running.wait_for(_scanned)
            os.kill(running.pid, signal.SIGSTOP)
            for below in folders:
                for name in range(100):
                    (below / f"video {name:03}.mkv").write_bytes(b"video")
            began = time.perf_counter()
            os.kill(running.pid, signal.SIGCONT)
            queued, first, overflowed = 0, 0.0, False
            for event in running.events():
                overflowed = overflowed or event["event"] == "watch.overflowed"
                queued += event["event"] == "file.queued"
                first = first or (time.perf_counter() - began if queued else 0.0)
                if queued == files:
                    break
            last = time.perf_counter() - began
            running.stop()
    finally:
        _EVENTS_KEPT.write_text(before)
    if not overflowed:
        raise SystemExit("the kernel's queue of events did not overflow")
    figures.add(f"{kept} events kept: the first is queued after", first, "s")
    figures.add(f"{kept} events kept: all are queued after", last, "s", below=10)


def _fill(folder: Path, drop: Path) -> None:
    """Have every file in a new queue, done."""
    queue = folder / "state" / "queue.db"
    for left in queue.parent.glob("queue.db*"):
        left.unlink()
    Store(str(queue), Clock()).close()
    now = time.time()

    def rows() -> list[tuple[object, ...]]:
        made: list[tuple[object, ...]] = []
        for where, _, names in os.walk(os.fsencode(drop)):
            for name in names:
                path = os.path.join(where, name)
                s = FileStamp.of(os.lstat(path))
                made.append(
                    (
                        path,
                        os.fsencode(drop),
                        s.size,
                        s.mtime_ns,
                        s.ctime_ns,
                        s.dev,
                        s.ino,
                        match_key(name),
                        f"hash{len(made)}",
                        now,
                        now,
                    )
                )
        return made

    connection = sqlite3.connect(queue)
    with connection:
        connection.executemany(
            "INSERT INTO job (path, root, state, ready, size, mtime_ns, ctime_ns, dev, ino, "
            "match_key, hashid, remote_status, created_at, updated_at) "
            "VALUES (?, ?, 'done', 1, ?, ?, ?, ?, ?, ?, ?, 'converted', ?, ?)",
            rows(),
        )
    connection.close()


def _find(drop: Path, *test: str) -> float:
    began = time.perf_counter()
    subprocess.run(["find", drop, *test], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _scanned(event: dict[str, object]) -> bool:
    return event["event"] == "scan.finished"


def _started(name: str, event: dict[str, str]) -> bool:
    return event["event"] == "upload.started" and event["path"].endswith(name)


def bench_idle(figures: Figures, folder: Path, folders: int) -> None:
    """The daemon with nothing to do."""
    figures.begin(
        "idle",
        f"{folders:,} folders watched, nothing happens for {_IDLE_SECONDS:.0f} s. The share of the "
        "periodic rescan is the processor time of one over MEGAMAX_RESCAN_SECONDS (300).",
    )
    for number in range(folders):
        (folder / "drop" / f"{number // 200:03}" / f"{number % 200:03}").mkdir(parents=True)
    with daemon(environment(folder)) as running:
        running.wait_for(_scanned)
        started = cpu_seconds(running.pid)
        rest = threading.Event()
        # watchdog may still be reading of what it has just begun to watch.
        rest.wait(2.0)
        shares, wakes = [], []
        for _ in range(3):
            before, slept = cpu_seconds(running.pid), voluntary_switches(running.pid)
            rest.wait(_IDLE_SECONDS)
            shares.append((cpu_seconds(running.pid) - before) / _IDLE_SECONDS * 100)
            wakes.append((voluntary_switches(running.pid) - slept) / _IDLE_SECONDS)
        figures.add("processor time until the first scan is over", started, "s")
        figures.add("wake-ups of all threads", wakes, "/s")
        figures.add("idle", shares, "% of a core", below=0.5)
        figures.add("peak resident memory", peak_rss_mib(running.pid), "MiB")
        running.stop()
    with daemon(environment(folder, MEGAMAX_RESCAN_SECONDS="1")) as running:
        running.wait_for(_scanned)
        running.wait_for(_scanned)
        scans, before, began = 0, cpu_seconds(running.pid), time.perf_counter()
        while time.perf_counter() - began < _IDLE_SECONDS / 2:
            running.wait_for(_scanned)
            scans += 1
        one = (cpu_seconds(running.pid) - before) / scans
        running.stop()
    figures.add("processor time of one rescan", one, "s")
    figures.add("idle, with the rescan's share", shares_with(shares, one), "% of a core", below=0.5)


def shares_with(shares: list[float], rescan: float) -> list[float]:
    """Add what a rescan of so many seconds every 300 s makes of a core, in percent."""
    return [share + rescan / 300 * 100 for share in shares]


def bench_close_to_upload(figures: Figures, folder: Path, files: int = 30) -> None:
    """From the close of a file to the beginning of its upload."""
    figures.begin(
        "close to upload",
        f"{files} files, one after the other, at MEGAMAX_SETTLE_SECONDS=0.5: from the close of "
        "each to its `upload.started`.",
    )
    (folder / "drop").mkdir()
    delays = []
    with (
        sandbox(folder) as account,
        daemon(environment(folder, MEGAMAX_SETTLE_SECONDS="0.5", **account)) as running,
    ):
        running.wait_for(_scanned)
        for number in range(files):
            path = folder / "drop" / f"{number:02}.mkv"
            path.write_bytes(os.urandom(100_000))
            closed = time.time()
            started = running.wait_for(partial(_started, path.name))
            delays.append(datetime.fromisoformat(started["timestamp"]).timestamp() - closed)
        running.stop()
    figures.add("from close to upload start", delays, "s", below=0.8)
