"""Making jobs, one or thousands in one commit."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from megamax_sync.job import FileStamp, JobState, match_key
from megamax_sync.store.proving import Proof, Proving
from megamax_sync.store.table import OF_SIZE

_JOB = (
    "job (id, placed, path, root, state, ready, size, mtime_ns, ctime_ns, dev, ino, match_key, "
    "folder, lookup, created_at, updated_at, cleared)"
)


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
            self._recall([one.path for one in new])
            known = self._known_sizes({one.stamp.size for one in new})
            rows = []
            for job, one in zip(ids, new, strict=True):
                stamp = one.stamp
                cleared = ready and stamp.size not in known
                known.add(stamp.size)
                rows.append(
                    (
                        job,
                        job,
                        one.path,
                        one.root,
                        JobState.QUEUED.value,
                        ready,
                        stamp.size,
                        stamp.mtime_ns,
                        stamp.ctime_ns,
                        stamp.dev,
                        stamp.ino,
                        match_key(os.path.basename(one.path)),
                        one.folder,
                        one.lookup,
                        now,
                        now,
                        cleared,
                    )
                )
            self.insert_each(_JOB, rows)
            reasons = [
                (job, at, JobState.QUEUED.value, one.reason)
                for job, one in zip(ids, new, strict=True)
            ]
            self.insert_each("history (job, at, state, reason)", reasons)
            for job, one in zip(ids, new, strict=True):
                if one.proof is not None:
                    self.prove(job, one.proof, f"its sidecar names it: {one.proof.hashid}")
        return ids

    def _recall(self, paths: Sequence[bytes]) -> None:
        """Forget that jobs of these paths were dropped."""
        if self.any_forgotten(paths):
            self.database.write_each(
                "DELETE FROM forgotten WHERE path = ?", [(path,) for path in paths]
            )

    def _known_sizes(self, sizes: Collection[int]) -> set[int]:
        """Return those of these sizes of which there is a job that may have the same content."""
        sql = f"SELECT value FROM json_each(?) WHERE EXISTS (SELECT 1 {OF_SIZE.format('value')})"
        return {row["value"] for row in self.database.read(sql, json.dumps(list(sizes)))}
