"""The queue: as it grows, and against other queues in SQLite files."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
import venv
from pathlib import Path

from against import sink
from figures import Figures
from programs import daemon, environment

from megamax_sync.clock import Clock
from megamax_sync.job import FileStamp
from megamax_sync.store import NewJob, Store

_HERE = Path(__file__).parent
_PEERS = ("persist-queue", "litequeue", "huey")
_ROUNDS = 3
_JOBS = 500


def own_python() -> str:
    """Return the interpreter of the bench's own environment, which is made at first."""
    home = _HERE / ".venv"
    python = home / "bin" / "python"
    stamp = home / ".installed"
    if not stamp.exists():
        print("  installing what only the bench needs ...", flush=True)
        venv.create(home, with_pip=True, clear=True)
        needed = str(_HERE / "requirements.txt")
        subprocess.run([python, "-m", "pip", "install", "-qq", "-r", needed], check=True)
        stamp.touch()
    return str(python)


def _fill(store: Store, rows: int) -> None:
    """Have a queue of so many rows: four of five are done, the others wait."""
    store.database.write(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?) "
        "INSERT INTO job (path, root, state, ready, size, mtime_ns, ctime_ns, dev, ino, match_key, "
        "hashid, remote_status, check_at, created_at, updated_at) "
        "SELECT CAST('/v/' || n / 100 || '/video ' || n || '.mkv' AS BLOB), CAST('/v' AS BLOB), "
        "iif(n % 5, 'done', 'queued'), 1, n, n, n, 1, n, 'video' || n, iif(n % 5, 'h' || n, NULL), "
        "iif(n % 5, 'converted', NULL), iif(n % 5, 4e9 + n, NULL), n, n FROM numbers",
        rows,
    )
    store.database.write(
        "INSERT INTO history (job, at, state, reason) SELECT id, 1, state, 'x' FROM job"
    )


def _rate(store: Store, jobs: int) -> float:
    """Claim and finish, in the commits of the daemon; return how many a second."""
    began = time.perf_counter()
    for _ in range(jobs):
        with store.transaction():
            job = store.jobs.claim("bench")
            assert job is not None
            attempt = store.journal.begin(job)
        with store.transaction():
            store.journal.arrived(attempt, f"a{job.id}")
            store.jobs.arrived(
                job,
                hashid=f"a{job.id}",
                status="converting",
                name="video",
                size=job.stamp.size,
                uploaded_at=1.0,
                fingerprint=None,
                stamp=job.stamp,
                reason="uploaded",
            )
    return jobs / (time.perf_counter() - began)


def bench_queue(figures: Figures, folder: Path, rows: int) -> None:
    """Claims and ends, in a small queue and in a large one."""
    figures.begin(
        "queue",
        f"Claim and finish, each a commit that is on the disk: {_JOBS} jobs at a time, in a queue "
        f"of {(_ROUNDS + 1) * _JOBS * 5:,} rows and in one of {rows:,}, in turn.",
    )
    small, large = (Store(str(folder / name), Clock()) for name in ("small.db", "large.db"))
    with small, large:
        _fill(large, rows)
        _fill(small, (_ROUNDS + 1) * _JOBS * 5)
        pairs = [(_rate(small, _JOBS), _rate(large, _JOBS)) for _ in range(_ROUNDS)]
        figures.add(f"a second, at {rows:,} rows", [b for _, b in pairs], "/s")
        figures.add(f"{rows:,} rows against few", [b / a for a, b in pairs], "times", above=0.8)
        began = time.perf_counter()
        large.views.counts()
        large.views.jobs(limit=100)
        figures.add("what `status` asks, at that size", time.perf_counter() - began, "s")


def bench_peers(figures: Figures, folder: Path) -> None:
    """Ours against other queues."""
    figures.begin(
        "queues",
        f"Claim and finish of {_JOBS} jobs, with the attempt and the history that belong to them, "
        "against what others do: get and ack, pop and done, dequeue and result; same disk, same "
        "durability, in turn. The two commits in between, of a body begun and sent, have no "
        "counterpart there and are left out.",
    )
    python = own_python()
    ratios: dict[str, list[float]] = {name: [] for name in _PEERS}
    ours, versions = [], {}
    for number in range(_ROUNDS):
        with Store(str(folder / f"ours{number}.db"), Clock()) as store:
            stamp = FileStamp(1, 1, 1, 1, 1)
            store.jobs.add_each(
                [NewJob(b"/v/%d.mkv" % n, stamp, b"/v", None, "found") for n in range(_JOBS)],
                ready=True,
            )
            ours.append(_rate(store, _JOBS))
        for name in _PEERS:
            with tempfile.TemporaryDirectory(dir=folder) as home:
                ran = subprocess.run(
                    [python, _HERE / "peers.py", name, home, str(_JOBS)],
                    check=True,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            rate, versions[name] = ran.stdout.split()
            ratios[name].append(ours[-1] / float(rate))
    figures.add("ours", ours, "/s")
    for name in _PEERS:
        figures.add(f"against {name} {versions[name]}", ratios[name], "times", above=1.0)


def bench_tracking(figures: Figures, folder: Path, most: int) -> dict[str, float]:
    """The requests of one tick, by the number of files in conversion."""
    figures.begin(
        "tracking",
        "Files in conversion, asked about once while all of them still are. Each that is through "
        "costs the two calls for its links, and one for its status where few are.",
    )
    points = {}
    for files in (n for n in (1, 10, 100, 1000, 10_000) if n <= most):
        home = folder / str(files)
        (home / "drop").mkdir(parents=True)
        (home / "state").mkdir()
        with Store(str(home / "state" / "queue.db"), Clock()) as store:
            store.database.write(
                "WITH RECURSIVE numbers (n) AS "
                "(SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?) "
                "INSERT INTO job (path, state, ready, size, mtime_ns, ctime_ns, dev, ino, "
                "match_key, hashid, remote_status, check_at, created_at, updated_at) "
                "SELECT CAST('/v/' || n AS BLOB), 'processing', 1, 1000, 1, 1, 1, n, 'v' || n, "
                "'h' || n, 'converting', 1, 1, 1 FROM numbers",
                files,
            )
        with sink(home, converting=files) as receiver:
            settings = environment(home, MEGAMAX_POLL_SECONDS="3600", **receiver.account())
            with daemon(settings) as running:
                points[str(files)] = float(_settled(receiver.requests))
                running.stop()
        bar = 10.5 if files == 10_000 else None
        figures.add(f"requests of one tick, {files:,} files", points[str(files)], "", below=bar)
    return points


def _settled(count: object) -> int:
    """Wait until a number of requests stays as it is; return it."""
    assert callable(count)
    rest, seen, quiet = threading.Event(), 0, 0
    while not seen or quiet < 20:
        rest.wait(0.1)
        now = int(count())
        quiet = quiet + 1 if now == seen else 0
        seen = now
    return seen


if __name__ == "__main__":
    sys.exit("run bench/run.py")
