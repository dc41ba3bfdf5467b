"""The fault matrix: every call, every fault, the first, the second and every time.

All of it is 660 cells, and ``make matrix``. ``make test`` has each fault at each call at one of
the three times, by a seed that it prints (``MATRIX_SEED`` takes it back), and each fault of an
upload at all of them: there, a mistake would send twice.
"""

from __future__ import annotations

import hashlib
import os
import random
import socket
import sys
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from log_secrets import forms_of
from structlog.testing import capture_logs

from matrix.double import KEY, LOGIN, Double
from matrix.faults import FAULTS, WHEN, Fault, Kind, until
from megamax_sync.config import load
from megamax_sync.daemon import Daemon
from megamax_sync.job import Job, JobState
from megamax_sync.state import StateFolder
from megamax_sync.track import tracker

QUICK = {
    "MEGAMAX_LOGIN": LOGIN,
    "MEGAMAX_KEY": KEY,
    "MEGAMAX_SETTLE_SECONDS": "0",
    "MEGAMAX_POLL_SECONDS": "0.1",
    "MEGAMAX_RETRY_SECONDS": "0.08",
    "MEGAMAX_RETRY_MAX_SECONDS": "0.3",
    "MEGAMAX_API_RATE": "0",
    "MEGAMAX_TIMEOUT_SECONDS": "1",
    "MEGAMAX_MIN_RATE": "200K",
    "MEGAMAX_WORKERS": "1",
    "MEGAMAX_MAX_ATTEMPTS": "3",
}
#: How long a cell may take, in seconds; most take one or two.
PATIENCE = 40.0
AT_A_TIME = 16


@dataclass(frozen=True)
class Cell:
    """One cell: this fault at this call, at these times."""

    call: str
    fault: Fault
    when: str

    def expected(self) -> tuple[str, str]:
        """How it is to end, and the word or text that says why."""
        kind = self.fault.kind
        if kind is Kind.REFUSED and self.call != "upload":
            # These words are about a body. To another call they are the service's nonsense.
            kind = Kind.SERVICE
        if kind is Kind.REFUSED:
            return "failed", self.fault.says
        if self.when != "always" or kind is Kind.FINE:
            return "done", ""
        if kind is Kind.LOST and self.call == "upload":
            return "done", ""
        if kind is Kind.CREDENTIALS:
            return ("done", "") if self.call == "direct" else ("paused", "credentials")
        if self.call in {"mirrors", "direct"}:
            # A file without links is done without them; nobody waits for it.
            return "done", ""
        if kind is Kind.MISSING and self.call == "file":
            return "failed", "no longer has"
        return "paused", "unreachable"


def cells() -> list[Cell]:
    """All of them."""
    return [Cell(call, fault, when) for call in FAULTS for fault in FAULTS[call] for when in WHEN]


def some_cells(seed: int) -> list[Cell]:
    """Those of ``make test``."""
    choice = random.Random(seed)
    return [
        Cell(call, fault, when)
        for call in FAULTS
        for fault in FAULTS[call]
        for when in (WHEN if call == "upload" else [choice.choice(list(WHEN))])
    ]


