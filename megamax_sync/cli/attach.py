"""``--scan`` beside a running instance: hand the files over, and watch that one work."""

from __future__ import annotations

import os

import structlog

from megamax_sync.cli import output
from megamax_sync.cli.errand import Ending, Errand
from megamax_sync.clock import Clock
from megamax_sync.control import ask
from megamax_sync.errors import StoreBusy
from megamax_sync.job import FileStamp, Job
from megamax_sync.store import Store
from megamax_sync.wanted import rules
from megamax_sync.watch.intake import Intake
from megamax_sync.watch.rules import Folders
from megamax_sync.watch.scanner import walks

_log = structlog.get_logger()

#: A file that changed this often while we looked is being written.
_CHANGES = 2
_TAKE_OVER = Ending(-1)
#: How long the other instance may take to answer, in seconds: signals and --timeout wait as long.
_PATIENCE = 1.0


def attach(errand: Errand) -> Ending | None:
    """Wait for the running instance to do it; None if that one has ended meanwhile."""
    with Store(errand.folder.queue, Clock(), patience=_PATIENCE) as store:
        if not errand.handed_in:
            try:
                _hand_over(errand, store)
            except _Ended as ended:
                return ended.ending
        ask(errand.folder.socket, "wake", timeout=_PATIENCE)
        _log.info("scan.attached", pid=errand.folder.owner())
        ending = errand.wait(_Watch(errand, store).look)
    return None if ending is _TAKE_OVER else ending


class _Ended(Exception):
    """The errand is over in the middle of something."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.reason)
        self.ending = ending


def _hand_over(errand: Errand, store: Store) -> None:
    """Queue what the folders hold. Raises :class:`_Ended`."""

    def beat(seconds: float = 0.0) -> None:
        ending = errand.rest(seconds)
        if ending is not None:
            raise _Ended(ending)

    settings = errand.settings
    wanted = rules(settings)
    intake = Intake(store, Folders(settings.folder, settings.folders), beat)
    for walk in walks(wanted):
        for found in walk:
            while True:
                beat()
                try:
                    intake.take(intake.sift(found), ready=False)
                except StoreBusy:
                    # The other instance does not get on with its commit: a slow disk, a stop.
                    beat(_PATIENCE / 10)
                else:
                    break


class _Watch:
    """Looks at the queue and the other instance."""

    def __init__(self, errand: Errand, store: Store) -> None:
        self._errand = errand
        self._store = store
        self._stamps: dict[bytes, FileStamp] = {}
        self._changes: dict[bytes, int] = {}

    def look(self) -> Ending | None:
        """Tell whether it is over."""
        errand, store = self._errand, self._store
        if not errand.folder.in_use():
            return _TAKE_OVER
        live = ask(errand.folder.socket, "live", timeout=_PATIENCE)
        tally = store.views.tally(errand.mark, errand.places)
        errand.display.show(tally, live, store)
        waiting = {}
        for job in errand.unsettled(store) if tally.unsettled else []:
            reason = job.error or self._still_changing(job)
            if reason is None:
                return self._rejected(live)
            waiting[job.path] = reason
        ending = errand.judge(tally, store.settings.paused, waiting)
        if ending and store.outbox.owed(errand.places):
            ending = None
        return ending or self._rejected(live)

    @staticmethod
    def _rejected(live: dict[str, object] | None) -> Ending | None:
        if live is not None and live["problem"] == "credentials":
            return Ending(output.REJECTED, str(live["problem_detail"]))
        return None

    def _still_changing(self, job: Job) -> str | None:
        """Say that a file is being written, once it has changed again and again."""
        try:
            stamp = FileStamp.of(os.lstat(job.path))
        except OSError:
            return None
        before = self._stamps.setdefault(job.path, stamp)
        if before != stamp:
            self._stamps[job.path] = stamp
            self._changes[job.path] = self._changes.get(job.path, 0) + 1
        return "still changing" if self._changes.get(job.path, 0) >= _CHANGES else None
