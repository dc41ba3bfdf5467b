"""What a finished file means to the queue: new, replaced, only touched, or known already."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from megamax_sync.fingerprint import Content
from megamax_sync.job import FileStamp, Job, JobState
from megamax_sync.log import Gathered
from megamax_sync.store import NewJob, Proof, Store
from megamax_sync.store.resting import BETWEEN, Version, newest
from megamax_sync.watch.following import Following
from megamax_sync.watch.need import Need, need
from megamax_sync.watch.rules import Folders
from megamax_sync.watch.scanner import Found

#: Paths asked for in one query.
_QUERY = 500
_BACK = "the file has come back"


class Past(Protocol):
    """What is known of files that have no job."""

    def prepare(self, beat: Callable[[], None], /) -> None:
        """Get ready, before anything is queued. ``beat`` is called meanwhile."""

    def proof(
        self,
        path: bytes,
        root: bytes | None,
        stamp: FileStamp,
        content: Callable[[], str | None],
        /,
    ) -> Proof | None:
        """Return what proves that a file was uploaded. ``content`` reads it, for its fingerprint.

        That is called only where nothing else can tell.
        """

    def proven(self) -> None:
        """A proof was taken."""

    def unsure(self, stamp: FileStamp, /, *, replaced: bool) -> bool:
        """Tell whether a file without a proof may have been uploaded all the same."""


class _Later(Exception):
    """No further file is to be read now."""


@dataclass(slots=True)
class _Compared:
    """What reading has shown: what has to wait for it, what is the same, what is proven."""

    later: list[tuple[Found, Need]] = field(default_factory=list)
    touched: dict[bytes, bool] = field(default_factory=dict)
    proofs: dict[bytes, Proof] = field(default_factory=dict)
    #: So many files have been read.
    read: int = 0


class Intake:
    """Puts finished files into the queue."""

    def __init__(
        self,
        store: Store,
        folders: Folders,
        beat: Callable[[], None],
        past: Past | None = None,
        lost: Callable[[bytes], bool] = lambda root: not os.path.isdir(root),
    ) -> None:
        """``beat`` is called while a file is read, and may raise to end that; ``lost`` tells
        which watched folders are missing.

        Without a ``past`` nothing is known: for files that somebody else is to find finished.
        """
        self._store = store
        self._past = past
        self._folders = folders
        self._beat = beat
        self._following = Following(store, lost, beat)
        #: Paths that files have left since :meth:`stirred` was last asked.
        self._left: list[bytes] = []
        self._mark = (0, 0)

    def fresh(self, seen: Sequence[Version]) -> set[bytes]:
        """Leave out, by path, what the queue has as it is: most of what a scan finds.

        Cheapest for the files of one folder.
        """
        fresh: set[bytes] = set()
        resting = self._store.resting
        seen = sorted(seen)
        for start in range(0, len(seen), _QUERY):
            part = seen[start : start + _QUERY]
            rows = resting.between(part[0][0], part[-1][0], most=2 * len(part) + BETWEEN)
            if rows == part:
                continue
            # None if much of what the queue knows between the two lies in folders of this folder.
            known = resting.each([one[0] for one in part]) if rows is None else newest(rows)
            fresh.update(one[0] for one in part if known.get(one[0]) != one)
        return fresh

    def stirred(self) -> list[bytes] | None:
        """Return the paths whose jobs were queued, skipped, or moved away since the last call.

        None if anything may have happened to them.
        """
        paths, self._mark = self._store.resting.stirred_since(self._mark)
        left, self._left = self._left, []
        return None if paths is None else [*paths, *left]

    def sift(self, found: Sequence[Found]) -> list[Found]:
        """Leave out the files about which nothing has to be done; jobs follow those moved."""
        fresh = self.fresh([one.version for one in found])
        return self.sift_fresh([one for one in found if one.path in fresh])

    def sift_fresh(self, found: Sequence[Found]) -> list[Found]:
        """Do the same with files of which :meth:`fresh` has said that they are."""
        wanted: list[Found] = []
        for start in range(0, len(found), _QUERY):
            part = found[start : start + _QUERY]
            paths = [one.path for one in part]
            known = self._follow(part)
            dropped = self._store.orders.forgotten(paths)
            for one in part:
                then = dropped.get(one.path)
                if then is not None and then.same_version(one.stamp):
                    continue
                if need(known.get(one.path), one.stamp) is not Need.NOTHING:
                    wanted.append(one)
        return wanted

    def _follow(self, files: Sequence[Found]) -> dict[bytes, Job]:
        """Have jobs follow the files that were moved; return the newest job of each path."""
        paths = [one.path for one in files]
        known = self._store.jobs.latest_each(paths)
        left = self._following.follow(files, known)
        self._left += left
        return self._store.jobs.latest_each(paths) if left else known

    def take(
        self,
        files: Sequence[Found],
        *,
        ready: bool = True,
        enough: Callable[[], bool] = lambda: False,
    ) -> list[tuple[Found, Need]]:
        """Queue what has to be; return the files to be looked at again, and why.

        ``ready`` False queues them for a daemon's watch, which has to find them finished first.
        ``enough`` is asked before each further file that has to be read whole: new files must
        not wait until a touched library has been compared.
        """
        # It may have been moved while it was waited for.
        known = self._follow(files) if ready else self._latest(files)
        seen = self._compare(files, known, ready=ready, enough=enough)
        later, touched = seen.later, seen.touched
        postponed = {one.path for one, _ in later}
        said = Gathered()
        with self._store.transaction():
            proofs = self._following.unused(seen.proofs)
            paths = [one.path for one in files if one.path not in postponed]
            known = self._store.jobs.latest_each(paths)
            dropped = self._store.orders.forgotten(paths)
            new: list[tuple[Found, Job | None]] = []
            for one in files:
                then = dropped.get(one.path)
                # A job may have been dropped while its file was waited for.
                if one.path in postponed or (then is not None and then.same_version(one.stamp)):
                    continue
                job = known.get(one.path)
                what = need(job, one.stamp)
                if what is Need.COMPARE and job is not None and touched.get(one.path, False):
                    self._store.jobs.restamp(job, one.stamp)
                elif what in {Need.ADD, Need.COMPARE}:
                    new.append((one, job))
                elif job is not None and what in {Need.RETURN, Need.UPDATE}:
                    self._put_back(
                        one, job, what, ready=ready, proof=proofs.get(one.path), said=said
                    )
                if what is Need.LATER:
                    later.append((one, what))
            self._add(new, proofs, ready=ready, said=said)
            self._following.skip_overtaken(paths)
        # Now that it is so, and while nobody waits for the queue.
        said.say()
        return later

    def _latest(self, files: Sequence[Found]) -> dict[bytes, Job]:
        return self._store.jobs.latest_each([one.path for one in files])

    def _compare(
        self,
        files: Sequence[Found],
        known: Mapping[bytes, Job],
        *,
        ready: bool,
        enough: Callable[[], bool],
    ) -> _Compared:
        """Read the files of which only the content can tell what they are."""
        seen = _Compared()

        def go_ahead() -> None:
            if seen.read and enough():
                raise _Later

        for one in files:
            job = known.get(one.path)
            compare = job is not None and need(job, one.stamp) is Need.COMPARE
            content = Content(one.path, self._beat, go_ahead)
            try:
                proof = self._proof(one, job, content) if ready else None
                if proof is not None:
                    seen.proofs[one.path] = proof
                if compare and job is not None and (proof is None or content.was_read):
                    fingerprint = content()
                    same = fingerprint is not None and fingerprint == job.fingerprint
                    seen.touched[one.path] = same
            except _Later:
                seen.later.append((one, Need.COMPARE))
            seen.read += content.was_read
        return seen

    def _proof(
        self, one: Found, job: Job | None, content: Callable[[], str | None]
    ) -> Proof | None:
        """Return what proves the upload of a file that nobody has tried to send yet."""
        fresh = job is None or (
            job.state is JobState.QUEUED
            and not job.ready
            # Whether a lost upload of it has arrived is found out by the list.
            and not self._store.journal.unknown_of(job)
        )
        asked = fresh or need(job, one.stamp) in {Need.ADD, Need.COMPARE}
        if self._past is None or not asked:
            return None
        return self._past.proof(one.path, one.root, one.stamp, content)

    def _unsure(self, one: Found, *, replaced: bool = False) -> bool:
        return self._past is not None and self._past.unsure(one.stamp, replaced=replaced)

    def _add(
        self,
        new: Sequence[tuple[Found, Job | None]],
        proofs: Mapping[bytes, Proof],
        *,
        ready: bool,
        said: Gathered,
    ) -> None:
        jobs = self._store.jobs.add_each(
            [
                NewJob(
                    one.path,
                    one.stamp,
                    one.root,
                    self._folders.of(one.path, one.root),
                    "found" if before is None else "the file was replaced",
                    lookup=self._unsure(one, replaced=before is not None),
                    proof=proofs.get(one.path),
                )
                for one, before in new
            ],
            ready=ready,
        )
        for job, (one, _) in zip(jobs, new, strict=True):
            proof = proofs.get(one.path)
            if proof is None:
                said.info("file.queued", job=job, path=one.path, size=one.stamp.size)
            else:
                self._say_proven(job, one, proof, said)

    def _say_proven(self, job: int, one: Found, proof: Proof, said: Gathered) -> None:
        assert self._past is not None
        self._past.proven()
        said.info(
            "upload.reconciled", job=job, path=one.path, hashid=proof.hashid, found_in="sidecar"
        )

    def _put_back(
        self,
        one: Found,
        job: Job,
        what: Need,
        *,
        ready: bool,
        proof: Proof | None,
        said: Gathered,
    ) -> None:
        jobs = self._store.jobs
        if ready and job.root is None:
            # Whoever handed it in need not know the settings by which it is sent.
            folder = job.folder or self._folders.of(one.path, one.root)
            if (one.root, folder) != (job.root, job.folder):
                jobs.belong(job, one.root, folder)
        if what is Need.RETURN:
            if ready:
                jobs.requeue(job, one.stamp, _BACK)
            else:
                jobs.move(job.id, job.state, JobState.QUEUED, _BACK, ready=0, error=None)
        elif ready:
            jobs.settle(job, one.stamp)
            if proof is not None:
                jobs.prove(job.id, proof, f"its sidecar names it: {proof.hashid}")
                self._say_proven(job.id, one, proof, said)
                return
            if self._unsure(one):
                jobs.to_look_up([job.id])
        else:
            # It stays as it is: the upload, or the watch, finds out by itself.
            return
        said.info("file.queued", job=job.id, path=one.path, size=one.stamp.size)
