"""Figures, taken from outside: the installed program against the embedded Megamax, each a process.

    make bench                                          everything
    make bench BENCH_ARGS='--size 256M --files 200'     less of it
    make bench BENCH_ARGS='--only start'                one of them

Every figure is one line: name, value, unit. Nothing here passes or fails by speed; but a file that
does not end ``done`` ends the run. It needs twice ``--size`` of free space in the temporary folder.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROGRAM = str(Path(sys.executable).with_name("megamax-sync"))
MIB = 1 << 20
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def figure(name: str, value: float, unit: str) -> None:
    """Print one figure."""
    print(f"{name:<40} {value:>10.2f} {unit}", flush=True)


def byte_count(text: str) -> int:
    """Read ``3G``, ``256M``, ``512K`` or a plain number of bytes."""
    unit = UNITS.get(text[-1:].upper())
    return int(text[:-1]) * unit if unit else int(text)


def write_video(path: Path, size: int, seed: int) -> None:
    """Write ``size`` bytes that neither compress nor repeat another file's."""
    block = random.Random(seed).randbytes(MIB)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb", buffering=0) as out:
        for start in range(0, size, MIB):
            out.write(block[: size - start])


def peak_rss_mib(pid: int) -> float:
    """The most memory that a living process has had resident, in MiB (VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} is gone")


def cpu_seconds(pid: int) -> float:
    """User and system time that a living process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def sandbox(folder: Path) -> Iterator[dict[str, str]]:
    """Run the embedded Megamax; yields the environment of a program that is to work with it."""
    command = [PROGRAM, "sandbox", "--data", str(folder / "sandbox"), "--step", "0.05"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            account = dict(process.stdout.readline().rstrip("\n").split("=", 1) for _ in range(3))
            clean = {k: v for k, v in os.environ.items() if not k.startswith("MEGAMAX_")}
            yield (
                clean
                | account
                | {
                    "MEGAMAX_STATE_DIR": str(folder / "state"),
                    "MEGAMAX_WATCH": str(folder / "drop"),
                    "MEGAMAX_SETTLE_SECONDS": "0.1",
                    "MEGAMAX_POLL_SECONDS": "1",
                    "MEGAMAX_API_RATE": "0",
                    "MEGAMAX_LOG_FORMAT": "json",
                }
            )
        finally:
            process.terminate()


def bench_start(_folder: Path, _options: argparse.Namespace) -> None:
    """How long the program takes before it does anything."""
    for name, arguments in {"--version": ["--version"], "--help": ["--help"]}.items():
        taken = []
        for _ in range(7):
            start = time.perf_counter()
            subprocess.run([PROGRAM, *arguments], check=True, stdout=subprocess.DEVNULL)
            taken.append(time.perf_counter() - start)
        figure(f"start: {name}, median of 7", statistics.median(taken), "s")


def bench_large(folder: Path, options: argparse.Namespace) -> None:
    """One large file through the daemon: speed, processor time and memory."""
    write_video(folder / "drop" / "large.mkv", options.size, seed=0)
    with (
        sandbox(folder) as environment,
        subprocess.Popen([PROGRAM], env=environment, stderr=subprocess.PIPE, text=True) as daemon,
    ):
        try:
            assert daemon.stderr is not None
            seen: dict[str, float] = {}
            for line in daemon.stderr:
                event = json.loads(line)["event"]
                seen.setdefault(event, time.perf_counter())
                if event in {"job.done", "job.failed"}:
                    break
            if "job.done" not in seen:
                raise SystemExit("the large file was not uploaded")
            seconds = seen["upload.finished"] - seen["upload.started"]
            figure("large: size", options.size / MIB, "MiB")
            figure("large: upload", options.size / MIB / seconds, "MiB/s")
            figure("large: processor time of the daemon", cpu_seconds(daemon.pid), "s")
            figure("large: daemon's peak resident memory", peak_rss_mib(daemon.pid), "MiB")
            stopping = time.perf_counter()
            daemon.send_signal(signal.SIGTERM)
            daemon.communicate()
            figure("large: stop after SIGTERM", time.perf_counter() - stopping, "s")
        finally:
            daemon.terminate()


def bench_many(folder: Path, options: argparse.Namespace) -> None:
    """Many files of mixed sizes through ``--scan``."""
    sizes = random.Random(1)
    total = 0
    for number in range(options.files):
        size = int(2 ** sizes.uniform(10, 21))
        write_video(folder / "drop" / f"{number % 20:02}" / f"{number:05}.mp4", size, seed=number)
        total += size
    with sandbox(folder) as environment:
        start = time.perf_counter()
        with (folder / "log").open("wb") as log:
            scan = subprocess.Popen([PROGRAM, "--scan"], env=environment, stdout=log, stderr=log)
            _, status, usage = os.wait4(scan.pid, 0)
        scan.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        report = subprocess.run(
            [PROGRAM, "status", "--json", "--limit", "1"],
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
        )
    counts = json.loads(report.stdout)["counts"]
    if scan.returncode != 0 or counts.get("done") != options.files:
        raise SystemExit(f"--scan ended with {scan.returncode}, and the queue holds {counts}")
    figure("many: files", options.files, "")
    figure("many: size", total / MIB, "MiB")
    figure("many: all done after", seconds, "s")
    figure("many: files a second", options.files / seconds, "/s")
    figure("many: processor time of --scan", usage.ru_utime + usage.ru_stime, "s")
    figure("many: peak resident memory of --scan", usage.ru_maxrss / 1024, "MiB")


BENCHES: dict[str, Callable[[Path, argparse.Namespace], None]] = {
    "start": bench_start,
    "large": bench_large,
    "many": bench_many,
}


def main() -> None:
    """Run the benches that were asked for, each in a folder of its own."""
    parser = argparse.ArgumentParser(description="Measure megamax-sync.")
    parser.add_argument("--size", type=byte_count, default=byte_count("3G"), help="the large file")
    parser.add_argument("--files", type=int, default=1000, help="how many small files")
    parser.add_argument("--only", choices=BENCHES, help="one bench instead of all")
    options = parser.parse_args()
    for name, bench in BENCHES.items():
        if options.only in {None, name}:
            with tempfile.TemporaryDirectory(prefix="megamax-bench-") as folder:
                bench(Path(folder), options)


if __name__ == "__main__":
    main()
