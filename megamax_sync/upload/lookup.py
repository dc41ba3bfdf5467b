"""Settle attempts whose outcome is unknown, by asking for the account's list."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Container, Iterator

import structlog

from megamax_sync.api.client import MegamaxClient
from megamax_sync.api.models import RemoteFile
from megamax_sync.clock import Clock
from megamax_sync.errors import ServiceRefusal
from megamax_sync.fingerprint import fingerprint_of, regular_file
from megamax_sync.job import FileStamp, Job
from megamax_sync.store import Attempt, Store
from megamax_sync.upload.reconcile import Habits, Patience, bears_name, find

_log = structlog.get_logger()

#: From so many of the listed files is learnt what the service does to names and dates.
_LATEST = 50


class _Seen:
    """What matters of a list, which may have a hundred thousand files."""

    def __init__(self, sizes: Container[int | None]) -> None:
        """``sizes`` are those that are looked for."""
        self._sizes = sizes
        self._newest: list[RemoteFile] = []
        #: The files of these sizes.
        self.fitting: list[RemoteFile] = []

    def look(self, remote: RemoteFile) -> bool:
        """Look at a file of the list; False, as all that matters is kept here."""
        if remote.size in self._sizes:
            self.fitting.append(remote)
        self._newest.append(remote)
        if len(self._newest) >= 2 * _LATEST:
            self._newest = self.latest
        return False

    @property
    def latest(self) -> list[RemoteFile]:
        """The latest ones, which tell what the service does today."""
        return sorted(self._newest, key=_made, reverse=True)[:_LATEST]


class Lookup:
    """Finds out what became of a job's unknown attempts."""

    def __init__(self, store: Store, clock: Clock, *, first: float) -> None:
        """``first``: seconds between the first two look-ups."""
        self._store = store
        self._clock = clock
        self._patience = Patience(first)
        #: Seconds until the first look-up after an answer was lost.
        self.first = min(first, 1.0)

    def settle(
        self,
        client: MegamaxClient,
        job: Job,
        unknown: list[Attempt],
        beat: Callable[[], None],
    ) -> float | None:
        """Ask the list once, and act on it.

        Returns None when the upload was found (the job is taken care of), the seconds until the
        list has to be asked again, or 0.0 when it certainly did not arrive. Raises what the call
        raises.
        """
        for seen in self._lists(client, job, {attempt.size for attempt in unknown}):
            beat()
            for attempt in unknown:
                remote = self._find(job, attempt, seen, beat)
                if remote is not None and self._take(job, attempt, remote, beat):
                    return None
        return self._not_listed(job)

    @staticmethod
    def _lists(client: MegamaxClient, job: Job, sizes: Container[int | None]) -> Iterator[_Seen]:
        """Ask for the job's folder, and only if that does not help for the whole account.

        A folder that is no more says nothing about the service, and it, or a service that does
        not heed the form's field, may have lost the file to the account's top.
        """
        if job.folder is not None:
            with contextlib.suppress(ServiceRefusal):
                seen = _Seen(sizes)
                client.files(folder=job.folder, keep=seen.look)
                yield seen
        seen = _Seen(sizes)
        client.files(keep=seen.look)
        yield seen

    def _find(
        self, job: Job, attempt: Attempt, seen: _Seen, beat: Callable[[], None]
    ) -> RemoteFile | None:
        sizes = [remote.hashid for remote in seen.fitting if remote.size == attempt.size]
        latest = [remote.hashid for remote in seen.latest]
        # At one moment: who has arrived between two looks would be neither owned nor a rival.
        with self._store.transaction():
            owned = self._store.journal.owned(sizes)
            rivals = self._store.journal.rivals(attempt)
            arrived = self._store.journal.arrived_as(latest)
        # After a loss: what a sidecar ties to another content was not sent by this attempt.
        owned |= self._store.ties.others(
            [one for one in sizes if one not in owned],
            lambda: attempt.fingerprint or read_fingerprint(job.path, job.stamp, beat),
        )
        habits = Habits.of([*seen.latest, *seen.fitting], arrived)
        return find(
            attempt,
            seen.fitting,
            owned=owned,
            rivals=rivals,
            habits=habits,
        )

    def _not_listed(self, job: Job) -> float:
        wait = 0.0
        for attempt in self._store.journal.unknown_of(job):
            self._store.journal.not_listed(attempt.id)
        for attempt in self._store.journal.unknown_of(job):
            if self._patience.exhausted(attempt, self._clock.now()):
                reason = f"asked {attempt.lookups} times, the account does not list it"
                self._store.journal.failed(attempt.id, reason)
            else:
                wait = max(wait, self._patience.next_lookup(attempt))
        return wait

    def _take(
        self,
        job: Job,
        attempt: Attempt,
        remote: RemoteFile,
        beat: Callable[[], None],
    ) -> bool:
        """Take a listed file as this attempt's; False if the file has changed since it was sent."""
        if not _is_what_was_sent(job, attempt, beat):
            error = "the file changed after it was sent"
            self._store.journal.discarded(attempt.id, remote.hashid, error)
            _log.warning(
                "upload.discarded", job=job.id, path=job.path, hashid=remote.hashid, error=error
            )
            return False
        # One that was sent by a process that is dead has none yet.
        fingerprint = attempt.fingerprint or read_fingerprint(job.path, job.stamp, beat)
        created = remote.created_at.timestamp() if remote.created_at else None
        with self._store.transaction():
            if self._store.journal.owned([remote.hashid]):
                # Taken by another while we looked at the file.
                return False
            self._store.journal.arrived(attempt.id, remote.hashid)
            taken = self._store.jobs.arrived(
                job,
                hashid=remote.hashid,
                status=remote.status,
                name=remote.name,
                size=remote.size,
                uploaded_at=created,
                fingerprint=fingerprint,
                stamp=job.stamp,
                reason=f"found in the account as {remote.hashid}",
                own=bears_name(attempt, remote),
            )
            if not taken:
                dropped = "the job was dropped while it was looked for"
                self._store.journal.discarded(attempt.id, remote.hashid, dropped)
        if taken:
            _log.info("upload.reconciled", job=job.id, path=job.path, hashid=remote.hashid)
        return True


def _made(remote: RemoteFile) -> float:
    return remote.created_at.timestamp() if remote.created_at else 0.0


def _is_what_was_sent(job: Job, attempt: Attempt, beat: Callable[[], None]) -> bool:
    """Tell whether the content that was sent lies under the path now, or nothing does.

    Times and inodes may be others since: the watch has taken a touched file anew, or its file
    system numbers them anew at each mount.
    """
    try:
        status = os.lstat(job.path)
    except OSError:
        return attempt.sent_version(job.stamp)
    now = FileStamp.of(status)
    if not stat.S_ISREG(status.st_mode):
        return attempt.sent_version(job.stamp)
    if attempt.sent_version(now):
        return True
    if now.size != attempt.size:
        return False
    # Nobody has verified the file when the answer was lost; only the content can tell.
    if attempt.fingerprint is not None:
        return read_fingerprint(job.path, now, beat) == attempt.fingerprint
    return now.mtime_ns == attempt.mtime_ns


def read_fingerprint(path: bytes, stamp: FileStamp, beat: Callable[[], None]) -> str | None:
    """Read a file, if it is still this version of it."""
    try:
        with regular_file(path) as fd:
            if not stamp.same_version(FileStamp.of(os.fstat(fd))):
                return None
            return fingerprint_of(fd, beat)
    except OSError:
        return None
