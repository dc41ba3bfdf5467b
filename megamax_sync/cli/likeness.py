"""Which files are known, without reading any, to be others under another name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from megamax_sync.config import Settings
from megamax_sync.identity import Lies, has_moved, lies
from megamax_sync.job import VANISHED, FileStamp, Job, JobState, duplicate_of
from megamax_sync.status import shown
from megamax_sync.store import Store
from megamax_sync.watch.scanner import Found


class Verdict(NamedTuple):
    """Why a file would not be uploaded now; None if it would, perhaps by a job there is."""

    reason: str | None = None
    job: Job | None = None
    #: What could not be found out about a file that would be uploaded.
    doubt: str | None = None


class Likeness:
    """Looks for hard links of known files, for files that were moved, and for known contents."""

    def __init__(self, settings: Settings, store: Store | None) -> None:
        self._dedupe = settings.dedupe
        self._store = store
        #: The first path of each file that would be uploaded.
        self._seen: dict[tuple[int, int], bytes] = {}

    def judge(self, files: Sequence[Found], verdicts: Sequence[Verdict]) -> list[Verdict]:
        """Return better verdicts for files that would be uploaded."""
        jobs = self._jobs_of({one.stamp.ino for one in files})
        return [
            self._closer(one, how, jobs.get(one.stamp.ino, ()))
            for one, how in zip(files, verdicts, strict=True)
        ]

    def _jobs_of(self, inodes: set[int]) -> dict[int, list[Job]]:
        by_inode: dict[int, list[Job]] = {}
        for job in self._store.moving.of_inodes(list(inodes)) if self._store else []:
            by_inode.setdefault(job.stamp.ino, []).append(job)
        return by_inode

    def _closer(self, one: Found, how: Verdict, jobs: Sequence[Job]) -> Verdict:
        """``jobs``: those of the same inode number."""
        if how.job is None:
            for job in jobs:
                if has_moved(job, one.stamp, _is_gone):
                    return _moved(job)
        if not self._dedupe:
            return how
        path, file = one.path, one.stamp[3:]
        first = self._first(one, how, jobs) if jobs or how.job else None
        if first is None or first == path:
            seen = self._seen.setdefault(file, path)
            first = first or seen
        return how if first == path else Verdict(duplicate_of(first), how.job)

    def _first(self, one: Found, how: Verdict, jobs: Sequence[Job]) -> bytes | None:
        """Return the path under which the queue knows the content to be sent."""
        if how.job is not None and self._store is not None:
            known = self._store.twins.original(how.job) or self._store.twins.first_of(how.job)
            if known is not None and known.id != how.job.id:
                return known.path
        for job in jobs:
            stands = job.state not in {JobState.FAILED, JobState.SKIPPED}
            earlier = how.job is None or job.id < how.job.id
            if stands and earlier and _is_linked(job, one.stamp):
                return job.path
        return None


def _is_gone(root: bytes) -> bool:
    return not os.path.isdir(root)


def _is_linked(job: Job, stamp: FileStamp) -> bool:
    return job.stamp.same_version(stamp) and lies(job.path, stamp) is Lies.THE_SAME


def _moved(job: Job) -> Verdict:
    """Say what becomes of a file whose job is going to follow it."""
    moved = f"moved from {shown(job.path)}"
    if job.state is JobState.QUEUED or job.error == VANISHED:
        return Verdict(job=job)
    known = f"done as {job.hashid}" if job.state is JobState.DONE else job.error or job.state
    return Verdict(f"{known} ({moved})", job)
