"""Keeps each sidecar in step with its job."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import replace

import structlog

from megamax_sync import sidecar
from megamax_sync.clock import Clock
from megamax_sync.errors import StoreFull
from megamax_sync.job import Job, JobState
from megamax_sync.sidecar import Placement
from megamax_sync.store import Store

_log = structlog.get_logger()
#: Whoever has just mended it looks whether that helped, and waits half a minute at the most.
_FIRST_PAUSE, _LAST_PAUSE = 2.0, 30.0
#: After so many seconds of writing, others have their turn.
_SLICE = 1.0


class SidecarWriter:
    """Writes the sidecars that are due.

    A failure is said in the job's ``error``, and in the log once; it fails no job, as its video is
    at the service and its links are known. It is tried again at least twice a minute.
    """

    def __init__(
        self,
        store: Store,
        placement: Placement,
        clock: Clock,
        *,
        service: str,
        account: Callable[[], str],
        lost: Callable[[bytes], bool],
        on_error: Callable[[str, BaseException], None],
        on_fine: Callable[[str], None],
    ) -> None:
        """``service`` is the API's base URL, ``account`` gives the login's mark.

        ``lost`` tells which watched folders are missing.
        """
        self._store = store
        self._placement = placement
        self._clock = clock
        self._service = service
        self._account = account
        self._lost = lost
        self._on_error = on_error
        self._on_fine = on_fine
        #: Told of each job whose debt is paid, inside the commit that says so.
        self.on_paid: Callable[[Job], None] = lambda _job: None
        #: By job: when to try again, and the pause that led there.
        self._failed: dict[int, tuple[float, float]] = {}

    def write_due(self, beat: Callable[[], None]) -> float | None:
        """Write what is due, for a second or so; return the seconds until there is more to do.

        None when nothing is left. ``beat`` is called before each: a folder that was renamed makes
        thousands due, and each waits for the disk.
        """
        until: float | None = None
        owing: set[int] = set()
        for job in self._due():
            beat()
            now = self._clock.monotonic()
            if self._failed.get(job.id, (0.0, 0.0))[0] > now:
                owing.add(job.id)
                continue
            until = until or now + _SLICE
            if now >= until:
                return 0.0
            if not self.write(job):
                owing.add(job.id)
        # A job that was dropped, or queued anew, owes none.
        for job_id in self._failed.keys() - owing:
            del self._failed[job_id]
        if not self._failed:
            self._on_fine("sidecars")
            return None
        return max(0.1, min(at for at, _ in self._failed.values()) - self._clock.monotonic())

    def _due(self) -> Iterator[Job]:
        """Yield what is due, read as it is needed."""
        after = 0
        while jobs := self._store.tracking.to_write(after):
            after = jobs[-1].id
            yield from jobs

    def write(self, job: Job) -> bool:
        """Write one job's sidecar; False when it is still owed."""
        uploaded = self._upload_of(job)
        if uploaded is None or not self._store.tracking.writes_sidecar(job):
            # A newer version of the file has a hashid of its own: the sidecar speaks of that.
            self._take_away_old(job)
            self._paid(job, None)
            return True
        if self._is_unwanted(job):
            self._failed.pop(job.id, None)
            self._paid(job, None)
            _log.info("sidecar.left_out", job=job.id, path=job.path, hashid=job.hashid)
            return True
        document = sidecar.render(
            uploaded, service=self._service, account=self._account(), now=self._clock.wall()
        )
        try:
            path = self._placement.write(job, document)
        except OSError as error:
            return self._could_not(job, error)
        self._failed.pop(job.id, None)
        self._take_away_old(job)
        if not self._paid(job, path):
            self._take_back(job, path)
        _log.info("sidecar.written", job=job.id, path=job.path, hashid=job.hashid, sidecar=path)
        return True

    def _upload_of(self, job: Job) -> Job | None:
        """Return what a sidecar says of a job: of a duplicate, its original's upload."""
        if job.state in {JobState.QUEUED, JobState.SKIPPED}:
            original = self._store.twins.original(job)
            if original is None:
                return None
            return replace(
                original,
                path=job.path,
                root=job.root,
                stamp=job.stamp,
                fingerprint=job.fingerprint,
            )
        return job

    def _is_unwanted(self, job: Job) -> bool:
        """Tell whether somebody, who was not us, has taken away a video and its sidecar."""
        return (
            job.sidecar is not None
            and self._are_gone(job, job.path, job.sidecar)
            and not self._store.outbox.was_put_away(job)
        )

    def _are_gone(self, job: Job, *paths: bytes) -> bool:
        """Tell whether nothing lies under these, though their disk is there before and after."""
        return self._root_is_there(job) and all(map(_is_gone, paths)) and self._root_is_there(job)

    def _root_is_there(self, job: Job) -> bool:
        # Both: the one is seen at once, the other knows of a disk that has left an empty folder.
        return job.root is None or (os.path.isdir(job.root) and not self._lost(job.root))

    def _take_away_old(self, job: Job) -> None:
        """Take a sidecar away that no longer is where it belongs, if it is still the job's own.

        A moved file has left it behind, or the settings have another place for it now.
        """
        if job.sidecar not in {None, self._placement.path(job)}:
            self._remove(job, job.moved_from, job.sidecar)
        if job.moved_from is not None:
            # Its folder may have been renamed before the video was: the sidecar went along.
            name = os.path.basename(job.moved_from)
            video = os.path.join(os.path.dirname(job.path), name)
            if video != job.path and self._are_gone(job, video):
                self._remove(job, video, self._placement.of(video, job.root))

    def _take_back(self, job: Job, path: bytes) -> None:
        """Take the sidecar of a file away that was moved while it was written."""
        fresh = self._store.jobs.get(job.id)
        if fresh is not None and self._placement.path(fresh) != path:
            self._remove(job, job.path, path)

    def _remove(self, job: Job, video: bytes | None, path: bytes) -> None:
        """Take a job's sidecar away, unless it is another's by now.

        ``video``: where the file lay for which it was written, if it has been moved since.
        """
        if video is not None and self._store.tracking.shares_sidecar(job, video):
            return
        old = sidecar.read(path)
        ours = (job.hashid, self._service, self._account())
        if old is not None and (old.hashid, old.service, old.account) == ours:
            self._placement.remove(path)

    def _paid(self, job: Job, path: bytes | None) -> bool:
        # It may end the job, and who is told of that may delete the video. Before the conversion, a
        # sidecar that the power made us forget is only written again.
        ends = job.converted_at is not None or job.state is not JobState.PROCESSING
        with self._store.transaction(durable=ends):
            paid = self._store.tracking.sidecar_written(job, path)
            if paid:
                self.on_paid(job)
        return paid

    def _could_not(self, job: Job, error: OSError) -> bool:
        folder = os.path.dirname(self._placement.path(job))
        gone = error.errno in (errno.ENOENT, errno.ENOTDIR)
        first = job.id not in self._failed
        why = f"{self._placement.unwritable(job, error)}; it is tried again by itself"
        if first:
            _log.error("sidecar.failed", job=job.id, path=job.path, hashid=job.hashid, error=why)
        if gone and self._are_gone(job, folder):
            # The video's folder was removed: nobody is left to read a sidecar there.
            self._failed.pop(job.id, None)
            self._paid(job, None)
            return True
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            shown = os.fsdecode(folder)
            self._on_error("sidecars", StoreFull(f"no space left for the sidecars in {shown}"))
        if (job.error or "") != why:
            self._store.tracking.sidecar_unwritable(job, why)
        pause = _FIRST_PAUSE if first else min(self._failed[job.id][1] * 2, _LAST_PAUSE)
        # Whole seconds: thousands are due at a few moments then, and not each at one of its own.
        self._failed[job.id] = (float(int(self._clock.monotonic() + pause)), pause)
        return False


def _is_gone(path: bytes) -> bool:
    """Tell whether nothing lies there; False where nobody can tell."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
