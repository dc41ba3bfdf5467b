"""One SQLite database: opened, migrated, locked, and its errors translated.

Every transaction is ``BEGIN IMMEDIATE``, since a deferred one that turns into a writer fails when
another was faster. Which of them are on the disk when they end: see :mod:`.durability`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from importlib import resources
from typing import Any
from urllib.parse import quote_from_bytes

from megamax_sync.errors import (
    StoreDamaged,
    StoreEmpty,
    StoreError,
    StoreTooNew,
    StoreTooOld,
)
from megamax_sync.store import copies, places
from megamax_sync.store.changes import Changes, WorkToSend
from megamax_sync.store.durability import Durability
from megamax_sync.store.faults import translated
from megamax_sync.store.scripts import statements

#: How long another process may hold the queue, in seconds: a slow disk holds a commit up.
PATIENCE = 30.0
_ANY_ROWS = ", ".join(
    f"EXISTS (SELECT 1 FROM {table})"
    for table in ("job", "attempt", "history", "forgotten", "setting")
)
#: Up to this size, in bytes, a queue is read with its indexes to see whether it is sound (20 ms a
#: MiB), and up to this one without them (8 ms a MiB). A job takes about 400 bytes.
_READ_DEEPLY, _READ_AT_ALL = 16 << 20, 128 << 20


def migrations() -> list[str]:
    """Return the SQL of every schema step, in order; the n-th leads to ``user_version`` n."""
    folder = resources.files("megamax_sync.store") / "schema"
    steps = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [step.read_text("utf-8") for step in steps]


class Database:
    """A locked connection. Threads share it; a second process opens its own."""

    def __init__(
        self,
        path: str,
        *,
        writable: bool = True,
        immutable: bool = False,
        patience: float = PATIENCE,
        upgrade: bool = True,
    ) -> None:
        """Open ``path``; make it, or bring it up to date, when ``writable``.

        ``immutable``, where it is only read: nobody writes it meanwhile, so that reading leaves
        no WAL files behind. ``patience``: seconds to wait for another process that holds it.
        ``upgrade`` False: an instance works on it, which must keep the schema that it knows.

        A queue of an earlier version is copied before it is brought up to date (see
        :mod:`.copies`); where it is only read, its copy in memory is brought up to date instead.

        Raises :class:`StoreDamaged`, :class:`StoreTooNew`, :class:`StoreTooOld`,
        :class:`StoreFull`, :class:`StoreBusy` or :class:`StoreError`.
        """
        self.path = path
        self._patience = patience
        self._lock = threading.RLock()
        self._depth = 0
        self._changes = Changes()
        #: What wakes those who send: not every commit is their business.
        self.work_to_send = WorkToSend()
        with translated(path):
            self._connection = self._connect(writable, immutable)
            try:
                self._prepare(writable, upgrade)
            except BaseException:
                self._connection.close()
                raise

    def _connect(self, writable: bool, immutable: bool) -> sqlite3.Connection:
        if writable:
            # Made by us, so that it is private from its first moment, whatever the umask.
            # Only made, never opened: closing it would drop the locks that SQLite holds on it for
            # this process's other connections.
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.path, flags, 0o600))
        uri = "file:" + _uri_path(self.path) + ("" if writable else "?mode=ro")
        if immutable and not writable:
            uri += "&immutable=1"
        return self._open(uri)

    def _open(self, uri: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri, uri=True, timeout=self._patience, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        connection.create_function(places.FUNCTION, 2, places.lies_in, deterministic=True)
        return connection

    def _prepare(self, writable: bool, upgrade: bool) -> None:
        known = migrations()
        self._durability = Durability(self._connection, self.path)
        run = self._connection.execute
        (version,) = run("PRAGMA user_version").fetchone()
        if version > len(known):
            raise StoreTooNew(
                f"{self.path} was written by a later megamax-sync (schema {version}, this one "
                f"knows {len(known)}); install that version again"
            )
        run("PRAGMA foreign_keys = ON")
        if not writable:
            if version < 1:
                (tables,) = run("SELECT count(*) FROM sqlite_master").fetchone()
                kind = StoreDamaged if tables else StoreEmpty
                raise kind(f"{self.path} holds no queue")
            if version < len(known):
                self._read_upgraded(known)
            return
        if 0 < version < len(known) and not upgrade:
            raise StoreTooOld(
                f"{self.path} is still in use by an earlier megamax-sync; restart that first"
            )
        self._durability.prepare()
        if version < len(known):
            with self.transaction():
                # Another process may have been faster.
                (version,) = run("PRAGMA user_version").fetchone()
                if 0 < version < len(known):
                    self._keep_a_copy(version, len(known))
                self._upgrade(known)
        self.work_to_send.observe(self._connection)

    def _upgrade(self, known: Sequence[str]) -> None:
        run = self._connection.execute
        (version,) = run("PRAGMA user_version").fetchone()
        for step, script in enumerate(known[version:], version + 1):
            for statement in statements(script):
                run(statement)
            # It travels in the same transaction as the tables it speaks of.
            run(f"PRAGMA user_version = {step}")

    def _keep_a_copy(self, version: int, target: int) -> None:
        # By a connection of its own: the copy shows what is committed, and nobody else can write.
        with contextlib.closing(self._connect(False, False)) as source:
            kept = copies.before_upgrade(source, self.path, target)
        # Whoever only looks at a queue has no use for it, and it takes long to load.
        import structlog

        log = structlog.get_logger()
        log.info("queue.upgraded", old=version, new=target, backup=kept)

    def _read_upgraded(self, known: Sequence[str]) -> None:
        """Go on with a copy in memory, brought up to date: whoever only reads changes no file."""
        with contextlib.ExitStack() as undo:
            memory = self._open(":memory:")
            undo.callback(memory.close)
            self._connection.backup(memory)
            undo.pop_all()
        self._connection.close()
        self._connection = memory
        self._durability = Durability(memory, self.path)
        self._upgrade(known)
        memory.execute("PRAGMA query_only = ON")

    def copy_to(self, path: str, *, replace: bool = False) -> None:
        """Copy the whole queue as it is at one moment, whoever writes it meanwhile.

        Raises :class:`StoreError` and its kin, also where ``path`` exists and is not to be
        replaced, or cannot be made.
        """
        with self._lock, translated(path, "the copy", "made"):
            copies.copy(self._connection, path, replace=replace)

    def close(self) -> None:
        """Close the connection; the last one folds the WAL into the file."""
        with self._lock, translated(self.path):
            self._connection.close()

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """Make everything inside one commit. Nested ones join the outermost, and wait as it does.

        Without ``durable`` a power cut may undo it, until the next with it, or :meth:`flush`.
        """
        with self._lock:
            if self._depth:
                self._depth += 1
                try:
                    yield
                finally:
                    self._depth -= 1
                return
            self._durability.begin(durable)
            self._depth = 1
            before = self._connection.total_changes
            try:
                yield
                self._run("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself after some errors, SQLITE_FULL among them.
                if self._connection.in_transaction:
                    self._run("ROLLBACK")
                raise
            finally:
                self._depth = 0
            changed = self._connection.total_changes != before
            self._durability.committed(changed)
        # Looking for work in vain is no change: those who wake for it would wake one another.
        if changed:
            self._changes.wake()
            self.work_to_send.committed()

    def flush(self) -> None:
        """Have everything that is committed on the disk."""
        with self._lock:
            self._durability.flush()

    def _run(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        with translated(self.path):
            return self._connection.execute(sql, values)

    def write(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """Run one statement in a transaction; return what it RETURNs, fetched to the end.

        An unfetched ``RETURNING`` holds the write lock, so nobody gets the cursor.
        """
        with self.transaction(), translated(self.path):
            return self._connection.execute(sql, values).fetchall()

    def insert(self, sql: str, *values: Any) -> int:
        """Insert one row and return its id."""
        with self.transaction():
            return int(self._run(sql, values).lastrowid or 0)

    def write_each(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement that returns nothing for each of these rows of values."""
        with self.transaction(), translated(self.path):
            self._connection.executemany(sql, rows)

    def read(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """Run one query and return all its rows."""
        with self._lock, translated(self.path):
            return self._connection.execute(sql, values).fetchall()

    def read_tuples(self, sql: str, *values: Any) -> list[Any]:
        """Run one query and return all its rows as tuples, which can be compared with others."""
        with self._lock, translated(self.path):
            cursor = self._connection.cursor()
            cursor.row_factory = None
            return cursor.execute(sql, values).fetchall()

    def read_one(self, sql: str, *values: Any) -> sqlite3.Row | None:
        """Run one query and return its first row, or None."""
        rows = self.read(sql, *values)
        return rows[0] if rows else None

    # -- loss --------------------------------------------------------------------------------

    def is_sound(self) -> bool:
        """Tell whether the queue can be relied on, as far as it is cheap to find out."""
        try:
            size = os.stat(self.path).st_size
            # What is in memory tells nothing about the disk.
            self.read("PRAGMA shrink_memory")
            check = "integrity_check" if size <= _READ_DEEPLY else "quick_check"
            if size > _READ_AT_ALL:
                check = "schema_version"
            rows = self.read(f"PRAGMA {check}")
            # A file that somebody has made empty is a sound database, without any table.
            self.read(f"SELECT {_ANY_ROWS}")
        except (OSError, StoreError):
            return False
        return check == "schema_version" or [row[0] for row in rows] == ["ok"]

    def alone(self) -> AbstractContextManager[bool]:
        """Keep all other threads from the queue for a while."""
        return self._lock

    def replace(self, put: Callable[[], None]) -> None:
        """Close the connection, have another file put in this one's place, and open that.

        Nobody else writes meanwhile. When this fails it can be called again.
        """
        with self._lock, translated(self.path):
            self._connection.close()
            put()
            self._connection = self._connect(writable=True, immutable=False)
            self._prepare(writable=True, upgrade=False)
        self.wake()

    # -- waiting for change ------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Counts up at every commit of ours that changed rows, and at every :meth:`wake`."""
        return self._changes.version

    def wake(self) -> None:
        """Wake everybody who waits for a change, whichever it is: another process's, say."""
        self._changes.wake()
        self.work_to_send.wake()

    def wait(self, seen: int, timeout: float | None) -> int:
        """Wait until :attr:`version` is no longer ``seen``, ``timeout`` seconds at the most."""
        return self._changes.wait(seen, timeout)


def _uri_path(path: str) -> str:
    """Quote a path for SQLite's ``file:`` URIs."""
    return quote_from_bytes(os.fsencode(os.path.abspath(path)))
