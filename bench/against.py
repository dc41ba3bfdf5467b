"""Side by side with ``curl -F``, on a receiver that is never the bottleneck."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from figures import Figures
from programs import (
    MIB,
    PROGRAM,
    PYTHON,
    Daemon,
    cpu_seconds,
    daemon,
    environment,
    peak_rss_mib,
    timed,
    write_video,
)

_SOURCE = Path(__file__).with_name("sink.c")
_LIBRARY = Path(__file__).with_name("library.py")
_ROUNDS = 5
_CURL = ("curl", "-s", "-k", "-o", "/dev/null", "-F", "login=bench", "-F", "key=bench")


@dataclass
class Sink:
    """A receiver that runs."""

    plain: int
    secure: int
    tls: bool

    @property
    def api(self) -> str:
        """The base of its calls, which are always plain."""
        return f"http://127.0.0.1:{self.plain}/api"

    @property
    def upload(self) -> str:
        """Where bodies go."""
        if self.tls:
            return f"https://127.0.0.1:{self.secure}/up/0"
        return f"http://127.0.0.1:{self.plain}/up/0"

    def requests(self) -> int:
        """How many requests have come."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.plain}/requests") as reply:
            return int(reply.read().rpartition(b":")[2].rstrip(b"}"))

    def account(self) -> dict[str, str]:
        """The settings of a program that works with it."""
        return {
            "MEGAMAX_API_URL": self.api,
            "MEGAMAX_UPLOAD_VERIFY_TLS": "false",
            "MEGAMAX_DEDUPE": "false",
        }


@contextlib.contextmanager
def sink(folder: Path, *, tls: bool = False, converting: int = 0) -> Iterator[Sink]:
    """Build the receiver, and run it."""
    program, both, key = folder / "sink", folder / "certificate.pem", folder / "key.pem"
    if not program.exists():
        make = ["cc", "-O2", "-o", str(program), str(_SOURCE), "-lssl", "-lcrypto", "-pthread"]
        subprocess.run(make, check=True)
        options = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        names = "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
        subprocess.run(
            ["openssl", "req", *options.split(), *names.split(), "-out", both, "-keyout", key],
            check=True,
            capture_output=True,
        )
    env = {**os.environ, **({"SINK_TLS": "1"} if tls else {})}
    with subprocess.Popen(
        [program, both, key, str(converting)], stdout=subprocess.PIPE, text=True, env=env
    ) as process:
        try:
            assert process.stdout is not None
            plain, secure = process.stdout.readline().split()
            yield Sink(int(plain), int(secure), tls)
        finally:
            process.kill()


def _measured(command: list[str]) -> tuple[float, float]:
    """Run a command; return the seconds that it took, and those of processor time."""
    seconds, usage = timed(command)
    return seconds, usage.ru_utime + usage.ru_stime


def _sent(running: Daemon, source: Path, folder: Path, names: list[str]) -> tuple[float, float]:
    """Have the daemon send hard links of a file; return seconds and processor time of that."""
    for name in names:
        os.link(source, folder / "drop" / name)
    first, before, left = 0.0, 0.0, len(names)
    for event in running.events():
        if event["event"] == "upload.started" and not first:
            first, before = time.perf_counter(), cpu_seconds(running.pid)
        left -= event["event"] == "upload.finished"
        if not left:
            break
    return time.perf_counter() - first, cpu_seconds(running.pid) - before


def _rounds(
    figures: Figures, folder: Path, size: int, *, tls: bool, at_once: int, bars: tuple[float, float]
) -> None:
    source = folder / "source.mkv"
    write_video(source, size, seed=1)
    (folder / "drop").mkdir()
    speeds, costs, rates = [], [], []
    with sink(folder, tls=tls) as receiver:
        settings = environment(folder, MEGAMAX_WORKERS=str(at_once), **receiver.account())
        curl = [*_CURL, "-F", f"file=@{source}", receiver.upload]
        if at_once > 1:
            each = " ".join(curl)
            curl = ["sh", "-c", f"seq {at_once} | xargs -P{at_once} -I% {each}"]
        with daemon(settings) as running:
            running.wait_for(lambda event: event["event"] == "scan.finished")
            for number in range(_ROUNDS + 1):
                theirs, their_cost = _measured(curl)
                names = [f"{number}-{one}.mkv" for one in range(at_once)]
                ours, our_cost = _sent(running, source, folder, names)
                # The first of each warms up.
                if number:
                    speeds.append(theirs / ours)
                    costs.append(our_cost / their_cost)
                    rates.append(size * at_once / MIB / ours)
            peak = peak_rss_mib(running.pid)
            running.stop()
    figures.add("speed", rates, "MiB/s")
    figures.add("speed, against curl", speeds, "times", above=bars[0])
    figures.add("processor time, against curl", costs, "times", below=bars[1])
    figures.add("peak resident memory of the daemon", peak, "MiB", below=80)


