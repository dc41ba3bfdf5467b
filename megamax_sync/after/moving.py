"""Moving a file so that no kill loses or doubles it, and nothing is overwritten.

Within a file system it is one rename. Across two it is a copy under a hidden name, read back and
compared, then a rename, and only then is the original removed. Where a file system cannot rename
without replacing (some of FUSE's and the network's), a link does it, or an empty file that holds
the name meanwhile.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator

import xxhash

from megamax_sync.fingerprint import fingerprint_of
from megamax_sync.job import FileStamp

_CHUNK = 1 << 20
_NAME_MAX = 255
_AT_FDCWD, _RENAME_NOREPLACE = -100, 1
#: What a file system answers that does not know such a rename, or such a link.
_UNKNOWN = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM, errno.EMLINK, errno.EACCES}
_READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

_libc = ctypes.CDLL(None, use_errno=True)


class Changed(Exception):
    """The file is not, or does not stay, the one that was uploaded."""


class Edited(Changed):
    """It has another content, and is the file of this stamp."""

    def __init__(self, reason: str, stamp: FileStamp) -> None:
        super().__init__(reason)
        self.stamp = stamp


class Gone(Changed):
    """No file lies under its name."""


def open_regular(path: bytes) -> int | None:
    """Open a file for reading; None if there is no regular file under this name. Raises OSError."""
    try:
        fd = os.open(path, _READING)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            return None
        raise
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None


def open_there(path: bytes) -> int:
    """Open a file that has to be there. Raises :class:`Gone`, or OSError."""
    fd = open_regular(path)
    if fd is None:
        raise Gone("it is not there any more")
    return fd


def stay(path: bytes, stamp: FileStamp) -> None:
    """Raise :class:`Changed` unless the file of this stamp lies under its name."""
    try:
        there = FileStamp.of(os.lstat(path))
    except FileNotFoundError:
        raise Gone("it is not there any more") from None
    if there != stamp:
        raise Changed("another file has taken its place")


def names(path: bytes) -> Iterator[bytes]:
    """Yield the name itself, then with `` (2)``, `` (3)`` … before its extension."""
    yield path
    folder, name = os.path.split(path)
    stem, extension = os.path.splitext(name)
    for number in range(2, 10_000):
        mark = f" ({number})".encode()
        kept = stem[: _NAME_MAX - len(mark) - len(extension)]
        # Not through the middle of a character.
        while kept != stem and kept and stem[len(kept)] & 0xC0 == 0x80:
            kept = kept[:-1]
        yield os.path.join(folder, kept + mark + extension)


def rename_anew(source: bytes, target: bytes) -> None:
    """Rename without replacing. Raises FileExistsError, or any other OSError."""
    number = _renameat2(source, target)
    if number not in _UNKNOWN:
        if number:
            raise OSError(number, os.strerror(number), os.fsdecode(target))
        return
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
        _rename_over_own(source, target)
    else:
        os.unlink(source)


def _renameat2(source: bytes, target: bytes) -> int:
    """Call it; return the error's number, 0 for none."""
    call = getattr(_libc, "renameat2", None)
    if call is None:
        return errno.ENOSYS
    if call(_AT_FDCWD, source, _AT_FDCWD, target, _RENAME_NOREPLACE) == 0:
        return 0
    return ctypes.get_errno()


def _rename_over_own(source: bytes, target: bytes) -> None:
    """Take the name with an empty file of our own, and replace that one."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
    try:
        os.rename(source, target)
    except BaseException:
        # An error does not prove that nothing was renamed, on network file systems above all.
        with contextlib.suppress(OSError):
            if is_placeholder(target):
                os.unlink(target)
        raise


def is_placeholder(path: bytes) -> bool:
    """Tell whether an empty file lies there, which is what a kill may leave of a rename."""
    with contextlib.suppress(OSError):
        status = os.lstat(path)
        return stat.S_ISREG(status.st_mode) and status.st_size == 0
    return False


def copy(fd: int, target: bytes, fingerprint: str | None, beat: Callable[[], None]) -> bytes:
    """Copy an open file to a hidden name beside ``target``, onto the disk; return that name.

    What was read has to be the content of this ``fingerprint`` (where that is known), and what was
    written is read back. ``beat`` is called for every MiB, and may raise to end it.

    Raises :class:`Changed`, or OSError; then nothing is left behind.
    """
    part = temporary(target)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(part)
    status = os.fstat(fd)
    out = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            digest, offset = xxhash.xxh3_128(), 0
            while chunk := os.pread(fd, _CHUNK, offset):
                digest.update(chunk)
                _write(out, chunk)
                offset += len(chunk)
                beat()
            read = f"xxh3-128:{digest.hexdigest()}"
            if offset != status.st_size or read != (fingerprint or read):
                raise Changed("its content is not what was uploaded")
            # As mv does: what cannot be kept is not.
            with contextlib.suppress(OSError):
                os.fchown(out, status.st_uid, status.st_gid)
            os.fchmod(out, stat.S_IMODE(status.st_mode))
            os.utime(out, ns=(status.st_atime_ns, status.st_mtime_ns))
            os.fsync(out)
            # From the disk, if the kernel so likes, and not from memory.
            os.posix_fadvise(out, 0, 0, os.POSIX_FADV_DONTNEED)
            if fingerprint_of(out, beat) != read:
                raise OSError(errno.EIO, "the copy reads back otherwise", os.fsdecode(target))
        finally:
            os.close(out)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise
    return part


def temporary(target: bytes) -> bytes:
    """Name the copy in the making, always the same for the same target: a later one replaces it."""
    mark = hashlib.sha256(os.path.basename(target)).hexdigest()[:16].encode()
    return os.path.join(os.path.dirname(target), b".megamax-" + mark + b".part")


def sync_folder(folder: bytes) -> None:
    """Make the names in a folder outlast a power cut, where the file system knows how."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _write(fd: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(fd, view) :]
