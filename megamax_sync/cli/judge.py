"""What the watch and the queue would make of one file now, for ``--dry-run`` and ``explain``."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import replace

from megamax_sync.cli import output
from megamax_sync.cli.likeness import Likeness, Verdict
from megamax_sync.clock import Clock
from megamax_sync.config import Settings
from megamax_sync.job import FileStamp, Job, JobState
from megamax_sync.store import Store
from megamax_sync.units import human_size
from megamax_sync.wanted import rules
from megamax_sync.watch.companions import Companions
from megamax_sync.watch.need import Need, need
from megamax_sync.watch.probe import NO_LEASE, ignore_lease_breaks, is_whole, look
from megamax_sync.watch.rules import Folders
from megamax_sync.watch.scanner import Found
from megamax_sync.watch.settle import Settling, Signs, Waits, Writers

_NOTHING = Verdict()


class Judge:
    """Judges files that the rules want."""

    def __init__(self, settings: Settings, store: Store | None) -> None:
        # It takes leases for a moment, and whoever opens the file just then breaks them.
        ignore_lease_breaks()
        self._likeness = Likeness(settings, store)
        self._folders = Folders(settings.folder, settings.folders)
        self._root_of = rules(settings).root_of
        self._settings = settings
        self._store = store
        self._clock = Clock()

    def verdict(self, one: Found) -> Verdict:
        """Say what would be done: first what the queue knows, then whether it is finished."""
        return self.verdicts([one])[0]

    def verdicts(self, files: Sequence[Found]) -> list[Verdict]:
        """Say the same of many files; of those of one folder at the least cost."""
        verdicts = self._known_each(files)
        left = _left(verdicts)
        closer = self._likeness.judge([files[n] for n in left], [verdicts[n] for n in left])
        for n, verdict in zip(left, closer, strict=True):
            verdicts[n] = verdict
        left = _left(verdicts)
        unfinished, unknown = self._unfinished([files[n] for n in left])
        for n in left if unfinished or unknown else ():
            path = files[n].path
            doubt = NO_LEASE if path in unknown else None
            verdicts[n] = verdicts[n]._replace(reason=unfinished.get(path), doubt=doubt)
        return verdicts

    def folder(self, one: Found, verdict: Verdict) -> int | None:
        """Return the Megamax folder that it would go to."""
        # A job keeps the folder that was decided when it was made; of one that was handed in, it
        # is decided when its file is found finished.
        job = verdict.job
        if job is not None and (job.folder is not None or job.root is not None or job.ready):
            return job.folder
        return self._folders.of(one.path, one.root or self._root_of(one.path))

    def target(self, one: Found, verdict: Verdict) -> str:
        """Say how much would go where."""
        return target(one.stamp.size, self.folder(one, verdict))

    def _known_each(self, files: Sequence[Found]) -> list[Verdict]:
        if self._store is None:
            return [_NOTHING] * len(files)
        paths = [one.path for one in files]
        dropped = self._store.orders.forgotten(paths)
        fates = self._store.resting.fates(paths)
        verdicts: list[Verdict] = []
        #: Those of which more has to be read.
        stirring: list[int] = []
        for n, one in enumerate(files):
            verdict, fate = _NOTHING, fates.get(one.path)
            if one.path in dropped and dropped[one.path].same_version(one.stamp):
                verdict = Verdict("forgotten; megamax-sync upload takes it again")
            elif fate is not None and fate.version == one.version and fate.state != "queued":
                verdict = Verdict(_rests(fate.state, fate.job, fate.hashid, fate.error))
            elif fate is not None:
                stirring.append(n)
            verdicts.append(verdict)
        jobs = self._store.jobs.latest_each([paths[n] for n in stirring])
        for n in stirring:
            verdicts[n] = _known(files[n], jobs.get(paths[n]))
        return verdicts

    def _unfinished(self, files: Sequence[Found]) -> tuple[dict[bytes, str], set[bytes]]:
        """Say of which of these files the watch would not find them finished now, and why; and of
        which of them it is unknown whether anybody writes.
        """
        reasons: dict[bytes, str] = {}
        unknown: set[bytes] = set()
        looked: list[tuple[Found, Settling, Signs]] = []
        settle, sparse = self._settings.settle_seconds, self._settings.allow_sparse
        before = self._clock.wall() - settle
        whole: list[Found] = []
        for one in files:
            # Nearly all are, and nothing has to be made to tell this.
            if is_whole(one.path, before, allow_sparse=sparse):
                whole.append(one)
                continue
            settling = Settling(settle, allow_sparse=sparse)
            try:
                status = os.lstat(one.path)
                if not stat.S_ISREG(status.st_mode):
                    reasons[one.path] = "no regular file any more"
                    continue
                quiet = settling.quiet(
                    FileStamp.of(status), monotonic=self._clock.monotonic(), wall=self._clock.wall()
                )
                if quiet is not None:
                    reasons[one.path] = f"waits: {quiet.reason}"
                else:
                    looked.append((one, settling, look(one.path)))
            except OSError as error:
                reasons[one.path] = f"cannot be read ({error.strerror})"
        # In this order, as the watch has it.
        companions = Companions()
        looked += [
            (one, Settling(settle, allow_sparse=sparse), Signs(Writers.NONE))
            for one in whole
            if not companions.none_in(one.path.rpartition(b"/")[0] or b"/", one.root)
        ]
        for one, settling, signs in looked:
            try:
                beside = companions.of(one.path, one.root)
            except OSError as error:
                reasons[one.path] = f"cannot be read ({error.strerror})"
                continue
            verdict = settling.judge(signs if beside is None else replace(signs, companion=beside))
            if isinstance(verdict, Waits):
                reasons[one.path] = f"waits: {verdict.reason}"
            if signs.writers is Writers.UNKNOWN:
                unknown.add(one.path)
        return reasons, unknown


def target(size: int, folder: int | None) -> str:
    """Say how much would go where: ``24.1 KiB → folder 12``."""
    where = "none" if folder is None else folder
    return output.signs(f"{human_size(size)} → folder {where}")


def _left(verdicts: Sequence[Verdict]) -> list[int]:
    """Say by number which of these have nothing against an upload."""
    return [n for n, verdict in enumerate(verdicts) if verdict.reason is None]


def _known(one: Found, job: Job | None) -> Verdict:
    """Say why the queue would have nothing done; or name the job that would be."""
    what = need(job, one.stamp)
    if job is None or what is Need.ADD:
        return _NOTHING
    if job.state is JobState.QUEUED or what is Need.RETURN:
        return Verdict(job=job)
    if what is Need.COMPARE:
        return Verdict(
            f"{job.state} as {job.hashid}, unless its content has changed with its times"
        )
    return Verdict(_rests(job.state, job.id, job.hashid, job.error))


def _rests(state: str, job: int, hashid: str | None, error: str | None) -> str | None:
    """Say how the job of a file stands about which there is nothing to be done."""
    if state == JobState.DONE:
        return f"done as {hashid}"
    if state == JobState.FAILED:
        return f"failed: {error}; megamax-sync retry {job} tries again"
    return error if state == JobState.SKIPPED else f"{state} already"
