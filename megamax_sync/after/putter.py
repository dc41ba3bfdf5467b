"""The loop that deletes or moves videos that are done, if they are still what was uploaded."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable
from dataclasses import replace

import structlog

from megamax_sync import sidecar
from megamax_sync.after import moving
from megamax_sync.after.moving import Changed, Edited, Gone
from megamax_sync.clock import Clock
from megamax_sync.errors import StoreFull
from megamax_sync.fingerprint import fingerprint_of
from megamax_sync.job import FileStamp, Job
from megamax_sync.loop import Loop
from megamax_sync.sidecar import Placement
from megamax_sync.store import Letter, Store
from megamax_sync.store.outbox import AFTER

_log = structlog.get_logger()

#: A sidecar is waited for this long at its new place before that counts as a failure, in seconds.
_SIDECAR_SECONDS = 3.0
#: A video that is not there may just have been renamed: its job has followed it after the next poll
#: at the latest, which comes every ten seconds. Looked for this often, and for so long, in seconds.
_LOOK_SECONDS, _POLLED_SECONDS = 5.0, 30.0
#: The part of the troubles that a full target is.
_PART = "after-done"


class _Stopped(Exception):
    """The program stops in the middle of a long copy; it begins again at the next start."""


class Putter(Loop):
    """Carries out MEGAMAX_AFTER_DONE, once the job's command has been run."""

    def __init__(
        self,
        *,
        store: Store,
        target: bytes | None,
        placement: Placement,
        backoff: Callable[[int], float],
        clock: Clock,
        stop: threading.Event,
        on_error: Callable[[str, BaseException], None],
        on_fine: Callable[[str], None],
    ) -> None:
        """``target``: the folder to move to, None to delete. ``backoff``: seconds by failures."""
        super().__init__(
            "after", changes=store.database, clock=clock, stop=stop, on_error=on_error,
            on_fine=on_fine,
        )  # fmt: skip
        self._store = store
        self._target = target
        self._placement = placement
        self._backoff = backoff
        self._report = on_error
        self._well = on_fine
        self._said: str | None = None
        #: Since when, by letter, a moved video's sidecar is waited for.
        self._waiting: dict[int, float] = {}
        #: Since when, by letter, a video has not been there.
        self._gone: dict[int, float] = {}

    def step(self) -> float | None:
        """Deal with each video that is due."""
        self._waiting = {
            letter.id: since
            for letter in self._store.outbox.due_after()
            if (since := self._deal_with(letter)) is not None
        }
        waits = [_SIDECAR_SECONDS] if self._waiting else []
        due = self._store.outbox.next_due(AFTER)
        if due is not None:
            waits.append(max(0.05, due - self.clock.now()))
        return min(waits, default=None)

    def _deal_with(self, letter: Letter) -> float | None:
        """Take one step with a video; return since when its sidecar is waited for, if it is."""
        if self.stop_event.is_set():
            return None
        job = self._store.jobs.get(letter.job or 0)
        if job is None:
            self._store.outbox.delivered([letter])
            return None
        try:
            if job.path == letter.target:
                return self._follow(letter, job)
            self._carry_out(letter, job)
        except Gone:
            self._miss(letter, job)
        except Changed as changed:
            reason = str(changed)
            _log.warning("file.kept", job=job.id, path=job.path, hashid=job.hashid, reason=reason)
            edited = changed.stamp if isinstance(changed, Edited) else None
            self._finish(letter, job, f"the video is kept: {reason}", edited)
        except OSError as error:
            self._failed(letter, job, error)
        except _Stopped:
            pass
        else:
            self._said = None
            self._well(_PART)
        return None

    def _miss(self, letter: Letter, job: Job) -> None:
        now = self.clock.monotonic()
        if now - self._gone.setdefault(letter.id, now) < _POLLED_SECONDS:
            self._store.outbox.postpone([letter], _LOOK_SECONDS)
        else:
            self._finish(letter, job, "the video is not there any more")

    def _failed(self, letter: Letter, job: Job, error: OSError) -> None:
        where = os.fsdecode(self._target or os.path.dirname(job.path))
        where = where.encode("utf-8", "backslashreplace").decode()
        text = f"{error.strerror or error} ({where})"
        if text != self._said:
            self._said = text
            _log.error("after.failed", job=job.id, path=job.path, hashid=job.hashid, error=text)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            self._report(_PART, StoreFull(f"no space left to move videos to in {where}"))
        self._store.outbox.postpone([letter], self._backoff(letter.attempts + 1))

    def _finish(self, letter: Letter, job: Job, note: str, edited: FileStamp | None = None) -> None:
        """Be done with a video. ``edited``: how it is now, if it has another content."""
        self._gone.pop(letter.id, None)
        with self._store.transaction():
            self._store.outbox.delivered([letter])
            self._store.outbox.noted(job, note)
            latest = self._store.jobs.latest(job.path)
            if edited is not None and latest is not None and latest.id == job.id:
                # Of one that was changed in place, its time put back, the watch sees nothing.
                self._store.jobs.add(
                    job.path,
                    edited,
                    root=job.root,
                    folder=job.folder,
                    ready=False,
                    reason="its content has changed since it was uploaded",
                )

    def _carry_out(self, letter: Letter, job: Job) -> None:
        latest = self._store.jobs.latest(job.path)
        if latest is not None and latest.id != job.id:
            raise Changed("the file has been replaced, and has a job of its own")
        # A move that was set out for is ended: whatever was uploaded, it loses nothing.
        if not job.own_upload and letter.target is None:
            raise Changed("what was uploaded was not sent from here, and may be another video")
        if self._target is not None:
            self._move(letter, job, self._target)
        else:
            self._remove(job)
            _log.info("file.deleted", job=job.id, path=job.path, hashid=job.hashid)
            self._gone.pop(letter.id, None)
            self._store.outbox.deleted(letter, job, "the video was deleted")

    # -- is it still the one? ----------------------------------------------------------------

    def _tick(self) -> None:
        self.beat()
        if self.stop_event.is_set():
            raise _Stopped

    def _verify(self, fd: int, job: Job) -> FileStamp:
        """Return the open file's stamp. Raises :class:`Changed` if it is not what was sent."""
        now = FileStamp.of(os.fstat(fd))
        if now == job.stamp:
            return now
        if now.size != job.stamp.size or job.fingerprint is None:
            raise Changed("the file has changed since it was uploaded")
        if fingerprint_of(fd, self._tick) != job.fingerprint:
            raise Edited("its content has changed since it was uploaded", now)
        if FileStamp.of(os.fstat(fd)) != now:
            raise Changed("the file is being written")
        return now

    def _remove(self, job: Job) -> None:
        """Delete the job's video. Raises :class:`Changed`, or OSError."""
        with open(fd := moving.open_there(job.path), "rb", buffering=0):
            moving.stay(job.path, self._verify(fd, job))
            os.unlink(job.path)
        moving.sync_folder(os.path.dirname(job.path))

    # -- moving ------------------------------------------------------------------------------

    def _move(self, letter: Letter, job: Job, top: bytes) -> None:
        target = letter.target
        if target is not None:
            # Set out for before a kill, or before an error.
            if moving.is_placeholder(target):
                os.unlink(target)
            elif self._arrived(target, job):
                self._leave(job)
                self._settle(letter, job, target)
                return
        if _is_below(job.path, top):
            # Handed in from there.
            self._store.outbox.delivered([letter])
            return
        with open(fd := moving.open_there(job.path), "rb", buffering=0):
            stamp = self._verify(fd, job)
            if not os.path.isdir(top):
                raise FileNotFoundError(errno.ENOENT, "the folder to move to is missing")
            below = _below(job)
            os.makedirs(os.path.join(top, os.path.dirname(below)), exist_ok=True)
            for name in moving.names(os.path.join(top, below)):
                if self._is_taken(name, job):
                    continue
                self._store.outbox.aim(letter, name)
                try:
                    self._bring(fd, stamp, job, name)
                except FileExistsError:
                    continue
                self._settle(letter, job, name)
                return
        raise FileExistsError(errno.EEXIST, "every name is taken there")

    def _is_taken(self, path: bytes, job: Job) -> bool:
        beside = self._placement.path(replace(job, path=path, root=None))
        return (
            os.path.lexists(path)
            or os.path.lexists(beside)
            or self._store.jobs.latest(path) is not None
        )

    def _bring(self, fd: int, stamp: FileStamp, job: Job, target: bytes) -> None:
        """Put the video under a free name. Raises FileExistsError when it no longer is."""
        moving.stay(job.path, stamp)
        try:
            moving.rename_anew(job.path, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        else:
            moving.sync_folder(os.path.dirname(target))
            moving.sync_folder(os.path.dirname(job.path))
            return
        part = moving.copy(fd, target, job.fingerprint, self._tick)
        try:
            moving.rename_anew(part, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
        moving.sync_folder(os.path.dirname(target))
        self._leave(job)

    def _leave(self, job: Job) -> None:
        """Remove what was copied, unless another file has taken its place meanwhile."""
        with contextlib.suppress(Changed):
            self._remove(job)

    def _arrived(self, target: bytes, job: Job) -> bool:
        """Tell whether the video lies there, by a rename or a copy that a kill has cut short."""
        fd = moving.open_regular(target)
        if fd is None:
            return False
        with open(fd, "rb", buffering=0):
            now = FileStamp.of(os.fstat(fd))
            if now.same_version(job.stamp):
                return True
            if now.size != job.stamp.size:
                return False
            wanted = job.fingerprint
            if wanted is None:
                source = moving.open_regular(job.path)
                if source is None:
                    # Nothing else was set out for under this name, and it was free.
                    return True
                with open(source, "rb", buffering=0):
                    wanted = fingerprint_of(source, self._tick)
            return fingerprint_of(fd, self._tick) == wanted

    def _settle(self, letter: Letter, job: Job, target: bytes) -> None:
        """Write down where the video now lies; its sidecar is written there next."""
        shown = os.fsdecode(target).encode("utf-8", "backslashreplace").decode()
        stamp = FileStamp.of(os.lstat(target))
        if self._store.outbox.put_away(letter, job, target, stamp, f"moved to {shown}"):
            _log.info("file.put_away", job=job.id, path=job.path, hashid=job.hashid, to=target)

    def _follow(self, letter: Letter, job: Job) -> float | None:
        """Take the old sidecar away once the new one lies beside the video."""
        if job.sidecar_due:
            since = self._waiting.get(letter.id, self.clock.monotonic())
            if self.clock.monotonic() - since < _SIDECAR_SECONDS:
                return since
            self._store.outbox.postpone([letter], self._backoff(letter.attempts + 1))
            return None
        old = letter.sidecar
        # If the new one could not be written, the old one is all there is.
        if old is not None and job.sidecar not in {None, old}:
            known = sidecar.read(old)
            if known is not None and known.hashid == job.hashid:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(old)
                moving.sync_folder(os.path.dirname(old))
        self._store.outbox.delivered([letter])
        return None


def _is_below(path: bytes, folder: bytes) -> bool:
    top = os.path.join(os.path.realpath(folder), b"")
    return os.path.realpath(path).startswith(top)


def _below(job: Job) -> bytes:
    """Return the path below the watched folder; of a file that was handed in, its name."""
    if job.root is None:
        return job.name
    return job.path[len(job.root.rstrip(b"/")) + 1 :]
