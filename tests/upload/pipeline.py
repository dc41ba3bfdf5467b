"""A whole daemon at work on a sandbox, for tests that look at what comes out."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
from structlog.testing import capture_logs

from megamax_sync import sidecar
from megamax_sync.config import Settings, load
from megamax_sync.daemon import Daemon
from megamax_sync.job import Job, JobState
from megamax_sync.sandbox import FaultScript, RemoteRecord, Sandbox
from megamax_sync.state import StateFolder
from megamax_sync.store import Step

#: What makes a run fast: no waits that only patience needs.
QUICK = {
    "MEGAMAX_SETTLE_SECONDS": "0",
    "MEGAMAX_POLL_SECONDS": "0.1",
    "MEGAMAX_RETRY_SECONDS": "0.05",
    "MEGAMAX_RETRY_MAX_SECONDS": "0.2",
    "MEGAMAX_API_RATE": "0",
    "MEGAMAX_TIMEOUT_SECONDS": "10",
    "MEGAMAX_MAX_ATTEMPTS": "3",
}


def wait_for(condition: Callable[[], object], seconds: float = 10.0, *, what: str = "") -> None:
    """Wait until ``condition`` holds."""
    pause = threading.Event()
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what or "it did not come true in time"
        pause.wait(0.01)


def sha(data: bytes) -> str:
    """A digest by which contents are compared."""
    return hashlib.sha256(data).hexdigest()


class Rig:
    """A sandbox, a drop folder, a state folder, and a daemon that can be started and stopped."""

    def __init__(self, folder: Path, sandbox: Sandbox, faults: FaultScript) -> None:
        self.folder = folder
        self.drop = folder / "drop"
        self.drop.mkdir(exist_ok=True)
        self.sandbox = sandbox
        self.faults = faults
        self.events: list[MutableMapping[str, Any]] = []
        self.environ = {
            **QUICK,
            "MEGAMAX_LOGIN": sandbox.login,
            "MEGAMAX_KEY": sandbox.key,
            "MEGAMAX_API_URL": sandbox.api_url,
            "MEGAMAX_WATCH": str(self.drop),
            "MEGAMAX_STATE_DIR": str(folder / "state"),
        }
        self._daemon: Daemon | None = None
        self._state: StateFolder | None = None

    @property
    def daemon(self) -> Daemon:
        """The daemon that runs."""
        assert self._daemon is not None
        return self._daemon

    def settings(self, **changes: str) -> Settings:
        """The settings; ``changes`` are names without their prefix."""
        if "RETRY_SECONDS" in changes:
            changes.setdefault("RETRY_MAX_SECONDS", changes["RETRY_SECONDS"])
        more = {f"MEGAMAX_{name}": value for name, value in changes.items()}
        return load(environ={**self.environ, **more})

    def start(self, **changes: str) -> Daemon:
        """Start a daemon on the folder."""
        return self._start(changes, scan=False)

    def scan(self, **changes: str) -> Daemon:
        """Start one that scans once, as ``--scan`` does."""
        return self._start(changes, scan=True)

    def _start(self, changes: dict[str, str], *, scan: bool) -> Daemon:
        settings = self.settings(**changes)
        self._state = StateFolder(settings.state_dir)
        self._state.make()
        self._state.lock()
        self._daemon = Daemon(settings, self._state, scan=scan)
        self._daemon.start()
        return self._daemon

    def stop(self, budget: float = 8.0) -> bool:
        """Stop it; True when it ended cleanly."""
        daemon, self._daemon = self._daemon, None
        clean = daemon is None or daemon.stop(budget)
        if self._state is not None:
            self._state.unlock()
            self._state = None
        return clean

    # -- files -------------------------------------------------------------------------------

    def put(self, name: str, data: bytes | None = None, *, size: int = 2000) -> bytes:
        """Drop a finished file in; return its content."""
        content = os.urandom(size) if data is None else data
        path = self.drop / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.new")
        part.write_bytes(content)
        part.rename(path)
        return content

    def sidecar(self, name: str) -> dict[str, Any] | None:
        """The sidecar of a file, checked against the schema; None where there is none."""
        try:
            text = (self.drop / f"{name}.megamax.json").read_text("utf-8")
        except FileNotFoundError:
            return None
        document: dict[str, Any] = json.loads(text)
        jsonschema.validate(document, sidecar.schema())
        return document

    # -- what the queue says -----------------------------------------------------------------

    def job(self, name: str) -> Job | None:
        """The newest job of a file."""
        return self.daemon.store.jobs.latest(os.fsencode(self.drop / name))

    def the_job(self, name: str) -> Job:
        """The newest job of a file, which is there."""
        job = self.job(name)
        assert job is not None
        return job

    def state(self, name: str) -> JobState | None:
        """The state of the newest job of a file."""
        job = self.job(name)
        return job.state if job else None

    def history(self, name: str) -> list[Step]:
        """What happened to the newest job of a file."""
        return self.daemon.store.views.history(self.the_job(name))

    def wait_state(self, name: str, state: JobState, seconds: float = 15.0) -> Job:
        """Wait until the newest job of a file is in a state; return it."""
        end = time.monotonic() + seconds
        pause = threading.Event()
        while self.state(name) is not state:
            assert time.monotonic() < end, f"{self.job(name)} is not {state}: {self.events[-12:]}"
            pause.wait(0.01)
        return self.the_job(name)

    def wait_sent(self, name: str) -> None:
        """Wait until all of a file is sent, and only the answer is awaited."""
        job = self.wait_state(name, JobState.UPLOADING)
        wait_for(lambda: self.daemon.store.views.attempts(job)[-1].step == "sent")

    def wait_done(self, *names: str, seconds: float = 15.0) -> None:
        """Wait until these files are done."""
        for name in names:
            self.wait_state(name, JobState.DONE, seconds)

    # -- what the service says ---------------------------------------------------------------

    def remote(self, data: bytes) -> list[RemoteRecord]:
        """The copies that the service has of a content."""
        return [one for one in self.sandbox.files() if sha(one.path.read_bytes()) == sha(data)]

    def calls(self, call: str | None = None) -> int:
        """How many requests have come in."""
        requests = self.sandbox.requests
        return sum(1 for one in requests if call in {None, one.call})

    def call_counts(self) -> Counter[str]:
        """How many requests have come in, by call."""
        return Counter(one.call for one in self.sandbox.requests)

    def said(self, event: str) -> list[MutableMapping[str, Any]]:
        """The log's events of one name."""
        return [one for one in list(self.events) if one["event"] == event]


@contextmanager
def rig(folder: Path, **options: Any) -> Iterator[Rig]:
    """Make a rig; ``options`` are the sandbox's. At the end the daemon is stopped, cleanly."""
    faults = FaultScript()
    options = {"step": 0.05, **options}
    with Sandbox(folder / "sandbox", faults=faults, **options) as sandbox, capture_logs() as events:
        made = Rig(folder, sandbox, faults)
        made.events = events
        try:
            yield made
        finally:
            faults.clear()
            clean = made.stop()
            # For the search at the end of all tests, and before anything is redacted.
            (folder / "events").write_text(repr(events), "utf-8", "backslashreplace")
        assert clean, "the daemon did not stop in time"
