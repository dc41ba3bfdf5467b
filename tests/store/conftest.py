"""A queue on a real file, and a clock that tests turn."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lacking import lacking

from megamax_sync.clock import Clock
from megamax_sync.job import FileStamp, Job
from megamax_sync.store import Store


class TurnedClock(Clock):
    """Stands still until it is turned."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 1_700_000_000.0

    def monotonic(self) -> float:
        return self.time

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time


Add = Callable[..., Job]


@pytest.fixture
def clock() -> TurnedClock:
    """A clock that stands still."""
    return TurnedClock()


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where the queue is."""
    return str(tmp_path / "queue.db")


@pytest.fixture
def store(path: str, clock: TurnedClock) -> Iterator[Store]:
    """An empty queue."""
    with Store(path, clock) as opened:
        yield opened


@pytest.fixture
def add(store: Store) -> Add:
    """Queue a file that is finished, unless told otherwise."""

    def queue(name: bytes = b"/v/a.mp4", *, size: int = 10, ready: bool = True) -> Job:
        stamp = FileStamp(size, 1, 2, 3, 4)
        job = store.jobs.add(name, stamp, root=name[:2], folder=7, ready=ready, reason="found")
        return fetch(store, job)

    return queue


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        lacking("the right to mount a small tmpfs, which gets full: run the tests as root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fetch(store: Store, job: int | Job) -> Job:
    """Read a job anew; it has to be there."""
    found = store.jobs.get(job if isinstance(job, int) else job.id)
    assert found is not None
    return found


def fill(folder: Path) -> Path:
    """Write until nothing more goes on this file system; return the file to remove."""
    filler = folder / "filler"
    with open(filler, "wb", buffering=0) as file:
        for size in (1 << 16, 4096, 1):
            try:
                while True:
                    file.write(b"\xff" * size)
            except OSError:
                continue
    return filler
