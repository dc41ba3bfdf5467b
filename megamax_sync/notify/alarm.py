"""Notices problems and their ends, and has those told that are no blips."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from megamax_sync.clock import Clock
from megamax_sync.loop import Loop
from megamax_sync.store import Store

#: How often it looks, and for how long a problem, or its absence, has to last, in seconds.
LOOK_SECONDS, HOLD_SECONDS = 5.0, 60.0


class Problem(Protocol):
    """What is wrong: a word of ``daemon.problem`` and a sentence."""

    @property
    def word(self) -> str: ...

    @property
    def detail(self) -> str: ...


class Alarm(Loop):
    """Looks at what is wrong now, and writes what has become of it into the outbox."""

    def __init__(
        self,
        *,
        store: Store,
        problem: Callable[[], Problem | None],
        look: float = LOOK_SECONDS,
        hold: float = HOLD_SECONDS,
        clock: Clock,
        stop: threading.Event,
        on_error: Callable[[str, BaseException], None],
        on_fine: Callable[[str], None],
    ) -> None:
        """``problem`` says what is wrong now; called on the thread of this loop."""
        super().__init__(
            "alarm", changes=store.database, clock=clock, stop=stop, on_error=on_error,
            on_fine=on_fine,
        )  # fmt: skip
        self._store = store
        self._problem = problem
        self._look = look
        self._hold = hold
        #: What is now, if it differs from what was told, and since when.
        self._news: tuple[str | None, float] | None = None

    def step(self) -> float | None:
        """Look once, and rest."""
        self.look()
        self.rest(self._look)
        return 0.0

    def look(self) -> None:
        """Compare what is with what was told."""
        self._store.outbox.write_down()
        found, told = self._problem(), self._store.outbox.told_problem
        word = None if found is None else found.word
        now = self.clock.monotonic()
        if word == told:
            self._news = None
            return
        if self._news is None or self._news[0] != word:
            self._news = (word, now)
        if now - self._news[1] < self._hold:
            return
        if found is not None:
            self._store.outbox.tell_problem(found.word, found.detail)
        else:
            self._store.outbox.tell_recovery(told or "")
        self._news = None
