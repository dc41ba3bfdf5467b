"""What the watch works on in these tests: real folders, a real queue, and a clock to be turned."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from megamax_sync.clock import Clock
from megamax_sync.fingerprint import fingerprint_of
from megamax_sync.job import FileStamp, Job, JobState
from megamax_sync.store import Store
from megamax_sync.watch.rules import Folders, Rules
from megamax_sync.watch.watcher import Watcher

EXTENSIONS = frozenset({"mkv", "mp4"})


class TurnedClock(Clock):
    """A clock that can be put forward."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    def now(self) -> float:
        return super().now() + self.ahead

    def wall(self) -> float:
        return super().wall() + self.ahead


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for a condition; fail when it does not come true in time."""
    patience, end = threading.Event(), time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        patience.wait(0.005)


def stamp_of(path: Path) -> FileStamp:
    """Take the stamp of the file as it is."""
    return FileStamp.of(path.lstat())


def digest(path: Path) -> str:
    """Take the fingerprint of the file as it is."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return fingerprint_of(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def writer(path: Path, *, mode: str = "ab") -> Iterator[subprocess.Popen[bytes]]:
    """Have another process hold a file open for writing, and write what it gets on stdin."""
    program = (
        "import sys\n"
        f"with open(sys.argv[1], {mode!r}, buffering=0) as file:\n"
        "    print('open', flush=True)\n"
        "    while chunk := sys.stdin.buffer.raw.read(65536):\n"
        "        file.write(chunk); print('written', flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-S", "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"open\n"
        yield process
        process.stdin.close()


def write_through(process: subprocess.Popen[bytes], data: bytes) -> None:
    """Have the other process write, and wait until it has."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(data)
    process.stdin.flush()
    assert process.stdout.readline() == b"written\n"


class Field:
    """``drop`` is watched by default; watchers are made with :meth:`watch`."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.drop = base / "drop"
        self.drop.mkdir()
        self.clock = TurnedClock()
        self.store = Store(str(base / "queue.db"), self.clock)
        self.stop = threading.Event()
        self.errors: list[BaseException] = []
        self._watchers: list[Watcher] = []

    def __enter__(self) -> Field:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop.set()
        self.store.database.wake()
        for watcher in self._watchers:
            watcher.close(5.0)
            if watcher.is_alive():
                watcher.join(5.0)
                assert not watcher.is_alive()
        self.store.close()
        # Loops go on after any error; here there must not have been one.
        assert self.errors == []

    def watch(
        self,
        *roots: Path,
        settle: float = 5.0,
        rescan: float = 0.0,
        observe: bool = False,
        allow_sparse: bool = False,
        rules: Rules | None = None,
    ) -> Watcher:
        """Make a watcher that has not taken a step."""
        paths = tuple(os.fsencode(root) for root in roots or (self.drop,))
        watcher = Watcher(
            self.store,
            rules or Rules(paths, EXTENSIONS),
            Folders(None, ()),
            settle_seconds=settle,
            allow_sparse=allow_sparse,
            rescan_seconds=rescan,
            observer="auto" if observe else None,
            clock=self.clock,
            stop=self.stop,
            on_error=lambda _part, error: self.errors.append(error),
            on_fine=lambda _part: None,
        )
        self._watchers.append(watcher)
        return watcher

    def file(self, name: str | bytes, data: bytes = b"video", *, age: float = 100.0) -> Path:
        """Write a file below ``drop``, and turn the clock until it is ``age`` seconds old."""
        path = Path(os.fsdecode(os.path.join(os.fsencode(self.drop), os.fsencode(name))))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.clock.ahead += age
        return path

    def run(self, watcher: Watcher, *, ahead: float = 0.0) -> float | None:
        """Step until the watcher wants to rest, ``ahead`` seconds from now."""
        self.clock.ahead += ahead
        for _ in range(10_000):
            wait = watcher.step()
            if wait is None or wait > 0:
                return wait
        raise AssertionError("it never rests")

    def job(self, path: Path) -> Job | None:
        """The newest job of this path."""
        return self.store.jobs.latest(os.fsencode(path))

    def known(self, path: Path) -> Job:
        """The newest job of this path, which has to be there."""
        job = self.job(path)
        assert job is not None
        return job

    def queued(self) -> set[str]:
        """Paths below the base folder of all jobs that are ready to be sent."""
        jobs = self.store.views.jobs(state=JobState.QUEUED)
        return {os.path.relpath(os.fsdecode(j.path), self.base) for j in jobs if j.ready}

    def reasons(self, watcher: Watcher) -> dict[str, str]:
        """Why each file waits, by its own name."""
        return {os.path.basename(os.fsdecode(p)): why for p, why in watcher.waiting()}

    def upload(self, path: Path, fingerprint: str | None = None) -> Job:
        """Claim the job of this path and have it arrive."""
        job = self.store.jobs.claim("owner", [os.fsencode(path)])
        assert job is not None
        self.store.jobs.arrived(
            job,
            hashid=f"hash{job.id}",
            status="onqueue",
            name="name",
            size=job.stamp.size,
            uploaded_at=None,
            fingerprint=fingerprint,
            stamp=job.stamp,
            reason="test",
        )
        return self.known(path)
