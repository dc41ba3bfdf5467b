"""What the pages and the metrics ask of the queue: cheap on a million jobs. Reads only."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from megamax_sync.job import Job, JobState
from megamax_sync.store.database import Database
from megamax_sync.store.table import SELECT, job_of

#: A search that finds more than this is common enough to be met while walking the list.
_RARE = 2000
#: The expression of the index ``job_links``: when a job's direct links expire, as ISO 8601.
_EXPIRY = "CASE WHEN json_valid(direct) THEN json_extract(direct, '$[0].expires_at') END"
_LINKED = f"FROM job INDEXED BY job_links WHERE state = 'done' AND direct IS NOT NULL AND {_EXPIRY}"
#: The step by which a job became done. Later ones say that its file was moved, or deleted.
_BECAME_DONE = (
    "step.state = 'done' AND NOT EXISTS (SELECT 1 FROM history AS earlier "
    "INDEXED BY history_by_job "
    "WHERE earlier.job = step.job AND earlier.id < step.id AND earlier.state = 'done')"
)


@dataclass(frozen=True, slots=True)
class Place:
    """Between which jobs of a list a page begins: behind the one with this change and id."""

    updated_at: float
    id: int


@dataclass(frozen=True, slots=True)
class Move:
    """A job has come into another state. ``at`` and ``since`` are Unix time in seconds.

    ``since``: when it had come into the state ``left``, which it has now left.
    """

    id: int
    job: int
    state: JobState
    at: float
    left: JobState | None
    since: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt so far; ``unknown``: it went out, and nobody knows."""

    id: int
    outcome: str | None
    unknown: bool


