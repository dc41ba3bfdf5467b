"""What the pages are given of a running instance: plain values, and ways to ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from megamax_sync.clock import Clock
from megamax_sync.meters import Meters
from megamax_sync.store import Store


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance at work. Whatever is called here may be called on any thread.

    ``queue`` is the path of its queue, which the pages read through connections of their own, so
    that no search holds up an upload; ``store`` is its own, for orders. ``live`` is its answer to
    "how are you?", see :mod:`megamax_sync.status`, and ``parts`` how each of its loops is, without
    waiting for any. ``gates`` tell, by the part of the service that
    they guard, why it is not called now (``service``, ``credentials``), or None. ``unwatched``
    says what is watched less well than wanted, or None.
    """

    queue: str
    store: Store
    clock: Clock
    meters: Meters
    live: Callable[[], dict[str, Any]]
    parts: Callable[[], dict[str, Any]]
    gates: Mapping[str, Callable[[], str | None]]
    unwatched: Callable[[], str | None]

    def read(self) -> Store:
        """Open the queue for reading; the caller closes it.

        Opened anew each time: a queue that was restored meanwhile is another file of that name.
        """
        return Store(self.queue, self.clock, writable=False)
