"""Sending jobs: from one that waits for its file to one that the service has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from megamax_sync.job import FileStamp, Job, JobState
from megamax_sync.store.places import in_places_or_awaited
from megamax_sync.store.settling import Settling
from megamax_sync.store.table import NEWEST_FIRST, SELECT, job_of

#: How long a claim is believed without a sign of life, in seconds.
LEASE_SECONDS = 300.0

#: A queue that was written so many seconds from now was written by a clock that was wrong.
_CLOCK_SLACK = 60.0
#: Nothing is put off by more, in seconds: the longest Retry-After; a renewal of direct links.
LONGEST_RETRY, LONGEST_CHECK = 86400.0, 90 * 86400.0

# Which index serves is said where SQLite, knowing no numbers, would read and sort all queued jobs.

#: Two uploads of one name and size must never be open at once, or lost at once: a file that the
#: account then lists could not be told to belong to the one or to the other. A job with a lost
#: upload of its own may always be claimed, as it is looked up and not sent.
_UNAMBIGUOUS = """(
    EXISTS (SELECT 1 FROM attempt WHERE attempt.job = job.id AND outcome IS NULL)
    OR NOT EXISTS (
        SELECT 1 FROM attempt WHERE outcome IS NULL AND attempt.size = job.size
            AND attempt.match_key = job.match_key))"""


class Jobs(Settling):
    """The way of a job to the service, and back into the queue."""

    # -- reading -----------------------------------------------------------------------------

    def get(self, job: int) -> Job | None:
        """Return the job of this id."""
        return self.first(f"{SELECT} WHERE id = ?", job)

    def latest(self, path: bytes) -> Job | None:
        """Return the newest job of this path."""
        return self.first(f"{SELECT} WHERE path = ? ORDER BY {NEWEST_FIRST} LIMIT 1", path)

    def latest_each(self, paths: Sequence[bytes]) -> dict[bytes, Job]:
        """Return the newest job of each of these paths."""
        rows = self.of_paths(f"{SELECT} WHERE path IN ({{}}) ORDER BY placed, id", paths)
        return {row["path"]: job_of(row) for row in rows}

    # -- sending -----------------------------------------------------------------------------

    def claim(
        self,
        owner: str,
        under: Sequence[bytes] | None = None,
        *,
        cleared: bool = False,
        lookups: bool = True,
    ) -> Job | None:
        """Take the next due job for sending; None when nothing is due.

        First come those that have not failed, then those whose last failure is the longest ago.
        ``under`` limits it to paths inside these folders, or exactly these, and what such a job
        waits for. A job whose name and size equal those of another's open or unknown attempt has
        to wait for that one. ``cleared`` takes only what is known to be no duplicate, ``lookups``
        False leaves those alone for which the account's list has to be asked first.
        """
        where, values = _wanted(under, cleared, lookups)
        # Named, as SQLite would rather go through all that are queued.
        index = f"INDEXED BY {'job_to_send' if cleared else 'job_to_claim'}"
        now = self.clock.now()
        with self.database.transaction():
            rows = self.database.write(
                f"UPDATE job SET state = 'uploading', owner = ?, lease_until = ?, updated_at = ?, "
                f"cleared = 1, original = NULL, hashid = NULL, sidecar_due = 0 "
                f"WHERE id = (SELECT id FROM job {index} WHERE state = 'queued' AND ready = 1 "
                f"AND next_attempt_at <= ? AND {_UNAMBIGUOUS}{where} "
                f"ORDER BY failed_at, id LIMIT 1) RETURNING id",
                owner,
                now + LEASE_SECONDS,
                now,
                now,
                *values,
            )
            if not rows:
                return None
            self.note(rows[0]["id"], JobState.UPLOADING, "claimed")
            return self.get(rows[0]["id"])

    def next_claim(
        self,
        under: Sequence[bytes] | None = None,
        *,
        cleared: bool = False,
        lookups: bool = True,
    ) -> float | None:
        """Return when the next job can be claimed, as Unix time; past when one can be now.

        Jobs that wait for another's attempt are left out: its end is a change, which wakes.
        """
        where, values = _wanted(under, cleared, lookups)
        row = self.database.read_one(
            f"SELECT next_attempt_at FROM job INDEXED BY job_due "
            f"WHERE state = 'queued' AND ready = 1 "
            f"AND {_UNAMBIGUOUS}{where} ORDER BY next_attempt_at LIMIT 1",
            *values,
        )
        return row[0] if row else None

    def renew(self, job: Job, owner: str) -> bool:
        """Prolong the lease; False when the job is no longer ours (dropped, or rescued)."""
        sql = "UPDATE job SET lease_until = ? WHERE id = ? AND owner = ? RETURNING id"
        return bool(self.database.write(sql, self.clock.now() + LEASE_SECONDS, job.id, owner))

    def holds(self, job: Job, owner: str) -> bool:
        """Tell whether ``owner`` still has the job."""
        sql = "SELECT 1 FROM job WHERE id = ? AND owner = ?"
        return self.database.read_one(sql, job.id, owner) is not None

    def release(
        self,
        job: Job,
        reason: str,
        *,
        ready: bool = True,
        not_before: float = 0.0,
        charge: bool = False,
        suspect: bool = False,
        failed: bool = False,
        error: str | None = None,
    ) -> bool:
        """Put a job that was being sent back into the queue.

        ``failed`` puts it behind the others, ``charge`` counts the attempt as the file's, and
        ``suspect`` notes that its answer may be. False when the job was dropped meanwhile.
        """
        now = self.clock.now()
        return self.move(
            job.id,
            JobState.UPLOADING,
            JobState.QUEUED,
            reason,
            ready=int(ready),
            next_attempt_at=not_before,
            failed_at=now if failed else 0.0,
            attempts=job.attempts + int(charge),
            suspect_at=now if suspect else job.suspect_at,
            error=error,
        )

    def arrived(
        self,
        job: Job,
        *,
        hashid: str,
        status: str,
        name: str,
        size: int | None,
        uploaded_at: float | None,
        fingerprint: str | None,
        stamp: FileStamp,
        reason: str,
        own: bool = True,
    ) -> bool:
        """The service has it. The tracker takes over at once, beginning with the sidecar.

        ``own`` False: it was found there, and nothing tells that it is this content.
        """
        return self.move(
            job.id,
            job.state,
            JobState.PROCESSING,
            reason,
            hashid=hashid,
            remote_status=status,
            remote_name=name,
            remote_size=size,
            uploaded_at=uploaded_at,
            fingerprint=fingerprint,
            mtime_ns=stamp.mtime_ns,
            ctime_ns=stamp.ctime_ns,
            dev=stamp.dev,
            ino=stamp.ino,
            error=None,
            lookup=0,
            own_upload=int(own),
            sidecar_due=1,
            check_at=self.clock.now(),
            checks=0,
        )

    def fail(self, job: Job, error: str, **changes: Any) -> bool:
        """A person is needed. ``error`` says why; ``changes`` are further columns."""
        return self.move(
            job.id, job.state, JobState.FAILED, error, error=error, check_at=None, **changes
        )

    def skip(self, job: Job, error: str) -> bool:
        """No upload is needed. ``error`` says why.

        False while it is unknown whether an earlier attempt has arrived: that comes first.
        """
        with self.database.transaction():
            sql = "SELECT 1 FROM attempt WHERE job = ? AND outcome IS NULL"
            if self.database.read_one(sql, job.id) is not None:
                return False
            return self.move(job.id, job.state, JobState.SKIPPED, error, error=error)

    def rescue(self) -> list[Job]:
        """At start, with the folder's lock held: put back what dead instances were sending.

        Times out of reach are mended: they were written by a clock that was wrong.
        """
        now = self.clock.now()
        with self.database.transaction():
            stale = self.all(f"{SELECT} WHERE state = 'uploading'")
            for job in stale:
                self.release(job, "the program ended while it was being sent")
            self._undo_clock(now)
            # Each condition is one that an index serves: the others of a million jobs are not read.
            for ready in (0, 1):
                sql = (
                    "UPDATE job INDEXED BY job_due SET next_attempt_at = ? "
                    f"WHERE state = 'queued' AND ready = {ready} AND next_attempt_at > ?"
                )
                self.database.write(sql, now, now + LONGEST_RETRY)
            for state in (JobState.PROCESSING, JobState.DONE):
                sql = (
                    "UPDATE job SET check_at = ? "
                    "WHERE state = ? AND check_at IS NOT NULL AND check_at > ?"
                )
                self.database.write(sql, now, state.value, now + LONGEST_CHECK)
        return stale

    def _undo_clock(self, now: float) -> None:
        """Take back by how much the clock was ahead, if it was, when the queue was written last.

        What is due stays as far away as it was; what has happened did so by now at the latest.
        """
        last = self.database.read("SELECT max(updated_at) FROM job")[0][0]
        ahead = (last or 0.0) - now
        if ahead <= _CLOCK_SLACK:
            return
        for column in ("next_attempt_at", "check_at"):
            sql = f"UPDATE job SET {column} = max(?, {column} - ?) WHERE {column} > ?"
            self.database.write(sql, now, ahead, now)
        for column in ("suspect_at", "failed_at", "converted_at", "created_at", "updated_at"):
            self.database.write(f"UPDATE job SET {column} = ? WHERE {column} > ?", now, now)
        for column in ("begun_at", "ended_at"):
            self.database.write(f"UPDATE attempt SET {column} = ? WHERE {column} > ?", now, now)


def _wanted(
    under: Sequence[bytes] | None, cleared: bool, lookups: bool
) -> tuple[str, list[bytes | int]]:
    where, values = in_places_or_awaited(under)
    where += " AND cleared = 1" if cleared else ""
    return where + ("" if lookups else " AND lookup = 0"), values
