"""Taking a file for uploaded that nobody here has sent: its sidecar, or the list, proves it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from megamax_sync.job import REMOTE_CONVERTED, REMOTE_FAILED, Job, JobState, match_key
from megamax_sync.store.table import SELECT, JobTable


@dataclass(frozen=True, slots=True)
class Proof:
    """What a sidecar says of an upload. Times are Unix time, links JSON in the sidecar's shape."""

    hashid: str
    status: str
    name: str
    size: int
    poster: str | None
    uploaded_at: float | None
    converted_at: float | None
    mirrors: str
    direct: str
    direct_error: str | None
    fingerprint: str | None
    #: Where it stands.
    sidecar: bytes
    #: It has to be written anew: it does not say how the file is, or stands elsewhere.
    outdated: bool
    #: Seconds until its links are asked for again, once it is done.
    look_in: float
    #: Links are known, so that nothing more has to be waited for.
    complete: bool


class Proving(JobTable):
    """The step of a queued job to one that the service has, without sending it."""

    def prove(self, job: int, proof: Proof, reason: str) -> None:
        """Take a queued job for uploaded, as its sidecar says; state by the sidecar's status."""
        now = self.clock.now()
        failed = proof.status == REMOTE_FAILED
        error = f"the service could not convert it ({proof.hashid})" if failed else None
        with self.database.transaction():
            moved = self.move(
                job,
                JobState.QUEUED,
                JobState.FAILED if failed else JobState.PROCESSING,
                reason,
                ready=1,
                lookup=0,
                own_upload=0,
                hashid=proof.hashid,
                remote_status=proof.status,
                remote_name=proof.name,
                remote_size=proof.size,
                poster=proof.poster,
                uploaded_at=proof.uploaded_at,
                # What has been converted before the clock was set right is no younger than now.
                converted_at=None if proof.converted_at is None else min(proof.converted_at, now),
                mirrors=proof.mirrors,
                direct=proof.direct,
                direct_error=proof.direct_error,
                fingerprint=proof.fingerprint,
                sidecar=proof.sidecar,
                sidecar_due=int(proof.outdated),
                error=error,
                check_at=None if failed else now,
                checks=0,
            )
            if not moved:
                return
            self.note_arrival(job, proof.uploaded_at or 0.0)
            # Who was found to be the first of its size may be a copy of this one.
            self.database.write(
                "UPDATE job SET cleared = 0 WHERE size = (SELECT size FROM job WHERE id = ?1) "
                "AND state = 'queued' AND cleared = 1 AND id <> ?1",
                job,
            )
            if proof.status == REMOTE_CONVERTED and proof.complete:
                self.move(
                    job,
                    JobState.PROCESSING,
                    JobState.DONE,
                    "its links are in the sidecar",
                    check_at=now + proof.look_in,
                )
            self.tell_nobody(job)

    def note_arrival(self, job: int, at: float) -> None:
        """Write down whose the job's hashid is, as the attempt would have that sent it.

        ``at`` is Unix time, and long past: this says nothing about how the service is now.
        """
        self.database.write(
            "INSERT INTO attempt (job, path, size, mtime_ns, ino, match_key, fingerprint, folder, "
            "step, outcome, hashid, begun_at, ended_at) SELECT id, path, size, mtime_ns, ino, "
            "match_key, fingerprint, folder, 'sent', 'arrived', hashid, ?, ? FROM job WHERE id = ?",
            at,
            at,
            job,
        )

    def twins(self, job: Job) -> list[Job]:
        """Return the other jobs of this size and name that have not been sent."""
        sql = (
            f"{SELECT} AS one WHERE size = ? AND match_key = ? AND hashid IS NULL AND id <> ? "
            "AND state IN ('queued', 'uploading', 'failed') AND NOT EXISTS "
            "(SELECT 1 FROM job AS newer WHERE newer.path = one.path AND newer.placed > one.placed)"
        )
        return self.all(sql, job.stamp.size, match_key(job.name), job.id)

    def to_look_up(self, jobs: Sequence[int] = (), *, every: bool = False) -> None:
        """Have the account's list asked before these jobs are sent, or every one that is new.

        Not those that have been tried before: what became of that is known, or looked up anyway.
        """
        sql = (
            "UPDATE job SET lookup = 1 WHERE {} AND state = 'queued' AND hashid IS NULL "
            "AND NOT EXISTS (SELECT 1 FROM attempt WHERE attempt.job = job.id)"
        )
        if every:
            self.database.write(sql.format("TRUE"))
        elif jobs:
            self.database.write_each(sql.format("id = ?"), [(job,) for job in jobs])

    def looked_up(self, *jobs: Job) -> None:
        """The account does not have them: they may be sent."""
        self.database.write_each(
            "UPDATE job SET lookup = 0 WHERE id = ?", [(job.id,) for job in jobs]
        )

    def rests_of_lookups(self) -> int:
        """Count the jobs for which the list still has to be asked."""
        sql = "SELECT count(*) FROM job WHERE lookup = 1 AND state IN ('queued', 'uploading')"
        return int(self.database.read(sql)[0][0])
