"""What the watch and the queue would make of one file now, for ``--dry-run`` and ``explain``."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace

from megamax_sync.cli import output
from megamax_sync.clock import Clock
from megamax_sync.config import Settings
from megamax_sync.job import FileStamp, Job, JobState
from megamax_sync.store import Store
from megamax_sync.watch.companions import Companions
from megamax_sync.watch.intake import Need, need
from megamax_sync.watch.probe import look
from megamax_sync.watch.rules import Folders
from megamax_sync.watch.scanner import Found
from megamax_sync.watch.settle import Settling, Waits


@dataclass(frozen=True)
class Verdict:
    """Why a file would not be uploaded now; None if it would, perhaps by a job there is."""

    reason: str | None = None
    job: Job | None = None


class Judge:
    """Judges files that the rules want."""

    def __init__(self, settings: Settings, store: Store | None) -> None:
        self._folders = Folders(settings.folder, settings.folders)
        self._settings = settings
        self._store = store
        self._clock = Clock()

    def verdict(self, one: Found) -> Verdict:
        """Say what would be done: first what the queue knows, then whether it is finished."""
        known = self._known(one)
        if known.reason is not None:
            return known
        return Verdict(self._unfinished(one), known.job)

    def target(self, one: Found, verdict: Verdict) -> str:
        """Say how much would go where: ``24.1 KiB → folder 12``."""
        # A job keeps the folder that was decided when it was made.
        folder = verdict.job.folder if verdict.job else self._folders.of(one.path, one.root)
        size = output.human_size(one.stamp.size)
        return f"{size} → folder {'none' if folder is None else folder}"

    def _known(self, one: Found) -> Verdict:
        """Say why the queue would have nothing done; or name the job that would be."""
        if self._store is None:
            return Verdict()
        then = self._store.orders.forgotten([one.path]).get(one.path)
        if then is not None and then.same_version(one.stamp):
            return Verdict("forgotten; megamax-sync upload takes it again")
        job = self._store.jobs.latest(one.path)
        what = need(job, one.stamp)
        if job is None or what is Need.ADD:
            return Verdict()
        if job.state is JobState.QUEUED or what is Need.RETURN:
            return Verdict(job=job)
        if what is Need.COMPARE:
            return Verdict(
                f"{job.state} as {job.hashid}, unless its content has changed with its times"
            )
        if job.state is JobState.DONE:
            return Verdict(f"done as {job.hashid}")
        if job.state is JobState.FAILED:
            return Verdict(f"failed: {job.error}; megamax-sync retry {job.id} tries again")
        if job.state is JobState.SKIPPED:
            return Verdict(job.error)
        return Verdict(f"{job.state} already")

    def _unfinished(self, one: Found) -> str | None:
        """Say why the watch would not find the file finished now."""
        settling = Settling(self._settings.settle_seconds, allow_sparse=self._settings.allow_sparse)
        try:
            status = os.lstat(one.path)
            if not stat.S_ISREG(status.st_mode):
                return "no regular file any more"
            quiet = settling.quiet(
                FileStamp.of(status), monotonic=self._clock.monotonic(), wall=self._clock.wall()
            )
            verdict = quiet or settling.judge(
                # In this order, as the watch has it.
                replace(look(one.path), companion=Companions().of(one.path, one.root))
            )
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        return f"waits: {verdict.reason}" if isinstance(verdict, Waits) else None
