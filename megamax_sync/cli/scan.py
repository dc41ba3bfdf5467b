"""``--scan``, and ``upload --wait``: do it, or wait for the instance that does it, and sum up."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from megamax_sync.cli import embedded, output, progress
from megamax_sync.cli.attach import attach
from megamax_sync.cli.context import Root, mark_of, say_of_settings, start_log
from megamax_sync.cli.errand import Ending, Errand
from megamax_sync.cli.folders import watched_folders
from megamax_sync.cli.run import harden
from megamax_sync.cli.signals import Signals
from megamax_sync.cli.summary import Summary
from megamax_sync.errors import StateFolderInUse, StoreDamaged
from megamax_sync.log import Redactor
from megamax_sync.state import StateFolder

if TYPE_CHECKING:
    from megamax_sync.config import Settings

_AGAIN = Ending(-1)


def run_scan(root: Root) -> int:
    """Carry ``--scan`` out; return the exit status."""
    settings = root.settings()
    return wait_for(root, settings, watched_folders(settings), handed_in=False)


def wait_for(root: Root, settings: Settings, places: Sequence[bytes], *, handed_in: bool) -> int:
    """Wait until every job in these places is through; sum up; return the exit status.

    ``handed_in``: the jobs are in the queue already, and no folder is scanned.
    """
    harden()
    began = time.monotonic()
    until = None if root.timeout is None else began + root.timeout
    folder = StateFolder(settings.state_dir)
    folder.make()
    redactor = Redactor()
    # The signals first: the queue may be held by somebody else, for as long as it likes.
    with Signals() as signals, progress.display(as_json=root.json) as display:
        mark = mark_of(folder)
        # Only now: on a terminal the display has put itself between the log and stderr.
        start_log(settings, redactor, quiet=display.on_terminal)
        errand = Errand(
            settings=settings,
            folder=folder,
            places=list(places),
            mark=mark,
            until=until,
            signals=signals,
            display=display,
            handed_in=handed_in,
        )
        ending = _carry_out(root, errand)
    summary = Summary.of(errand, ending, time.monotonic() - began)
    summary.say(as_json=root.json)
    return summary.status


def _carry_out(root: Root, errand: Errand) -> Ending:
    while True:
        try:
            errand.folder.lock()
        except StateFolderInUse:
            ending = attach(errand)
            if ending is not None:
                return ending
            continue
        try:
            if not root.sandbox:
                return _do_it(errand, errand.settings)
            with embedded.running(errand.settings) as settings:
                return _do_it(errand, settings)
        finally:
            errand.folder.unlock()


def _do_it(errand: Errand, settings: Settings) -> Ending:
    say_of_settings(settings)
    while (ending := _work(errand, settings)) is _AGAIN:
        # The queue was lost, and what it said so far with it.
        errand.folder.renew()
        errand.mark = 0
    return ending


def _work(errand: Errand, settings: Settings) -> Ending:
    from megamax_sync.daemon import Daemon

    daemon = Daemon(
        settings,
        errand.folder,
        scan=True,
        under=errand.places,
        handed_in=errand.handed_in,
        on_pause=errand.signals.wake,
    )
    # One that was found damaged has been made again by now.
    errand.mark = min(errand.mark, daemon.store.views.mark())
    daemon.start()
    try:

        def look() -> Ending | None:
            if daemon.keeper.broken.is_set():
                return _AGAIN
            try:
                return judge()
            except StoreDamaged:
                # The keeper is about to notice, too.
                return None

        def judge() -> Ending | None:
            # First the watch, then the queue: what it has found by then stands there.
            settled, waiting = daemon.watcher.settled(), dict(daemon.watcher.waiting())
            looked_round = daemon.keeper.looked_round.is_set()
            tally = daemon.store.views.tally(errand.mark, errand.places)
            live = daemon.live()
            errand.display.show(tally, live, daemon.store)
            if live["problem"] == "credentials":
                return Ending(output.REJECTED, live["problem_detail"])
            unsettled = errand.unsettled(daemon.store) if tally.unsettled else []
            if not (settled and looked_round) or any(job.path not in waiting for job in unsettled):
                return None
            left = {path: why for path, why in waiting.items() if errand.concerns(path)}
            ending = errand.judge(tally, daemon.store.settings.paused, left)
            # Only then is nothing more going to be told.
            return ending if ending and daemon.aftermath.settled() else None

        return errand.wait(look)
    finally:
        if not daemon.stop():
            errand.folder.keep()
