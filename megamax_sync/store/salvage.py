"""What can still be read of a damaged queue, and how it is put into a new one.

Jobs of watched folders are not taken along: the files, their sidecars and the account's list say
more reliably what has been uploaded. What stands nowhere else is: settings that people made, files
that were forgotten, uploads of which nobody knows whether they have arrived, orphans, and files
that were handed in from anywhere.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any
from urllib.parse import quote_from_bytes

from megamax_sync.errors import StoreError, StoreFull
from megamax_sync.job import FileStamp
from megamax_sync.store.database import Database
from megamax_sync.store.jobs import Jobs
from megamax_sync.store.journal import Attempt

#: What a new queue says of itself.
_OWN = ("born", "lost_at", "rebuilding")
_FORGOTTEN = ("path", "size", "mtime_ns", "ctime_ns", "dev", "ino")
_HANDED_IN = ("id", *_FORGOTTEN, "folder")
_ATTEMPT = tuple(Attempt.__dataclass_fields__)
_Row = tuple[Any, ...]


@dataclass
class Salvage:
    """Rows of a damaged queue, as far as they could be read."""

    settings: dict[str, str] = field(default_factory=dict)
    forgotten: list[_Row] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    #: Files that were handed in: path, stamp, folder.
    handed_in: dict[bytes, tuple[FileStamp, int | None]] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Say how much it is."""
        return {
            "settings": len(self.settings),
            "forgotten": len(self.forgotten),
            "attempts": len(self.attempts),
            "handed_in": len(self.handed_in),
        }


def salvage(path: str) -> Salvage:
    """Read what can be read, and change nothing. Raises nothing."""
    saved = Salvage()
    name = quote_from_bytes(os.fsencode(os.path.abspath(path)))
    with contextlib.suppress(sqlite3.Error, TypeError, ValueError):
        connection = sqlite3.connect(f"file:{name}?mode=ro", uri=True, timeout=1.0)
        # Bytes that are no text any more must not end the reading.
        connection.text_factory = lambda text: text.decode("utf-8", "replace")
        with contextlib.closing(connection):
            _read(connection, saved)
    return saved


def _read(connection: sqlite3.Connection, saved: Salvage) -> None:
    for name, value in _rows(connection, "setting", ("name", "value"), "name"):
        if name not in _OWN:
            saved.settings[name] = value
    saved.forgotten = _rows(connection, "forgotten", _FORGOTTEN, "path")
    for row in _rows(connection, "attempt", _ATTEMPT, "id"):
        attempt = Attempt(*row)
        lost = attempt.outcome is None and attempt.step != "begun"
        if lost or (attempt.outcome == "discarded" and attempt.hashid):
            saved.attempts.append(attempt)
    put_away = {row[0] for row in _rows(connection, "put_away", ("job",), "job")}
    for job, path, *stamp, folder in _rows(
        connection, "job", _HANDED_IN, "id", "root IS NULL AND state <> 'skipped'"
    ):
        # Nobody handed in what lies in an archive: it is done, and was brought there for good.
        if job not in put_away:
            # Of one path, the newest comes last.
            saved.handed_in[path] = (FileStamp(*stamp), folder)


def _rows(
    connection: sqlite3.Connection,
    table: str,
    columns: Sequence[str],
    key: str,
    where: str = "TRUE",
) -> list[_Row]:
    """Read a table from both its ends, as far as a broken page in between lets us."""
    found: dict[Any, _Row] = {}
    for order in ("", " DESC"):
        sql = f"SELECT {key}, {', '.join(columns)} FROM {table} WHERE {where} ORDER BY {key}{order}"
        try:
            for row in takewhile(lambda row: row[0] not in found, connection.execute(sql)):
                found[row[0]] = row[1:]
        except (sqlite3.Error, OverflowError):
            continue
        break
    return [found[one] for one in sorted(found)]


def replant(
    saved: Salvage,
    database: Database,
    jobs: Jobs,
    root_of: Callable[[bytes], bytes | None],
) -> None:
    """Put it into a new queue, in one commit. A row that is broken is left out.

    ``root_of`` names the watched folder of a path.
    """
    with database.transaction():
        for name, value in saved.settings.items():
            _try(database, "INSERT INTO setting (name, value) VALUES (?, ?)", name, value)
        marks = ", ".join("?" * len(_FORGOTTEN))
        for row in saved.forgotten:
            _try(database, f"INSERT INTO forgotten VALUES ({marks})", *row)
        made: dict[bytes, int] = {}

        def job_of(path: bytes, stamp: FileStamp, root: bytes | None, folder: int | None) -> int:
            """Queue a file for the watch to look at."""
            if path not in made:
                made[path] = jobs.add(
                    path,
                    stamp,
                    root=root,
                    folder=folder,
                    ready=False,
                    reason="saved from the damaged queue",
                )
            return made[path]

        # Where the others go, the watch decides; it does so only for what is not known to be its.
        sent = {attempt.path for attempt in saved.attempts if attempt.outcome is None}
        for path, (stamp, folder) in saved.handed_in.items():
            job_of(path, stamp, root_of(path) if path in sent else None, folder)
        columns = _ATTEMPT[1:]
        marks = ", ".join("?" * len(columns))
        for attempt in saved.attempts:
            values = {name: getattr(attempt, name) for name in columns}
            values["job"] = None
            if attempt.outcome is None:
                stamp = FileStamp(attempt.size, attempt.mtime_ns, 0, 0, attempt.ino)
                values["job"] = job_of(attempt.path, stamp, root_of(attempt.path), attempt.folder)
            sql = f"INSERT INTO attempt ({', '.join(columns)}) VALUES ({marks})"
            _try(database, sql, *values.values())


def _try(database: Database, sql: str, *values: Any) -> None:
    try:
        database.insert(sql, *values)
    except StoreFull:
        # Not the row's fault, and SQLite has rolled all of it back.
        raise
    except StoreError:
        return
