"""Copies of the queue: made while others write it, whole or not at all, and for nobody else's eyes.

SQLite's backup interface reads all pages in one transaction, so a copy shows one moment, needs no
WAL beside it, and is a queue of its own.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3

#: So many of the copies that upgrades have made are kept.
KEPT = 3
_BEFORE = re.compile(r"\.before-(\d+)$")


def copy(source: sqlite3.Connection, path: str, *, replace: bool) -> None:
    """Copy a queue to ``path``, with mode 0600; it is there whole, or not there.

    Raises FileExistsError where something has this name and ``replace`` is False, OSError, and
    sqlite3's errors.
    """
    temporary = f"{path}.{os.urandom(4).hex()}.tmp"
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        target = sqlite3.connect(temporary, isolation_level=None)
        with contextlib.closing(target):
            # A journal beside a file that is thrown away when this fails would be of no use.
            target.execute("PRAGMA journal_mode = OFF").fetchone()
            source.backup(target)
            (fault,) = target.execute("PRAGMA quick_check(1)").fetchone()
            if fault != "ok":
                raise sqlite3.DatabaseError(f"its copy is damaged: {fault}")
        _to_disk(temporary)
        if replace:
            os.replace(temporary, path)
        else:
            # Unlike a rename, a link does not take another file's place.
            os.link(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    _to_disk(os.path.dirname(path) or ".")


def before_upgrade(source: sqlite3.Connection, path: str, version: int) -> str:
    """Copy the queue at ``path`` to ``queue.db.before-N`` beside it; return the copy's path.

    ``version`` is the schema that the queue is brought to. Older copies of that kind are taken
    away, but for the newest :data:`KEPT`. Raises as :func:`copy` does.
    """
    target = f"{path}.before-{version}"
    copy(source, target, replace=True)
    folder, name = os.path.split(path)
    found = [
        (int(match[1]), other)
        for other in os.listdir(folder or ".")
        if other.startswith(f"{name}.before-") and (match := _BEFORE.search(other))
    ]
    for _, other in sorted(found, reverse=True)[KEPT:]:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(folder, other))
    return target


def _to_disk(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
