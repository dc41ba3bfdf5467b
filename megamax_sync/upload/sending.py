"""One attempt: from the open file to the service's answer, each step in the journal first."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO

from megamax_sync.api.client import MegamaxClient
from megamax_sync.api.models import UploadedFile
from megamax_sync.api.multipart import MultipartFile
from megamax_sync.api.retry import unless_stopped
from megamax_sync.clock import Clock
from megamax_sync.errors import (
    STOPPING,
    CredentialsRejected,
    FileChanged,
    FileError,
    FileVanished,
    MegamaxError,
    ServiceNonsense,
    StoreError,
    UploadCancelled,
    UploadRefused,
)
from megamax_sync.fingerprint import fingerprint_of
from megamax_sync.job import FileStamp, Job
from megamax_sync.store import Store

#: How often an upload asks whether it is still wanted, in seconds.
_ASK_SECONDS = 1.0
_FOR_READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class OutcomeUnknown(Exception):
    """The body went out whole, and nothing believable came back. ``cause`` is one of ours."""

    def __init__(self, cause: MegamaxError, fingerprint: str | None) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.fingerprint = fingerprint


class Discarded(Exception):
    """It arrived, but it is not what the file is now."""

    def __init__(self, answer: UploadedFile, cause: FileChanged | ServiceNonsense) -> None:
        super().__init__(str(cause))
        self.hashid = answer.hashid
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Sent:
    """What arrived, and what was sent. ``seconds``: from the first byte to the answer."""

    answer: UploadedFile
    fingerprint: str
    stamp: FileStamp
    seconds: float


class Progress:
    """How far an upload is; read by other threads."""

    def __init__(
        self, job: int, size: int, count: Callable[[int], None] = lambda _nbytes: None
    ) -> None:
        """``count`` is told of the bytes that have gone out since it was told last."""
        self.job = job
        self._count = count
        self.size = size
        #: Bytes of the file that are with the kernel.
        self.sent = 0
        #: Moments of the monotonic clock, and what had been sent by then, over some seconds.
        self._samples: deque[tuple[float, int]] = deque(maxlen=12)

    def moved(self, sent: int, now: float) -> None:
        """Note that ``sent`` bytes have gone out by ``now``."""
        self._count(sent - self.sent)
        self.sent = sent
        if not self._samples or now - self._samples[-1][0] >= 0.5:
            self._samples.append((now, sent))

    def rate(self, now: float) -> float:
        """Bytes a second over the last few seconds."""
        samples = list(self._samples)
        if not samples or now <= samples[0][0]:
            return 0.0
        return max(0.0, (self.sent - samples[0][1]) / (now - samples[0][0]))


def open_unchanged(job: Job) -> int:
    """Open the job's file for reading; return the descriptor.

    Raises :class:`FileVanished`, :class:`FileChanged` when it is not the version that was queued,
    and :class:`FileError` when it cannot be read.
    """
    try:
        fd = os.open(job.path, _FOR_READING)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileVanished("the file is not there any more") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FileChanged("a symbolic link has taken the file's place") from error
        raise FileError(f"the file cannot be read ({error.strerror}); let this user read it") from (
            error
        )
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or not job.stamp.same_version(FileStamp.of(status)):
        os.close(fd)
        raise FileChanged("the file changed before it was sent")
    return fd


class Sending:
    """Sends one job's file. Make one for each attempt."""

    def __init__(
        self,
        store: Store,
        client: MegamaxClient,
        clock: Clock,
        *,
        stop: threading.Event,
        still_ours: Callable[[], bool],
        beat: Callable[[], None],
        turn: Callable[[int], int],
    ) -> None:
        """``still_ours`` is asked about once a second, and False ends the upload.

        ``turn`` waits until so many bytes may be sent, or fewer, and returns how many; 0 to stop.
        """
        self._store = store
        self._client = client
        self._clock = clock
        self._stop = stop
        self._still_ours = still_ours
        self._beat = beat
        self._turn = turn
        self._asked_at = clock.monotonic()
        self._body_sent = False

    def send(self, job: Job, attempt: int, file: FileIO, url: str, progress: Progress) -> Sent:
        """Send, and verify that what arrived is what the file is now.

        Raises :class:`OutcomeUnknown`, :class:`Discarded`, or a :class:`MegamaxError` after which
        it is certain that nothing arrived.
        """
        began = self._clock.monotonic()
        before = FileStamp.of(os.fstat(file.fileno()))
        progress.moved(0, began)

        def moved(sent: int) -> None:
            progress.moved(sent, self._clock.monotonic())
            self._beat()

        body = MultipartFile(
            file,
            name=job.name,
            size=job.stamp.size,
            on_progress=moved,
            on_body_sent=lambda: self._sent(attempt),
            check=self._check,
            throttle=self._throttle,
        )
        try:
            with unless_stopped(self._stop):
                answer = self._client.upload(url, body, folder=job.folder)
        except MegamaxError as error:
            # A definite refusal is an answer; anything else after a whole body is a riddle.
            if self._body_sent and not isinstance(error, UploadRefused | CredentialsRejected):
                raise OutcomeUnknown(error, body.fingerprint) from error
            raise
        self._beat()
        stamp = self._verify(job, before, answer, file.fileno(), body.fingerprint)
        seconds = self._clock.monotonic() - began
        return Sent(answer, body.fingerprint or "", stamp, seconds)

    def _sent(self, attempt: int) -> None:
        # First the fact, then its record. If that cannot be written, the answer is worth more than
        # the record: after a kill, "sending" is looked up as "sent" is.
        self._body_sent = True
        with contextlib.suppress(StoreError):
            self._store.journal.sent(attempt)

    def _check(self) -> None:
        """Before each chunk: are we still to go on?"""
        if self._stop.is_set():
            raise UploadCancelled(STOPPING)
        now = self._clock.monotonic()
        if now - self._asked_at >= _ASK_SECONDS:
            self._asked_at = now
            if not self._still_ours():
                raise UploadCancelled("the job was dropped")

    def _throttle(self, most: int) -> int:
        size = self._turn(most)
        if not size:
            raise UploadCancelled(STOPPING)
        # The wait may have been a long one.
        self._check()
        return size

    def _verify(
        self,
        job: Job,
        before: FileStamp,
        answer: UploadedFile,
        fd: int,
        fingerprint: str | None,
    ) -> FileStamp:
        """Compare what arrived with the file as it is now; return its present stamp.

        ``before``: the file as it was when the first byte was read.
        """
        if answer.size is not None and answer.size != job.stamp.size:
            wrong = ServiceNonsense(
                f"the service received {answer.size} bytes instead of {job.stamp.size}",
                answered=True,
            )
            raise Discarded(answer, wrong)
        try:
            now = self._unchanged(before, fd, fingerprint)
            # It may have been moved meanwhile, and another one in its place.
            fresh = self._store.jobs.get(job.id) or job
            replacement = None if now is None else _replacement(fresh, fd)
            if replacement is not None:
                with open(replacement, "rb", buffering=0):
                    now = self._unchanged(before, replacement, fingerprint)
        except OSError as error:
            changed = f"the file can no longer be read ({error.strerror})"
            raise Discarded(answer, FileChanged(changed)) from error
        if now is None:
            raise Discarded(answer, FileChanged("the file changed while it was sent"))
        return now

    def _unchanged(self, sent: FileStamp, fd: int, fingerprint: str | None) -> FileStamp | None:
        """Return the stamp of an open file; None when its content is not what was sent."""
        now = FileStamp.of(os.fstat(fd))
        # ctime, too: who writes into a file may put its mtime back, as editors of tags do.
        if now == sent:
            return now
        # Touched, linked, or written with the same length: only the content can tell.
        if now.size == sent.size and fingerprint_of(fd, self._beat) == fingerprint:
            return now
        return None


def _replacement(job: Job, fd: int) -> int | None:
    """Open what has taken the place of the file that was sent; None when nothing has.

    A file that was moved away or deleted meanwhile was still sent as it was. Raises OSError.
    """
    try:
        there = os.lstat(job.path)
    except OSError:
        return None
    if not stat.S_ISREG(there.st_mode) or os.path.samestat(there, os.fstat(fd)):
        return None
    if job.root is not None and _lies_inside(job.root, fd):
        # The job follows it as soon as the watch comes to it.
        return None
    return os.open(job.path, _FOR_READING)


def _lies_inside(root: bytes, fd: int) -> bool:
    """Tell whether an open file has a name inside a folder now."""
    try:
        now = os.readlink(b"/proc/self/fd/%d" % fd)
        same = os.path.samestat(os.lstat(now), os.fstat(fd))
    except OSError:
        return False
    hidden = os.path.basename(now).startswith(b".")
    return same and not hidden and now.startswith(os.path.join(os.path.realpath(root), b""))
