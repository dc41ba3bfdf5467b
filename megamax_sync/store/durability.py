"""Which commits wait for the disk.

WAL with ``synchronous=FULL``: a killed process loses nothing in either mode, but a power cut lost
all of 200 acknowledged commits with NORMAL and none with FULL. What nobody was told, and is found
out again, is committed with NORMAL all the same: all threads wait while one's commit goes to the
disk. In a WAL the commits keep their order, so that a power cut takes away the last ones, and never
one that was waited for or what came before it.
"""

from __future__ import annotations

import os
import sqlite3

from megamax_sync.filesystem import is_remote
from megamax_sync.store.faults import translated


class Durability:
    """Of the commits of one connection. Not for two threads at once."""

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        """All commits wait, until :meth:`prepare` has found that they need not."""
        self._connection = connection
        self._path = path
        self._may_put_off = False
        self._waits = True
        self._owed = False

    def prepare(self) -> None:
        """Choose the journal of the file, which is going to be written."""
        # WAL needs memory that all processes share, which network file systems do not give.
        journal = "TRUNCATE" if is_remote(os.fsencode(self._path)) else "WAL"
        (chosen,) = self._connection.execute(f"PRAGMA journal_mode = {journal}").fetchone()
        self._connection.execute("PRAGMA synchronous = FULL")
        # Another journal has to be on the disk before the queue is, or that may not stay whole.
        self._may_put_off = chosen == "wal"

    def begin(self, durable: bool) -> None:
        """Begin a transaction whose commit waits for the disk, or not."""
        waits = durable or not self._may_put_off
        with translated(self._path):
            if waits != self._waits:
                self._connection.execute(f"PRAGMA synchronous = {'FULL' if waits else 'NORMAL'}")
                self._waits = waits
            self._connection.execute("BEGIN IMMEDIATE")

    def committed(self, changed: bool) -> None:
        """Note the end of a transaction: one that has waited takes along what came before.

        Where nothing was ``changed`` there was nothing to wait for.
        """
        if changed:
            self._owed = not self._waits

    def flush(self) -> None:
        """Have everything that is committed on the disk."""
        if self._owed:
            # SQLite's locks are on other files, so that this one may be opened and closed.
            with translated(self._path), open(self._path + "-wal", "rb") as wal:
                os.fsync(wal.fileno())
            self._owed = False
