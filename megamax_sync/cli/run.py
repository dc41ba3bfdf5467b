"""The daemon's life in one process: lock, start, signals, systemd, settings read again, stop."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import structlog

from megamax_sync.cli import embedded, output, serving
from megamax_sync.cli.context import Root, say_of_settings, start_log
from megamax_sync.cli.signals import Signals
from megamax_sync.cli.space import wait_for_space
from megamax_sync.config import Settings
from megamax_sync.daemon import Daemon
from megamax_sync.errors import ConfigError, MegamaxError
from megamax_sync.job import JobState
from megamax_sync.log import Redactor
from megamax_sync.state import StateFolder
from megamax_sync.systemd import Notifier
from megamax_sync.units import human_size
from megamax_sync.watch.probe import ignore_lease_breaks

if TYPE_CHECKING:
    from megamax_sync.http import Pages

_log = structlog.get_logger()

#: How often systemd's status line is brought up to date, and rejected credentials are read again.
_LOOK_SECONDS = 5.0
#: How often it is looked whether a part is stuck, where no systemd wants to know it sooner.
_CARE_SECONDS = 30.0
#: How often it is looked whether the first scan has begun, until it has.
_START_SECONDS = 0.05
#: How long parts may take to stop before others are built in their place, in seconds.
_REBUILD_SECONDS = 30.0


def harden() -> None:
    """Keep credentials out of core dumps, and a broken lease from killing the process."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ignore_lease_breaks()


def run_daemon(root: Root) -> int:
    """Run in the foreground until SIGTERM or SIGINT; return the exit status."""
    harden()
    settings, redactor = root.settings(), Redactor()
    start_log(settings, redactor)
    settings.require_watch()
    if not root.sandbox:
        settings.require_credentials()
    folder = StateFolder(settings.state_dir)
    folder.make()
    with Signals(reload=True) as signals:
        folder.lock()
        try:
            if not root.sandbox:
                return Service(root.settings, settings, folder, redactor, signals).run()
            with embedded.running(settings) as with_account:
                account = (with_account.api_url, *_credentials(with_account))

                def again() -> Settings:
                    return embedded.with_account(root.settings(), *account)

                return Service(again, with_account, folder, redactor, signals).run()
        finally:
            folder.unlock()


