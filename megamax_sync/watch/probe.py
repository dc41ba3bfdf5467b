"""Ask the kernel about one file: does anybody write it, has it holes?"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat

from megamax_sync.watch.settle import Signs, Writers
from megamax_sync.watch.writers import find_writer

NO_LEASE = (
    "unknown whether anybody writes: no write lease can be had (it takes the file's owner or "
    "CAP_LEASE, and a local file system); /proc is looked at instead"
)

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def ignore_lease_breaks() -> None:
    """Call once at start, in the main thread: a broken lease's SIGIO kills by default."""
    signal.signal(signal.SIGIO, signal.SIG_IGN)


def is_whole(path: bytes, before: float, *, allow_sparse: bool) -> bool:
    """Tell whether nothing in the file speaks against it, as far as one short look tells.

    That is: last changed ``before`` (Unix time), nobody has it open for writing, no holes unless
    they are allowed. False where any of it is in doubt, which takes :func:`look` to say more.
    """
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return False
    try:
        status = os.fstat(fd)
        return (
            max(status.st_mtime, status.st_ctime) < before
            and stat.S_ISREG(status.st_mode)
            and (allow_sparse or not has_holes(fd, status.st_size))
            # The last of all, as the file is closed then, which gives a lease back.
            and fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK) == 0
        )
    except OSError:
        return False
    finally:
        os.close(fd)


def look(path: bytes) -> Signs:
    """Take the closer look, but for what lies beside the file: see :mod:`.companions`.

    Raises OSError when that is not possible now, or the file is gone. Of a file that may not be
    read little is known, and it does not wait for that: the upload finds out, and says so in the
    job's own state.
    """
    try:
        fd = os.open(path, _FLAGS)
    except PermissionError:
        return Signs(Writers.UNKNOWN)
    try:
        status = os.fstat(fd)
        writers, writer = lease(fd), ""
        if writers is not Writers.NONE:
            writer = find_writer(status)
            if writers is Writers.UNKNOWN and writer:
                writers = Writers.SOME
        return Signs(writers, writer, has_holes(fd, status.st_size))
    finally:
        os.close(fd)


def lease(fd: int) -> Writers:
    """Try to take a read lease, and give it back at once.

    It is granted only while nobody has the file open for writing, through whatever name or map.
    Needs ownership of the file or CAP_LEASE, and a local file system; else UNKNOWN.
    """
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return Writers.SOME if error.errno == errno.EAGAIN else Writers.UNKNOWN
    # A lease that is kept blocks the next writer.
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return Writers.NONE


def has_holes(fd: int, size: int) -> bool:
    """Tell whether a byte below ``size`` was never written.

    ext4, xfs, btrfs and tmpfs know; others report one hole at the end.
    """
    try:
        return os.lseek(fd, 0, os.SEEK_HOLE) < size
    except OSError:
        return False
