"""What the sandbox remembers: credentials, upload URLs and files, in SQLite."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS upload_url (token TEXT PRIMARY KEY, expires_at REAL NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS file (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hashid TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    mime_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    folder INTEGER,
    poster TEXT NOT NULL,
    created_at REAL NOT NULL,
    pinned TEXT,
    pinned_at REAL,
    views INTEGER NOT NULL DEFAULT 0
) STRICT;
"""
_ADD = """
INSERT INTO file
    (hashid, name, mime_type, size, folder, poster, created_at, pinned, pinned_at, views)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_GET = """
SELECT hashid, name, mime_type, size, folder, poster, created_at, pinned, pinned_at, views
FROM file WHERE hashid = ?
"""
_ALL = """
SELECT hashid, name, mime_type, size, folder, poster, created_at, pinned, pinned_at, views
FROM file ORDER BY created_at, id
"""

#: The statuses that a file passes, in order. ``failed`` is the one that none passes by itself.
STAGES = ("onqueue", "transferring", "processing", "converting", "converted")


@dataclass(frozen=True)
class StoredFile:
    """One row. Times are Unix time; ``pinned`` is a status that stays, whatever the time."""

    hashid: str
    name: str
    mime_type: str
    size: int
    folder: int | None
    poster: str
    created_at: float
    pinned: str | None = None
    pinned_at: float | None = None
    views: int = 0

    def status(self, now: float, step: float) -> str:
        """The status at ``now``, where each lasts ``step`` seconds."""
        if self.pinned is not None:
            return self.pinned
        age = now - self.created_at
        last = len(STAGES) - 1
        # The age decides first: with a step of almost nothing the quotient would overflow.
        return STAGES[last] if age >= last * step else STAGES[max(0, int(age / step))]

    def converted_at(self, step: float) -> float:
        """When it was, or will be, converted; for a pinned one, when it was pinned."""
        if self.pinned_at is not None:
            return self.pinned_at
        return self.created_at + (len(STAGES) - 1) * step


@dataclass(frozen=True)
class RemoteRecord:
    """A stored file as the sandbox shows it to its owner.

    ``name`` is the name as received, with its extension; ``path`` is where its bytes are.
    """

    hashid: str
    name: str
    ext: str
    mime_type: str
    size: int
    folder: int | None
    path: Path
    created_at: float
    status: str
    views: int


class Catalogue:
    """The database. Each method is one transaction, on disk when it returns; any thread may call.

    Raises:
        sqlite3.Error: it is closed, or the disk fails.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the database; whoever still uses it gets an error."""
        with self._lock:
            self._db.close()

    def setting(self, name: str) -> str | None:
        """A remembered value."""
        rows = self._run("SELECT value FROM setting WHERE name = ?", name)
        return str(rows[0][0]) if rows else None

    def set_setting(self, name: str, value: str) -> None:
        """Remember a value."""
        self._run("INSERT OR REPLACE INTO setting VALUES (?, ?)", name, value)

    def issue_url(self, token: str, expires_at: float) -> None:
        """Remember an upload URL that may be used once, until ``expires_at``."""
        self._run("INSERT INTO upload_url VALUES (?, ?)", token, expires_at)

    def claim_url(self, token: str, now: float) -> bool:
        """Use an upload URL up; false if it is unknown, used or expired."""
        rows = self._run("DELETE FROM upload_url WHERE token = ? RETURNING expires_at", token)
        return bool(rows) and float(rows[0][0]) > now

    def add(self, file: StoredFile) -> None:
        """Add a file."""
        self._run(_ADD, *astuple(file))

    def get(self, hashid: str) -> StoredFile | None:
        """One file, or ``None``."""
        rows = self._run(_GET, hashid)
        return StoredFile(*rows[0]) if rows else None

    def files(self) -> list[StoredFile]:
        """All files, oldest first."""
        rows = self._run(_ALL)
        return [StoredFile(*row) for row in rows]

    def pin(self, hashid: str, status: str | None, now: float) -> bool:
        """Fix a file's status, or with ``None`` let it go on by time; false if it is unknown."""
        rows = self._run(
            "UPDATE file SET pinned = ?, pinned_at = ? WHERE hashid = ? RETURNING id",
            status,
            None if status is None else now,
            hashid,
        )
        return bool(rows)

    def count_view(self, hashid: str) -> None:
        """One more person watched it."""
        self._run("UPDATE file SET views = views + 1 WHERE hashid = ?", hashid)

    def remove(self, hashid: str) -> bool:
        """Drop a file; false if it is unknown."""
        return bool(self._run("DELETE FROM file WHERE hashid = ? RETURNING id", hashid))

    def _run(self, sql: str, *values: str | float | None) -> list[Any]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()
