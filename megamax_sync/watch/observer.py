"""watchdog's events, as hints: each names a folder that is worth another look.

The handler opens, stats and hashes nothing. A slow reader is what makes the kernel's queue
overflow, and an exception in a handler ends watchdog's dispatcher.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer as WatchdogObserver
from watchdog.observers.api import ObservedWatch

from megamax_sync.watch.rules import SIDECAR_SUFFIX

#: Closed alone misses trees that are moved in, hard links and files in a folder just made, so
#: Created, Moved and Closed all count; Deleted tells that a companion may be gone.
EVENTS: list[type[FileSystemEvent]] = [
    FileClosedEvent,
    FileMovedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    DirCreatedEvent,
    DirMovedEvent,
]

#: Called with a folder, and whether everything below it is worth a look too.
Mark = Callable[[bytes, bool], None]


class _Handler(FileSystemEventHandler):
    def __init__(self, real: bytes, root: bytes, mark: Mark) -> None:
        self._real = real
        self._root = root
        self._mark = mark

    def on_any_event(self, event: FileSystemEvent) -> None:
        for raw in (event.src_path, event.dest_path):
            if raw:
                path = self._shown(os.fsencode(raw))
                name = os.path.basename(path)
                if event.is_directory:
                    self._mark(path, True)
                # Hidden files are never wanted, and our own sidecars would keep their folder
                # dirty for ever.
                elif not name.startswith(b".") and not name.endswith(SIDECAR_SUFFIX):
                    self._mark(os.path.dirname(path), False)

    def _shown(self, path: bytes) -> bytes:
        """Put the watched folder's own name back where it is reached through a link."""
        return self._root.rstrip(b"/") + path[len(self._real.rstrip(b"/")) :]


class Observer:
    """Watches folders until it is stopped. ``mark`` is called on watchdog's threads."""

    def __init__(self, mark: Mark) -> None:
        self._mark = mark
        self._observer = WatchdogObserver()
        self._observer.daemon = True
        self._watches: dict[bytes, ObservedWatch] = {}

    def start(self, roots: Sequence[bytes]) -> list[tuple[bytes, OSError]]:
        """Begin to watch; return the folders that could not be, with the reason."""
        failed = []
        # Folders made quickly are reported to it twice, which it bears well, unless the warning is
        # turned into an error: that would end its reader.
        warnings.filterwarnings("ignore", "Callback with id .* already exists", RuntimeWarning)
        self._observer.start()
        for root in roots:
            if not any(_covers(other, root) for other in roots):
                try:
                    self._schedule(root)
                except OSError as error:
                    failed.append((root, error))
        return failed

    def renew(self, root: bytes) -> None:
        """Watch what lies at ``root`` now: another folder than before. Raises OSError."""
        watch = self._watches.pop(root, None)
        if watch is not None:
            self._observer.unschedule(watch)
        self._schedule(root)

    def _schedule(self, root: bytes) -> None:
        # A watched symbolic link gives no events: watch what it leads to.
        real = os.path.realpath(root)
        self._watches[root] = self._observer.schedule(
            _Handler(real, root, self._mark),
            os.fsdecode(real),
            recursive=True,
            event_filter=EVENTS,
        )

    def stop(self, timeout: float) -> None:
        """End the threads, waiting ``timeout`` seconds at the most."""
        self._observer.stop()
        if self._observer.is_alive():
            self._observer.join(timeout)


def _covers(outer: bytes, inner: bytes) -> bool:
    """Tell whether the events of ``outer`` name what happens in ``inner``: no link between."""
    base = outer.rstrip(b"/") + b"/"
    if not inner.startswith(base):
        return False
    return os.path.realpath(inner) == os.path.join(os.path.realpath(outer), inner[len(base) :])
