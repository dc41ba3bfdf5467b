"""Videos that are done, and one who puts them away."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from lacking import lacking

from megamax_sync.after.putter import Putter
from megamax_sync.clock import Clock
from megamax_sync.fingerprint import fingerprint_of
from megamax_sync.job import FileStamp, Job
from megamax_sync.sidecar import Placement
from megamax_sync.store import Store
from megamax_sync.track.writer import SidecarWriter


class AheadClock(Clock):
    """Can be put on."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    def now(self) -> float:
        return super().now() + self.ahead


@dataclass
class Shelf:
    """A watched folder, a folder to move to, and a queue between them."""

    watched: Path
    target: Path
    store: Store
    clock: AheadClock
    placement: Placement
    troubles: dict[str, BaseException] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    def done(
        self,
        name: str = "a.mkv",
        data: bytes = b"video",
        *,
        fingerprint: bool = True,
        own: bool = True,
    ) -> Job:
        """A video that is done, its sidecar beside it."""
        path = self.watched / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        root = os.fsencode(self.watched)
        return self.finish(path, fingerprint=fingerprint, root=root, own=own)

    def finish(
        self,
        path: Path,
        *,
        fingerprint: bool = True,
        root: bytes | None = None,
        own: bool = True,
    ) -> Job:
        """Have a file sent, converted, and its sidecar written."""
        store, stamp = self.store, FileStamp.of(os.stat(path))
        with open(path, "rb") as file:
            mark = fingerprint_of(file.fileno()) if fingerprint else None
        job = self.fetch(
            store.jobs.add(
                os.fsencode(path), stamp, root=root, folder=None, ready=True, reason="found"
            )
        )
        assert store.jobs.arrived(
            job,
            hashid=f"H{job.id}",
            status="converted",
            name="a",
            size=stamp.size,
            uploaded_at=1.0,
            fingerprint=mark,
            stamp=stamp,
            reason="uploaded",
            own=own,
        )
        self.write_sidecars()
        assert store.tracking.complete(self.fetch(job.id), reason="converted", check_at=None)
        return self.fetch(job.id)

    def fetch(self, job: int | Job) -> Job:
        """Read a job anew."""
        found = self.store.jobs.get(job if isinstance(job, int) else job.id)
        assert found is not None
        return found

    def write_sidecars(self) -> None:
        """What the tracker does."""
        SidecarWriter(
            self.store,
            self.placement,
            self.clock,
            service="https://example.com/api",
            account=lambda: "00000000",
            lost=lambda _root: False,
            on_error=lambda _part, _error: None,
            on_fine=lambda _part: None,
        ).write_due(lambda: None)

    def putter(self, *, delete: bool = False) -> Putter:
        """One who puts away, not started."""
        return Putter(
            store=self.store,
            target=None if delete else os.fsencode(self.target),
            placement=self.placement,
            backoff=lambda failures: 10.0 * failures,
            clock=self.clock,
            stop=self.stop,
            on_error=self.troubles.__setitem__,
            on_fine=self._fine,
        )

    def wait_out(self, *, delete: bool = False) -> None:
        """Put away what is due, and give up what does not turn up."""
        putter = self.putter(delete=delete)
        putter.step()
        self.clock.ahead += 60.0
        putter.step()

    def _fine(self, part: str) -> None:
        self.troubles.pop(part, None)

    def put_away(self, *, delete: bool = False) -> None:
        """Put away what is due, with the sidecars."""
        putter = self.putter(delete=delete)
        putter.step()
        self.write_sidecars()
        putter.step()

    def files(self) -> list[str]:
        """Everything in both folders."""
        return sorted(
            str(path.relative_to(self.watched.parent))
            for folder in (self.watched, self.target)
            for path in folder.rglob("*")
            if not path.is_dir()
        )

    def left(self) -> bool:
        """Tell whether anything is still to be put away."""
        return self.store.database.read_one("SELECT 1 FROM outbox") is not None


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    """Both folders on one file system."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    clock = AheadClock()
    with Store(str(tmp_path / "queue.db"), clock) as store:
        store.outbox.listen({"after": ["done"]})
        placement = Placement(None, [os.fsencode(tmp_path / "in")])
        yield Shelf(tmp_path / "in", tmp_path / "out", store, clock, placement)


@pytest.fixture
def far(shelf: Shelf) -> Iterator[Shelf]:
    """The folder to move to is on another file system, of two MiB."""
    there = str(shelf.target)
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", there]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        lacking("the right to mount a tmpfs, as a second file system: run the tests as root")
    try:
        yield shelf
    finally:
        subprocess.run(["umount", "--lazy", there], check=True)
