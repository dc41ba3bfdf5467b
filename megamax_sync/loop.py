"""A loop is one thread with one job, and a heartbeat by which others see that it lives.

Every stage is a :class:`Loop`: it takes a step, says how long it wants to wait, and waits for that
long, for a change in the store, or for the stop. No error ends it: one that it did not expect is
logged with its traceback, and the loop goes on after a growing pause.
"""

from __future__ import annotations

import abc
import contextlib
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from megamax_sync.clock import Clock
from megamax_sync.errors import STOPPING, UploadCancelled

#: A loop that stays silent for longer than this is stuck, in seconds: within a minute it is seen.
SILENCE = 45.0
#: A wait that was announced is over by this much later, whatever it waited for.
_GRACE = 5.0
_FIRST_PAUSE, _LAST_PAUSE = 1.0, 60.0


class Changes(Protocol):
    """What a loop waits on: the store's database."""

    @property
    def version(self) -> int:
        """Counts up at every change."""

    def wait(self, seen: int, timeout: float | None) -> int:
        """Wait until :attr:`version` differs from ``seen``."""

    def wake(self) -> None:
        """Wake everybody who waits."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """How one loop is. ``age`` is the time since its last sign of life, in seconds."""

    part: str
    age: float
    #: It should have moved by now, or has died.
    stuck: bool


class Patience:
    """The stop event, as something that long waits inside a step can be given.

    A loop that waits there as it should, for the service or for its turn, is not stuck.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def is_set(self) -> bool:
        """Tell whether the program is to stop."""
        return self._loop.stop_event.is_set()

    def wait(self, timeout: float | None = None, /) -> bool:
        """Wait for the stop; True when it came."""
        return self._loop.rest(timeout)


class Loop(abc.ABC):
    """One thread of the daemon. Subclasses write :meth:`step`."""

    #: Seconds to gather changes for, before the step that they have called for: while many files
    #: are sent there are hundreds a second, and a step for each would cost more than the sending.
    lull = 0.0

    def __init__(
        self,
        name: str,
        *,
        changes: Changes,
        clock: Clock,
        stop: threading.Event,
        on_error: Callable[[str, BaseException], None],
        on_fine: Callable[[str], None],
    ) -> None:
        """Start nothing.

        ``on_error`` is told of each error that a step let through, ``on_fine`` of each step
        without one.
        """
        self.name = name
        # A thread is had, not inherited from: its private names are none of ours.
        self._thread = threading.Thread(target=self.run, name=name, daemon=True)
        self.clock = clock
        self.stop_event = stop
        self._changes = changes
        self._on_error = on_error
        self._on_fine = on_fine
        #: The stop, for waits inside a step.
        self.patience = Patience(self)
        self._last = clock.monotonic()
        self._resting = False
        self._waits_until = 0.0

    def start(self) -> None:
        """Begin to run, on a thread of its own."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Tell whether the thread runs."""
        return self._thread.is_alive()

    def join(self, timeout: float) -> None:
        """Wait for the thread to end, if it has begun."""
        if self._thread.ident is not None:
            self._thread.join(timeout)

    @abc.abstractmethod
    def step(self) -> float | None:
        """Do what is due; return the seconds until the next due thing, None for "when told".

        It is called again earlier whenever something in the store changes.
        """

    def beat(self) -> None:
        """Give a sign of life, in the middle of a long step."""
        self._last = self.clock.monotonic()

    def beat_or_stop(self) -> None:
        """Give a sign of life, or end the step where the program is to stop.

        Raises :class:`~megamax_sync.errors.UploadCancelled`.
        """
        self.beat()
        if self.stop_event.is_set():
            raise UploadCancelled(STOPPING)

    @contextlib.contextmanager
    def within(self, seconds: float | None) -> Iterator[None]:
        """Announce a wait inside a step that ends by itself: on the network, say, with a time-out.

        For so long, and no longer, is silence no sign of being stuck. Everything else that blocks
        (a read from a mount that hangs, a lock, a bug) has :data:`SILENCE` seconds. None: no limit.
        """
        self.beat()
        self._waits_until = float("inf") if seconds is None else self._last + seconds + _GRACE
        try:
            yield
        finally:
            # In this order: in between, the last sign of life would be the one before the wait.
            self.beat()
            self._waits_until = 0.0

    def pulse(self) -> Pulse:
        """Tell how the loop is. One that waits as it should is as well as one that works."""
        now, age = self.clock.monotonic(), 0.0
        if not self._resting:
            age = now - self._last
        silent = age > SILENCE and now > self._waits_until
        return Pulse(self.name, age, stuck=not self.is_alive() or silent)

    def place(self) -> list[str]:
        """Tell where the thread is, innermost last: ``upload/sending.py:153 send``, no values."""
        frame = sys._current_frames().get(self._thread.ident or 0)  # noqa: SLF001 - the library reference documents it for just this, to find where a thread hangs; there is no other way to another thread's stack
        return (
            [
                f"{'/'.join(step.filename.split('/')[-2:])}:{step.lineno} {step.name}"
                for step in traceback.extract_stack(frame)
            ]
            if frame
            else []
        )

    def rest(self, seconds: float | None) -> bool:
        """Wait for the stop without being taken for stuck; True when it came."""
        self._resting = True
        try:
            return self.stop_event.wait(seconds)
        finally:
            self._rested()

    def run(self) -> None:
        """Step and wait, until the stop is set."""
        pause = _FIRST_PAUSE
        while not self.stop_event.is_set():
            seen = self._changes.version
            self.beat()
            try:
                wait = self.step()
            except Exception as error:  # noqa: BLE001 - a thread that dies is a file that waits for ever; it is reported, and the step tried again
                if not self.stop_event.is_set():
                    self._on_error(self.name, error)
                    self.rest(pause)
                pause = min(pause * 2, _LAST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            self._on_fine(self.name)
            if wait is None or wait > 0:
                self._wait(seen, wait)
        self.beat()

    def _wait(self, seen: int, seconds: float | None) -> None:
        self._resting = True
        if not self.stop_event.is_set():
            changed = self._changes.wait(seen, seconds) != seen
            if changed and self.lull:
                self.stop_event.wait(self.lull)
        self._rested()

    def _rested(self) -> None:
        # In this order: in between, the last sign of life would be the one before the rest.
        self.beat()
        self._resting = False
