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


class Content:
    """What a file has in it: read at most once, and only if somebody asks."""

    def __init__(
        self,
        path: bytes,
        beat: Callable[[], None],
        before: Callable[[], None] = lambda: None,
    ) -> None:
        """``before`` is called before the file is read; it and ``beat`` may raise to end that."""
        self._path = path
        self._beat = beat
        self._before = before
        self._fingerprint: str | None = None
        self.was_read = False

    def __call__(self) -> str | None:
        """Return the fingerprint; None for a file that cannot be read."""
        if not self.was_read:
            self._before()
            with contextlib.suppress(OSError), regular_file(self._path) as fd:
                self._fingerprint = fingerprint_of(fd, self._beat)
            self.was_read = True
        return self._fingerprint
