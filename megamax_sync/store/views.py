"""What people ask of the queue: counts, lists, one job's life. Reads only."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from megamax_sync.job import Job, JobState
from megamax_sync.store.database import Database
from megamax_sync.store.journal import SELECT as ATTEMPTS
from megamax_sync.store.journal import Attempt
from megamax_sync.store.places import in_places, inside, places_of
from megamax_sync.store.table import NEWEST_FIRST, SELECT, job_of

_WAITING = (JobState.QUEUED, JobState.UPLOADING)
_UNFINISHED = (*_WAITING, JobState.PROCESSING)
_TALLY = "SELECT root, state, ready, jobs, bytes FROM tally"

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
    """Jobs and their bytes by state.

    ``unsettled``: those queued whose files are not finished; ``compared``: any queued one is
    compared with others, or waits for one that is being sent or is done; ``owed``: any sidecar of
    a duplicate or of a moved file is about to be written.
    """

    counts: dict[JobState, int]
    sizes: dict[JobState, int]
    unsettled: int
    compared: bool = False
    owed: bool = False


class Views:
    """Queries over jobs, attempts and history."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def counts(self, under: Sequence[bytes] | None = None) -> dict[JobState, int]:
        """Count the jobs in each state; ``under`` limits it to these folders and files."""
        counts = dict.fromkeys(JobState, 0)
        where, values = in_places(under)
        # Without places, they are counted already.
        sql = (
            "SELECT state, sum(jobs) AS n FROM tally GROUP BY state"
            if under is None
            else f"SELECT state, count(*) AS n FROM job WHERE TRUE{where} GROUP BY state"
        )
        for row in self._db.read(sql, *values):
            counts[JobState(row["state"])] = row["n"]
        return counts

    def waits_in(self, folder: bytes) -> bool:
        """Tell whether files of a watched folder wait to be uploaded."""
        return any(
            row["jobs"] and row["state"] in _WAITING and inside(row["root"], places_of([folder]))
            for row in self._db.read(_TALLY)
        )

    def bytes_in(self, state: JobState, under: Sequence[bytes] | None = None) -> int:
        """Add up the sizes of the jobs in one state."""
        where, values = in_places(under)
        sql = (
            "SELECT coalesce(sum(bytes), 0) AS n FROM tally WHERE state = ?"
            if under is None
            else f"SELECT coalesce(sum(size), 0) AS n FROM job WHERE state = ?{where}"
        )
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
        counts, sizes, unsettled = dict.fromkeys(JobState, 0), dict.fromkeys(JobState, 0), 0
        for row in [*self._unfinished(under), *self._finished(mark, under)]:
            state = JobState(row["state"])
            counts[state] += row["jobs"]
            sizes[state] += row["bytes"]
            if state is JobState.QUEUED and not row["ready"]:
                unsettled += row["jobs"]
        return Tally(counts, sizes, unsettled, self._compared(under), self._owed(under))

    def _unfinished(self, under: Sequence[bytes] | None) -> list[sqlite3.Row]:
        """Count what is unfinished; job by job only where a watched folder is not wholly meant."""
        rows = [row for row in self._db.read(_TALLY) if row["state"] in _UNFINISHED and row["jobs"]]
        if under is None:
            return rows
        places = places_of(under)
        whole = [row for row in rows if row["root"] and inside(row["root"], places)]
        parts = {row["root"] for row in rows} - {row["root"] for row in whole}
        parts = {root for root in parts if any(inside(place, {root}) for place in places)}
        if not parts:
            return whole
        where, values = in_places(under)
        sql = (
            "SELECT state, ready, count(*) AS jobs, coalesce(sum(size), 0) AS bytes FROM job "
            "WHERE state IN ('queued', 'uploading', 'processing') "
            f"AND coalesce(root, x'') IN ({','.join('?' * len(parts))}){where} "
            "GROUP BY state, ready"
        )
        return [*whole, *self._db.read(sql, *parts, *values)]

    def _finished(self, mark: int, under: Sequence[bytes] | None) -> list[sqlite3.Row]:
        where, values = _places_or_moved(under)
        # Finished jobs are of use here only for what has moved, which history knows by its id.
        sql = (
            "SELECT state, 1 AS ready, count(*) AS jobs, coalesce(sum(size), 0) AS bytes FROM job "
            "WHERE id IN (SELECT job FROM history WHERE id > ? "
            "AND state IN ('done', 'failed', 'skipped')) "
            f"AND +state IN ('done', 'failed', 'skipped'){where} GROUP BY state"
        )
        return self._db.read(sql, mark, *values)

    def _compared(self, under: Sequence[bytes] | None) -> bool:
        where, values = in_places(under)
        comparing = (
            "SELECT 1 FROM job INDEXED BY job_to_compare WHERE state = 'queued' "
            f"AND ready = 1 AND cleared = 0 AND original IS NULL{where}"
        )
        place, more = in_places(under, "twin.path")
        waiting = (
            "SELECT 1 FROM job AS twin INDEXED BY job_to_wait "
            "CROSS JOIN job AS first ON first.id = twin.original "
            "WHERE twin.original IS NOT NULL AND twin.state = 'queued' "
            f"AND first.state IN ('uploading', 'processing', 'done'){place}"
        )
        sql = f"SELECT EXISTS ({comparing}) OR EXISTS ({waiting}) AS found"
        return bool(self._db.read(sql, *values, *more)[0]["found"])

    def _owed(self, under: Sequence[bytes] | None) -> bool:
        where, values = in_places(under)
        sql = (
            "SELECT 1 FROM job INDEXED BY job_to_write "
            "WHERE sidecar_due = 1 AND state IN ('done', 'skipped') "
            f"AND (original IS NOT NULL OR moved_from IS NOT NULL){where} LIMIT 1"
        )
        return bool(self._db.read(sql, *values))

    def moved_since(self, mark: int, under: Sequence[bytes] | None) -> list[Job]:
        """List the jobs in these places that have gone from state to state since ``mark``."""
        where, values = _places_or_moved(under)
        sql = f"{SELECT} WHERE id IN (SELECT job FROM history WHERE id > ?){where} ORDER BY id"
        return [job_of(row) for row in self._db.read(sql, mark, *values)]

    def failed_now(self, under: Sequence[bytes] | None) -> list[Job]:
        """List the failed jobs in these places that are the newest of their paths."""
        where, values = in_places(under)
        sql = (
            f"{SELECT} AS one WHERE state = 'failed'{where} AND NOT EXISTS (SELECT 1 FROM job AS "
            "newer WHERE newer.path = one.path AND newer.placed > one.placed) ORDER BY id"
        )
        return [job_of(row) for row in self._db.read(sql, *values)]

    def find(self, name: str) -> Job | None:
        """Find one job by its path, its hashid, the path it was moved from or its id."""
        path = os.path.abspath(os.path.expanduser(os.fsencode(name)))
        # As bytes and back: an argument that is no UTF-8 holds what SQLite's text cannot.
        hashid = os.fsencode(name).decode("utf-8", "replace")
        queries: list[tuple[str, object]] = [
            (f"{SELECT} WHERE path = ? ORDER BY {NEWEST_FIRST} LIMIT 1", path),
            # Its duplicates have it from the one that was sent.
            (f"{SELECT} WHERE hashid = ? ORDER BY original IS NULL DESC, id DESC LIMIT 1", hashid),
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
