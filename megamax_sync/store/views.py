"""What people ask of the queue: counts, lists, one job's life. Reads only."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from megamax_sync.job import Job, JobState
from megamax_sync.store.database import Database
from megamax_sync.store.journal import SELECT as ATTEMPTS
from megamax_sync.store.journal import Attempt
from megamax_sync.store.places import in_places
from megamax_sync.store.table import SELECT, job_of

#: What jobs are sorted by, as people name it.
ORDERS = {
    "changed": "updated_at DESC, id DESC",
    "created": "id DESC",
    "path": "path, id",
    "size": "size DESC, id",
    "state": (
        "instr('uploading processing queued failed skipped done', state), updated_at DESC, id DESC"
    ),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One transition in a job's life. ``at`` is Unix time in seconds."""

    at: float
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class Tally:
    """Jobs and their bytes by state. ``unsettled``: those queued whose files are not finished."""

    counts: dict[JobState, int]
    sizes: dict[JobState, int]
    unsettled: int


class Views:
    """Queries over jobs, attempts and history."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def counts(self, under: Sequence[bytes] | None = None) -> dict[JobState, int]:
        """Count the jobs in each state; ``under`` limits it to these folders and files."""
        counts = dict.fromkeys(JobState, 0)
        where, values = in_places(under)
        sql = f"SELECT state, count(*) AS n FROM job WHERE TRUE{where} GROUP BY state"
        for row in self._db.read(sql, *values):
            counts[JobState(row["state"])] = row["n"]
        return counts

    def waits_in(self, folder: bytes) -> bool:
        """Tell whether files of a folder wait to be uploaded."""
        counts = self.counts([folder])
        return bool(counts[JobState.QUEUED] + counts[JobState.UPLOADING])

    def bytes_in(self, state: JobState, under: Sequence[bytes] | None = None) -> int:
        """Add up the sizes of the jobs in one state."""
        where, values = in_places(under)
        sql = f"SELECT coalesce(sum(size), 0) AS n FROM job WHERE state = ?{where}"
        row = self._db.read_one(sql, state.value, *values)
        return int(row["n"]) if row else 0

    def select(
        self,
        *,
        states: Sequence[JobState] = (),
        under: Sequence[bytes] | None = None,
        order: str = "changed",
        limit: int = 0,
    ) -> list[Job]:
        """List jobs in these states (all, if none is named) and places, in one of :data:`ORDERS`.

        ``limit`` 0 for all.
        """
        where, values = in_places(under)
        if states:
            where += f" AND state IN ({','.join('?' * len(states))})"
        sql = f"{SELECT} WHERE TRUE{where} ORDER BY {ORDERS[order]} LIMIT ?"
        return [job_of(row) for row in self._db.read(sql, *values, *states, limit or -1)]

    def next_up(self, limit: int) -> list[Job]:
        """List the queued jobs that come next: those to be sent, then those to be settled."""
        found: list[Job] = []
        for ready, order in ((1, "failed_at, id"), (0, "id")):
            sql = f"{SELECT} WHERE state = 'queued' AND ready = {ready} ORDER BY {order} LIMIT ?"
            found += [job_of(row) for row in self._db.read(sql, limit - len(found))]
        return found

    def jobs(self, *, state: JobState | None = None, limit: int = 0) -> list[Job]:
        """List jobs, the newest change first; ``limit`` 0 for all."""
        where, values = ("WHERE state = ?", [state.value]) if state else ("", [])
        sql = f"{SELECT} {where} ORDER BY updated_at DESC, id DESC LIMIT ?"
        return [job_of(row) for row in self._db.read(sql, *values, limit or -1)]

    def in_states(self, states: Sequence[JobState], under: Sequence[bytes] | None) -> list[Job]:
        """List the jobs in these states inside these folders, in the order they were made."""
        marks = ",".join("?" * len(states))
        where, values = in_places(under)
        sql = f"{SELECT} WHERE state IN ({marks}){where} ORDER BY id"
        return [job_of(row) for row in self._db.read(sql, *(s.value for s in states), *values)]

    def mark(self) -> int:
        """Return a mark of this moment, for :meth:`tally` and :meth:`moved_since`."""
        row = self._db.read_one("SELECT coalesce(max(id), 0) AS n FROM history")
        return int(row["n"]) if row else 0

    def tally(self, mark: int, under: Sequence[bytes] | None) -> Tally:
        """Count what is unfinished in these places, and what has moved there since ``mark``."""
        where, values = _places_or_moved(under)
        sql = (
            "SELECT state, ready, count(*) AS n, coalesce(sum(size), 0) AS size FROM job "
            "WHERE (state IN ('queued', 'uploading', 'processing') "
            f"OR id IN (SELECT job FROM history WHERE id > ?)){where} GROUP BY state, ready"
        )
        counts, sizes, unsettled = dict.fromkeys(JobState, 0), dict.fromkeys(JobState, 0), 0
        for row in self._db.read(sql, mark, *values):
            state = JobState(row["state"])
            counts[state] += row["n"]
            sizes[state] += row["size"]
            if state is JobState.QUEUED and not row["ready"]:
                unsettled += row["n"]
        return Tally(counts, sizes, unsettled)

    def moved_since(self, mark: int, under: Sequence[bytes] | None) -> list[Job]:
        """List the jobs in these places that have gone from state to state since ``mark``."""
        where, values = _places_or_moved(under)
        sql = f"{SELECT} WHERE id IN (SELECT job FROM history WHERE id > ?){where} ORDER BY id"
        return [job_of(row) for row in self._db.read(sql, mark, *values)]

    def failed_now(self, under: Sequence[bytes] | None) -> list[Job]:
        """List the failed jobs in these places that are the newest of their paths."""
        where, values = in_places(under)
        sql = (
            f"{SELECT} AS one WHERE state = 'failed'{where} AND NOT EXISTS "
            "(SELECT 1 FROM job AS newer WHERE newer.path = one.path AND newer.id > one.id) "
            "ORDER BY id"
        )
        return [job_of(row) for row in self._db.read(sql, *values)]

    def find(self, name: str) -> Job | None:
        """Find one job by its path, its hashid, the path it was moved from or its id."""
        path = os.path.abspath(os.path.expanduser(os.fsencode(name)))
        # As bytes and back: an argument that is no UTF-8 holds what SQLite's text cannot.
        hashid = os.fsencode(name).decode("utf-8", "replace")
        queries: list[tuple[str, object]] = [
            (f"{SELECT} WHERE path = ? ORDER BY id DESC LIMIT 1", path),
            (f"{SELECT} WHERE hashid = ? ORDER BY id DESC LIMIT 1", hashid),
            (f"{SELECT} WHERE id = (SELECT max(job) FROM put_away WHERE path = ?)", path),
        ]
        if name.isascii() and name.isdigit() and len(name) < 19:
            queries.append((f"{SELECT} WHERE id = ?", int(name)))
        for sql, value in queries:
            row = self._db.read_one(sql, value)
            if row:
                return job_of(row)
        return None

    def history(self, job: Job) -> list[Step]:
        """Return the job's transitions, oldest first."""
        sql = "SELECT at, state, reason FROM history WHERE job = ? ORDER BY id"
        return [Step(*row) for row in self._db.read(sql, job.id)]

    def attempts(self, job: Job) -> list[Attempt]:
        """Return the job's attempts, oldest first."""
        return [
            Attempt(*row) for row in self._db.read(f"{ATTEMPTS} WHERE job = ? ORDER BY id", job.id)
        ]


def _places_or_moved(under: Sequence[bytes] | None) -> tuple[str, list[bytes | int]]:
    """Render :func:`in_places` so that videos count which were moved out of these places."""
    where, values = in_places(under)
    if under is None:
        return where, values
    return f" AND ((TRUE{where}) OR id IN (SELECT job FROM put_away WHERE TRUE{where}))", values * 2
