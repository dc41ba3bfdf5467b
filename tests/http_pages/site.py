"""Pages that are served: on a queue of the test's own, or by a whole daemon."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from upload.pipeline import Rig

from megamax_sync.cli import serving
from megamax_sync.clock import Clock
from megamax_sync.config import HttpAddress, load
from megamax_sync.http import Instance, Pages, listen
from megamax_sync.job import FileStamp, Job, JobState
from megamax_sync.meters import Meters
from megamax_sync.state import StateFolder
from megamax_sync.store import Store

TOKEN = "a token with spaces & ümlauts"

MIRRORS = (
    '[{"title": "source", "size": 231966357, "mirrors": ['
    '{"driver": "ok", "iframe": "https://ok.ru/videoembed/5937251879654", "link": null,'
    ' "uploaded_at": null, "checked_at": null},'
    '{"driver": "uptobox", "iframe": "https://uptostream.com/iframe/1w261fc75gme",'
    ' "link": "https://uptobox.com/1w261fc75gme", "uploaded_at": null, "checked_at": null}]}]'
)
DIRECT = (
    '[{"label": "source", "size": 733297168, "stream": "https://cdn1.example/a.mp4?signature=5ec",'
    ' "download": "https://cdn1.example/a.mp4?dl=1&signature=5ec",'
    ' "expires_at": "2036-04-19T03:15:06Z"}]'
)


def live(**more: Any) -> dict[str, Any]:
    """What a daemon at rest answers."""
    parts = ("watcher", "uploader-1", "uploader-2", "tracker")
    return {
        "pid": os.getpid(),
        "since": "2026-01-01T00:00:00Z",
        "problem": None,
        "problem_detail": None,
        "observer": "inotify",
        "bwlimit": None,
        "uploads": [],
        "parts": [{"part": part, "age": 0.0, "stuck": False} for part in parts],
        **more,
    }


class Site:
    """Pages over a queue that the test fills; ``live`` is what the instance says of itself."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.queue = str(folder / "queue.db")
        self.store = Store(self.queue, self.clock)
        self.meters = Meters()
        self.live = live()
        self.looks = 0
        self.url = ""
        self.pages: Pages | None = None

    def _live(self) -> dict[str, Any]:
        self.looks += 1
        return self.live

    @property
    def instance(self) -> Instance:
        """What the pages are given."""
        return Instance(
            queue=self.queue,
            store=self.store,
            clock=self.clock,
            meters=self.meters,
            live=self._live,
            parts=lambda: {"parts": self.live["parts"]},
            gates={"api": lambda: None, "upload": lambda: "service"},
            unwatched=lambda: None,
        )

    def client(self, **options: Any) -> httpx.Client:
        """A caller that is no browser; closed by its user."""
        return httpx.Client(base_url=self.url, trust_env=False, timeout=20, **options)

    def settings(self) -> tuple[bool, str | None]:
        """Whether uploads are paused, and the bandwidth limit that was set."""
        return self.store.settings.paused, self.store.settings.bwlimit

    # -- filling the queue -------------------------------------------------------------------

    def add(self, path: bytes | str, *, size: int = 1000, root: bytes | None = b"/media") -> Job:
        """Queue a job."""
        name = os.fsencode(path)
        stamp = FileStamp(size, time.time_ns(), time.time_ns(), 1, 1)
        number = self.store.jobs.add(
            name, stamp, root=root, folder=None, ready=True, reason="found"
        )
        return self.job(number)

    def job(self, number: int) -> Job:
        """The job of this id."""
        job = self.store.jobs.get(number)
        assert job is not None
        return job

    def uploading(self, path: bytes | str, *, size: int = 1000) -> Job:
        """A job that is being sent."""
        job = self.add(path, size=size)
        # Others that wait came first.
        self.store.database.write("UPDATE job SET failed_at = -1 WHERE id = ?", job.id)
        claimed = self.store.jobs.claim("me")
        assert claimed is not None
        assert claimed.id == job.id
        self.store.journal.begin(claimed)
        return claimed

    def processing(self, path: bytes | str, *, size: int = 1000, status: str = "converting") -> Job:
        """A job that the service has."""
        job = self.uploading(path, size=size)
        (attempt,) = self.store.journal.unknown_of(job)
        hashid = f"hash{job.id:08}"
        self.store.journal.sending(attempt.id, self.clock.now())
        self.store.journal.arrived(attempt.id, hashid)
        self.store.jobs.arrived(
            job,
            hashid=hashid,
            status=status,
            name=job.name.decode("utf-8", "replace"),
            size=size,
            uploaded_at=self.clock.wall(),
            fingerprint="xxh3-128:00112233445566778899aabbccddeeff",
            stamp=job.stamp,
            reason=f"uploaded as {hashid}",
        )
        return self.job(job.id)

    def done(
        self,
        path: bytes | str,
        *,
        size: int = 1000,
        mirrors: str = MIRRORS,
        direct: str = DIRECT,
        direct_error: str | None = None,
    ) -> Job:
        """A job with its links."""
        job = self.processing(path, size=size)
        self.store.tracking.track(
            job,
            remote_status="converted",
            converted_at=self.clock.now(),
            mirrors=mirrors,
            direct=direct,
            direct_error=direct_error,
        )
        self.store.tracking.complete(job, reason="converted", check_at=None)
        return self.job(job.id)

    def failed(self, path: bytes | str, error: str = "HTTP 413: too large") -> Job:
        """A job that needs a person."""
        job = self.uploading(path)
        (attempt,) = self.store.journal.unknown_of(job)
        self.store.journal.failed(attempt.id, error)
        self.store.jobs.fail(job, error)
        return self.job(job.id)

    def fill(self, number: int, state: JobState = JobState.DONE) -> None:
        """Put so many jobs in one state into the queue, each with a name of its own."""
        hashid = "'hash' || value" if state is JobState.DONE else "NULL"
        self.store.database.write(
            "INSERT INTO job (path, root, state, ready, size, mtime_ns, ctime_ns, dev, ino, "
            "match_key, hashid, remote_status, created_at, updated_at) "
            "WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n LIMIT ?) "
            "SELECT CAST('/media/Series ' || (value / 100) || '/Episode ' || value || '.mkv' "
            f"AS BLOB), CAST('/media' AS BLOB), ?, 1, 1000000 + value, 0, 0, 0, 0, 'key', {hashid},"
            " 'converted', 1.7e9 + value, 1.7e9 + value FROM n",
            number,
            state.value,
        )


@contextmanager
def site(
    folder: Path,
    *,
    token: str | None = None,
    hosts: tuple[str, ...] = (),
    address: HttpAddress | None = None,
) -> Iterator[Site]:
    """Serve a queue of the test's own."""
    made = Site(folder)
    where = address or HttpAddress(host="127.0.0.1", port=0)
    pages = Pages(listen(where), made.instance, token=token, hosts=hosts, bound=where.host)
    pages.start()
    host = f"[{where.host}]" if ":" in (where.host or "") else where.host
    made.pages, made.url = pages, f"http://{host}:{pages.port}"
    try:
        yield made
    finally:
        pages.stop()
        made.store.close()


@contextmanager
def served(rig: Rig, **changes: str) -> Iterator[str]:
    """Run the daemon of a rig with its pages; yields their address."""
    more = {"HTTP": "127.0.0.1:0", **changes}
    daemon = rig.start(**more)
    settings = load(environ={**rig.environ, **{f"MEGAMAX_{k}": v for k, v in more.items()}})
    pages = serving.pages(
        settings, serving.listen(settings), StateFolder(settings.state_dir), daemon
    )
    assert pages is not None
    pages.start()
    try:
        yield f"http://127.0.0.1:{pages.port}"
    finally:
        pages.stop()
