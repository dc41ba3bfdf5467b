"""The files that are not known to be finished, and when to look at each again."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from megamax_sync.watch.settle import Settling, Waits


@dataclass(slots=True)
class Pending:
    """One such file. ``due`` is a moment of the monotonic clock."""

    root: bytes | None
    settling: Settling
    due: float
    waits: Waits | None = None
    #: How often it was seen to have changed while we waited for it.
    changes: int = 0

    @property
    def soon(self) -> bool:
        """It will be known soon; one that is open, incomplete or keeps changing will not."""
        return self.waits is None or (self.waits.kind == "quiet" and self.changes < 2)


class PendingFiles:
    """All of them, by path. Written by the watcher's thread, read by others."""

    def __init__(self) -> None:
        self._files: dict[bytes, Pending] = {}
        self._heap: list[tuple[float, bytes]] = []

    def __contains__(self, path: bytes) -> bool:
        return path in self._files

    def get(self, path: bytes) -> Pending | None:
        """Return the file at this path, if it is pending."""
        return self._files.get(path)

    def items(self) -> list[tuple[bytes, Pending]]:
        """Return a copy that other threads can go through."""
        return list(self._files.items())

    def add(self, path: bytes, root: bytes | None, settling: Settling, due: float) -> None:
        """Begin to wait for a file."""
        self._files[path] = Pending(root, settling, due)
        heapq.heappush(self._heap, (due, path))

    def put_off(self, path: bytes, due: float) -> None:
        """Have it looked at at another moment than before."""
        self._files[path].due = due
        heapq.heappush(self._heap, (due, path))

    def remove(self, path: bytes) -> None:
        """Wait for it no longer."""
        del self._files[path]

    def next_due(self) -> float | None:
        """Return when the next file is due; may be too early, never too late."""
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> Iterator[tuple[bytes, Pending]]:
        """Yield the files that are due; each has to be removed or put off."""
        while self._heap and self._heap[0][0] <= now:
            due, path = heapq.heappop(self._heap)
            pending = self._files.get(path)
            # A file that was put off, or forward, stands in the heap more than once.
            if pending is not None and pending.due == due:
                yield path, pending
