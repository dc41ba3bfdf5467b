"""Looks after the sidecars: one that was deleted, or is not what we wrote, is written again.

At every rescan each sidecar is looked at (``os.stat``), and read only when it is not the file that
was read last: by inode, size and time. For 100,000 that takes about a second of one processor, most
of it for the queue's rows, in pieces of some milliseconds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import structlog

from megamax_sync import sidecar
from megamax_sync.store import Store
from megamax_sync.store.sidecars import Owed

_log = structlog.get_logger()

#: Sidecars that are looked at in one go.
_PIECE = 500


class Upkeep:
    """Goes over all sidecars that the queue knows of."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def round(self) -> Iterator[None]:
        """Look at all of them, yielding now and then."""
        after = 0
        while owed := self._store.sidecars.after(after, _PIECE):
            after = owed[-1].job
            self._look_at(owed)
            yield

    def _look_at(self, owed: list[Owed]) -> None:
        intact: list[tuple[int, int]] = []
        lost: list[int] = []
        for one in owed:
            mark = _mark(one.sidecar)
            if mark is None or mark == one.mark:
                continue
            if mark and _says(one):
                intact.append((one.job, mark))
            # Whoever takes the video away may take its sidecar, too.
            elif os.path.lexists(one.path):
                lost.append(one.job)
                _log.info("sidecar.lost", job=one.job, path=one.path, sidecar=one.sidecar)
        if intact or lost:
            with self._store.transaction():
                self._store.sidecars.intact(intact)
                self._store.sidecars.lost(lost)


def _mark(path: bytes) -> int | None:
    """Reduce how a file looks to one number; 0 for none that is there, None for "cannot tell"."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except OSError:
        return None
    # The same in every process, as there is no text in it.
    return hash((status.st_ino, status.st_size, status.st_mtime_ns)) or 1


def _says(one: Owed) -> bool:
    """Tell whether it is a sidecar, and speaks of this upload."""
    found = sidecar.read(one.sidecar)
    return found is not None and found.hashid == one.hashid
