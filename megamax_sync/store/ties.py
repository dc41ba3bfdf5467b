"""Which content an upload is of that no job has: what sidecars say, read after a loss.

In the queue, and not in memory: there may be a hundred thousand, and they are asked for until the
last file has been looked up, across restarts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from megamax_sync.store.database import Database


@dataclass(frozen=True, slots=True)
class Tie:
    """One upload and its content, and the sidecar that says so."""

    hashid: str
    fingerprint: str
    size: int
    sidecar: bytes


class Ties:
    """The table ``tie``."""

    def __init__(self, database: Database) -> None:
        self._db = database
        #: Whether there is any, as far as is known: of most queues there is none, and every new
        #: file is asked about. Nobody else writes them while an instance works on the queue.
        self._any: bool | None = None

    def note(self, ties: Iterable[Tie]) -> None:
        """Write down what sidecars say."""
        self._any = True
        self._db.write_each(
            "REPLACE INTO tie (hashid, fingerprint, size, sidecar) VALUES (?, ?, ?, ?)",
            [(one.hashid, one.fingerprint, one.size, one.sidecar) for one in ties],
        )

    def has_size(self, size: int) -> bool:
        """Tell whether a file of this size may be one of the contents."""
        if self._any is None:
            self._any = self._db.read_one("SELECT 1 FROM tie LIMIT 1") is not None
        return self._any and (
            self._db.read_one("SELECT 1 FROM tie WHERE size = ? LIMIT 1", size) is not None
        )

    def of_content(self, size: int, fingerprint: str) -> list[Tie]:
        """Return what is known to be of this content."""
        sql = (
            "SELECT hashid, fingerprint, size, sidecar FROM tie "
            "WHERE size = ? AND fingerprint = ? ORDER BY hashid"
        )
        return [Tie(*row) for row in self._db.read_tuples(sql, size, fingerprint)]

    def others(self, hashids: Sequence[str], content: Callable[[], str | None]) -> set[str]:
        """Return those of these hashids that are known to be of another content.

        ``content`` reads the file in question, which is spared where nothing is known; None for
        one that cannot be read.
        """
        known: dict[str, set[str]] = {}
        for start in range(0, len(hashids), 500):
            part = hashids[start : start + 500]
            marks = ",".join("?" * len(part))
            sql = f"SELECT hashid, fingerprint FROM tie WHERE hashid IN ({marks})"
            for hashid, fingerprint in self._db.read_tuples(sql, *part):
                known.setdefault(hashid, set()).add(fingerprint)
        if not known:
            return set()
        wanted = content()
        return {hashid for hashid, contents in known.items() if wanted not in contents}

    def tidy(self) -> None:
        """Drop what the jobs that have been made by now say themselves."""
        self._db.write(
            "DELETE FROM tie WHERE EXISTS (SELECT 1 FROM job WHERE job.hashid = tie.hashid)"
        )
        self._any = None
