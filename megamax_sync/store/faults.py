"""SQLite's errors, and the file system's, as ours: nobody above the store looks at codes."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator

from megamax_sync.errors import (
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreUnwritable,
)

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_UNWRITABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}
#: The memory that WAL needs could not be had from the disk; it has no name in Python 3.11 to 3.13.
_IOERR_SHMSIZE = 4874


@contextlib.contextmanager
def translated(path: str, name: str = "the queue", done: str = "used") -> Iterator[None]:
    """Turn the errors of what is done inside into ours; ``path`` is that of what cannot be done."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None) or 0
        if code & 0xFF == sqlite3.SQLITE_FULL or code == _IOERR_SHMSIZE:
            raise StoreFull(f"no space left for {name} {path}") from error
        if code & 0xFF == sqlite3.SQLITE_BUSY:
            raise StoreBusy(
                f"{name} {path} is held by another process, which has not let go of it; try "
                "again, or see what that process waits for (a slow disk, a stop signal)"
            ) from error
        if code & 0xFF in _DAMAGED:
            raise StoreDamaged(f"{name} {path} is damaged: {error}") from error
        if code & 0xFF in _UNWRITABLE:
            raise StoreUnwritable(f"{name} {path} cannot be {done}: {error}") from error
        raise StoreError(f"{name} {path} cannot be {done}: {error}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(f"no space left for {name} {path}") from error
        kind = StoreUnwritable if error.errno in (errno.EROFS, errno.EIO) else StoreError
        raise kind(f"{name} {path} cannot be {done}: {error.strerror}") from error
