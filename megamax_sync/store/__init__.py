"""The queue: one SQLite database, and every SQL statement there is.

A :class:`Store` is some groups of statements over one :class:`Database`. The daemon has one, which
its threads share; every other process opens its own for a moment.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType

from megamax_sync.clock import Clock
from megamax_sync.store.database import PATIENCE, Database
from megamax_sync.store.jobs import Jobs
from megamax_sync.store.journal import Attempt, Journal
from megamax_sync.store.lineage import Lineage
from megamax_sync.store.making import NewJob
from megamax_sync.store.moving import Moving
from megamax_sync.store.orders import Orders
from megamax_sync.store.outbox import Letter, Outbox
from megamax_sync.store.pages import Move, Outcome, Pages, Place
from megamax_sync.store.proving import Proof
from megamax_sync.store.pruning import Pruning
from megamax_sync.store.resting import Resting
from megamax_sync.store.settings import Settings
from megamax_sync.store.sidecars import Sidecars
from megamax_sync.store.ties import Tie, Ties
from megamax_sync.store.tracking import Tracking
from megamax_sync.store.twins import Twins
from megamax_sync.store.views import Step, Tally, Views

__all__ = [
    "Attempt",
    "Letter",
    "Move",
    "NewJob",
    "Outbox",
    "Outcome",
    "Place",
    "Proof",
    "Step",
    "Store",
    "Tally",
    "Tie",
]


class Store:
    """The queue at ``path``. Raises :class:`~megamax_sync.errors.StoreError` and its kin."""

    def __init__(
        self,
        path: str,
        clock: Clock,
        *,
        writable: bool = True,
        immutable: bool = False,
        patience: float = PATIENCE,
        upgrade: bool = True,
    ) -> None:
        """Open it; see :class:`~megamax_sync.store.database.Database`."""
        self.database = Database(
            path, writable=writable, immutable=immutable, patience=patience, upgrade=upgrade
        )
        self.jobs = Jobs(self.database, clock)
        self.tracking = Tracking(self.database, clock)
        self.sidecars = Sidecars(self.database, clock)
        self.orders = Orders(self.database, clock)
        self.outbox = Outbox(self.database, clock)
        self.resting = Resting(self.database, clock)
        self.twins = Twins(self.database, clock)
        self.moving = Moving(self.database, clock)
        self.journal = Journal(self.database, clock)
        self.pruning = Pruning(self.database, clock)
        self.lineage = Lineage(self.database)
        self.ties = Ties(self.database)
        self.settings = Settings(self.database)
        self.views = Views(self.database)
        self.pages = Pages(self.database)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def transaction(self, *, durable: bool = True) -> AbstractContextManager[None]:
        """Make everything inside one commit; see :class:`~megamax_sync.store.database.Database`."""
        return self.database.transaction(durable=durable)

    def close(self) -> None:
        """Close the database."""
        self.database.close()