class Pages:
    """Lists by keyset, so that the last page costs what the first does; and what has happened."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # -- lists -------------------------------------------------------------------------------

    def jobs(
        self,
        *,
        state: JobState | None = None,
        text: str = "",
        place: Place | None = None,
        back: bool = False,
        limit: int,
    ) -> list[Job]:
        """List jobs, the newest change first, from ``place`` on.

        ``text``: only those with it in their path, in either case of ASCII, or with exactly this
        hashid. ``back``: those before ``place`` instead, the nearest of them.
        """
        clauses, values = ["TRUE"], list[object]()
        if state is not None:
            clauses.append("state = ?")
            values.append(state.value)
        if text:
            clause, more = self._search(text)
            clauses.append(clause)
            values += more
        if place is not None:
            clauses.append(f"(updated_at, id) {'>' if back else '<'} (?, ?)")
            values += [place.updated_at, place.id]
        order = "ASC" if back else "DESC"
        rows = self._db.read(
            f"{SELECT} WHERE {' AND '.join(clauses)} "
            f"ORDER BY updated_at {order}, id {order} LIMIT ?",
            *values,
            limit,
        )
        found = [job_of(row) for row in rows]
        return found[::-1] if back else found

    def _search(self, text: str) -> tuple[str, list[object]]:
        """Render a search as SQL and values.

        What few jobs match is looked for in the index on the path alone, which is a tenth of the
        table; what many match is soon met on the way through the list.
        """
        # Names that are no UTF-8 are bytes of which LIKE makes what it can.
        plain = text.encode("utf-8", "replace").decode()
        escaped = plain.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
        like, pattern = r"CAST(path AS TEXT) LIKE ? ESCAPE '\'", f"%{escaped}%"
        rows = self._db.read_tuples(f"SELECT id FROM job WHERE {like} LIMIT ?", pattern, _RARE + 1)
        if len(rows) > _RARE:
            return f"({like} OR hashid = ?)", [pattern, plain]
        ids = {row[0] for row in rows}
        ids |= {
            row[0] for row in self._db.read_tuples("SELECT id FROM job WHERE hashid = ?", plain)
        }
        return f"id IN ({','.join('?' * len(ids))})", [*ids]

    def newest(self, state: JobState, limit: int) -> list[Job]:
        """List the jobs that have changed last, of those in one state."""
        return self.jobs(state=state, limit=limit)

    def next_up(self, limit: int) -> list[Job]:
        """List jobs that wait, in the order in which they are going to be taken."""
        # Said by name: without statistics another index looks as good, and then all are sorted.
        sql = (
            f"{SELECT} INDEXED BY job_to_claim WHERE state = 'queued' AND ready = 1 "
            "ORDER BY failed_at, id LIMIT ?"
        )
        return [job_of(row) for row in self._db.read(sql, limit)]

    def oldest_first(self, state: JobState, limit: int) -> list[Job]:
        """List the jobs that have not changed for the longest, of those in one state."""
        sql = f"{SELECT} WHERE state = ? ORDER BY updated_at, id LIMIT ?"
        return [job_of(row) for row in self._db.read(sql, state.value, limit)]

    def done_last(self, limit: int) -> list[tuple[Job, float]]:
        """List the jobs that have become done last, each with the Unix time at which it did.

        Not by their last change: new links are one, and no news of the file.
        """
        steps = self._db.read_tuples(
            "SELECT job, at FROM history AS step INDEXED BY history_done "
            f"WHERE {_BECAME_DONE} ORDER BY at DESC LIMIT ?",
            limit,
        )
        marks = ",".join("?" * len(steps))
        rows = self._db.read(f"{SELECT} WHERE id IN ({marks})", *(job for job, _ in steps))
        jobs = {job.id: job for job in map(job_of, rows)}
        # One may have been dropped since; what was done once stays so.
        return [(jobs[job], at) for job, at in steps if job in jobs]

    # -- figures -----------------------------------------------------------------------------

    def done_since(self, moment: float) -> int:
        """Count the jobs that have become done since ``moment`` (Unix time)."""
        sql = f"SELECT count(*) FROM history AS step WHERE {_BECAME_DONE} AND at >= ?"
        return int(self._db.read_tuples(sql, moment)[0][0])

    def unwritable(self) -> tuple[int, str]:
        """Count the sidecars that are owed because they cannot be written; and why, of one."""
        sql = (
            "SELECT count(*), coalesce(min(error), '') FROM job INDEXED BY job_to_write "
            "WHERE sidecar_due = 1 AND state IN ('processing', 'done') AND error IS NOT NULL"
        )
        number, error = self._db.read_tuples(sql)[0]
        return int(number), str(error)

    def queued_since(self) -> float | None:
        """Return when the oldest of the queued jobs was made, as Unix time."""
        sql = "SELECT min(created_at) FROM job WHERE state = 'queued'"
        found: float | None = self._db.read_tuples(sql)[0][0]
        return found

    def links_expire(self, now: str) -> tuple[str | None, int]:
        """Return when the first direct links expire that still work, and how many do no more.

        ``now`` and the moment returned are ISO 8601, as the sidecar has them.
        """
        first = self._db.read_tuples(f"SELECT min({_EXPIRY}) {_LINKED} >= ?", now)[0][0]
        return first, int(self._db.read_tuples(f"SELECT count(*) {_LINKED} < ?", now)[0][0])

    # -- what has happened -------------------------------------------------------------------

    def last_step(self) -> int:
        """Return the id of the newest step in any job's history."""
        return int(self._db.read_tuples("SELECT coalesce(max(id), 0) FROM history")[0][0])

    def last_attempt(self) -> int:
        """Return the id of the newest attempt."""
        return int(self._db.read_tuples("SELECT coalesce(max(id), 0) FROM attempt")[0][0])

    def moves(self, after: int, most: int) -> list[Move]:
        """Return the steps with ids above ``after``, the first ``most`` of them."""
        sql = "SELECT id, job, at, state FROM history WHERE id > ? ORDER BY id LIMIT ?"
        return [self._move(*row) for row in self._db.read_tuples(sql, after, most)]

    def _move(self, step: int, job: int, at: float, state: str) -> Move:
        sql = "SELECT state, at FROM history WHERE job = ? AND id < ? ORDER BY id DESC"
        left, since = None, at
        for before, then in self._db.read_tuples(sql, job, step):
            if left not in {None, before}:
                break
            left, since = before, then
        return Move(step, job, JobState(state), at, JobState(left) if left else None, since)

    def moved(self, after: int, most: int) -> list[int]:
        """Return the jobs that have had a step with an id above ``after``."""
        sql = "SELECT DISTINCT job FROM history WHERE id > ? ORDER BY id DESC LIMIT ?"
        return [row[0] for row in self._db.read_tuples(sql, after, most)]

    def outcomes(self, after: int, ids: Collection[int], most: int) -> Sequence[Outcome]:
        """Return how the attempts of these ids are, and the first ``most`` above ``after``."""
        marks = ",".join("?" * len(ids))
        rows = self._db.read_tuples(
            f"SELECT id, outcome, unknown_at IS NOT NULL FROM attempt WHERE id IN ({marks}) "
            "UNION ALL SELECT * FROM (SELECT id, outcome, unknown_at IS NOT NULL FROM attempt "
            "WHERE id > ? ORDER BY id LIMIT ?)",
            *ids,
            after,
            most,
        )
        return [Outcome(row[0], row[1], bool(row[2])) for row in rows]

    def open_attempts(self) -> list[Outcome]:
        """Return the attempts without an outcome."""
        sql = "SELECT id, outcome, unknown_at IS NOT NULL FROM attempt WHERE outcome IS NULL"
        return [Outcome(row[0], row[1], bool(row[2])) for row in self._db.read_tuples(sql)]
