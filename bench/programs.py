"""The programs that are measured, and what the kernel says of them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

#: The environment that `make bench` installs the program into, as a user does. In the development
#: environment it would find more: httpcore imports trio wherever there is one, at each start.
_PRODUCT = Path(__file__).parent / ".product" / "bin"
PROGRAM = str(_PRODUCT / "megamax-sync")
#: The interpreter of that environment, for what measures the library.
PYTHON = str(_PRODUCT / "python")
MIB = 1 << 20


def write_video(path: Path, size: int, seed: int) -> None:
    """Write ``size`` bytes that neither compress nor repeat another file's."""
    block = random.Random(seed).randbytes(min(size, MIB))
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
    """User and system time of all threads that a process has now, exact to the nanosecond."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def voluntary_switches(pid: int) -> int:
    """How often the threads of a process have gone to sleep, which is how often they woke."""
    count = 0
    for thread in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in thread.read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                count += int(line.split()[1])
    return count


def timed(
    command: list[str], environment: dict[str, str] | None = None, log: Path | None = None
) -> tuple[float, resource.struct_rusage]:
    """Run a command that has to succeed; return the seconds that it took, and what it used.

    ``log`` is where its output goes, which nobody wants to see otherwise.
    """
    with open(log or os.devnull, "wb") as out:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment, stdout=out, stderr=None if log is None else out
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return seconds, usage


def peak_of(
    command: list[str], environment: dict[str, str], log: Path | None = None
) -> tuple[float, float]:
    """Run a command that has to succeed; return the seconds that it took, and its peak memory.

    That is the most that it had resident, in MiB, asked for while it runs, each 10 ms: what the
    kernel says at the end counts the process, too, from which it was forked.
    """
    peak = 0.0
    with open(log or os.devnull, "wb") as out:
        began = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
        while process.poll() is None:
            # One that has just ended has no memory.
            with contextlib.suppress(RuntimeError, OSError):
                peak = max(peak, peak_rss_mib(process.pid))
            time.sleep(0.01)
        seconds = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return seconds, peak


def _clean() -> dict[str, str]:
    # Nor what a developer's Python is told: without its compiled files it starts half as fast.
    own = ("MEGAMAX_", "PYTHON")
    return {k: v for k, v in os.environ.items() if not k.startswith(own)}


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return the environment of a program that works in ``folder``, with quick settings."""
    return (
        _clean()
        | {
            "MEGAMAX_API_URL": "http://127.0.0.1:9/api",
            "MEGAMAX_LOGIN": "bench",
            "MEGAMAX_KEY": "bench",
            "MEGAMAX_STATE_DIR": str(folder / "state"),
            "MEGAMAX_WATCH": str(folder / "drop"),
            "MEGAMAX_SETTLE_SECONDS": "0.1",
            "MEGAMAX_POLL_SECONDS": "1",
            "MEGAMAX_API_RATE": "0",
            "MEGAMAX_LOG_FORMAT": "json",
        }
        | more
    )


@contextlib.contextmanager
def sandbox(folder: Path) -> Iterator[dict[str, str]]:
    """Run the embedded Megamax; yields the variables of a program that is to work with it."""
    command = [PROGRAM, "sandbox", "--data", str(folder / "sandbox"), "--step", "0.05"]
    with subprocess.Popen(command, env=_clean(), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield dict(process.stdout.readline().rstrip("\n").split("=", 1) for _ in range(3))
        finally:
            process.terminate()


class Daemon:
    """The daemon, and its log."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.pid = process.pid
        self._process = process

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield what it logs, as it comes."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            yield json.loads(line)
        raise SystemExit("the daemon ended by itself")

    def wait_for(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Read its log until this comes."""
        return next(event for event in self.events() if wanted(event))

    def stop(self) -> None:
        """End it, and wait for that."""
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate()


@contextlib.contextmanager
def daemon(settings: dict[str, str]) -> Iterator[Daemon]:
    """Run the daemon."""
    with subprocess.Popen(
        [PROGRAM], env=settings, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield Daemon(process)
        finally:
            process.kill()
