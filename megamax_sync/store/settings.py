"""What people set while the program runs, kept so that it outlasts a restart."""

from __future__ import annotations

from megamax_sync.store.database import Database


class Settings:
    """The table ``setting``: names and values, both text."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def get(self, name: str) -> str | None:
        """Return the value of this name, None where it is not set."""
        row = self._db.read_one("SELECT value FROM setting WHERE name = ?", name)
        return row["value"] if row else None

    def put(self, name: str, value: str | None) -> None:
        """Set a value; None takes it away."""
        if value is None:
            self._db.write("DELETE FROM setting WHERE name = ?", name)
        else:
            self._db.write("REPLACE INTO setting (name, value) VALUES (?, ?)", name, value)

    @property
    def paused(self) -> bool:
        """Uploads are held; tracking goes on."""
        return self.get("paused") == "1"

    @paused.setter
    def paused(self, value: bool) -> None:
        self.put("paused", "1" if value else None)

    @property
    def born(self) -> str | None:
        """By which this queue is known from a new one; None before the first start is through."""
        return self.get("born")

    @property
    def lost_at(self) -> float | None:
        """When it was found that the queue before this one was lost; Unix time, None for never."""
        value = self.get("lost_at")
        return None if value is None else float(value)

    @lost_at.setter
    def lost_at(self, value: float | None) -> None:
        self.put("lost_at", None if value is None else repr(value))

    @property
    def rebuilding(self) -> str | None:
        """How the queue before this one was lost, while this is still made from what is left."""
        return self.get("rebuilding")

    @rebuilding.setter
    def rebuilding(self, value: str | None) -> None:
        self.put("rebuilding", value)

    @property
    def bwlimit(self) -> str | None:
        """A bandwidth limit in place of the configured one, as MEGAMAX_BWLIMIT is written."""
        return self.get("bwlimit")

    @bwlimit.setter
    def bwlimit(self, value: str | None) -> None:
        self.put("bwlimit", value)
