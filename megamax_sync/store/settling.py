"""Between the watch and the upload: a queued job whose file has to be found finished first."""

from __future__ import annotations

from megamax_sync.job import FileStamp, Job, JobState
from megamax_sync.store.making import Making
from megamax_sync.store.table import OF_SIZE, SELECT


class Settling(Making):
    """What the watch asks and says of queued jobs."""

    def unsettled(self) -> list[Job]:
        """Return the queued jobs whose files the watch still has to find finished."""
        return self.all(f"{SELECT} WHERE state = 'queued' AND ready = 0 ORDER BY id")

    def unsettled_since(self, mark: int) -> tuple[list[tuple[bytes, bytes | None]], int]:
        """Return path and watched folder of those of :meth:`unsettled` that became so.

        ``mark`` is 0 for all of them, else what the last call returned beside them. One that has
        only just come may be named twice, none is left out: whatever makes a job unsettled is a
        step of its history, whose ids follow the order of the commits.
        """
        now = self.database.read("SELECT coalesce(max(id), 0) FROM history")[0][0]
        if mark:
            # In this order: few steps are new, and many jobs may be unsettled.
            sql = (
                "SELECT DISTINCT path, root FROM history CROSS JOIN job ON job.id = history.job "
                "WHERE history.id > ? AND job.state = 'queued' AND ready = 0"
            )
            rows = self.database.read(sql, mark)
        else:
            rows = self.database.read(
                "SELECT path, root FROM job WHERE state = 'queued' AND ready = 0 ORDER BY id"
            )
        # The last steps go with a job that is dropped; later ones have higher ids all the same.
        return [(row["path"], row["root"]) for row in rows], max(mark, now)

    def settle(self, job: Job, stamp: FileStamp) -> bool:
        """Let a queued job be sent, as the file now is. False if it is no longer queued.

        Another version of the file begins afresh: what failed was the one before it.
        """
        afresh = (
            "attempts = 0, suspect_at = NULL, next_attempt_at = 0, failed_at = 0, "
            "fingerprint = NULL, "
            if not job.stamp.same_version(stamp)
            else ""
        )
        sql = (
            f"UPDATE job SET {afresh}ready = 1, size = ?, mtime_ns = ?, ctime_ns = ?, dev = ?, "
            f"ino = ?, error = NULL, updated_at = ?, original = NULL, cleared = "
            f"NOT EXISTS (SELECT 1 {OF_SIZE.format('?')} AND other.id <> ?) "
            "WHERE id = ? AND state = 'queued' RETURNING id"
        )
        changed = self.database.write(
            sql,
            stamp.size,
            stamp.mtime_ns,
            stamp.ctime_ns,
            stamp.dev,
            stamp.ino,
            self.clock.now(),
            stamp.size,
            job.id,
            job.id,
        )
        return bool(changed)

    def belong(self, job: Job, root: bytes | None, folder: int | None) -> None:
        """Note in which watched folder a file lies that was handed in, and where it is to go."""
        self.database.write(
            "UPDATE job SET root = ?, folder = ? WHERE id = ?", root, folder, job.id
        )

    def requeue(self, job: Job, stamp: FileStamp, reason: str) -> bool:
        """Queue a skipped job again: its file has come back."""
        with self.database.transaction():
            moved = self.move(
                job.id, JobState.SKIPPED, JobState.QUEUED, reason, ready=1, error=None
            )
            return moved and self.settle(job, stamp)

    def restamp(self, job: Job, stamp: FileStamp) -> None:
        """Note that the file was only touched: other times, the same content."""
        sql = (
            "UPDATE job SET mtime_ns = ?, ctime_ns = ?, dev = ?, ino = ?, updated_at = ?, "
            # The sidecar shows the times of the file.
            "sidecar_due = (hashid IS NOT NULL) WHERE id = ?"
        )
        now = self.clock.now()
        self.database.write(sql, stamp.mtime_ns, stamp.ctime_ns, stamp.dev, stamp.ino, now, job.id)

    def note_waiting(self, job: Job, reason: str | None) -> None:
        """Say in a queued job's ``error`` why the watch does not find its file finished.

        None: there is nothing to be said.
        """
        sql = (
            "UPDATE job SET error = ?, updated_at = ? "
            "WHERE id = ? AND state = 'queued' AND ready = 0"
        )
        self.database.write(sql, reason, self.clock.now(), job.id)
