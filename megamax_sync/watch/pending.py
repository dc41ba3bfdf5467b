"""The files that are not known to be finished, and when to look at each again."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from megamax_sync.watch.settle import Settling, Waits

#: Files that seemed finished and of which is remembered how long they were quiet.
_REMEMBERED = 1000
#: When a file is due again of which nobody said when, in seconds.
_AGAIN = 1.0


@dataclass(slots=True)
class Pending:
    """One such file. ``due`` is a moment of the monotonic clock."""

    root: bytes | None
    due: float
    #: When it was found, by the same clock.
    found: float
    #: Somebody handed it in by its name.
    named: bool = False
    #: A job waits for it, and is told why it is not finished.
    asked: bool = False
    #: None before the first look, unless it seemed finished before.
    settling: Settling | None = None
    waits: Waits | None = None
    #: When it was looked at last.
    looked: float = 0.0
    #: When it was last said why.
    said: float = 0.0
    #: How often it was seen to have changed while we waited for it.
    changes: int = 0

    @property
    def soon(self) -> bool:
        """It will be known soon; one that is open, incomplete or keeps changing will not."""
        if self.waits is None or self.waits.kind in {"sending", "compare", "gone"}:
            return True
        return self.waits.kind == "quiet" and self.changes < 2


class PendingFiles:
    """All of them, by path. Written by the watcher's thread, read by others."""

    def __init__(self) -> None:
        self._files: dict[bytes, Pending] = {}
        self._heap: list[tuple[float, bytes]] = []
        self._finished: dict[bytes, Settling] = {}
        #: Those that have not been looked at, and those that will not be known soon.
        self._unseen: set[bytes] = set()
        self._long: set[bytes] = set()

    def __contains__(self, path: bytes) -> bool:
        return path in self._files

    def get(self, path: bytes) -> Pending | None:
        """Return the file at this path, if it is pending."""
        return self._files.get(path)

    def items(self) -> list[tuple[bytes, Pending]]:
        """Return a copy that other threads can go through."""
        return list(self._files.items())

    @property
    def unseen(self) -> int:
        """How many have not been looked at yet."""
        return len(self._unseen)

    @property
    def soon(self) -> int:
        """How many will be known soon; see :attr:`Pending.soon`."""
        return len(self._files) - len(self._long)

    def add(self, path: bytes, root: bytes | None, due: float) -> Pending:
        """Begin to wait for a file."""
        pending = Pending(root, due, due, settling=self._finished.pop(path, None))
        self._files[path] = pending
        self._unseen.add(path)
        heapq.heappush(self._heap, (due, path))
        return pending

    def put_off(self, path: bytes, due: float) -> None:
        """Have it looked at at another moment than before."""
        self._files[path].due = due
        heapq.heappush(self._heap, (due, path))

    def wait(self, path: bytes, waits: Waits, due: float) -> None:
        """Have it looked at again at this moment, as it is not finished."""
        pending = self._files[path]
        pending.waits = waits
        self._unseen.discard(path)
        if pending.soon:
            self._long.discard(path)
        else:
            self._long.add(path)
        self.put_off(path, due)

    def remove(self, path: bytes) -> Pending:
        """Wait for it no longer."""
        self._unseen.discard(path)
        self._long.discard(path)
        return self._files.pop(path)

    def finish(self, path: bytes) -> None:
        """Wait for it no longer, but remember it for a while: it may not have been finished."""
        settling = self.remove(path).settling
        if settling is not None:
            self._finished[path] = settling
        if len(self._finished) > _REMEMBERED:
            del self._finished[next(iter(self._finished))]

    def next_due(self) -> float | None:
        """Return when the next file is due."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> Iterator[tuple[bytes, Pending]]:
        """Yield the files that are due. One that is neither removed nor put off comes again."""
        while (first := self.next_due()) is not None and first <= now:
            path = heapq.heappop(self._heap)[1]
            # If looking at it ends in an error, that must not be the last look.
            self.put_off(path, now + _AGAIN)
            yield path, self._files[path]

    def _drop_stale(self) -> None:
        # A file that was put off, or forward, stands in the heap more than once.
        while self._heap:
            due, path = self._heap[0]
            pending = self._files.get(path)
            if pending is not None and pending.due == due:
                return
            heapq.heappop(self._heap)
