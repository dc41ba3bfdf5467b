"""Why a file is, or is not, going to be uploaded."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from megamax_sync.clock import Clock, iso
from megamax_sync.config import Settings
from megamax_sync.job import FileStamp, Job, JobState
from megamax_sync.status import shown
from megamax_sync.store import Store
from megamax_sync.wanted import rules
from megamax_sync.watch.need import Need, need
from megamax_sync.watch.rules import Unwanted
from megamax_sync.watch.scanner import Found

if TYPE_CHECKING:
    from megamax_sync.cli.judge import Judge
    from megamax_sync.cli.likeness import Verdict


class Explanation:
    """Goes through the rules in the order in which the daemon does."""

    def __init__(self, settings: Settings, store: Store | None) -> None:
        self._settings = settings
        self._store = store
        self._rules = rules(settings)

    def of(self, path: bytes) -> str | None:
        """Return the sentence; None for what is not there and never was."""
        path = self._as_watched(path)
        job = self._store.jobs.latest(path) if self._store else None
        try:
            status = os.lstat(path)
        except OSError as error:
            return self._missing(job, error)
        if stat.S_ISDIR(status.st_mode):
            return "a folder; explain takes files"
        unwanted = self._against(path, status, job)
        if unwanted is not None:
            return unwanted.reason
        if not stat.S_ISREG(status.st_mode):
            return "no regular file"
        root = job.root if job else self._rules.root_of(path)
        one = Found(path, root, FileStamp.of(status))
        from megamax_sync.cli.judge import Judge

        judge = Judge(self._settings, self._store)
        verdict = judge.verdict(one)
        return verdict.reason or self._goes(judge, one, verdict)

    def _as_watched(self, path: bytes) -> bytes:
        """Name the file as the scan does, where its watched folder is reached through a link."""
        if self._rules.root_of(path) is None:
            from megamax_sync.wanted import as_watched

            real = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
            named = as_watched(self._settings, real)
            return path if self._rules.root_of(named) is None else named
        return path

    @staticmethod
    def _missing(job: Job | None, error: OSError) -> str | None:
        if job is not None:
            detail = f" ({job.error})" if job.error else ""
            hashid = f" as {job.hashid}" if job.hashid else ""
            return f"{job.state}{hashid}{detail}; the file is not there: {error.strerror}"
        return None if isinstance(error, FileNotFoundError) else f"unreadable: {error.strerror}"

    def _against(self, path: bytes, status: os.stat_result, job: Job | None) -> Unwanted | None:
        """Return the rule that decides against what lies there, if one is asked at all.

        None is about the version of a file that a job has already; a queued job's file only has
        to be large enough, unless it was handed in.
        """
        what = need(job, FileStamp.of(status)) if stat.S_ISREG(status.st_mode) else Need.ADD
        if what in {Need.ADD, Need.COMPARE, Need.RETURN}:
            return self._unwanted(path, status)
        handed_in = job is not None and job.root is None
        if what is not Need.UPDATE or (handed_in and status.st_size):
            return None
        return self._rules.unwanted_size(status.st_size)

    def _unwanted(self, path: bytes, status: os.stat_result) -> Unwanted | None:
        root = self._rules.root_of(path)
        if root is None:
            return Unwanted(
                "outside",
                "outside the watched folders (MEGAMAX_WATCH); megamax-sync upload takes it",
            )
        folder = os.path.dirname(path)
        unwanted = self._rules.unwanted_way(folder, root) or _below_link(folder, root)
        if unwanted is None and stat.S_ISLNK(status.st_mode):
            return Unwanted("symlink", "a symbolic link, which is not followed")
        unwanted = unwanted or self._rules.unwanted_name(path, root)
        if unwanted is None and stat.S_ISREG(status.st_mode):
            return self._rules.unwanted_size(status.st_size)
        return unwanted

    def _goes(self, judge: Judge, one: Found, verdict: Verdict) -> str:
        """It is wanted and finished: what it waits for."""
        target = judge.target(one, verdict)
        if verdict.doubt is not None:
            return f"{self._next(verdict, target)}; {verdict.doubt}"
        return self._next(verdict, target)

    def _next(self, verdict: Verdict, target: str) -> str:
        if self._store is not None and self._store.settings.paused:
            return f"waits: uploads are paused, megamax-sync resume lets them go on ({target})"
        job = verdict.job
        if job is None or job.state is not JobState.QUEUED:
            return f"will be uploaded ({target})"
        if job.next_attempt_at > Clock().now():
            error = f" after: {job.error}" if job.error else ""
            return f"queued: next attempt at {iso(job.next_attempt_at)}{error} ({target})"
        return f"queued as job {job.id}: waits for a worker ({target})"


def _below_link(folder: bytes, root: bytes) -> Unwanted | None:
    """Tell whether a walk of ``root`` does not come to this folder because of a link on the way."""
    part = root.rstrip(b"/")
    for name in folder[len(part) + 1 :].split(b"/"):
        part += b"/" + name
        if name and os.path.islink(part):
            link = f"below the symbolic link {shown(part)}, which is not followed"
            return Unwanted("symlink", link)
    return None
