"""Jobs with the same content: who is compared with whom, who waits for whom, who is a duplicate.

Of a content, one job is sent. That is the one which was *cleared* first: found to have a size, or
else a content, that no other cleared job has. The others wait for it. When it is done they are
duplicates; when it comes to nothing they are compared anew (by the triggers of the schema).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from megamax_sync.job import Job, JobState, duplicate_of
from megamax_sync.store.places import in_places
from megamax_sync.store.table import SELECT, JobTable

#: A job whose content the service has, or is going to have.
_STANDS = """state IN ('queued', 'uploading', 'processing', 'done')
    AND NOT (state = 'queued' AND cleared = 0) AND NOT (state = 'queued' AND ready = 0)"""
#: A job that has to be compared before it is sent.
_OPEN = "state = 'queued' AND ready = 1 AND cleared = 0 AND original IS NULL"


class Twins(JobTable):
    """Statements about jobs that may have the same content."""

    def to_compare(self, under: Sequence[bytes] | None, most: int) -> list[Job]:
        """Return the jobs that may be sent only once they were compared with others.

        Not those that were postponed to a later moment.
        """
        where, values = in_places(under)
        # Named, as SQLite would rather go through all that are queued.
        sql = (
            f"{SELECT} INDEXED BY job_to_compare WHERE {_OPEN}{where} AND failed_at <= ? "
            "ORDER BY failed_at, id LIMIT ?"
        )
        return self.all(sql, *values, self.clock.now(), most)

    def next_to_compare(self, under: Sequence[bytes] | None) -> float | None:
        """Return when the next of :meth:`to_compare` that was postponed is due, as Unix time."""
        where, values = in_places(under)
        sql = (
            f"SELECT failed_at FROM job INDEXED BY job_to_compare WHERE {_OPEN}{where} "
            "AND failed_at > ? ORDER BY failed_at LIMIT 1"
        )
        row = self.database.read_one(sql, *values, self.clock.now())
        return row[0] if row else None

    def of_file(self, job: Job) -> list[Job]:
        """Return the jobs that stand for the same file by inode, size and mtime."""
        sql = (
            f"{SELECT} WHERE ino = ? AND size = ? AND mtime_ns = ? AND id <> ? AND {_STANDS} "
            "ORDER BY id"
        )
        stamp = job.stamp
        return self.all(sql, stamp.ino, stamp.size, stamp.mtime_ns, job.id)

    def unread(self, job: Job) -> list[Job]:
        """Return the jobs of a job's size that stand, and whose content is not known."""
        sql = (
            f"{SELECT} INDEXED BY job_unread "
            f"WHERE size = ? AND fingerprint IS NULL AND id <> ? AND {_STANDS}"
        )
        return self.all(sql, job.stamp.size, job.id)

    def has_rival(self, job: Job) -> bool:
        """Tell whether another job of its size stands: it has to be read, to be compared."""
        sql = f"SELECT 1 FROM job WHERE size = ? AND id <> ? AND {_STANDS} LIMIT 1"
        return self.database.read_one(sql, job.stamp.size, job.id) is not None

    def read(self, job: Job, fingerprint: str) -> None:
        """Note the content of a job's file, if the job is still of the version that was read."""
        sql = (
            "UPDATE job SET fingerprint = ? WHERE id = ? AND fingerprint IS NULL "
            "AND size = ? AND mtime_ns = ? AND ino = ?"
        )
        stamp = job.stamp
        self.database.write(sql, fingerprint, job.id, stamp.size, stamp.mtime_ns, stamp.ino)

    def first_of(self, job: Job) -> Job | None:
        """Return the job that stands for a job's content; the one that is furthest, if several."""
        sql = (
            f"{SELECT} WHERE fingerprint = ? AND size = ? AND id <> ? AND {_STANDS} "
            "ORDER BY state = 'done' DESC, state = 'processing' DESC, state = 'uploading' DESC, id "
            "LIMIT 1"
        )
        return self.first(sql, job.fingerprint, job.stamp.size, job.id)

    def original(self, job: Job) -> Job | None:
        """Return the job that a job waits for, or is a duplicate of."""
        return self.first(f"{SELECT} WHERE id = ?", job.original)

    def duplicates(self, job: Job) -> list[Job]:
        """Return the jobs that wait for a job, or are duplicates of it."""
        return self.all(f"{SELECT} WHERE original = ? ORDER BY id", job.id)

    # -- the verdict -------------------------------------------------------------------------

    def clear(self, job: Job) -> bool:
        """Let a job be sent."""
        return self._decide(job, cleared=1)

    def wait(self, job: Job, first: Job) -> bool:
        """Have a job wait for another; when that is done, for its own sidecar.

        False if one of the two is not what it was when it was read.
        """
        done = first.state is JobState.DONE
        owed = {"hashid": first.hashid, "sidecar_due": 1} if done else {}
        with self.database.transaction():
            sql = (
                "SELECT 1 FROM job WHERE id = ? AND state = ? AND path = ? AND fingerprint IS ? "
                f"AND {_STANDS}"
            )
            values = (first.id, first.state.value, first.path, first.fingerprint)
            if self.database.read_one(sql, *values) is None:
                return False
            return self._decide(job, original=first.id, **owed)

    def postpone(self, job: Job, error: str, due: float) -> bool:
        """Charge a job for what is its own fault, and have it compared again at a moment.

        Until then its failure lies ahead: so an index leaves out those that are not due.
        """
        charged = {"attempts": job.attempts + 1, "error": error}
        with self.database.transaction():
            postponed = self._decide(job, failed_at=due, next_attempt_at=due, **charged)
            if postponed:
                self.note(job.id, JobState.QUEUED, error)
        return postponed

    def _decide(self, job: Job, **changes: Any) -> bool:
        columns = ", ".join(f"{name} = ?" for name in changes)
        sql = f"UPDATE job SET {columns}, updated_at = ? WHERE id = ? AND {_OPEN} RETURNING id"
        now = self.clock.now()
        return bool(self.database.write(sql, *changes.values(), now, job.id))

    def skip(self, job: Job) -> str | None:
        """Call a job a duplicate, now that its sidecar is written; return its ``error``.

        None if it waits no longer.
        """
        with self.database.transaction():
            sql = (
                f"{SELECT} WHERE state = 'done' AND id = "
                "(SELECT original FROM job WHERE id = ? AND state = 'queued')"
            )
            first = self.first(sql, job.id)
            if first is None:
                return None
            error = duplicate_of(first.path)
            self.move(job.id, JobState.QUEUED, JobState.SKIPPED, error, error=error)
        return error
