"""A job: one version of one file, and the life it may lead.

::

              ┌──────────── retry, stop, kill ───────────┐
              ▼                                          │
    ──►  queued ──────────────► uploading ───────────────┤
          │ ▲ │                     │                    │
          │ │ └── reconciled ────┐  │ the service has it │
          │ │                    ▼  ▼                    ▼
          │ │ retry           processing ───────────►  failed ──► queued (retry)
          │ │                    │  conversion failed    ▲   └──► processing (retry of one
          ▼ │ it is back         ▼                       │         that the service holds)
        skipped ─────────────►  done                     └── queued, uploading
               its original was dropped

A job ends in ``done``, ``failed`` or ``skipped``. The table below is the only truth about the
arrows; the store refuses every other one, and a CHECK refuses unknown states.
"""

from __future__ import annotations

import enum
import os
import re
import unicodedata
from dataclasses import dataclass
from typing import NamedTuple

from megamax_sync.errors import InvalidTransition


class JobState(enum.StrEnum):
    """CONTRACT section 3."""

    QUEUED = "queued"
    UPLOADING = "uploading"
    PROCESSING = "processing"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset(
        {JobState.UPLOADING, JobState.PROCESSING, JobState.FAILED, JobState.SKIPPED}
    ),
    JobState.UPLOADING: frozenset({JobState.QUEUED, JobState.PROCESSING, JobState.FAILED}),
    JobState.PROCESSING: frozenset({JobState.DONE, JobState.FAILED}),
    JobState.DONE: frozenset(),
    JobState.FAILED: frozenset({JobState.QUEUED, JobState.PROCESSING}),
    JobState.SKIPPED: frozenset({JobState.QUEUED, JobState.DONE}),
}

#: What the service says of a file that it is still working on (api/megamax-api.md, "status").
REMOTE_UNFINISHED = ("onqueue", "transferring", "processing", "converting")
REMOTE_CONVERTED = "converted"
REMOTE_FAILED = "failed"

#: What is put behind a video's name to name its sidecar.
SIDECAR_SUFFIX = b".megamax.json"

#: ``Job.error`` of a file that was gone before it was sent.
VANISHED = "vanished"


def duplicate_of(path: bytes) -> str:
    """Return ``Job.error`` of a file with the content of the one at ``path``."""
    return f"duplicate of {path.decode('utf-8', 'backslashreplace')}"


def check_transition(old: JobState, new: JobState) -> None:
    """Raise :class:`InvalidTransition` unless ``old → new`` is in :data:`TRANSITIONS`."""
    if new not in TRANSITIONS[old]:
        raise InvalidTransition(f"a job cannot go from {old} to {new}")


class FileStamp(NamedTuple):
    """By what a version of a file is told from another without reading it.

    ``size`` in bytes, times in nanoseconds of Unix time. ``ctime_ns`` and ``dev`` are kept for
    those who ask, but are no part of :meth:`same_version`: a ``chmod`` or a hard link moves ctime,
    and device numbers change at a reboot.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    dev: int
    ino: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileStamp:
        """Take the stamp from ``os.stat``'s answer."""
        size, mtime_ns, ctime_ns = status.st_size, status.st_mtime_ns, status.st_ctime_ns
        dev, ino = status.st_dev, status.st_ino
        # Hardly ever is any of them negative or that large, and a scan makes many stamps.
        if (mtime_ns | ctime_ns | dev | ino) >> 63:
            return cls(size, *map(_signed, (mtime_ns, ctime_ns, dev, ino)))
        return cls._make((size, mtime_ns, ctime_ns, dev, ino))

    def same_version(self, other: FileStamp) -> bool:
        """Tell whether both are certainly the same content; False means "look closer"."""
        return (self.size, self.mtime_ns, self.ino) == (other.size, other.mtime_ns, other.ino)


def _signed(number: int) -> int:
    """Fold a number into the 64 signed bits of SQLite's integers.

    Some file systems use all bits of an inode number, and broken times lie beyond the year 2262.
    """
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


@dataclass(frozen=True, slots=True)
class Job:
    """A row of the queue, as it was when it was read. Times are Unix time in seconds."""

    id: int
    path: bytes
    #: The watched folder it was found below; None for one that was handed in.
    root: bytes | None
    state: JobState
    #: The watch found the file finished. Only ready jobs are sent.
    ready: bool
    stamp: FileStamp
    #: ``xxh3-128:<hex>`` over the whole content, known once it was sent.
    fingerprint: str | None
    #: The Megamax folder ID, decided when the job was made.
    folder: int | None
    #: Attempts that failed because of the file itself.
    attempts: int
    #: An ambiguous answer (5xx to a body) came at this moment; see Jobs.suspect.
    suspect_at: float | None
    next_attempt_at: float
    error: str | None
    hashid: str | None
    remote_status: str | None
    remote_name: str | None
    remote_size: int | None
    poster: str | None
    uploaded_at: float | None
    converted_at: float | None
    #: Mirrors and direct links as JSON, in the sidecar's own shape; None before they were asked.
    mirrors: str | None
    direct: str | None
    direct_error: str | None
    #: When the tracker looks next; None for never.
    check_at: float | None
    #: Looks since the last change, by which the next one is put further away.
    checks: int
    sidecar: bytes | None
    sidecar_due: bool
    created_at: float
    updated_at: float
    #: The job that has the same content: waited for while queued, else this is a duplicate of it.
    original: int | None = None
    #: Where the file lay when its sidecar was written, if it has been moved since.
    moved_from: bytes | None = None
    #: The account's list is to be asked before it is sent.
    lookup: bool = False
    #: What the service has is the content of this file, sent from here; else it was only found.
    own_upload: bool = False

    @property
    def name(self) -> bytes:
        """The file's own name, without its folder."""
        return os.path.basename(self.path)


def match_key(name: bytes | str) -> str:
    """Reduce a file name to what services leave of it, for comparing ours with a listed one.

    Extensions may be cut (the document lists ``MNCT EP 02 FHD``), quotes come back as ``%22``,
    other services replace or drop punctuation, change case or normal form. What is left is letters
    and digits; a name without any of them keeps its characters. No service sees a backslash, at
    which PHP would cut: we send another character in its place.

    A listed name without its extension may end in what looks like one (``Movie.1080p``), so all
    such endings go: the key of a name is that of the name without its extension.
    """
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    text = unicodedata.normalize("NFKC", text).replace("%22", '"')
    stem = re.sub(r"(\.[0-9A-Za-z]{1,5})+$", "", text) or text
    return re.sub(r"[\W_]+", "", stem).casefold() or stem
