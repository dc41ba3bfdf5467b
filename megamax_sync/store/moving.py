"""Files that lie elsewhere now: their jobs follow them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from megamax_sync.job import FileStamp, Job, JobState, duplicate_of, match_key
from megamax_sync.store.table import SELECT, JobTable, job_of

#: Inodes asked for in one query.
_BATCH = 500


class Moving(JobTable):
    """Statements about jobs whose files were moved."""

    def of_inodes(self, inodes: Sequence[int]) -> list[Job]:
        """Return the jobs of the files with these inode numbers, whatever their device."""
        found: list[Job] = []
        for start in range(0, len(inodes), _BATCH):
            part = inodes[start : start + _BATCH]
            sql = f"{SELECT} WHERE ino IN ({','.join('?' * len(part))}) ORDER BY id"
            found += [job_of(row) for row in self.database.read(sql, *part)]
        return found

    def move_to(self, job: Job, path: bytes, root: bytes | None, stamp: FileStamp) -> bool:
        """Have a job follow its file; False if it has gone elsewhere meanwhile.

        It is now the newest of its new path. Its Megamax folder stays as it was decided.
        """
        sql = (
            "UPDATE job SET path = ?, root = ?, match_key = ?, mtime_ns = ?, ctime_ns = ?, "
            "dev = ?, ino = ?, placed = ?, updated_at = ?, sidecar_due = (hashid IS NOT NULL), "
            # The first of several moves left the sidecar behind.
            "moved_from = iif(sidecar IS NULL, NULL, coalesce(moved_from, path)) "
            "WHERE id = ? AND path = ? RETURNING state"
        )
        now = self.clock.now()
        with self.database.transaction():
            values = (path, root, match_key(os.path.basename(path)))
            times = (stamp.mtime_ns, stamp.ctime_ns, stamp.dev, stamp.ino)
            key = (job.id, job.path)
            rows = self.database.write(sql, *values, *times, self._next_place(), now, *key)
            if not rows:
                return False
            # What was sent is still this version of the file, under the name that it had then.
            self.database.write(
                "UPDATE attempt SET mtime_ns = ?, ino = ? "
                "WHERE job = ? AND outcome IS NULL AND size = ? AND mtime_ns = ? AND ino = ?",
                *(stamp.mtime_ns, stamp.ino),
                *(job.id, job.stamp.size, job.stamp.mtime_ns, job.stamp.ino),
            )
            self.database.write(
                "UPDATE job SET error = ?, updated_at = ? WHERE original = ? AND state = 'skipped'",
                *(duplicate_of(path), now, job.id),
            )
            shown = job.path.decode("utf-8", "backslashreplace")
            self.note(job.id, JobState(rows[0]["state"]), f"moved from {shown}")
        return True

    def take_place_of(self, job: Job, newcomer: Job) -> bool:
        """Have a job follow its file to where a job of its own was made for it.

        False if either is not any more what it was when it was read, or the newcomer may have
        been sent.
        """
        with self.database.transaction():
            now = self.first(f"{SELECT} WHERE id = ?", newcomer.id)
            tried = "SELECT 1 FROM attempt WHERE job = ? AND outcome IS NULL LIMIT 1"
            if (
                now is None
                or now.state is not JobState.QUEUED
                or (now.path, now.stamp) != (newcomer.path, newcomer.stamp)
                or self.database.read_one(tried, newcomer.id) is not None
                or not self.move_to(job, newcomer.path, newcomer.root, newcomer.stamp)
            ):
                return False
            self.database.write(
                "UPDATE job SET original = NULL, hashid = NULL, sidecar_due = 0 "
                "WHERE original = ? AND state = 'queued'",
                newcomer.id,
            )
            self.database.write("DELETE FROM job WHERE id = ?", newcomer.id)
        return True

    def overtaken(self, paths: Sequence[bytes]) -> list[Job]:
        """Return the jobs that wait for a look at these paths, where another was moved to."""
        sql = (
            f"{SELECT} AS one WHERE path IN ({{}}) AND state = 'queued' AND ready = 0 AND EXISTS "
            "(SELECT 1 FROM job AS newer WHERE newer.path = one.path AND newer.placed > one.placed)"
        )
        return [job_of(row) for row in self.of_paths(sql, paths)]

    def forgotten_of_inodes(self, inodes: Sequence[int]) -> list[tuple[bytes, FileStamp]]:
        """Return path and stamp of the files with these inode numbers whose job was dropped."""
        found: list[tuple[bytes, FileStamp]] = []
        if not self.any_forgotten():
            return found
        for start in range(0, len(inodes), _BATCH):
            part = inodes[start : start + _BATCH]
            sql = (
                "SELECT path, size, mtime_ns, ctime_ns, dev, ino FROM forgotten "
                f"WHERE ino IN ({','.join('?' * len(part))})"
            )
            found += [(row[0], FileStamp(*row[1:])) for row in self.database.read(sql, *part)]
        return found

    def move_forgotten(self, old: bytes, path: bytes, stamp: FileStamp) -> None:
        """Let a file whose job was dropped stay so under another path."""
        with self.database.transaction():
            self.database.write("DELETE FROM forgotten WHERE path = ?", old)
            self.database.write(
                "REPLACE INTO forgotten (path, size, mtime_ns, ctime_ns, dev, ino) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                *(path, stamp.size, stamp.mtime_ns, stamp.ctime_ns, stamp.dev, stamp.ino),
            )

    def _next_place(self) -> int:
        """Take a number from those of the ids, which no job will have as its id any more."""
        sql = "UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'job' RETURNING seq"
        return int(self.database.write(sql)[0]["seq"])
