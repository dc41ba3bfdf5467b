"""What ``--scan`` says at its end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from megamax_sync.cli import output
from megamax_sync.cli.context import reading
from megamax_sync.cli.errand import Ending, Errand
from megamax_sync.job import Job, JobState
from megamax_sync.status import job_row, path_b64, readable_path, shown
from megamax_sync.units import human_seconds

_log = structlog.get_logger()

#: What the next run goes on with.
_UNFINISHED = (JobState.QUEUED, JobState.UPLOADING, JobState.PROCESSING)


@dataclass(frozen=True)
class Summary:
    """The result of one run. ``failed`` are also those of earlier runs that are still there, and
    ``jobs`` those that moved, and those that are left.
    """

    status: int
    reason: str | None
    waiting: Mapping[bytes, str]
    jobs: list[Job]
    failed: list[Job]
    counts: Mapping[JobState, int]
    seconds: float

    @classmethod
    def of(cls, errand: Errand, ending: Ending, seconds: float) -> Summary:
        """Read the result from the queue, now that nobody of ours writes it any more."""
        with reading(errand.folder) as store:
            if store is None:
                jobs, failed, counts = [], [], dict.fromkeys(JobState, 0)
            else:
                moved = store.views.moved_since(errand.mark, errand.places)
                left = store.views.in_states(_UNFINISHED, errand.places)
                jobs = list({job.id: job for job in [*moved, *left]}.values())
                failed = [
                    job
                    for job in store.views.failed_now(errand.places)
                    if os.path.lexists(job.path)
                ]
                counts = store.views.tally(errand.mark, errand.places).counts
        status = ending.status
        if status == output.DONE and failed:
            status = output.FAILED
        return cls(status, ending.reason, ending.waiting, jobs, failed, counts, seconds)

    def say(self, *, as_json: bool) -> None:
        """Print it on stdout, and why it ended early on stderr."""
        if as_json:
            output.say_json(self._document())
        else:
            self._for_people()
        if self.reason and sys.stderr.isatty():
            output.complain(self.reason)
        elif self.reason:
            # Among the log's lines it has to be one of them.
            _log.warning("scan.ended", reason=self.reason, exit=self.status)

    def _document(self) -> dict[str, object]:
        known = {job.id for job in self.jobs}
        jobs = [*self.jobs, *(job for job in self.failed if job.id not in known)]
        return {
            "done": self.counts[JobState.DONE],
            "failed": len(self.failed),
            "skipped": self.counts[JobState.SKIPPED],
            "queued": self._left(),
            "waiting": [
                {"path": readable_path(path), "path_b64": path_b64(path), "reason": reason}
                for path, reason in self.waiting.items()
            ],
            "jobs": [job_row(job, now=time.time()) for job in jobs],
            "seconds": round(self.seconds, 3),
            "exit": self.status,
        }

    def _left(self) -> int:
        """Count what the next run goes on with."""
        return sum(self.counts[state] for state in _UNFINISHED)

    def _for_people(self) -> None:
        for path, reason in self.waiting.items():
            output.say(f"waiting {shown(path)}: {reason}")
        for job in self.failed:
            output.say(f"failed {shown(job.path)}: {output.one_line(job.error or '')}")
        counts = [
            f"{self.counts[JobState.DONE]} done",
            f"{len(self.failed)} failed",
            f"{self.counts[JobState.SKIPPED]} skipped",
        ]
        if self._left():
            counts.append(f"{self._left()} left for the next run")
        output.say(f"{', '.join(counts)} in {human_seconds(self.seconds)}")