class Service:
    """One daemon after another, as the settings change, under one lock."""

    def __init__(
        self,
        load: Callable[[], Settings],
        settings: Settings,
        folder: StateFolder,
        redactor: Redactor,
        signals: Signals,
    ) -> None:
        """``load`` reads the settings again; the caller holds the lock of ``folder``."""
        self._load = load
        self._settings = settings
        self._folder = folder
        self._redactor = redactor
        self._signals = signals
        self._notifier = Notifier(os.environ)
        self._ready = False
        self._status = ""
        self._stuck: frozenset[str] = frozenset()
        self._faults: tuple[str, ...] = ()
        self._pages: Pages | None = None
        self._daemon: Daemon

    def run(self) -> int:
        """Run until a signal ends it."""
        say_of_settings(self._settings)
        if not self._begin():
            return output.DONE
        while True:
            self._notify()
            arrived = self._signals.wait(self._patience())
            if self._signals.ending is not None:
                break
            if self._daemon.keeper.broken.is_set():
                if not self._begin_anew():
                    return output.DONE
            elif signal.SIGHUP in arrived:
                self._reload()
            else:
                self._renew_rejected_credentials()
        self._notifier.send("STOPPING=1")
        return output.DONE if self._stop() else output.FAILED

    def _stop(self, *seconds: float) -> bool:
        self._stop_pages()
        clean = self._daemon.stop(*seconds)
        if not clean:
            # What still runs may write the queue: nobody else may, until this process has ended.
            self._folder.keep()
        return clean

    def _begin(self) -> bool:
        """Build and start all parts, once there is space for it; False if a signal came first."""
        begun = wait_for_space(self._started, self._folder, self._signals, self._notifier)
        if begun is not None:
            self._daemon = begun
        return begun is not None

    def _started(self) -> Daemon:
        daemon = self._build(self._settings)
        try:
            self._start(daemon)
        except BaseException:
            self._stop_pages()
            daemon.stop()
            raise
        return daemon

    def _begin_anew(self) -> bool:
        """The queue was lost at work: make another one, and all parts on it."""
        if not self._stop(_REBUILD_SECONDS):
            raise MegamaxError("some parts did not stop, so the queue cannot be made again")
        self._folder.renew()
        return self._begin()

    def _build(self, settings: Settings) -> Daemon:
        # First the address: one that cannot be used is found before anything has begun.
        listener = serving.listen(settings)
        try:
            daemon = Daemon(settings, self._folder, on_pause=self._signals.wake)
        except BaseException:
            serving.close(listener)
            raise
        self._pages = serving.pages(settings, listener, self._folder, daemon)
        return daemon

    def _start(self, daemon: Daemon) -> None:
        daemon.start()
        if self._pages is not None:
            self._pages.start()

    def _stop_pages(self) -> None:
        if self._pages is not None:
            self._pages.stop()

    # -- systemd -----------------------------------------------------------------------------

    def _patience(self) -> float:
        waits = [_CARE_SECONDS]
        if self._notifier.watchdog:
            waits.append(self._notifier.watchdog / 3)
        if self._notifier.heard or self._rejected():
            waits.append(_LOOK_SECONDS)
        if self._notifier.heard and not self._ready:
            waits.append(_START_SECONDS)
        return min(waits)

    def _notify(self) -> None:
        if not self._any_stuck() and self._notifier.watchdog:
            self._notifier.send("WATCHDOG=1")
        if not self._notifier.heard:
            return
        if not self._ready and self._daemon.watcher.begun.is_set():
            self._ready = True
            self._notifier.send("READY=1")
        status = output.one_line(self._status_line() if self._ready else "starting")
        if status != self._status:
            self._status = status
            self._notifier.send(f"STATUS={status}")

    def _any_stuck(self) -> bool:
        """Tell whether a part is stuck; log once where, for whoever has to find out why."""
        stuck = {pulse.part: pulse for pulse in self._daemon.pulses() if pulse.stuck}
        for loop in self._daemon.loops:
            if loop.name in stuck and loop.name not in self._stuck:
                age = round(stuck[loop.name].age, 1)
                _log.error("part.stuck", part=loop.name, seconds=age, place=loop.place())
        self._stuck = frozenset(stuck)
        return bool(stuck)

    def _status_line(self) -> str:
        try:
            counts = self._daemon.store.views.counts()
            paused = self._daemon.store.settings.paused
            problem = self._daemon.problem()
        except MegamaxError as error:
            return str(error)
        line = summary(counts, self._daemon.rate())
        if self._stuck:
            line = f"stuck: {', '.join(sorted(self._stuck))}; {line}"
        if problem:
            line = f"{problem.word}: {problem.detail}; {line}"
        return f"paused; {line}" if paused else line

    # -- settings read again -----------------------------------------------------------------

    def _rejected(self) -> bool:
        problem = self._daemon.problem()
        return problem is not None and problem.word == "credentials"

    def _renew_rejected_credentials(self) -> None:
        """The service rejects them: perhaps somebody has put better ones into the files."""
        if self._rejected():
            settings = self._read()
            if settings is not None:
                self._renew(settings)

    def _renew(self, settings: Settings) -> None:
        for secret in settings.secrets():
            self._redactor.add(secret)
        self._daemon.renew_credentials(*_credentials(settings))

    def _read(self) -> Settings | None:
        """Load the settings; None for those that cannot be used, said once."""
        try:
            settings = self._load()
            settings.require_watch()
            settings.require_credentials()
            self._refuse_to_move(settings)
        except ConfigError as error:
            if error.faults != self._faults:
                _log.error("config.rejected", faults=list(error.faults))
            self._faults = error.faults
            return None
        self._faults = ()
        return settings

    def _refuse_to_move(self, settings: Settings) -> None:
        if settings.state_dir != self._settings.state_dir:
            raise ConfigError(
                f"MEGAMAX_STATE_DIR: '{settings.state_dir}' is not where this instance "
                f"works ('{self._settings.state_dir}'); restart it to move"
            )

    def _reload(self) -> None:
        usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={usec}")
        self._faults = ()
        settings = self._read()
        if settings is not None:
            _log.info("config.reloaded")
            if _what_takes_a_rebuild(settings) != _what_takes_a_rebuild(self._settings):
                self._rebuild(settings)
            else:
                self._renew(settings)
                # Uploads under way go on, at the new pace.
                self._daemon.limit.configure(settings.bwlimit)
                self._settings = settings
                # Also with the same credentials: whoever asks for this has mended something.
                self._daemon.try_service_now()
        self._notifier.send("READY=1")

    def _rebuild(self, settings: Settings) -> None:
        """Stop all parts, which puts uploads back into the queue, and build them anew."""
        if not self._stop(_REBUILD_SECONDS):
            raise MegamaxError("some parts did not stop, so the new settings cannot be used")
        start_log(settings, self._redactor)
        try:
            self._daemon = self._build(settings)
        except ConfigError as error:
            _log.error("config.rejected", faults=list(error.faults))
            self._daemon = self._build(self._settings)
        else:
            self._settings = settings
            say_of_settings(settings)
        self._start(self._daemon)


def summary(counts: Mapping[JobState, int], rate: float) -> str:
    """Say in one line what is going on: ``2 uploading at 45.8 MiB/s, 14 queued, 3 converting``.

    ``rate`` is in bytes a second.
    """
    words = {
        JobState.UPLOADING: "uploading",
        JobState.QUEUED: "queued",
        JobState.PROCESSING: "converting",
        JobState.FAILED: "failed",
    }
    said = {state: f"{counts[state]} {word}" for state, word in words.items() if counts[state]}
    if rate and JobState.UPLOADING in said:
        said[JobState.UPLOADING] += f" at {human_size(rate)}/s"
    return ", ".join(said.values()) or f"nothing to do, {counts[JobState.DONE]} done"


def _credentials(settings: Settings) -> tuple[str, str]:
    login, key = settings.require_credentials()
    return login.get_secret_value(), key.get_secret_value()


def _what_takes_a_rebuild(settings: Settings) -> dict[str, object]:
    return settings.model_dump(exclude={"login", "key", "bwlimit"})