class Trial:
    """One cell at work: two files, a daemon, and a service that has this fault."""

    def __init__(self, cell: Cell, folder: Path) -> None:
        self.cell = cell
        self.drop = folder / "drop"
        self.drop.mkdir(parents=True)
        self.shas = []
        for number in (1, 2):
            data = os.urandom((6 << 20) if cell.fault.big else 2000 + number)
            (self.drop / f"{number}.mp4").write_bytes(data)
            self.shas.append(hashlib.sha256(data).hexdigest())
        self.state = folder / "state"

    def run(self) -> str:
        """Return how it ended: ``done``, ``failed``, ``paused``, or what is wrong."""
        cell = self.cell
        with Double() as self.service:
            self.service.break_when(cell.call, cell.fault.act, WHEN[cell.when])
            if cell.call == "files":
                # The list is asked when an answer was lost.
                lost = next(one for one in FAULTS["upload"] if one.name == "answer lost")
                self.service.break_when("upload", lost.act, lambda number: number <= 2)
            environ = {
                **QUICK,
                "MEGAMAX_API_URL": self.service.api_url,
                "MEGAMAX_WATCH": str(self.drop),
                "MEGAMAX_STATE_DIR": str(self.state),
            }
            settings = load(environ=environ)
            folder = StateFolder(settings.state_dir)
            folder.make()
            folder.lock()
            self.daemon = Daemon(settings, folder, scan=True)
            self.daemon.start()
            try:
                return self._outcome()
            finally:
                # Whatever it waits for, it is not to hold up the other cells.
                self.service.closing.set()
                stopped = self.daemon.stop(8.0)
                folder.unlock()
                assert stopped, f"{cell} did not stop"

    def _outcome(self) -> str:
        word, why = self.cell.expected()
        came = until(lambda: self._is(word, why), PATIENCE)
        jobs = self._jobs()
        told = [(job.state.value, job.hashid, job.error) for job in jobs]
        problem = self.daemon.problem()
        if not came:
            return f"not {word} {why}: {told}, {problem}, {dict(self.service.calls)}"
        copies = self.service.copies()
        often = [copies[sha] for sha in self.shas]
        if max(often) > 1 and self.cell.fault.kind is not Kind.WRONG_SIZE:
            return f"sent more than once: {often}"
        if word == "done" and min(often) < 1:
            return f"done, and not there: {often}"
        if word == "paused" and any(job.state is JobState.FAILED for job in jobs):
            return f"failed for the service's sake: {told}"
        if any(value in repr(told) for value in forms_of(LOGIN) + forms_of(KEY)):
            return f"a secret in the queue: {told}"
        return word

    def _jobs(self) -> list[Job]:
        paths = [os.fsencode(self.drop / f"{number}.mp4") for number in (1, 2)]
        jobs = [self.daemon.store.jobs.latest(path) for path in paths]
        return [job for job in jobs if job is not None]

    def _is(self, word: str, why: str) -> bool:
        jobs = self._jobs()
        if len(jobs) < 2:
            return False
        states = {job.state for job in jobs}
        if word == "done":
            return states == {JobState.DONE}
        if word == "failed":
            # The other file, at which nothing went wrong, is done.
            whole = {JobState.FAILED} if self.cell.when == "always" else {*states}
            failed = [job for job in jobs if job.state is JobState.FAILED]
            ended = states <= {JobState.FAILED, JobState.DONE} and states == whole
            return bool(failed) and ended and all(why in (job.error or "") for job in failed)
        problem = self.daemon.problem()
        # A while later it still is.
        asked = self.service.calls[self.cell.call]
        enough = asked >= 3 or self.cell.fault.kind is Kind.NOWHERE
        return problem is not None and problem.word == why and enough


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the waits short that no setting shortens, and names that are none cost nothing."""
    monkeypatch.setattr(tracker, "MIRRORS_DUE", 0.6)
    monkeypatch.setattr("megamax_sync.track.cadence._DENIAL_GROWTH", 1.2)
    monkeypatch.setattr("megamax_sync.api.pace._CREDENTIALS_FIRST", 0.1)
    monkeypatch.setattr("megamax_sync.api.pace._CREDENTIALS_MOST", 0.2)
    monkeypatch.setattr("megamax_sync.api.client._LONGEST_ANSWER", 1 << 20)
    monkeypatch.setattr("megamax_sync.api.trickle.RATE_WINDOW", 1.0)
    resolve = socket.getaddrinfo

    def only_here(host: Any, *args: Any, **kwargs: Any) -> Any:
        if str(host).endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", only_here)


def table(results: dict[Cell, str]) -> str:
    """The matrix as Markdown: a line for each fault, and what it came to, by call."""
    rows: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for cell, result in results.items():
        rows[cell.fault.name][cell.call].append(result)
    lines = [f"| fault | {' | '.join(FAULTS)} |", "|---|" + "---|" * len(FAULTS)]
    for name, calls in rows.items():
        told = []
        for call in FAULTS:
            ends = calls.get(call, [])
            told.append(ends[0] if len(set(ends)) == 1 else " · ".join(ends))
        lines.append(f"| {name} | {' | '.join(told)} |")
    return "\n".join(lines)


@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("quick")
def test_every_fault_at_every_call_ends_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Done exactly once, or failed with the true reason, or queued and paused for the service."""
    results: dict[Cell, str] = {}
    seed = int(os.environ.get("MATRIX_SEED") or random.randrange(1 << 31))
    tried = cells() if os.environ.get("MATRIX") == "all" else some_cells(seed)
    every = list(enumerate(tried))
    # Slow ones and quick ones mixed.
    random.Random(1).shuffle(every)

    def trial(number: int, cell: Cell) -> None:
        results[cell] = Trial(cell, tmp_path / str(number)).run()

    threads = threading.active_count()
    with capture_logs() as events, ThreadPoolExecutor(AT_A_TIME) as pool:
        for future in [pool.submit(trial, number, cell) for number, cell in every]:
            future.result()
    until(lambda: threading.active_count() <= threads, 10)
    with capsys.disabled():
        ordered = {cell: results[cell] for cell in tried}
        sys.stdout.write(f"\n\n{table(ordered)}\n\n{len(results)} cells, MATRIX_SEED={seed}")
    said = repr(events)
    assert [form for form in forms_of(LOGIN) + forms_of(KEY) if form in said] == []
    wrong = {
        (cell.call, cell.fault.name, cell.when): result
        for cell, result in results.items()
        if result != cell.expected()[0]
    }
    assert wrong == {}
    faults = {
        call: len({cell.fault.name for cell in results if cell.call == call}) for call in FAULTS
    }
    assert min(faults.values()) >= 20
