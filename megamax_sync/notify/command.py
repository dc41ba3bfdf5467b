"""MEGAMAX_ON_DONE and MEGAMAX_ON_FAILED: a program for each job that has ended."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence

import structlog

from megamax_sync.childenv import child_environment
from megamax_sync.clock import Clock
from megamax_sync.notify.courier import Courier, Undelivered
from megamax_sync.notify.process import Outcome, TookTooLong, run
from megamax_sync.store import Letter, Store
from megamax_sync.store.outbox import COMMAND

_log = structlog.get_logger()

#: How many run at a time.
AT_A_TIME = 2
#: How long one may run, in seconds.
SECONDS = 600.0
#: How often a command is run in all that ends with an error.
_ATTEMPTS = 3


class Desk:
    """Hands each letter to one runner at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._out: set[int] = set()

    def take(self) -> Letter | None:
        """Return a letter that is due, and that nobody else has."""
        with self._lock:
            for letter in self._store.outbox.due(COMMAND, limit=len(self._out) + 1):
                if letter.id not in self._out:
                    self._out.add(letter.id)
                    return letter
        return None

    def give_back(self, letter: Letter) -> None:
        """Let others have it, if it is still there."""
        with self._lock:
            self._out.discard(letter.id)


class Commands(Courier):
    """One of those who run the commands."""

    kind = "command"

    def __init__(
        self,
        number: int,
        *,
        desk: Desk,
        commands: Mapping[str, Sequence[str]],
        environ: Mapping[str, str],
        state_dir: str,
        store: Store,
        backoff: Callable[[int], float],
        clock: Clock,
        stop: threading.Event,
        on_error: Callable[[str, BaseException], None],
        on_fine: Callable[[str], None],
    ) -> None:
        """``commands`` by event. ``state_dir``: for a megamax-sync that a command calls."""
        super().__init__(
            f"commands-{number}",
            store=store,
            channels=[COMMAND],
            backoff=backoff,
            clock=clock,
            stop=stop,
            on_error=on_error,
            on_fine=on_fine,
        )
        self._desk = desk
        self._commands = commands
        self._environ = environ
        self._state_dir = state_dir

    def deliver_due(self, channel: str) -> float | None:  # noqa: ARG002 - the base class hands in which channel is due; a courier of commands has only one
        """Run one command, if there is one to run."""
        letter = self._desk.take()
        if letter is None:
            return None
        try:
            self._deliver(letter)
        finally:
            self._desk.give_back(letter)
        return 0.0

    def _deliver(self, letter: Letter) -> None:
        argv = self._commands.get(letter.event)
        if argv is None:
            self.store.outbox.delivered([letter])
            return
        try:
            outcome = run(argv, env=self._env(letter), seconds=SECONDS, loop=self)
        except TookTooLong as error:
            # Once more for as long would hold the others up.
            self.failed([letter], Undelivered(f"{argv[0]} {error}", final=True), attempts=_ATTEMPTS)
            return
        except Undelivered as error:
            self.failed([letter], Undelivered(f"{argv[0]} {error}"), attempts=_ATTEMPTS)
            return
        _say(letter, outcome)
        if outcome.status == 0:
            self.store.outbox.delivered([letter])
            return
        ending = Undelivered(f"{argv[0]} {_ending(outcome.status)}")
        self.failed([letter], ending, attempts=_ATTEMPTS)

    def _env(self, letter: Letter) -> dict[str, str]:
        # As the file system's own bytes, whatever their encoding.
        facts = {
            "MEGAMAX_EVENT": letter.event,
            "MEGAMAX_PATH": os.fsdecode(letter.path or b""),
            "MEGAMAX_HASHID": letter.hashid or "",
            "MEGAMAX_SIDECAR": os.fsdecode(letter.sidecar or b""),
            "MEGAMAX_ERROR": (letter.error or "").replace("\0", ""),
            "MEGAMAX_STATE_DIR": self._state_dir,
        }
        return child_environment(self._environ, facts)


def _say(letter: Letter, outcome: Outcome) -> None:
    _log.debug(
        "hook.ended",
        about=letter.event,
        job=letter.job,
        path=letter.path,
        status=outcome.status,
        output=outcome.output.decode("utf-8", "replace"),
    )


def _ending(status: int) -> str:
    if status < 0:
        return f"was ended by signal {-status}"
    return f"ended with exit status {status}"
