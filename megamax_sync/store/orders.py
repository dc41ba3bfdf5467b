"""What people order: try again, drop, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence

from megamax_sync.job import REMOTE_FAILED, FileStamp, Job, JobState, duplicate_of
from megamax_sync.store.table import JobTable

#: What is known of an upload, whichever job's it is.
_UPLOAD = (
    "folder", "hashid", "remote_status", "remote_name", "remote_size", "poster", "uploaded_at",
    "converted_at", "mirrors", "direct", "direct_error", "check_at", "checks", "own_upload",
)  # fmt: skip


class Orders(JobTable):
    """Retry, forget, and the memory of what was forgotten."""

    def is_outdated(self, job: Job) -> bool:
        """Tell whether the file has a newer job: there is nothing left to do for this one."""
        sql = (
            "SELECT 1 FROM job WHERE path = ? "
            "AND placed > (SELECT placed FROM job WHERE id = ?) LIMIT 1"
        )
        return self.database.read_one(sql, job.path, job.id) is not None

    def retry(self, job: Job) -> bool:
        """Put a failed job back to work; False when it has not failed, or is outdated.

        One that the service holds resumes its tracking. One whose conversion failed, or that the
        service lost, is uploaded anew, and its dead hashid is left behind as an orphan.
        """
        if job.state is not JobState.FAILED or self.is_outdated(job):
            return False
        now = self.clock.now()
        with self.database.transaction():
            if job.hashid is not None and job.remote_status not in {None, REMOTE_FAILED}:
                return self.move(
                    job.id,
                    job.state,
                    JobState.PROCESSING,
                    "retry",
                    error=None,
                    check_at=now,
                    checks=0,
                )
            if job.hashid is not None:
                self.database.write(
                    "UPDATE attempt SET outcome = 'discarded' WHERE hashid = ?", job.hashid
                )
            return self.move(
                job.id,
                job.state,
                JobState.QUEUED,
                "retry",
                ready=0,
                attempts=0,
                suspect_at=None,
                next_attempt_at=0.0,
                error=None,
                hashid=None,
                remote_status=None,
                remote_name=None,
                remote_size=None,
                poster=None,
                uploaded_at=None,
                converted_at=None,
                mirrors=None,
                direct=None,
                direct_error=None,
                check_at=None,
                checks=0,
                sidecar_due=0,
            )

    def forget(self, job: Job) -> bool:
        """Drop a job and its history; its attempts stay, for the orphans' sake.

        Its file is remembered, so that the next scan does not bring it back. Those that wait for
        it are compared anew; of its duplicates the first takes its upload over.
        """
        with self.database.transaction():
            self.database.write(
                "UPDATE job SET original = NULL, hashid = NULL, sidecar_due = 0 "
                "WHERE original = ? AND state = 'queued'",
                job.id,
            )
            self._leave_to_heir(job)
            # An attempt that nobody will look up must not hold up another file of its name.
            self.database.write(
                "UPDATE attempt SET outcome = 'discarded', error = 'the job was dropped', "
                "ended_at = ? WHERE job = ? AND outcome IS NULL",
                self.clock.now(),
                job.id,
            )
            self.database.write(
                "REPLACE INTO forgotten (path, size, mtime_ns, ctime_ns, dev, ino) "
                "SELECT path, size, mtime_ns, ctime_ns, dev, ino FROM job WHERE id = ?",
                job.id,
            )
            return bool(self.database.write("DELETE FROM job WHERE id = ? RETURNING id", job.id))

    def _leave_to_heir(self, job: Job) -> None:
        """Hand what the service has over to the first duplicate, which others then follow."""
        row = self.database.read_one(
            "SELECT min(id) AS id FROM job WHERE original = ? AND state = 'skipped'", job.id
        )
        heir = row["id"] if row else None
        if heir is None:
            return
        reason = f"its original, job {job.id}, was dropped"
        self.move(heir, JobState.SKIPPED, JobState.DONE, reason, error=None, original=None)
        self.tell_nobody(heir)
        columns = ", ".join(_UPLOAD)
        self.database.write(
            f"UPDATE job SET ({columns}) = (SELECT {columns} FROM job WHERE id = ?) WHERE id = ?",
            job.id,
            heir,
        )
        self.database.write(
            "UPDATE job SET original = ?, error = ? WHERE original = ?",
            heir,
            duplicate_of(self._path_of(heir)),
            job.id,
        )
        self.database.write("UPDATE job SET sidecar_due = 1 WHERE id = ?", heir)

    def _path_of(self, job: int) -> bytes:
        path: bytes = self.database.read("SELECT path FROM job WHERE id = ?", job)[0]["path"]
        return path

    def recall(self, path: bytes) -> None:
        """Let a file whose job was dropped be taken again."""
        self.database.write("DELETE FROM forgotten WHERE path = ?", path)

    def forgotten(self, paths: Sequence[bytes]) -> dict[bytes, FileStamp]:
        """Return, for those of these paths whose job was dropped, how the file was then."""
        if not self.any_forgotten(paths):
            return {}
        sql = "SELECT path, size, mtime_ns, ctime_ns, dev, ino FROM forgotten WHERE path IN ({})"
        return {row[0]: FileStamp(*row[1:]) for row in self.of_paths(sql, paths)}
