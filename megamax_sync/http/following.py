"""Counts what happens to jobs, from what the queue writes down anyway: no stage knows of it.

Each look goes on where the last one ended, so that it costs what has happened since, however many
jobs there are. As a counter has to, all begins at nought with the program.
"""

from __future__ import annotations

import threading
from collections import Counter

from megamax_sync.job import JobState
from megamax_sync.meters import Histogram
from megamax_sync.store import Outcome, Store

#: What one look takes account of at the most; the rest comes with the next.
_MOST = 2000
#: Which stage a job has passed that went from the one state to the other.
_STAGES = {
    (JobState.QUEUED, JobState.UPLOADING): "wait",
    (JobState.UPLOADING, JobState.PROCESSING): "upload",
    (JobState.PROCESSING, JobState.DONE): "convert",
}
#: Every outcome there is, so that each begins at nought and not when it is first seen.
OUTCOMES = ("arrived", "failed", "discarded", "unknown", "reconciled")


class Follower:
    """Counts and durations since it was made. For many threads, one at a time."""

    def __init__(self, store: Store) -> None:
        self._lock = threading.Lock()
        self._step = store.pages.last_step()
        self._attempt = store.pages.last_attempt()
        #: Attempts without an outcome, and whether they were counted as unknown.
        self._open = {one.id: one.unknown for one in store.pages.open_attempts()}
        #: Uploads that ended, by outcome; one that ends as unknown may be reconciled later.
        self.uploads: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        #: Jobs that have come into each state.
        self.moves: Counter[JobState] = Counter(dict.fromkeys(JobState, 0))
        #: Durations of stages: ``wait``, ``upload``, ``convert``.
        self.stages = {stage: Histogram() for stage in _STAGES.values()}

    def look(self, store: Store) -> None:
        """Take account of what has happened since the last look."""
        with self._lock:
            for move in store.pages.moves(self._step, _MOST):
                self._step = move.id
                if move.left is move.state:
                    # A word of the service's about a job that stays where it is.
                    continue
                self.moves[move.state] += 1
                stage = _STAGES.get((move.left, move.state)) if move.left else None
                if stage is not None:
                    self.stages[stage].observe(move.at - move.since)
            for one in store.pages.outcomes(self._attempt, list(self._open)[:_MOST], _MOST):
                self._attempt = max(self._attempt, one.id)
                self._heard(one)

    def _heard(self, one: Outcome) -> None:
        was_unknown = self._open.pop(one.id, False)
        if one.outcome is None:
            self._open[one.id] = one.unknown
            if one.unknown and not was_unknown:
                self.uploads["unknown"] += 1
        elif not was_unknown:
            self.uploads[one.outcome] += 1
        elif one.outcome == "arrived":
            self.uploads["reconciled"] += 1
