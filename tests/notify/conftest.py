"""A queue of which others are told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from megamax_sync.clock import Clock
from megamax_sync.job import FileStamp, Job
from megamax_sync.loop import Loop
from megamax_sync.store import Store

from .receiver import Receiver, receiver


@dataclass
class Post:
    """A queue, and what couriers are built from."""

    store: Store
    clock: Clock
    stop: threading.Event = field(default_factory=threading.Event)
    #: The waits after failures, by their number.
    backoff: Callable[[int], float] = lambda failures: 100.0 * failures
    loops: list[Loop] = field(default_factory=list)

    def common(self) -> dict[str, Any]:
        """What every courier is given."""
        return {
            "store": self.store,
            "backoff": self.backoff,
            "clock": self.clock,
            "stop": self.stop,
            "on_error": _raise,
            "on_fine": lambda _part: None,
        }

    def job(self, path: bytes = b"/v/a.mkv", *, error: str | None = None) -> Job:
        """A job that has ended: failed if there is an error, else done."""
        job = self._get(
            self.store.jobs.add(
                path, FileStamp(10, 1, 2, 3, 4), root=b"/v", folder=12, ready=True, reason="found"
            )
        )
        if error is not None:
            assert self.store.jobs.fail(job, error)
            return self._get(job.id)
        assert self.store.jobs.arrived(
            job,
            hashid=f"H{job.id}",
            status="converted",
            name="a",
            size=10,
            uploaded_at=1.0,
            fingerprint=None,
            stamp=job.stamp,
            reason="uploaded",
        )
        mirrors = '[{"title": "source", "size": 1, "mirrors": []}]'
        assert self.store.tracking.track(self._get(job.id), mirrors=mirrors)
        assert self.store.tracking.complete(self._get(job.id), reason="converted", check_at=None)
        return self._get(job.id)

    def _get(self, job: int) -> Job:
        found = self.store.jobs.get(job)
        assert found is not None
        return found

    def due_now(self) -> None:
        """Let everything that waits be due."""
        self.store.database.write("UPDATE outbox SET due_at = 0")

    def left(self) -> list[tuple[str, int]]:
        """What is left, by event, with the attempts so far."""
        rows = self.store.database.read("SELECT event, attempts FROM outbox ORDER BY id")
        return [(row["event"], row["attempts"]) for row in rows]

    def run(self, *loops: Loop) -> None:
        """Start loops; they are stopped at the end."""
        for loop in loops:
            self.loops.append(loop)
            loop.start()

    def end(self) -> None:
        """Stop them."""
        self.stop.set()
        self.store.database.wake()
        for loop in self.loops:
            loop.join(10)
        assert not any(loop.is_alive() for loop in self.loops)


def _raise(_part: str, error: BaseException) -> None:
    raise error


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    """An empty queue."""
    clock = Clock()
    with Store(str(tmp_path / "queue.db"), clock) as store:
        made = Post(store, clock)
        yield made
        made.end()


@pytest.fixture
def listener() -> Iterator[Receiver]:
    """Somebody who takes what is posted."""
    with receiver() as made:
        yield made