def bench_plain(figures: Figures, folder: Path, size: int) -> None:
    """One large file."""
    figures.begin("one file", f"One file of {size / MIB:,.0f} MiB, plain, in turn with `curl -F`.")
    _rounds(figures, folder, size, tls=False, at_once=1, bars=(1.4, 0.75))


def bench_tls(figures: Figures, folder: Path, size: int) -> None:
    """The same over TLS."""
    figures.begin(
        "one file over TLS", f"One file of {size / MIB:,.0f} MiB over TLS, in turn with `curl -F`."
    )
    _rounds(figures, folder, size, tls=True, at_once=1, bars=(1.2, 0.85))


def bench_four(figures: Figures, folder: Path, size: int) -> None:
    """Four at once."""
    figures.begin(
        "four at once over TLS",
        f"Four files of {size / 4 / MIB:,.0f} MiB at once, in turn with `xargs -P4 curl -F`.",
    )
    _rounds(figures, folder, size // 4, tls=True, at_once=4, bars=(1.0, 0.9))


def bench_small(figures: Figures, folder: Path, files: int) -> None:
    """Many small files: all that we do, against the two calls alone."""
    figures.begin(
        "small files",
        f"{files:,} files of 20 KB over TLS. Ours: `--scan` with four workers, from the start of "
        "the process to the last sidecar, links included, MEGAMAX_API_RATE=0. Theirs: `xargs -P4` "
        "of a shell that asks for an upload URL and sends the file, both with curl.",
    )
    drop = folder / "drop"
    for number in range(files):
        write_video(drop / f"{number:05}.mp4", 20_000, seed=number)
    ratios, ours_all, costs, calls = [], [], [], []
    with sink(folder, tls=True) as receiver:
        script = folder / "one.sh"
        script.write_text(
            f'url=$(curl -s "{receiver.api}/file/upload/generate?login=bench&key=bench")\n'
            'url=${url##*:\\"}; url=https:${url#*https:}; url=${url%%\\"*}\n'
            f'exec {" ".join(_CURL)} -F "file=@$1" "$url"\n'
        )
        for number in range(3):
            theirs, their_cost = _measured(
                ["sh", "-c", f"find {drop} -name '*.mp4' | xargs -P4 -I% sh {script} %"]
            )
            home = folder / f"round{number}"
            home.mkdir()
            settings = environment(
                folder,
                MEGAMAX_WORKERS="4",
                MEGAMAX_STATE_DIR=str(home / "state"),
                MEGAMAX_SIDECAR_DIR=str(home / "sidecars"),
                **receiver.account(),
            )
            before = receiver.requests()
            ours, usage = timed([PROGRAM, "--scan"], settings, home / "log")
            ratios.append(theirs / ours)
            ours_all.append(ours)
            costs.append((usage.ru_utime + usage.ru_stime) / their_cost)
            calls.append((receiver.requests() - before) / files)
    figures.add("all done, links and sidecars included", ours_all, "s")
    figures.add("speed, against generate and `curl -F` alone", ratios, "times", above=1.0)
    figures.add("processor time, against theirs", costs, "times")
    figures.add("requests for each file", calls, "")


def bench_chunks(figures: Figures, folder: Path, size: int) -> dict[str, dict[str, float]]:
    """The library alone, by the size of its chunks."""
    figures.begin(
        "chunks",
        f"The library alone, {size / MIB:,.0f} MiB in chunks of several sizes, in turn with "
        "`curl -F`; the program reads 1 MiB at a time.",
    )
    source = folder / "source.mkv"
    write_video(source, size, seed=1)
    curves: dict[str, dict[str, float]] = {}
    for tls in (False, True):
        with sink(folder, tls=tls) as receiver:
            curl = [*_CURL, "-F", f"file=@{source}", receiver.upload]
            ratios: dict[int, list[float]] = {}
            for _ in range(3):
                theirs, _ = _measured(curl)
                for chunk in (1 << power for power in range(14, 23, 2)):
                    ours = _by_library(receiver, source, chunk)
                    ratios.setdefault(chunk, []).append(theirs / ours)
        name = "over TLS" if tls else "plain"
        for chunk, values in ratios.items():
            figures.add(f"chunks of {chunk >> 10:,} KiB {name}, against curl", values, "times")
        curves[name] = {str(chunk): statistics.median(all_) for chunk, all_ in ratios.items()}
    return curves


def _by_library(receiver: Sink, source: Path, chunk: int) -> float:
    command = [PYTHON, _LIBRARY, receiver.api, receiver.upload, source, str(chunk)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
