"""The real program as a process, on folders and a sandbox of the test's own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from megamax_sync.sandbox import Sandbox

#: Longer than anything takes that ends.
PATIENCE = 30.0


@dataclass
class Result:
    """How one run ended."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)

    def lines(self) -> list[str]:
        """The lines of stdout."""
        return self.out.splitlines()

    def faults(self) -> list[str]:
        """The lines of stderr that are no log."""
        return [line for line in self.err.splitlines() if line.startswith("megamax-sync: ")]


def wait_until(condition: Callable[[], bool], what: str = "the condition") -> None:
    """Wait for a condition; fail when it does not come."""
    until = time.monotonic() + PATIENCE
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < until, f"{what} did not come"
        pause.wait(0.02)


class Running:
    """A program that runs, with its log so far."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    def events(self) -> list[dict[str, Any]]:
        """The log's events so far."""
        lines = self._log.read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def saw(self, event: str, **fields: Any) -> bool:
        """Tell whether the log has this event, with these fields."""
        return any(
            one["event"] == event and all(one.get(k) == v for k, v in fields.items())
            for one in self.events()
        )

    def wait_for(self, event: str, **fields: Any) -> None:
        """Wait until the log has this event."""
        wait_until(
            lambda: self.saw(event, **fields) or self.process.poll() is not None, f"event {event}"
        )
        assert self.saw(event, **fields), self._log.read_text("utf-8")

    def opened(self, path: Path) -> bool:
        """Tell whether the process has this file open."""
        open_files = Path(f"/proc/{self.process.pid}/fd")
        # It opens and closes others meanwhile.
        return any(_leads(link) == str(path) for link in open_files.iterdir())

    def freeze(self) -> None:
        """Stop all of its threads, as SIGSTOP does, and wait until they stand still."""
        self.process.send_signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.process.pid}/task")
        wait_until(lambda: all(map(_stands, tasks.iterdir())), "all threads are stopped")

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@dataclass
class Program:
    """How to call it: its folders and its environment."""

    home: Path
    sandbox: Sandbox | None
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.watch.mkdir(exist_ok=True)
        account = {}
        if self.sandbox is not None:
            account = {
                "MEGAMAX_API_URL": self.sandbox.api_url,
                "MEGAMAX_LOGIN": self.sandbox.login,
                "MEGAMAX_KEY": self.sandbox.key,
            }
        self.env = {
            **account,
            "MEGAMAX_STATE_DIR": str(self.state),
            "MEGAMAX_WATCH": str(self.watch),
            "MEGAMAX_SETTLE_SECONDS": "0.1",
            "MEGAMAX_POLL_SECONDS": "0.1",
            "MEGAMAX_API_RATE": "0",
            "MEGAMAX_RETRY_SECONDS": "0.1",
            **self.env,
        }

    @property
    def watch(self) -> Path:
        """The watched folder."""
        return self.home / "watch"

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.home / "state"

    def video(self, name: str | bytes, size: int = 2000, folder: Path | None = None) -> bytes:
        """Put a file of random content into the watched folder; return its path."""
        path = os.path.join(os.fsencode(folder or self.watch), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(os.urandom(size))
        return path

    def queue_is_held(self) -> bool:
        """Tell whether a process is writing the queue at this moment."""
        queue = sqlite3.connect(self.state / "queue.db", timeout=0, isolation_level=None)
        with contextlib.closing(queue):
            try:
                queue.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            queue.execute("ROLLBACK")
            return False

    def popen(
        self, *arguments: str | bytes, env: dict[str, str] | None = None, **streams: Any
    ) -> subprocess.Popen[bytes]:
        """Start it."""
        return subprocess.Popen(
            [sys.executable, "-m", "megamax_sync", *arguments],
            env={**os.environ, **self.env, **(env or {})},
            **{
                "cwd": self.home,
                "stdin": subprocess.DEVNULL,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                **streams,
            },
        )

    def run(self, *arguments: str | bytes, env: dict[str, str] | None = None) -> Result:
        """Run it to its end."""
        with self.popen(*arguments, env=env) as process:
            try:
                out, err = process.communicate(timeout=PATIENCE)
                # For the search at the end of all tests.
                (self.home / f"output-{time.monotonic_ns()}").write_bytes(out + err)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        assert b"Traceback" not in err, err.decode()
        return Result(process.returncode, out.decode(), err.decode())

    @contextmanager
    def running(
        self, *arguments: str, env: dict[str, str] | None = None, until: str | None = None
    ) -> Iterator[Running]:
        """Run it beside the test, from the log's event ``until`` on; it is ended afterwards."""
        log = self.home / f"log-{time.monotonic_ns()}"
        with (
            open(log, "wb") as file,
            self.popen(*arguments, env=env, stdout=subprocess.DEVNULL, stderr=file) as process,
        ):
            try:
                program = Running(process, log)
                if until is not None:
                    program.wait_for(until)
                yield program
            finally:
                if process.poll() is None:
                    process.terminate()
                    try:
                        process.wait(PATIENCE)
                    except subprocess.TimeoutExpired:
                        process.kill()
        assert "Traceback" not in log.read_text("utf-8")

    def daemon(self, *arguments: str, env: dict[str, str] | None = None) -> Any:
        """Run the daemon beside the test."""
        return self.running(*arguments, env=env, until="scan.finished")

    def job(self, name: str | int | bytes) -> Any:
        """What show --json says of a job."""
        given = name if isinstance(name, bytes) else str(name)
        return self.run("show", given, "--json").json()

    def counts(self) -> dict[str, int]:
        """The counts of status --json, those that are not 0."""
        counts: dict[str, int] = self.run("status", "--json").json()["counts"]
        return {state: count for state, count in counts.items() if count}


def _leads(link: Path) -> str | None:
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return None


def _stands(task: Path) -> bool:
    try:
        return "State:\tT" in (task / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
