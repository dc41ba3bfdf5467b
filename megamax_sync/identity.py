"""Is a file that was found the one that is known under another path?

Device and inode name a file while it lies on its file system. They are no proof by themselves:
inodes are used again, so size and mtime have to be the same, too; and some file systems, and every
reboot, number devices anew. Where they say nothing, the content has to be compared.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable

from megamax_sync.job import FileStamp, Job


class Lies(enum.Enum):
    """What lies under a path, as seen from a file that was found under another one."""

    #: The same file: the two names are hard links.
    THE_SAME = "the same"
    ANOTHER = "another"
    NOTHING = "nothing"
    #: It cannot be looked at.
    UNKNOWN = "unknown"


def lies(path: bytes, stamp: FileStamp) -> Lies:
    """Look at ``path``; ``stamp`` is that of the file that was found."""
    try:
        there = FileStamp.of(os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return Lies.NOTHING
    except OSError:
        return Lies.UNKNOWN
    same = (there.dev, there.ino) == (stamp.dev, stamp.ino)
    return Lies.THE_SAME if same else Lies.ANOTHER


def has_moved(job: Job, stamp: FileStamp, lost: Callable[[bytes], bool]) -> bool:
    """Tell whether a file that was found is that of a job, which has left the job's path.

    ``lost`` tells which watched folders are missing: nothing is concluded from those.
    """
    return (
        job.stamp.same_version(stamp)
        and lies(job.path, stamp) in {Lies.NOTHING, Lies.ANOTHER}
        and not _is_lost(job, lost)
        and _one_device(job, stamp)
    )


def has_crossed(job: Job, stamp: FileStamp, lost: Callable[[bytes], bool]) -> bool:
    """Tell whether a file with a job's content is the job's own: moved by way of a copy.

    That keeps size and mtime, and nothing is left at the old place.
    """
    return (
        (job.stamp.size, job.stamp.mtime_ns) == (stamp.size, stamp.mtime_ns)
        and lies(job.path, stamp) is Lies.NOTHING
        and not _is_lost(job, lost)
    )


def _is_lost(job: Job, lost: Callable[[bytes], bool]) -> bool:
    # Of a file that was handed in, nobody watches the disk.
    return lost(job.root) if job.root is not None else not os.path.isdir(os.path.dirname(job.path))


def _one_device(job: Job, stamp: FileStamp) -> bool:
    """Tell whether a job's file lay on the device of the one that was found."""
    if job.stamp.dev == stamp.dev:
        return True
    # The device may have another number since a reboot.
    try:
        return job.root is not None and FileStamp.of(os.stat(job.root)).dev == stamp.dev
    except OSError:
        return False
