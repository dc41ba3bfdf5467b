"""watchdog's events, as hints: each names a folder that is worth another look.

The handler opens, stats and hashes nothing. A slow reader is what makes the kernel's queue
overflow, and an exception in a handler ends watchdog's dispatcher.
"""

from __future__ import annotations

import os
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
                if name.startswith(b".") or name.endswith(SIDECAR_SUFFIX):
                    # Never wanted, and our own sidecars would keep their folder dirty for ever.
                    continue
                if event.is_directory:
                    self._mark(path, True)
                else:
                    self._mark(os.path.dirname(path), False)

    def _shown(self, path: bytes) -> bytes:
        """Put the watched folder's own name back where it is reached through a link."""
        if path == self._real:
            return self._root
        return self._root.rstrip(b"/") + path[len(self._real.rstrip(b"/")) :]


class Observer:
    """Watches folders until it is stopped. ``mark`` is called on watchdog's threads."""

    def __init__(self, mark: Mark) -> None:
        self._mark = mark
        self._observer = WatchdogObserver()
        self._observer.daemon = True

    def start(self, roots: Sequence[bytes]) -> list[tuple[bytes, OSError]]:
        """Begin to watch; return the folders that could not be, with the reason."""
        failed = []
        self._observer.start()
        for root in roots:
            # A watched symbolic link gives no events: watch what it leads to.
            real = os.path.realpath(root)
            handler = _Handler(real, root, self._mark)
            try:
                self._observer.schedule(
                    handler, os.fsdecode(real), recursive=True, event_filter=EVENTS
                )
            except OSError as error:
                failed.append((root, error))
        return failed

    def stop(self, timeout: float) -> None:
        """End the threads, waiting ``timeout`` seconds at the most."""
        self._observer.stop()
        self._observer.join(timeout)
