"""How fast it starts, and sends: one large file, many small ones."""

from __future__ import annotations

import json
import random
import subprocess
import time
from pathlib import Path

from figures import Figures
from programs import (
    MIB,
    PROGRAM,
    PYTHON,
    cpu_seconds,
    daemon,
    environment,
    peak_of,
    peak_rss_mib,
    sandbox,
    timed,
    write_video,
)


def bench_start(figures: Figures, folder: Path) -> None:
    """How long the program takes before it does anything."""
    figures.begin(
        "start",
        "A command that has nothing to do: processor time, and how long it takes. And the daemon, "
        "until its first line in the log.",
    )
    (folder / "drop").mkdir()
    for arguments in (["--version"], ["--help"], ["status"]):
        cpu, wall = [], []
        for _ in range(9):
            seconds, usage = timed([PROGRAM, *arguments], environment(folder))
            wall.append(seconds)
            cpu.append(usage.ru_utime + usage.ru_stime)
        what = " ".join(arguments) + (", empty queue" if arguments == ["status"] else "")
        bar = 0.35 if "status" in arguments else None
        figures.add(f"`{what}`: processor time", cpu, "s", below=bar)
        figures.add(f"`{what}`: elapsed", wall, "s")
    # What of that is not ours to make cheaper: the import of what reads its options and settings.
    alone = [PYTHON, "-c", "import typer, pydantic_settings"]
    usages = [timed(alone, environment(folder))[1] for _ in range(9)]
    cpu = [usage.ru_utime + usage.ru_stime for usage in usages]
    figures.add("the import of Typer and pydantic-settings alone: processor time", cpu, "s")
    cpu, wall = [], []
    for _ in range(9):
        began = time.perf_counter()
        with daemon(environment(folder)) as running:
            running.wait_for(lambda _: True)
            wall.append(time.perf_counter() - began)
            cpu.append(cpu_seconds(running.pid))
    figures.add("daemon: processor time until its first line", cpu, "s")
    figures.add("daemon: elapsed until its first line", wall, "s", below=1)


def bench_large(figures: Figures, folder: Path, size: int) -> None:
    """One large file through the daemon."""
    figures.begin("large", f"One file of {size / MIB:,.0f} MiB through the daemon.")
    write_video(folder / "drop" / "large.mkv", size, seed=0)
    with sandbox(folder) as account, daemon(environment(folder, **account)) as running:
        seen: dict[str, float] = {}
        for event in running.events():
            seen.setdefault(event["event"], time.perf_counter())
            if event["event"] in {"job.done", "job.failed"}:
                break
        if "job.done" not in seen:
            raise SystemExit("the large file was not uploaded")
        seconds = seen["upload.finished"] - seen["upload.started"]
        figures.add("upload", size / MIB / seconds, "MiB/s")
        figures.add("processor time of the daemon", cpu_seconds(running.pid), "s")
        figures.add(
            "peak resident memory of the daemon", peak_rss_mib(running.pid), "MiB", below=80
        )
        began = time.perf_counter()
        running.stop()
        figures.add("stop after SIGTERM", time.perf_counter() - began, "s", below=10)


def bench_many(figures: Figures, folder: Path, files: int) -> None:
    """Many files of mixed sizes through ``--scan``."""
    sizes = random.Random(1)
    total = 0
    for number in range(files):
        size = int(2 ** sizes.uniform(10, 21))
        write_video(folder / "drop" / f"{number % 20:02}" / f"{number:05}.mp4", size, seed=number)
        total += size
    figures.begin(
        "many", f"{files:,} files, 1 KiB to 2 MiB, {total / MIB:,.0f} MiB in all, by `--scan`."
    )
    with sandbox(folder) as account:
        settings = environment(folder, **account)
        seconds, peak = peak_of([PROGRAM, "--scan"], settings, folder / "log")
        report = subprocess.run(
            [PROGRAM, "status", "--json", "--limit", "1"],
            env=settings,
            check=True,
            stdout=subprocess.PIPE,
        )
    counts = json.loads(report.stdout)["counts"]
    if counts.get("done") != files:
        raise SystemExit(f"after --scan the queue holds {counts}")
    figures.add("all done, with links, after", seconds, "s")
    figures.add("files a second", files / seconds, "/s")
    figures.add("peak resident memory of `--scan`", peak, "MiB")
