"""The journal of attempts: written before we act, so that a kill leaves no riddle.

An attempt is *begun* before its upload URL is asked for, *sending* before the first byte, *sent*
once the last byte is with the kernel and before the answer is read. It ends as *arrived*, *failed*
or *discarded* (the service has it, but it is not what we wanted: an orphan). One that has no end
and whose sender is gone may have arrived or not: it has to be looked up in the account's list.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from megamax_sync.clock import Clock
from megamax_sync.job import FileStamp, Job, match_key
from megamax_sync.store.database import Database


@dataclass(frozen=True, slots=True)
class Attempt:
    """A row of the journal. Times are Unix time in seconds, ``service_time`` by its own clock."""

    id: int
    job: int | None
    path: bytes
    size: int
    mtime_ns: int
    ino: int
    match_key: str
    #: Of what was sent, where the whole of it was.
    fingerprint: str | None
    folder: int | None
    step: str
    outcome: str | None
    hashid: str | None
    error: str | None
    begun_at: float
    service_time: float | None
    unknown_at: float | None
    lookups: int
    ended_at: float | None

    def sent_version(self, stamp: FileStamp) -> bool:
        """Tell whether what was sent is this version of the file."""
        return (self.size, self.mtime_ns, self.ino) == (stamp.size, stamp.mtime_ns, stamp.ino)


SELECT = f"SELECT {', '.join(Attempt.__dataclass_fields__)} FROM attempt"


class Journal:
    """The table ``attempt``."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._db = database
        self._clock = clock

    def begin(self, job: Job) -> int:
        """Write down that this job is going to be sent; return the attempt's id."""
        return self._db.insert(
            "INSERT INTO attempt (job, path, size, mtime_ns, ino, match_key, folder, step, "
            "begun_at) VALUES (?, ?, ?, ?, ?, ?, ?, 'begun', ?)",
            job.id,
            job.path,
            job.stamp.size,
            job.stamp.mtime_ns,
            job.stamp.ino,
            match_key(os.path.basename(job.path)),
            job.folder,
            self._clock.now(),
        )

    def sending(self, attempt: int, service_time: float) -> None:
        """The URL is there, and the first byte is next.

        On the disk before it goes, and the claim with it.
        """
        sql = "UPDATE attempt SET step = 'sending', service_time = ? WHERE id = ?"
        self._db.write(sql, service_time, attempt)

    def sent(self, attempt: int) -> None:
        """The last byte is with the kernel; the answer is not read yet.

        It does not wait for the disk: after a power cut, "sending" is looked up as "sent" is.
        """
        with self._db.transaction(durable=False):
            self._db.write("UPDATE attempt SET step = 'sent' WHERE id = ?", attempt)

    def arrived(self, attempt: int, hashid: str) -> None:
        """The service has it, under this hashid."""
        self._end(attempt, "arrived", hashid, None)

    def failed(self, attempt: int, error: str) -> None:
        """It certainly did not arrive."""
        self._end(attempt, "failed", None, error)

    def discarded(self, attempt: int, hashid: str | None, error: str) -> None:
        """The service has something, but not the file as it is now: an orphan to delete by hand."""
        self._end(attempt, "discarded", hashid, error)

    def unknown(self, attempt: int, error: str, fingerprint: str | None) -> None:
        """The body went out, and nothing believable came back."""
        sql = "UPDATE attempt SET unknown_at = ?, error = ?, fingerprint = ? WHERE id = ?"
        self._db.write(sql, self._clock.now(), error, fingerprint, attempt)

    def abandon(self, attempt: int, error: str) -> None:
        """Its sender failed in a way nobody foresaw; what is not known to have ended is open."""
        now = self._clock.now()
        with self._db.transaction():
            self._db.write(
                "UPDATE attempt SET outcome = 'failed', error = ?, ended_at = ? "
                "WHERE id = ? AND outcome IS NULL AND step = 'begun'",
                error,
                now,
                attempt,
            )
            self._db.write(
                "UPDATE attempt SET unknown_at = ?, error = ? "
                "WHERE id = ? AND outcome IS NULL AND unknown_at IS NULL",
                now,
                error,
                attempt,
            )

    def not_listed(self, attempt: int) -> None:
        """The account's list was asked, and does not show it (yet)."""
        self._db.write("UPDATE attempt SET lookups = lookups + 1 WHERE id = ?", attempt)

    def unknown_of(self, job: Job) -> list[Attempt]:
        """Return this job's attempts without an outcome, oldest first."""
        sql = f"{SELECT} WHERE job = ? AND outcome IS NULL ORDER BY id"
        return [Attempt(*row) for row in self._db.read(sql, job.id)]

    def rivals(self, attempt: Attempt) -> int:
        """Count the other attempts that may have made a file of this size.

        Those without an outcome, and those of other jobs that the list did not show for as long as
        it was asked: a service may list later still.
        """
        unknown = "SELECT 1 FROM attempt WHERE size = ? AND id != ? AND outcome IS NULL"
        late = (
            "SELECT 1 FROM attempt "
            "WHERE size = ? AND job IS NOT ? AND outcome = 'failed' AND lookups > 0"
        )
        sql = f"SELECT count(*) FROM ({unknown} UNION ALL {late})"
        values = attempt.size, attempt.id, attempt.size, attempt.job
        return int(self._db.read(sql, *values)[0][0])

    def arrived_as(self, hashids: Sequence[str]) -> dict[str, Attempt]:
        """Return the attempts that arrived, as far as they are behind these hashids."""
        marks = ",".join("?" * len(hashids))
        sql = f"{SELECT} WHERE outcome = 'arrived' AND hashid IN ({marks})"
        return {row["hashid"]: Attempt(*row) for row in self._db.read(sql, *hashids)}

    def another_arrived_since(self, moment: float) -> bool:
        """Tell whether any upload has succeeded since ``moment`` (Unix time)."""
        sql = "SELECT 1 FROM attempt WHERE outcome = 'arrived' AND ended_at > ? LIMIT 1"
        return self._db.read_one(sql, moment) is not None

    def arrived_at(self, hashid: str) -> float | None:
        """Return when an upload of ours arrived (Unix time); None for another origin."""
        sql = "SELECT max(ended_at) FROM attempt WHERE hashid = ? AND outcome = 'arrived'"
        row = self._db.read_one(sql, hashid)
        return row[0] if row else None

    def rescue(self) -> None:
        """At start: nobody is sending. What had not begun to be sent failed; the rest is unknown.

        Call it with the state folder's lock held.
        """
        now = self._clock.now()
        with self._db.transaction():
            self._db.write(
                "UPDATE attempt SET outcome = 'failed', ended_at = ?, "
                "error = 'the program ended before anything was sent' "
                "WHERE outcome IS NULL AND step = 'begun'",
                now,
            )
            self._db.write(
                "UPDATE attempt SET unknown_at = ?, error = 'the program ended meanwhile' "
                "WHERE outcome IS NULL AND (unknown_at IS NULL OR unknown_at > ?)",
                now,
                now,
            )

    def owned(self, hashids: Iterable[str]) -> set[str]:
        """Return those of these hashids that a job or an earlier attempt already owns."""
        wanted = list(hashids)
        taken: set[str] = set()
        for start in range(0, len(wanted), 500):
            part = wanted[start : start + 500]
            marks = ",".join("?" * len(part))
            rows = self._db.read(
                f"SELECT hashid FROM job WHERE hashid IN ({marks}) "
                f"UNION SELECT hashid FROM attempt WHERE hashid IN ({marks})",
                *part,
                *part,
            )
            taken.update(row["hashid"] for row in rows)
        return taken

    def orphans(self) -> list[Attempt]:
        """Return the attempts that left a file on the service which no job wants."""
        sql = f"{SELECT} WHERE outcome = 'discarded' AND hashid IS NOT NULL ORDER BY id"
        return [Attempt(*row) for row in self._db.read(sql)]

    def _end(self, attempt: int, outcome: str, hashid: str | None, error: str | None) -> None:
        sql = "UPDATE attempt SET outcome = ?, hashid = ?, error = ?, ended_at = ? WHERE id = ?"
        self._db.write(sql, outcome, hashid, error, self._clock.now(), attempt)
