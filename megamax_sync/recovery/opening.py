"""Opens the queue; one that is damaged is set aside, and another is made in its place.

``queue.db.part`` is one in the making, ``queue.db.new`` a whole one that is about to take the
place: found without a ``queue.db`` beside it, it does so at the next start. So a kill at any moment
loses neither.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from megamax_sync.clock import Clock
from megamax_sync.errors import StoreDamaged, StoreError, StoreFull
from megamax_sync.store import Store
from megamax_sync.store.salvage import replant, salvage

_SUFFIXES = ("-wal", "-shm", "")


@dataclass(frozen=True)
class Loss:
    """How a queue was lost, where what was left of it is now, and what could be saved."""

    reason: str
    set_aside: str | None = None
    saved: dict[str, int] = field(default_factory=dict)

    def encode(self) -> str:
        """Render it for :attr:`~megamax_sync.store.settings.Settings.rebuilding`."""
        return json.dumps({"reason": self.reason, "set_aside": self.set_aside, **self.saved})


def open_queue(
    path: str, clock: Clock, root_of: Callable[[bytes], bytes | None]
) -> tuple[Store, Loss | None]:
    """Open the queue for the instance that holds the folder's lock; tell what was lost.

    ``root_of`` names the watched folder of a path. Raises
    :class:`~megamax_sync.errors.StoreError`.
    """
    _take_up(path)
    remains = _size(path) == 0 and _size(path + "-wal") > 0
    if remains:
        # Its last changes, without all that they change: of no use to us, and not ours to delete.
        return Store(path, clock), Loss("it was deleted", set_aside(path, "remains", clock.wall()))
    try:
        store = Store(path, clock)
    except StoreDamaged as error:
        return _in_its_place(path, clock, root_of, str(error))
    if store.database.is_sound():
        return store, None
    store.close()
    return _in_its_place(path, clock, root_of, f"the queue {path} is damaged")


def _in_its_place(
    path: str, clock: Clock, root_of: Callable[[bytes], bytes | None], reason: str
) -> tuple[Store, Loss]:
    part = path + ".part"
    _remove(part)
    saved = salvage(path)
    with Store(part, clock) as made:
        replant(saved, made.database, made.jobs, root_of)
    fold(part)
    os.replace(part, path + ".new")
    aside = set_aside(path, "damaged", clock.wall())
    _take_up(path)
    return Store(path, clock), Loss(reason, aside, saved.counts())


def set_aside(path: str, why: str, now: float) -> str:
    """Give a queue, with its WAL, a name with the date; return it. ``now`` is Unix time."""
    stamp = time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime(now))
    aside, number = f"{path}.{why}-{stamp}", 1
    while any(os.path.lexists(aside + suffix) for suffix in _SUFFIXES):
        number += 1
        aside = f"{path}.{why}-{stamp}-{number}"
    with _as_store_error(path):
        for suffix in _SUFFIXES:
            with contextlib.suppress(FileNotFoundError):
                os.rename(path + suffix, aside + suffix)
    return aside


def fold(path: str) -> None:
    """See to it that a closed queue is one file, and on disk."""
    with _as_store_error(path):
        if _size(path + "-wal"):
            raise StoreFull(f"no space left for the queue {path}")
        for one in (path, os.path.dirname(path)):
            fd = os.open(one, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)


def _take_up(path: str) -> None:
    """Let a whole queue that was about to take its place do so, where that place is free."""
    with _as_store_error(path):
        if os.path.lexists(path + ".new"):
            if _size(path) > 0:
                os.unlink(path + ".new")
            else:
                put_in_place(path)


def put_in_place(path: str) -> None:
    """Let the new queue be the queue. A WAL that lies there belongs to the one before it."""
    for suffix in _SUFFIXES[:2]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + suffix)
    os.replace(path + ".new", path)


def _remove(path: str) -> None:
    for suffix in _SUFFIXES:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + suffix)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


@contextlib.contextmanager
def _as_store_error(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull(f"no space left for the queue {path}") from error
        raise StoreError(f"the queue {path} cannot be replaced: {error.strerror}") from error
