"""Has jobs follow their files: what was renamed or moved is not uploaded again."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import structlog

from megamax_sync.identity import has_moved
from megamax_sync.job import VANISHED, FileStamp, Job, JobState
from megamax_sync.store import Proof, Store
from megamax_sync.watch.scanner import Found

_log = structlog.get_logger()

#: Inode, size and mtime_ns: what stays with a file that is moved on its file system.
_Key = tuple[int, int, int]


class Following:
    """Looks where files that are new under their path were before."""

    def __init__(
        self, store: Store, lost: Callable[[bytes], bool], beat: Callable[[], None]
    ) -> None:
        """``lost`` tells which watched folders are missing; ``beat`` may raise to end it all."""
        self._store = store
        self._lost = lost
        self._beat = beat

    def follow(self, files: Sequence[Found], known: Mapping[bytes, Job]) -> list[bytes]:
        """Have jobs, and notes of dropped ones, follow their files; return the paths they left.

        ``known`` are the newest jobs of the files' paths. Nothing is read but what names say.
        """
        strange = [one for one in files if not _is_of(known.get(one.path), one.stamp)]
        if not strange:
            return []
        inodes = list({one.stamp.ino for one in strange})
        moves = self._moves(strange, self._store.moving.of_inodes(inodes))
        left: list[bytes] = []
        # In one commit: of two that have changed their places, nobody sees the one without
        # the other.
        with self._store.transaction() if moves else contextlib.nullcontext():
            for one, job in moves:
                if self._store.moving.move_to(job, one.path, one.root, one.stamp):
                    left.append(job.path)
                    _log.info("file.moved", job=job.id, path=one.path, old_path=job.path)
        taken = {one.path for one, _ in moves}
        self._follow_forgotten([one for one in strange if one.path not in taken], inodes)
        return left

    def skip_overtaken(self, paths: Sequence[bytes]) -> None:
        """See to jobs whose file is gone, as another one was moved to its place."""
        for job in self._store.moving.overtaken(paths):
            if self._store.jobs.skip(job, VANISHED):
                _log.info("file.skipped", job=job.id, path=job.path, reason=VANISHED)
            else:
                # An earlier attempt may have arrived: the upload looks for that first.
                self._store.jobs.settle(job, job.stamp)

    def unused(self, proofs: Mapping[bytes, Proof]) -> dict[bytes, Proof]:
        """Leave out the proofs of uploads that a job has: its file was copied or moved.

        Which of the two it was, the contents tell.
        """
        used = self._store.journal.owned(proof.hashid for proof in proofs.values())
        unused: dict[bytes, Proof] = {}
        for path, proof in proofs.items():
            if proof.hashid not in used:
                used.add(proof.hashid)
                unused[path] = proof
        return unused

    def _moves(self, strange: Sequence[Found], jobs: Sequence[Job]) -> list[tuple[Found, Job]]:
        by_key: dict[_Key, list[Job]] = defaultdict(list)
        for job in jobs:
            by_key[_key(job.stamp)].append(job)
        moves: list[tuple[Found, Job]] = []
        for one in strange:
            candidates = by_key.get(_key(one.stamp))
            if not candidates:
                continue
            self._beat()
            for job in sorted(candidates, key=lambda job: _rank(job, one)):
                if has_moved(job, one.stamp, self._lost):
                    moves.append((one, job))
                    candidates.remove(job)
                    break
        return moves

    def _follow_forgotten(self, files: Sequence[Found], inodes: Sequence[int]) -> None:
        dropped = {_key(stamp): (path, stamp) for path, stamp in self._forgotten(inodes)}
        for one in files if dropped else []:
            path, stamp = dropped.get(_key(one.stamp), (one.path, one.stamp))
            # Nobody knows which watched folder it lay in: its device tells that it is there.
            if path != one.path and stamp.dev == one.stamp.dev and not _still_there(path, stamp):
                self._store.moving.move_forgotten(path, one.path, one.stamp)

    def _forgotten(self, inodes: Sequence[int]) -> list[tuple[bytes, FileStamp]]:
        return self._store.moving.forgotten_of_inodes(inodes)


def _is_of(job: Job | None, stamp: FileStamp) -> bool:
    return job is not None and job.stamp.same_version(stamp)


def _key(stamp: FileStamp) -> _Key:
    return stamp.ino, stamp.size, stamp.mtime_ns


def _rank(job: Job, one: Found) -> tuple[bool, bool, int]:
    """Of several hard links that were moved: the one of that name, and the one that was sent."""
    renamed = job.name != os.path.basename(one.path)
    return renamed, job.state is JobState.SKIPPED, -job.id


def _still_there(path: bytes, stamp: FileStamp) -> bool:
    try:
        return FileStamp.of(os.lstat(path)).same_version(stamp)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
