"""Which files nothing has to be done about: asked of every file at every scan, so it is cheap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from megamax_sync.job import VANISHED
from megamax_sync.store.table import JobTable

#: Path, size, mtime_ns and inode of a file, which is how a version is told from another.
Version = tuple[bytes, int, int, int]

#: What wants another look though its file has not changed equals no version: it has no size.
_VERSION = f"""path, CASE state
    WHEN 'queued' THEN iif(ready, size, NULL)
    WHEN 'skipped' THEN iif(error = '{VANISHED}', NULL, size)
    ELSE size END, mtime_ns, ino"""
_FATE = f"{_VERSION}, id, state, hashid, error"

#: Between two paths there may be so many jobs of files that are gone, or not wanted any more.
BETWEEN = 100


class Fate(NamedTuple):
    """Of which version the newest job of a path is, if that rests, and how it stands."""

    path: bytes
    #: None: nothing is known about a file that looks like this.
    size: int | None
    mtime_ns: int
    ino: int
    job: int
    state: str
    hashid: str | None
    error: str | None

    @property
    def version(self) -> tuple[bytes, int | None, int, int]:
        """What to compare with that of a file."""
        return self[:4]


class Resting(JobTable):
    """The newest job of each path, as far as a scan needs it."""

    def each(self, paths: Sequence[bytes]) -> dict[bytes, Version]:
        """Return by path the version that the newest job of each of these paths is of."""
        sql = f"SELECT {_VERSION} FROM job WHERE path IN ({{}}) ORDER BY placed, id"
        return newest((row[0], row[1], row[2], row[3]) for row in self.of_paths(sql, paths))

    def between(self, first: bytes, last: bytes, most: int) -> list[Version] | None:
        """Return what each job from ``first`` to ``last``, both included, is of, by path.

        Of one path the newest comes last. This takes a third of the time that :meth:`each` takes
        if there is little else between the two. None if the queue holds more than ``most`` there.
        """
        sql = (
            f"SELECT {_VERSION} FROM job WHERE path >= ? AND path <= ? "
            "ORDER BY path, placed LIMIT ?"
        )
        rows = self.database.read_tuples(sql, first, last, most + 1)
        return rows if len(rows) <= most else None

    def fates(self, paths: Sequence[bytes]) -> dict[bytes, Fate]:
        """Return by path what the newest job of each of these paths is of, and how it stands.

        Cheapest for paths of one folder, in order.
        """
        if not paths:
            return {}
        # As :meth:`between`, unless many others lie between these: those of subfolders, say.
        sql = f"SELECT {_FATE} FROM job WHERE path >= ? AND path <= ? ORDER BY path, placed LIMIT ?"
        most = 2 * len(paths) + BETWEEN
        rows = self.database.read_tuples(sql, min(paths), max(paths), most + 1)
        if len(rows) > most:
            sql = f"SELECT {_FATE} FROM job WHERE path IN ({{}}) ORDER BY placed, id"
            rows = list(self.of_paths(sql, paths))
        return {row[0]: Fate._make(row) for row in rows}

    def stirred_since(self, mark: tuple[int, int]) -> tuple[list[bytes] | None, tuple[int, int]]:
        """Return the paths of which a job was queued or skipped since; None if nobody can tell.

        ``mark`` is what the last call returned beside them; any other makes for None. Another
        process may have dropped a job, which leaves no trace: after a commit of another
        connection nobody can tell.
        """
        version = int(self.database.read("PRAGMA data_version")[0][0])
        step = int(self.database.read("SELECT coalesce(max(id), 0) FROM history")[0][0])
        if mark[0] != version:
            return None, (version, step)
        sql = (
            "SELECT DISTINCT path FROM history CROSS JOIN job ON job.id = history.job "
            "WHERE history.id > ? AND history.state IN ('queued', 'skipped')"
        )
        paths = [row["path"] for row in self.database.read(sql, mark[1])]
        return paths, (version, max(mark[1], step))


def newest(rows: Iterable[Version]) -> dict[bytes, Version]:
    """Return by path what comes last of it."""
    return {row[0]: row for row in rows}
