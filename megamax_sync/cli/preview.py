"""``--scan --dry-run``: what would be done, one line a file, without doing anything."""

from __future__ import annotations

import os
import stat

from megamax_sync.cli import output
from megamax_sync.cli.context import Root, quiet_log, reading
from megamax_sync.cli.scan import watched_folders
from megamax_sync.clock import Clock
from megamax_sync.config import Settings
from megamax_sync.daemon import rules
from megamax_sync.job import FileStamp, Job, JobState
from megamax_sync.state import StateFolder
from megamax_sync.status import shown
from megamax_sync.store import Store
from megamax_sync.watch.intake import Need, need
from megamax_sync.watch.probe import look
from megamax_sync.watch.rules import Folders, Unwanted
from megamax_sync.watch.scanner import Found, natural, walks
from megamax_sync.watch.settle import Settling, Waits


def preview(root: Root) -> int:
    """Print one line for each file; return the exit status."""
    settings = root.settings()
    watched_folders(settings)
    quiet_log(settings)
    wanted = rules(settings)
    with reading(StateFolder(settings.state_dir)) as store:
        judge = _Judge(settings, store)
        unwanted: list[tuple[bytes, str]] = []

        def leave_out(path: bytes, why: Unwanted) -> None:
            unwanted.append((path, _skip(path, why.reason)))

        for walk in walks(wanted, on_unwanted=leave_out):
            for found in walk:
                lines = [*unwanted, *((one.path, judge.line(one)) for one in found)]
                unwanted.clear()
                for _, line in sorted(lines, key=lambda pair: natural(pair[0])):
                    output.say(line)
            for folder, why in walk.unreadable:
                output.say(_skip(folder, f"cannot be read ({why})"))
    return output.DONE


def _skip(path: bytes, reason: str) -> str:
    return f"skip {shown(path)}: {output.one_line(reason)}"


class _Judge:
    """Knows what a run would do with a file that the rules want."""

    def __init__(self, settings: Settings, store: Store | None) -> None:
        self._folders = Folders(settings.folder, settings.folders)
        self._settings = settings
        self._store = store
        self._clock = Clock()

    def line(self, one: Found) -> str:
        """Say what would be done with it."""
        folder = self._folders.of(one.path, one.root)
        reason, replaced = self._known(one)
        reason = reason or self._unfinished(one)
        if reason is not None:
            return _skip(one.path, reason)
        if replaced is not None:
            # The job keeps the folder that was decided when it was made.
            folder = replaced.folder
        size = output.human_size(one.stamp.size)
        target = "none" if folder is None else folder
        return f"upload {shown(one.path)} ({size} → folder {target})"

    def _known(self, one: Found) -> tuple[str | None, Job | None]:
        """Say why the queue would have nothing done; or return the queued job to be done."""
        if self._store is None:
            return None, None
        then = self._store.orders.forgotten([one.path]).get(one.path)
        if then is not None and then.same_version(one.stamp):
            return "forgotten; megamax-sync upload takes it again", None
        job = self._store.jobs.latest(one.path)
        what = need(job, one.stamp)
        if job is None or what is Need.ADD:
            return None, None
        if job.state is JobState.QUEUED or what is Need.RETURN:
            return None, job
        if what is Need.COMPARE:
            return (
                f"{job.state} as {job.hashid}, unless its content has changed with its times",
                None,
            )
        if job.state is JobState.DONE:
            return f"done as {job.hashid}", None
        if job.state is JobState.FAILED:
            return f"failed: {job.error}; megamax-sync retry {job.id} tries again", None
        if job.state is JobState.SKIPPED:
            return f"skipped: {job.error}", None
        return f"{job.state} already", None

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
            verdict = quiet or settling.judge(look(one.path, one.root))
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        return f"waits: {verdict.reason}" if isinstance(verdict, Waits) else None
