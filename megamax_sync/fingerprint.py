"""The fingerprint of a file: XXH3-128 over its whole content.

The same digest is taken from the bytes as they are sent (:mod:`megamax_sync.api.multipart`); here
it is taken by reading, where nothing is sent.
"""

from __future__ import annotations

import os
from collections.abc import Callable

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


def has_content(path: bytes, fingerprint: str | None, beat: Callable[[], None]) -> bool:
    """Read a file; True when this is its content. One that cannot be read has another."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return fingerprint_of(fd, beat) == fingerprint
    except OSError:
        return False
    finally:
        os.close(fd)
