"""Making jobs, one or thousands in one commit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from megamax_sync.job import FileStamp, JobState, match_key
from megamax_sync.store.proving import Proof, Proving
from megamax_sync.store.table import OF_SIZE


@dataclass(frozen=True, slots=True)
class NewJob:
    """What a job is made of; see :class:`~megamax_sync.job.Job` for the fields."""

    path: bytes
    stamp: FileStamp
    root: bytes | None
    folder: int | None
    #: Why it is made, for its history.
    reason: str
    #: The account's list is to be asked before it is sent.
    lookup: bool = False
    #: What proves that it has been uploaded.
    proof: Proof | None = None


class Making(Proving):
    """A job's first step."""

    def add(
        self,
        path: bytes,
        stamp: FileStamp,
        *,
        root: bytes | None,
        folder: int | None,
        ready: bool,
        reason: str,
    ) -> int:
        """Queue a new version of a file; return the job's id."""
        return self.add_each([NewJob(path, stamp, root, folder, reason)], ready=ready)[0]

    def add_each(self, new: Sequence[NewJob], *, ready: bool) -> list[int]:
        """Queue new versions of files; return the jobs' ids, in the same order."""
        now, at = self.clock.now(), self.clock.wall()
        with self.database.transaction():
            # Ids of our own, as a statement for many rows returns none. Nobody else takes any
            # before the commit, and those of dropped jobs are never used again.
            last = self.database.read(
                "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'job'"
            )[0][0]
            ids = list(range(last + 1, last + 1 + len(new)))
            self.database.write_each(
                "DELETE FROM forgotten WHERE path = ?", [(one.path,) for one in new]
            )
            self.database.write_each(
                "INSERT INTO job (id, placed, path, root, state, ready, size, mtime_ns, ctime_ns, "
                "dev, ino, match_key, folder, lookup, created_at, updated_at, cleared) "
                "VALUES (?, ?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? "
                f"AND NOT {OF_SIZE})",
                [
                    (
                        job,
                        job,
                        one.path,
                        one.root,
                        int(ready),
                        one.stamp.size,
                        one.stamp.mtime_ns,
                        one.stamp.ctime_ns,
                        one.stamp.dev,
                        one.stamp.ino,
                        match_key(os.path.basename(one.path)),
                        one.folder,
                        int(one.lookup),
                        now,
                        now,
                        int(ready),
                        one.stamp.size,
                        job,
                    )
                    for job, one in zip(ids, new, strict=True)
                ],
            )
            self.database.write_each(
                "INSERT INTO history (job, at, state, reason) VALUES (?, ?, ?, ?)",
                [
                    (job, at, JobState.QUEUED.value, one.reason)
                    for job, one in zip(ids, new, strict=True)
                ],
            )
            for job, one in zip(ids, new, strict=True):
                if one.proof is not None:
                    self.prove(job, one.proof, f"its sidecar names it: {one.proof.hashid}")
        return ids
