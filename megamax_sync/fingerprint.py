"""The fingerprint of a file: XXH3-128 over its whole content.

The same digest is taken from the bytes as they are sent (:mod:`megamax_sync.api.multipart`); here
it is taken by reading, where nothing is sent.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator

import xxhash

_CHUNK = 1 << 20


def fingerprint_of(fd: int, beat: Callable[[], None] = lambda: None) -> str:
    """Read the open file from its start; return ``xxh3-128:<32 hex digits>``. Raises OSError.

    ``beat`` is called for every MiB, and may raise to end it.
    """
    digest = xxhash.xxh3_128()
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    offset = 0
    while chunk := os.pread(fd, _CHUNK, offset):
        digest.update(chunk)
        offset += len(chunk)
        beat()
    return f"xxh3-128:{digest.hexdigest()}"


@contextlib.contextmanager
def regular_file(path: bytes) -> Iterator[int]:
    """Open a regular file for reading; yield its descriptor. Raises OSError if there is none.

    What lies under a path may have been exchanged since it was looked at: no link is followed, and
    no pipe is waited at.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise FileNotFoundError(errno.ENOENT, "No regular file")
        yield fd
    finally:
        os.close(fd)


def has_content(path: bytes, fingerprint: str | None, beat: Callable[[], None]) -> bool:
    """Read a file; True when this is its content. One that cannot be read has another."""
    try:
        with regular_file(path) as fd:
            return fingerprint_of(fd, beat) == fingerprint
    except OSError:
        return False
