"""Letting go of what nobody asks for any more: the steps and attempts of jobs long finished."""

from __future__ import annotations

from megamax_sync.store.table import JobTable

#: Rows of one batch, which is one small commit at the most.
BATCH = 1000


class Pruning(JobTable):
    """Goes through a table from its oldest row on, a batch at a time.

    Both tables are in the order of time, so each batch is a range of the primary key.
    """

    def prune_history(self, after: int, before: float) -> int | None:
        """Drop steps older than ``before`` (Unix time) of jobs that are done or skipped.

        The last step of each job stays. Begins behind the step ``after``; returns the last one that
        was looked at, None when there is nothing older left.
        """
        rows = self.database.read(
            "SELECT id, at FROM history WHERE id > ? ORDER BY id LIMIT ?", after, BATCH
        )
        last = max((row["id"] for row in rows if row["at"] < before), default=None)
        if last is None:
            return None
        self._delete(
            "SELECT id FROM history AS old WHERE id > ? AND id <= ? AND at < ? "
            "AND (SELECT state FROM job WHERE job.id = old.job) IN ('done', 'skipped') "
            "AND EXISTS (SELECT 1 FROM history WHERE job = old.job AND id > old.id)",
            "DELETE FROM history WHERE id = ?",
            (after, last, before),
        )
        return int(last)

    def prune_attempts(self, after: int, before: float) -> int | None:
        """Drop attempts that ended before ``before`` and belong to jobs that are done or skipped.

        What left something on the service that no job has (an orphan, a dropped job's file) stays:
        nobody else knows whose it is. Works as :meth:`prune_history` does.
        """
        rows = self.database.read(
            "SELECT id, begun_at FROM attempt WHERE id > ? ORDER BY id LIMIT ?", after, BATCH
        )
        last = max((row["id"] for row in rows if row["begun_at"] < before), default=None)
        if last is None:
            return None
        self._delete(
            "SELECT attempt.id FROM attempt JOIN job ON job.id = attempt.job "
            "WHERE attempt.id > ? AND attempt.id <= ? AND ended_at < ? "
            "AND job.state IN ('done', 'skipped') AND (outcome = 'failed' "
            "OR outcome = 'arrived' AND attempt.hashid = job.hashid)",
            "DELETE FROM attempt WHERE id = ?",
            (after, last, before),
        )
        return int(last)

    def _delete(self, which: str, delete: str, values: tuple[object, ...]) -> None:
        # Looked for first: a batch in which all is kept is no commit, and wakes nobody.
        old = self.database.read_tuples(which, *values)
        if old:
            self.database.write_each(delete, old)
