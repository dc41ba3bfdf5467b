"""A loop that delivers what the outbox holds for it, at least once."""

from __future__ import annotations

import abc
import threading
from collections.abc import Callable, Sequence

import structlog

from megamax_sync.clock import Clock
from megamax_sync.loop import Loop
from megamax_sync.store import Letter, Store

_log = structlog.get_logger()

#: What cannot be delivered for this long is given up, in seconds.
GIVE_UP_SECONDS = 86400.0


class Undelivered(Exception):
    """It did not get there. ``str()`` says why, without secrets.

    ``retry_after``: seconds that the other side asked for. ``final``: no use in trying again.
    """

    def __init__(
        self, reason: str, *, retry_after: float | None = None, final: bool = False
    ) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.final = final


class Interrupted(Exception):
    """The program stops; what was being delivered is delivered again at the next start."""


class Courier(Loop):
    """Delivers the letters of some channels. Subclasses write :meth:`deliver_due`."""

    #: What it is called in the log.
    kind: str

    def __init__(
        self,
        name: str,
        *,
        store: Store,
        channels: Sequence[str],
        backoff: Callable[[int], float],
        clock: Clock,
        stop: threading.Event,
        on_error: Callable[[str, BaseException], None],
        on_fine: Callable[[str], None],
    ) -> None:
        """``backoff``: seconds to wait after so many failures in a row."""
        super().__init__(
            name, changes=store.database, clock=clock, stop=stop, on_error=on_error, on_fine=on_fine
        )
        self.store = store
        self._channels = channels
        self._backoff = backoff

    @abc.abstractmethod
    def deliver_due(self, channel: str) -> float | None:
        """Deliver what is due on a channel.

        Return the seconds until it wants to look again; None to leave that to what is due.
        Raises :class:`Interrupted` when the stop has come.
        """

    def step(self) -> float | None:
        """Deliver what is due, channel by channel."""
        waits: list[float] = []
        for channel in self._channels:
            if self.stop_event.is_set():
                return None
            try:
                wait = self.deliver_due(channel)
            except Interrupted:
                return None
            due = self.store.outbox.next_due(channel)
            waits += [] if wait is None else [wait]
            waits += [] if due is None else [max(0.05, due - self.clock.now())]
        return min(waits, default=None)

    def failed(self, letters: Sequence[Letter], error: Undelivered, *, attempts: int = 0) -> None:
        """Have letters of one failed delivery tried again, or give them up.

        They are given up after ``attempts`` failures, where that is not 0, else after a day. Said
        are the first failure and the last; with ``attempts``, each.
        """
        now = self.clock.now()
        over = [
            one
            for one in letters
            if error.final
            or (attempts and one.attempts + 1 >= attempts)
            or now - one.at >= GIVE_UP_SECONDS
        ]
        given_up = {one.id for one in over}
        left = [one for one in letters if one.id not in given_up]
        with self.store.transaction():
            self.store.outbox.delivered(over)
            self.put_off(left, error.retry_after or 0.0)
        said = [one for one in letters if one.id in given_up or attempts or not one.attempts]
        if said:
            _log.error(
                "hook.failed",
                hook=self.kind,
                about=said[0].event,
                job=said[0].job,
                path=said[0].path,
                error=str(error),
                events=len(said),
                given_up=len(over),
            )

    def put_off(self, letters: Sequence[Letter], at_least: float = 0.0) -> None:
        """Have letters wait, ever longer."""
        if letters:
            wait = self._backoff(max(one.attempts for one in letters) + 1)
            wait = max(wait, min(at_least, GIVE_UP_SECONDS))
            self.store.outbox.postpone(letters, wait)
