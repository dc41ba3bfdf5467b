"""Take a file for uploaded that the account already has: put there by hand, or before a loss.

Little but size and name tells, so one listed file is only taken where no other file of ours may
be meant: two different videos of one size and name are both sent, as a sidecar that names another
video's upload is worse than a copy too many. Nor is one that is older than the file, or that a
sidecar ties to another content.
"""

from __future__ import annotations

import os
import sys
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from megamax_sync.api.client import MegamaxClient
from megamax_sync.api.models import RemoteFile
from megamax_sync.clock import Clock
from megamax_sync.errors import FileChanged, FileError, FileVanished, ServiceRefusal
from megamax_sync.fingerprint import fingerprint_of
from megamax_sync.job import REMOTE_FAILED, Job
from megamax_sync.store import Store
from megamax_sync.upload.lookup import read_fingerprint
from megamax_sync.upload.reconcile import Listed, Patience, choose, is_older, lateness
from megamax_sync.upload.sending import open_unchanged

_log = structlog.get_logger()

#: A list serves for this long, in seconds, or for so many times as long as it took to get.
_KEPT, _KEPT_TIMES = 60.0, 20.0
#: Up to so many other files of one size and name are read to see whether all are the same.
_COMPARED = 8


@dataclass(frozen=True, slots=True)
class _Kept:
    """A list: when it was asked for, until when it serves, and its files by size.

    ``late``: see :func:`~megamax_sync.upload.reconcile.lateness`.
    """

    asked: float
    until: float
    files: list[Listed]
    late: float


