"""What every command needs: the root's options, the settings, the log, the queue."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from megamax_sync.cli import output
from megamax_sync.clock import Clock
from megamax_sync.control import ask
from megamax_sync.errors import StoreDamaged, StoreEmpty, StoreError
from megamax_sync.state import StateFolder

if TYPE_CHECKING:
    from megamax_sync.config import Settings
    from megamax_sync.log import Redactor
    from megamax_sync.store import Store

#: A queue that another process is just making is waited for this long, in seconds.
_BEING_MADE = 2.0
#: An order waits this long for an instance that is writing, in seconds.
_PATIENCE = 5.0


@dataclass(frozen=True)
class Root:
    """The options of the root command, which come before a sub-command."""

    scan: bool = False
    dry_run: bool = False
    sandbox: bool = False
    watch: tuple[str, ...] = ()
    config: str | None = None
    timeout: float | None = None
    json: bool = False

    def settings(self) -> Settings:
        """Read the settings. With ``--sandbox``, of the sandbox's own state folder.

        Raises :class:`~megamax_sync.errors.ConfigError`.
        """
        # Here and not above, as the store below: --help needs neither; they take 15 and 40 ms.
        from megamax_sync.config import load

        settings = load(self.config, {"watch": self.watch}, os.environ)
        if self.sandbox:
            from megamax_sync.cli import embedded

            return embedded.own_folders(settings)
        return settings

    def folder(self) -> StateFolder:
        """Return the state folder that these options lead to."""
        return StateFolder(self.settings().state_dir)


def start_log(settings: Settings, redactor: Redactor, *, quiet: bool = False) -> None:
    """Set the log up. ``quiet``: for commands whose answer is on stdout; warnings and worse only,
    unless a level was asked for.
    """
    from megamax_sync import log

    for secret in settings.secrets():
        redactor.add(secret)
    level = settings.log_level
    if quiet and "log_level" not in settings.sources:
        level = "warning"
    log.configure(fmt=settings.log_format, level=level, secrets=redactor)


def quiet_log(settings: Settings) -> None:
    """Set the log up for a command whose answer is on stdout."""
    from megamax_sync.log import Redactor

    start_log(settings, Redactor(), quiet=True)


def say_of_settings(settings: Settings) -> None:
    """Say what of these settings has no effect, or another one than it seems."""
    import structlog

    log = structlog.get_logger()
    for folder, name in settings.counted_as.items():
        if folder != name:
            log.warning("config.overlapping", path=folder, counted_as=name)


@contextlib.contextmanager
def reading(folder: StateFolder) -> Iterator[Store | None]:
    """Open the queue for reading; None where there is none. Writes nothing, if it can.

    Raises :class:`~megamax_sync.errors.StoreError` and its kin.
    """
    store = _open_for_reading(folder)
    if store is None:
        yield None
        return
    with store:
        yield store


def _open_for_reading(folder: StateFolder) -> Store | None:
    from megamax_sync.store import Store

    patience = threading.Event()
    waited = 0.0
    while _is_there(folder.queue):
        in_use = folder.in_use()
        untouched = not in_use and not os.path.lexists(folder.queue + "-wal")
        try:
            return Store(folder.queue, Clock(), writable=False, immutable=untouched)
        except StoreEmpty:
            # Its making was cut short, as by a full disk: as good as none, unless it goes on.
            if not in_use or waited >= _BEING_MADE:
                return None
        except StoreDamaged:
            # An instance that has just started makes its tables this very moment.
            if not folder.in_use() or waited >= _BEING_MADE:
                raise
        patience.wait(0.05)
        waited += 0.05
    return None


def _is_there(queue: str) -> bool:
    try:
        os.stat(queue)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StoreError(f"the queue {queue} cannot be read: {error.strerror}") from error
    return True


def mark_of(folder: StateFolder) -> int:
    """Return the queue's mark of this moment; 0 for one that is about to be made, perhaps again."""
    try:
        with reading(folder) as store:
            return store.views.mark() if store else 0
    except StoreDamaged:
        return 0


@contextlib.contextmanager
def writing(folder: StateFolder) -> Iterator[Store]:
    """Open the queue for an order, making it if there is none; wake the instance afterwards."""
    from megamax_sync.store import Store

    folder.make()
    in_use = folder.in_use()
    with Store(folder.queue, Clock(), patience=_PATIENCE, upgrade=not in_use) as store:
        yield store
    # One that does not answer at once has been written to all the same.
    ask(folder.socket, "wake", timeout=1.0)


def say_if_nobody_works(folder: StateFolder) -> None:
    """Tell that an order waits for the next start, where no instance runs."""
    if not folder.in_use():
        output.say("no instance is running: the next start takes this up")
