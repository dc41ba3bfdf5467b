"""Following what the service has: what is due, what was learnt, which sidecars are owed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from megamax_sync.job import Job, JobState
from megamax_sync.store.places import in_places_or_awaited
from megamax_sync.store.table import NEWEST_FIRST, SELECT, JobTable

#: So many sidecars that are due are read at once, as each may hold many links.
_ROWS = 50


class Tracking(JobTable):
    """The way of a job from its hashid to its links."""

    def to_check(
        self,
        ahead: float,
        *,
        states: Sequence[JobState],
        under: Sequence[bytes] | None,
        most: int,
    ) -> list[Job]:
        """Return the jobs to be looked at within ``ahead`` seconds, longest due first.

        ``under`` limits it to what lies in these folders, and what that waits for; ``most`` to so
        many of each state.
        """
        where, values = in_places_or_awaited(under)
        sql = (
            f"{SELECT} WHERE state = ? AND check_at IS NOT NULL AND check_at <= ?{where} "
            "ORDER BY check_at LIMIT ?"
        )
        until = self.clock.now() + ahead
        return [job for state in states for job in self.all(sql, state.value, until, *values, most)]

    def converting_after(self, moment: float) -> list[Job]:
        """Return the jobs in conversion that are to be looked at only after a moment, Unix time."""
        sql = (
            f"{SELECT} WHERE state = 'processing' AND converted_at IS NULL AND check_at > ? "
            "ORDER BY check_at"
        )
        return self.all(sql, moment)

    def next_check(
        self, *, states: Sequence[JobState], under: Sequence[bytes] | None
    ) -> float | None:
        """Return when the next of :meth:`to_check` is due, as Unix time."""
        where, values = in_places_or_awaited(under)
        sql = (
            f"SELECT check_at FROM job WHERE state = ? AND check_at IS NOT NULL{where} "
            "ORDER BY check_at LIMIT 1"
        )
        rows = [self.database.read_one(sql, state.value, *values) for state in states]
        return min((float(row[0]) for row in rows if row), default=None)

    def to_write(self, after: int = 0, most: int = _ROWS) -> list[Job]:
        """Return the next jobs behind this one whose sidecar has to be written."""
        sql = f"{SELECT} WHERE sidecar_due = 1 AND id > ? ORDER BY id LIMIT ?"
        return self.all(sql, after, most)

    def writes_sidecar(self, job: Job) -> bool:
        """Tell whether this is the newest job of its path that has a hashid (CONTRACT 4)."""
        sql = (
            "SELECT id FROM job WHERE path = ? AND hashid IS NOT NULL "
            f"ORDER BY {NEWEST_FIRST} LIMIT 1"
        )
        row = self.database.read_one(sql, job.path)
        return row is not None and row[0] == job.id

    def shares_sidecar(self, job: Job, path: bytes) -> bool:
        """Tell whether another file with a job's hashid lies at this path."""
        sql = "SELECT 1 FROM job WHERE path = ? AND hashid = ? AND id <> ? LIMIT 1"
        return self.database.read_one(sql, path, job.hashid, job.id) is not None

    def track(self, job: Job, **changes: Any) -> bool:
        """Write what the service said of a job that it has, if it is still the same upload.

        ``changes`` are columns: ``remote_status``, ``mirrors``, ``direct``, ``check_at``, …
        Those that the sidecar shows go with ``sidecar_due=1``, and count as a change of the job.
        It does not wait for the disk: the service can be asked again.
        """
        if changes.get("sidecar_due"):
            changes["updated_at"] = self.clock.now()
        columns = ", ".join(f"{name} = ?" for name in changes)
        sql = (
            f"UPDATE job SET {columns} WHERE id = ? AND hashid IS ? "
            "AND state IN ('processing', 'done', 'failed') RETURNING id"
        )
        with self.database.transaction(durable=False):
            return bool(self.database.write(sql, *changes.values(), job.id, job.hashid))

    def complete(self, job: Job, *, reason: str, check_at: float | None) -> bool:
        """Converted, and its links are known."""
        return self.move(
            job.id,
            JobState.PROCESSING,
            JobState.DONE,
            reason,
            error=None,
            check_at=check_at,
            checks=0,
        )

    def sidecar_unwritable(self, job: Job, error: str) -> None:
        """Say in a job's ``error`` why its sidecar is owed; once, however often it is tried.

        A job that has come to its end without one keeps what its ``error`` says of that.
        """
        sql = (
            "UPDATE job SET error = ?, updated_at = ? WHERE id = ? AND sidecar_due = 1 "
            "AND state IN ('queued', 'processing', 'done') AND error IS NOT ?"
        )
        self.database.write(sql, error, self.clock.now(), job.id, error)

    def sidecar_written(self, job: Job, path: bytes | None) -> bool:
        """Clear the debt, unless the job has changed since it was rendered: then False."""
        sql = (
            "UPDATE job SET sidecar_due = 0, sidecar = coalesce(?, sidecar), moved_from = NULL, "
            "error = CASE WHEN state IN ('processing', 'done') THEN NULL ELSE error END "
            "WHERE id = ? AND updated_at = ? RETURNING id"
        )
        return bool(self.database.write(sql, path, job.id, job.updated_at))