class Listing:
    """The account's lists, by folder, shared by all who look new files up: one call for a burst."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._lists: dict[int | None, _Kept] = {}

    def of_size(
        self,
        client: MegamaxClient,
        folder: int | None,
        size: int,
        *,
        since: float,
        beat: Callable[[], None],
    ) -> tuple[Sequence[Listed], float]:
        """Return the files of one size, from a list that was asked for ``since`` this moment.

        And by how many seconds their dates may lie before the moments by our clock. ``folder``
        None: the list without one. ``since`` is a moment of ``Clock.now()``. Raises what the call
        raises.
        """
        while not self._lock.acquire(timeout=1.0):
            beat()
        try:
            kept, now = self._lists.get(folder), self._clock.now()
            if kept is None or kept.asked < since or now >= kept.until:
                # The old one goes first: both at once would be twice as large.
                self._lists.pop(folder, None)
                files = _ask(client, folder)
                took = self._clock.now() - now
                until = now + took + max(_KEPT, took * _KEPT_TIMES)
                late = self._lateness(client, files)
                kept = self._lists[folder] = _Kept(now, until, files, late)
            first = bisect_left(kept.files, size, key=_size)
            last = bisect_right(kept.files, size, lo=first, key=_size)
            return kept.files[first:last], kept.late
        finally:
            self._lock.release()

    def _lateness(self, client: MegamaxClient, files: Sequence[Listed]) -> float:
        offset = client.server_clock_offset
        # Files have their times by the wall, which may have been set since.
        ahead = None if offset is None else offset + self._clock.now() - self._clock.wall()
        return lateness((one.created_at for one in files if one.created_at), ahead)

    def tidy(self) -> float | None:
        """Let go of what serves no longer; return the seconds until there is more of that."""
        if not self._lock.acquire(blocking=False):
            # Who asks for a list just now comes by here afterwards.
            return None
        try:
            now = self._clock.now()
            self._lists = {key: kept for key, kept in self._lists.items() if now < kept.until}
            return min((kept.until - now for kept in self._lists.values()), default=None)
        finally:
            self._lock.release()


def _ask(client: MegamaxClient, folder: int | None) -> list[Listed]:
    files: list[Listed] = []

    def note(remote: RemoteFile) -> bool:
        if remote.size is not None and remote.status != REMOTE_FAILED:
            files.append(
                Listed(
                    remote.hashid,
                    remote.name,
                    remote.size,
                    sys.intern(remote.status),
                    remote.created_at,
                    remote.folder,
                )
            )
        return False

    client.files(folder=folder, keep=note)
    files.sort(key=_size)
    return files


def _size(listed: Listed) -> int:
    return listed.size


class Adoption:
    """Looks a job's file up before it is sent for the first time."""

    def __init__(self, store: Store, clock: Clock, listing: Listing, *, first: float) -> None:
        """``first`` is that of :class:`~megamax_sync.upload.reconcile.Patience`."""
        self._store = store
        self._clock = clock
        self._listing = listing
        self._patience = Patience(first)

    def tidy(self) -> float | None:
        """Let go of lists that serve no longer; see :meth:`Listing.tidy`."""
        return self._listing.tidy()

    def settle(self, client: MegamaxClient, job: Job, beat: Callable[[], None]) -> float | None:
        """Look the file up, and act on it.

        Returns None when it was found (the job is taken care of), the seconds until the list has to
        be asked again, or 0.0 when it is to be sent. Raises what the call raises, and
        :class:`FileVanished` or :class:`FileChanged` for a file that is not the one queued.
        """
        lost_at = self._store.settings.lost_at
        # An upload that was under way when the queue was lost may not be listed yet.
        now = self._clock.now()
        looks = [] if lost_at is None else self._patience.looks(lost_at, job.stamp.size)
        since = max((look for look in looks if look <= now), default=0.0)
        again = min((look for look in looks if look > now), default=None)
        older: Listed | None = None
        for folder in dict.fromkeys((None, job.folder)):
            while (found := self._find(client, job, folder, since, beat)) is not None:
                remote, late = found
                if is_older(job, remote, late):
                    older = older or remote
                    break
                twins = self._store.jobs.twins(job)
                if twins and not self._are_one(job, twins, beat):
                    return self._leave(job, remote, twins, "several files could be meant")
                if self._take(job, remote, beat):
                    return None
        if again is not None:
            return again - now
        if older is not None:
            return self._leave(job, older, self._store.jobs.twins(job), "it is older than the file")
        self._store.jobs.looked_up(job)
        return 0.0

    def _leave(self, job: Job, remote: Listed, twins: Sequence[Job], reason: str) -> float:
        """Have a file sent, and all others that a listed one could be.

        All of them, now: one alone would look as if it were meant, once its twins have arrived.
        """
        _log.warning(
            "upload.ambiguous",
            job=job.id,
            path=job.path,
            hashid=remote.hashid,
            reason=reason,
            others=[os.fsdecode(one.path) for one in twins[:_COMPARED]],
        )
        self._store.jobs.looked_up(job, *twins)
        return 0.0

    def _find(
        self,
        client: MegamaxClient,
        job: Job,
        folder: int | None,
        since: float,
        beat: Callable[[], None],
    ) -> tuple[Listed, float] | None:
        """Return the best that a list has for a job, and how late its dates may be; or None."""
        try:
            listed, late = self._listing.of_size(
                client, folder, job.stamp.size, since=since, beat=beat
            )
        except ServiceRefusal:
            if folder is None:
                raise
            # A folder that is no more says nothing about the service.
            return None
        remote = choose(job, listed, self._not_its_own(job, listed, beat), late)
        return None if remote is None else (remote, late)

    def _not_its_own(
        self, job: Job, listed: Sequence[Listed], beat: Callable[[], None]
    ) -> set[str]:
        hashids = [one.hashid for one in listed]
        owned = self._store.journal.owned(hashids)
        left = [one for one in hashids if one not in owned]
        return owned | self._store.ties.others(left, lambda: self._content(job, beat))

    @staticmethod
    def _are_one(job: Job, twins: Sequence[Job], beat: Callable[[], None]) -> bool:
        """Tell whether files of one size and name have the same content."""
        if len(twins) > _COMPARED:
            return False
        content = read_fingerprint(job.path, job.stamp, beat)
        return content is not None and all(
            read_fingerprint(one.path, one.stamp, beat) == content for one in twins
        )

    def _take(self, job: Job, remote: Listed, beat: Callable[[], None]) -> bool:
        """Take a listed file as this job's; False if another has it by now."""
        fingerprint = self._content(job, beat)
        created = remote.created_at.timestamp() if remote.created_at else None
        with self._store.transaction():
            if self._store.journal.owned([remote.hashid]):
                return False
            taken = self._store.jobs.arrived(
                job,
                hashid=remote.hashid,
                status=remote.status,
                name=remote.name,
                size=remote.size,
                uploaded_at=created,
                fingerprint=fingerprint,
                stamp=job.stamp,
                reason=f"the account has it already, as {remote.hashid}",
                own=False,
            )
            if taken:
                self._store.jobs.note_arrival(job.id, created or 0.0)
        if taken:
            _log.info(
                "upload.reconciled",
                job=job.id,
                path=job.path,
                hashid=remote.hashid,
                found_in="account",
                adopted=True,
            )
        return True

    @staticmethod
    def _content(job: Job, beat: Callable[[], None]) -> str | None:
        """Read the file, by which it is known again once it is touched; None if it cannot be."""
        try:
            fd = open_unchanged(job)
        except FileError as error:
            if isinstance(error, FileVanished | FileChanged):
                raise
            return None
        try:
            return fingerprint_of(fd, beat)
        except OSError:
            return None
        finally:
            os.close(fd)
