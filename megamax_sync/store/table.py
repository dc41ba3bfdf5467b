"""What all statements about jobs share: reading a row, and moving a job to another state."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from megamax_sync.clock import Clock
from megamax_sync.job import FileStamp, Job, JobState, check_transition
from megamax_sync.store.database import Database

#: Paths asked for in one query; SQLite takes 32,766 values.
_BATCH = 500
#: Rows inserted by one statement. Few numbers, as each makes another statement to be prepared.
_ROWS = (100, 10, 1)

_COLUMNS = [field for field in Job.__dataclass_fields__ if field != "stamp"]
SELECT = f"SELECT {', '.join(_COLUMNS)}, size, mtime_ns, ctime_ns, dev, ino FROM job"


#: Of the jobs of one path, the newest comes first.
NEWEST_FIRST = "placed DESC, id DESC"


#: The jobs of a size whose content another job of that size may have.
OF_SIZE = """FROM job AS other WHERE other.size = {}
    AND other.state IN ('queued', 'uploading', 'processing', 'done')"""


def job_of(row: sqlite3.Row) -> Job:
    """Build a :class:`Job` from a row of :data:`SELECT`."""
    # By place: to look each column up by its name takes longer than all the rest.
    *columns, size, mtime_ns, ctime_ns, dev, ino = row
    values: dict[str, Any] = dict(zip(_COLUMNS, columns, strict=True))
    values["state"] = JobState(values["state"])
    values["ready"] = bool(values["ready"])
    values["sidecar_due"] = bool(values["sidecar_due"])
    values["lookup"] = bool(values["lookup"])
    values["own_upload"] = bool(values["own_upload"])
    return Job(stamp=FileStamp(size, mtime_ns, ctime_ns, dev, ino), **values)


class JobTable:
    """The table ``job``, for the groups of statements that are built on it.

    Methods of theirs raise :class:`~megamax_sync.errors.StoreError` and its kin.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self.clock = clock

    def move(self, job: int, old: JobState, new: JobState, reason: str, **changes: Any) -> bool:
        check_transition(old, new)
        now = self.clock.now()
        # Only a claim makes an owner, and that is a statement of its own.
        changes |= {"state": new.value, "updated_at": now, "owner": None, "lease_until": None}
        columns = ", ".join(f"{name} = ?" for name in changes)
        sql = f"UPDATE job SET {columns} WHERE id = ? AND state = ? RETURNING id"
        with self.database.transaction():
            if not self.database.write(sql, *changes.values(), job, old.value):
                return False
            self.note(job, new, reason)
        return True

    def note(self, job: int, state: JobState, reason: str) -> None:
        sql = "INSERT INTO history (job, at, state, reason) VALUES (?, ?, ?, ?)"
        self.database.insert(sql, job, self.clock.wall(), state.value, reason)

    def tell_nobody(self, job: int) -> None:
        """Leave out what follows an end: it is that of an upload which had its end at its time.

        That goes for the video, too: what was asked for then, if anything, is not known any more.
        """
        self.database.write("DELETE FROM outbox WHERE job = ?", job)

    def insert_each(self, into: str, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows of values, all of one length; ``into`` names the table and the columns.

        Many in one statement: its beginning and its end cost more than a row (a thousand jobs one
        by one took 130 ms, a hundred at a time 55).
        """
        start = 0
        with self.database.transaction():
            for most in _ROWS:
                while len(rows) - start >= most:
                    part = rows[start : start + most]
                    marks = f"({','.join('?' * len(part[0]))})"
                    values = ",".join([marks] * most)
                    self.database.write(f"INSERT INTO {into} VALUES {values}", *chain(*part))
                    start += most

    def any_forgotten(self, paths: Sequence[bytes] | None = None) -> bool:
        """Tell whether any file's job was dropped; of the files from the first to the last of
        these ``paths``, where given.

        Next to none is, and every new file is asked about several times.
        """
        sql, ends = "SELECT 1 FROM forgotten", list[bytes]()
        if paths is not None:
            sql += " WHERE path >= ? AND path <= ?"
            ends = [min(paths, default=b""), max(paths, default=b"")]
        return self.database.read_one(f"{sql} LIMIT 1", *ends) is not None

    def of_paths(self, sql: str, paths: Sequence[bytes], *before: object) -> Iterator[sqlite3.Row]:
        """Run a query with ``IN ({})`` for any number of paths; ``before`` are earlier values."""
        for start in range(0, len(paths), _BATCH):
            part = paths[start : start + _BATCH]
            yield from self.database.read(sql.format(",".join("?" * len(part))), *before, *part)

    def first(self, sql: str, *values: Any) -> Job | None:
        row = self.database.read_one(sql, *values)
        return job_of(row) if row else None

    def all(self, sql: str, *values: Any) -> list[Job]:
        return [job_of(row) for row in self.database.read(sql, *values)]
