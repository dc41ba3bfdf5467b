"""Which sidecars there should be, and by what one is known that nobody has touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from megamax_sync.store.table import JobTable


@dataclass(frozen=True, slots=True)
class Owed:
    """A sidecar that was written. ``mark``: how it looked when it was read last, None for never."""

    job: int
    path: bytes
    hashid: str
    sidecar: bytes
    mark: int | None


class Sidecars(JobTable):
    """The sidecars that were written, in the order of the jobs."""

    def after(self, job: int, most: int) -> list[Owed]:
        """Return the next ones behind this job's; of a path, the newest job's alone (CONTRACT 4).

        One that is due to be written anyway is left out.
        """
        sql = (
            "SELECT id, path, hashid, sidecar, sidecar_mark FROM job AS one WHERE id > ? "
            "AND sidecar IS NOT NULL AND hashid IS NOT NULL AND sidecar_due = 0 AND NOT EXISTS "
            "(SELECT 1 FROM job AS newer WHERE newer.path = one.path AND newer.placed > one.placed "
            "AND newer.hashid IS NOT NULL) ORDER BY id LIMIT ?"
        )
        return [Owed(*row) for row in self.database.read_tuples(sql, job, most)]

    def intact(self, marks: Sequence[tuple[int, int]]) -> None:
        """Note of these jobs, each with its mark, that their sidecars are as they should be."""
        sql = "UPDATE job SET sidecar_mark = ? WHERE id = ?"
        self.database.write_each(sql, [(mark, job) for job, mark in marks])

    def lost(self, jobs: Sequence[int]) -> None:
        """Have the sidecars of these jobs written again."""
        sql = "UPDATE job SET sidecar_due = 1, sidecar_mark = NULL WHERE id = ?"
        self.database.write_each(sql, [(job,) for job in jobs])
