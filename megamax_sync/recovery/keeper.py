"""The loop that notices what is lost while the program is at work.

The queue may be deleted, replaced or overwritten by somebody. What is open can as a rule still be
read, as a deleted file is there until it is closed: then a copy takes its place, with all that was
committed, and nobody else notices. Otherwise the instance has to begin anew (:attr:`Keeper.broken`)
and :mod:`~megamax_sync.recovery.opening` makes another queue from what is left.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

import structlog

from megamax_sync.clock import Clock
from megamax_sync.errors import (
    StateFolderInUse,
    StoreDamaged,
    StoreError,
    StoreUnwritable,
)
from megamax_sync.loop import Loop
from megamax_sync.recovery.evidence import Evidence
from megamax_sync.recovery.opening import fold, put_in_place, set_aside
from megamax_sync.recovery.upkeep import Upkeep
from megamax_sync.state import StateFolder
from megamax_sync.store import Store

_log = structlog.get_logger()

#: How often it is seen to that the queue is there, in seconds.
_LOOK = 3.0
#: A queue that has changed on disk is read at the most for this part of the time.
_CHECK_SHARE = 50.0
#: What is lost at the first look may take so long to be written again, in seconds.
_WRITTEN = 5.0
#: How long one step may look at sidecars, in seconds.
_SLICE = 0.1
#: Two clocks that part by more have seen the machine sleep, in seconds.
_NAP = 1.0


class Keeper(Loop):
    """Looks after the queue's file, and after the sidecars."""

    lull = 0.2

    def __init__(
        self,
        *,
        store: Store,
        folder: StateFolder,
        evidence: Evidence,
        taken_in: threading.Event,
        rescan_seconds: float,
        renewed: Callable[[], None],
        on_broken: Callable[[], None],
        clock: Clock,
        stop: threading.Event,
        on_error: Callable[[str, BaseException], None],
        on_fine: Callable[[str], None],
    ) -> None:
        """``taken_in`` is set once the first scan is through. ``renewed`` is called after the
        folder itself was made anew, ``on_broken`` when the queue can no longer be used.
        """
        super().__init__(
            "keeper",
            changes=store.database,
            clock=clock,
            stop=stop,
            on_error=on_error,
            on_fine=on_fine,
        )
        self._store = store
        self._folder = folder
        self._evidence = evidence
        self._taken_in = taken_in
        self._rescan_seconds = rescan_seconds
        self._renewed = renewed
        self._on_broken = on_broken
        self._upkeep = Upkeep(store)
        self._round: Iterator[None] | None = None
        self._round_at: float | None = clock.monotonic()
        self._look_at = clock.monotonic() + _LOOK
        self._check_at = clock.monotonic()
        self._slept = clock.slept()
        self._suspect = threading.Event()
        self._rebuilt = False
        #: The copy is whole, and the queue closed: only its place is to be taken.
        self._closed = False
        self._born: str | None = None
        #: The file that is open, and what it looked like when it was last known to be sound.
        self._file = _identity(folder.queue)
        self._seen = _looks(folder.queue)
        self._written_by: float | None = None
        #: All sidecars have been looked at once, and those that were lost are written again.
        self.looked_round = threading.Event()
        #: The queue is lost beyond repair by this instance.
        self.broken = threading.Event()

    def hear(self, error: BaseException) -> None:
        """Some loop has failed with this error. Called on any thread."""
        if isinstance(error, StoreDamaged) and not self._suspect.is_set():
            self._suspect.set()
            self._store.database.wake()

    def finish(self) -> None:
        """Say, at the end at the latest, that a lost queue has been made again."""
        with contextlib.suppress(StoreError):
            self._say_rebuilt()
            self._note()

    def _note(self) -> None:
        steps = self._store.lineage.steps
        # A queue behind its mark is taken for an earlier copy: the mark comes after the disk.
        self._store.database.flush()
        self._folder.note_queue(steps)

    def _say_rebuilt(self) -> None:
        if self._taken_in.is_set() and not self._rebuilt:
            self._evidence.rebuilt()
            self._rebuilt = True

    def step(self) -> float | None:
        """Look after the queue, then after some sidecars."""
        if self.broken.is_set():
            return None
        self._say_rebuilt()
        if self._suspect.is_set() or self.clock.monotonic() >= self._look_at:
            self._guard()
            self._wake_after_sleep()
            self._look_at = self.clock.monotonic() + _LOOK
        self._go_round()
        if self._written_by is not None and not self.looked_round.is_set():
            late = self.clock.monotonic() >= self._written_by
            if late or not self._store.tracking.to_write():
                self.looked_round.set()
        round_due = self._round_due()
        dues = [self._look_at, *([] if round_due is None else [round_due])]
        return max(0.0, min(dues) - self.clock.monotonic())

    def _wake_after_sleep(self) -> None:
        slept = self.clock.slept()
        if slept - self._slept > _NAP:
            # The others wait by a clock that has stood still meanwhile.
            self._store.database.wake()
        self._slept = slept

    def _round_due(self) -> float | None:
        # After a loss a sidecar may know more than the queue: it must be read, not written again.
        return None if self._evidence.rebuilding else self._round_at

    def _go_round(self) -> None:
        now, due = self.clock.monotonic(), self._round_due()
        if due is None or now < due:
            return
        self._round = self._round or self._upkeep.round()
        while self.clock.monotonic() < now + _SLICE:
            self.beat()
            if next(self._round, self) is self:
                self._round = None
                wait = self._rescan_seconds
                self._round_at = self.clock.monotonic() + wait if wait else None
                self._written_by = self._written_by or self.clock.monotonic() + _WRITTEN
                return

    # -- the queue ---------------------------------------------------------------------------

    def _guard(self) -> None:
        suspect = self._suspect.is_set()
        there, looks = _identity(self._folder.queue), _looks(self._folder.queue)
        if self._closed or there is None:
            self._restore("deleted")
        elif there != self._file:
            self._restore("replaced")
        elif suspect or self._is_to_be_checked(looks):
            began = self.clock.monotonic()
            sound = self._store.database.is_sound()
            self._check_at = began + (self.clock.monotonic() - began) * _CHECK_SHARE
            if sound:
                self._seen = looks
            else:
                self._restore("damaged")
        self._suspect.clear()
        if self.broken.is_set():
            return
        if self._born is None:
            self._born = self._store.settings.born
        if self._born is not None:
            self._note()

    def _is_to_be_checked(self, looks: tuple[int, int]) -> bool:
        # We write the file ourselves now and then, and it never becomes smaller by that.
        shrunk = looks[0] < self._seen[0]
        return shrunk or (looks != self._seen and self.clock.monotonic() >= self._check_at)

    def _restore(self, how: str) -> None:
        path, database = self._folder.queue, self._store.database
        aside: list[str] = []

        def put() -> None:
            if os.path.lexists(path):
                aside.append(set_aside(path, how, self.clock.wall()))
            put_in_place(path)

        try:
            renewed = self._folder.renew()
            # From the copy to the new file nobody may commit: that would be lost.
            with database.alone():
                if not self._closed:
                    self._copy(path + ".part")
                    os.replace(path + ".part", path + ".new")
                    self._closed = True
                database.replace(put)
                self._closed = False
        except (StateFolderInUse, StoreDamaged) as error:
            _log.error("queue.failed", part=self.name, error=str(error))
            self.broken.set()
            self._on_broken()
            return
        except OSError as error:
            raise StoreUnwritable(
                f"the queue {path} cannot be replaced: {error.strerror}"
            ) from error
        if renewed:
            self._renewed()
        self._note()
        self._file, self._seen = _identity(path), _looks(path)
        _log.warning("queue.restored", reason=how, set_aside=aside[0] if aside else None)

    def _copy(self, path: str) -> None:
        """Copy what is open. Raises :class:`StoreDamaged` if that is no use any more."""
        try:
            self._store.database.copy_to(path, replace=True)
            with Store(path, self.clock) as copy:
                sound = copy.database.is_sound() and self._born in {None, copy.settings.born}
        except StoreUnwritable:
            raise
        except StoreError as error:
            raise StoreDamaged(f"the queue {self._folder.queue} cannot be read any more") from error
        if not sound:
            raise StoreDamaged(f"the queue {self._folder.queue} is damaged")
        fold(path)


def _identity(path: str) -> tuple[int, int] | None:
    """Tell which file lies there; None for none."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino


def _looks(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns
