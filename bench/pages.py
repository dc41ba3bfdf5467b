"""What the pages cost: on a long list, with many who watch, and in memory."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
from figures import Figures
from programs import cpu_seconds, daemon, environment, peak_rss_mib, sandbox, write_video

from megamax_sync.clock import Clock
from megamax_sync.store import Store

_VIEWERS = 50
_WATCH_SECONDS = 20.0
_ROUNDS = 30


def bench_pages(figures: Figures, folder: Path, jobs: int) -> None:
    """A daemon with pages, on a queue of so many jobs."""
    figures.begin(
        "pages",
        f"A daemon with MEGAMAX_HTTP and {jobs:,} jobs. Times are a client's for one request after "
        "another on a kept connection, so that its own share is in them. Viewers "
        f"have the overview open for {_WATCH_SECONDS:.0f} s while uploads are paused and resumed "
        "in turn.",
    )
    (folder / "drop").mkdir()
    _fill(folder, jobs)
    with sandbox(folder) as account:
        settings = environment(
            folder,
            MEGAMAX_HTTP="127.0.0.1:0",
            MEGAMAX_HTTP_TOKEN="bench",
            **account,
        )
        with daemon(settings) as running:
            port = running.wait_for(_serves)["port"]
            url, token = f"http://127.0.0.1:{port}", {"authorization": "Bearer bench"}
            with httpx.Client(base_url=url, headers=token, trust_env=False, timeout=60) as client:
                _requests(figures, client, running.pid, jobs)
            rest = threading.Event()
            before = cpu_seconds(running.pid)
            rest.wait(_WATCH_SECONDS)
            idle = (cpu_seconds(running.pid) - before) / _WATCH_SECONDS * 100
            figures.add("idle, nobody watches", idle, "% of a core", below=0.5)
            with _viewers(url, token) as seen, _changing(folder):
                rest.wait(3.0)
                before = cpu_seconds(running.pid)
                rest.wait(_WATCH_SECONDS)
                share = (cpu_seconds(running.pid) - before) / _WATCH_SECONDS * 100
            if min(seen) < 3:
                raise SystemExit("a viewer was told nothing")
            figures.add(
                f"{_VIEWERS} live viewers, something changes each second",
                share,
                "% of a core",
                below=5,
            )
            write_video(folder / "drop" / "large.mkv", 256 << 20, random.randrange(1 << 30))
            running.wait_for(_uploaded)
            figures.add(
                "peak resident memory, after all this and an upload of 256 MiB",
                peak_rss_mib(running.pid),
                "MiB",
                below=75,
            )
            running.stop()


def _serves(event: dict[str, object]) -> bool:
    return event["event"] == "http.started"


def _uploaded(event: dict[str, object]) -> bool:
    return event["event"] == "upload.finished"


def _fill(folder: Path, jobs: int) -> None:
    """Have so many jobs in a new queue, nine in ten of them done, the rest failed."""
    (folder / "state").mkdir(mode=0o700)
    queue = str(folder / "state" / "queue.db")
    Store(queue, Clock()).close()
    with contextlib.closing(sqlite3.connect(queue)) as connection, connection:
        connection.execute(
            "INSERT INTO job (path, root, state, ready, size, mtime_ns, ctime_ns, dev, ino, "
            "match_key, hashid, remote_status, error, created_at, updated_at) "
            "WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n LIMIT ?) "
            "SELECT CAST(printf('/srv/media/Series %d/video %06d.mkv', v / 100, v) AS BLOB), "
            "CAST('/srv/media' AS BLOB), iif(v % 10, 'done', 'failed'), 1, 1000000 + v, 0, 0, 0, "
            "0, 'key', 'hash' || v, 'converted', iif(v % 10, NULL, 'HTTP 413'), 1.7e9 + v, "
            "1.7e9 + v FROM n",
            (jobs,),
        )
        for seconds, state in ((-20, "queued"), (-10, "uploading"), (-5, "processing"), (0, None)):
            connection.execute(
                "INSERT INTO history (job, at, state, reason) "
                "SELECT id, updated_at + ?, coalesce(?, state), '' FROM job ORDER BY id",
                (seconds, state),
            )


def _requests(figures: Figures, client: httpx.Client, pid: int, jobs: int) -> None:
    paths = {
        "overview": "/",
        "list": "/jobs",
        "list, a page in the middle": f"/jobs?after={1.7e9 + jobs // 2!r}-{jobs // 2}",
        "list, one state": "/jobs?state=done",
        "list, searched: one match": f"/jobs?q=video+{jobs // 2:06}",
        "list, searched: all match": "/jobs?q=video",
        "a job's page": "/jobs/1",
        "`/api/status`": "/api/status",
        "`/metrics`": "/metrics",
    }
    for name, path in paths.items():
        times, before = [], cpu_seconds(pid)
        for _ in range(_ROUNDS):
            began = time.perf_counter()
            answer = client.get(path)
            times.append((time.perf_counter() - began) * 1000)
            answer.raise_for_status()
        figures.add(f"{name}: time", times, "ms", below=50)
        spent = (cpu_seconds(pid) - before) / _ROUNDS * 1000
        figures.add(f"{name}: processor time of the daemon", spent, "ms")
        figures.add(f"{name}: size", len(answer.content) / 1024, "KiB", below=200)


@contextlib.contextmanager
def _viewers(url: str, token: dict[str, str]) -> Iterator[list[int]]:
    """Watch the overview, many times over; yields how many events each has been told."""
    seen, stop = [0] * _VIEWERS, threading.Event()

    def watch(number: int) -> None:
        with (
            httpx.Client(headers=token, trust_env=False, timeout=60) as client,
            client.stream("GET", f"{url}/api/events?parts=1") as answer,
        ):
            for line in answer.iter_lines():
                seen[number] += line.startswith("event:")
                if stop.is_set():
                    return

    threads = [threading.Thread(target=watch, args=(n,), daemon=True) for n in range(_VIEWERS)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join(5.0)


@contextlib.contextmanager
def _changing(folder: Path) -> Iterator[None]:
    """Change something that all viewers are shown, about once a second."""
    stop = threading.Event()

    def change() -> None:
        with Store(str(folder / "state" / "queue.db"), Clock()) as store:
            while not stop.wait(1.0):
                store.settings.paused = not store.settings.paused
            store.settings.paused = False

    thread = threading.Thread(target=change, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(5.0)
