"""How far a queue has come: by which an earlier copy of it is known that has taken its place."""

from __future__ import annotations

from megamax_sync.store.database import Database


class Lineage:
    """The count of what has ever happened to jobs."""

    def __init__(self, database: Database) -> None:
        self._db = database

    @property
    def steps(self) -> int:
        """How many steps of jobs were ever written down, also of those that are dropped."""
        row = self._db.read_one("SELECT seq FROM sqlite_sequence WHERE name = 'history'")
        return row["seq"] if row else 0

    def outgrow(self, steps: int) -> None:
        """Go on counting from there: no copy that was made before counts as far."""
        with self._db.transaction():
            self._db.write("DELETE FROM sqlite_sequence WHERE name = 'history'")
            self._db.write("INSERT INTO sqlite_sequence (name, seq) VALUES ('history', ?)", steps)

    def doubt(self) -> None:
        """Take nothing for granted of what is queued: it may have been sent meanwhile.

        The watch has to find the files again, which asks their sidecars; then the list is asked.
        Not duplicates, which wait for nothing but their sidecars.
        """
        self._db.write(
            "UPDATE job SET ready = 0, cleared = 0, original = NULL, lookup = 1 "
            "WHERE state = 'queued' AND hashid IS NULL"
        )
