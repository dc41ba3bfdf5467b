"""watchdog's events, as hints: each names a folder that is worth another look.

The handler opens, stats and hashes nothing. A slow reader is what makes the kernel's queue
overflow, and an exception in a handler ends watchdog's dispatcher.

watchdog says of a lost event, at best, that it lost some, in its own log. So its reader is listened
in on: every raw event passes :meth:`Observer._raw` on its way. That, and the questions
whether a folder is watched and whether all threads live, need private names of watchdog;
``tests/watch/test_coverage.py`` pins them.
"""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from collections.abc import Callable
from typing import Any

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
from watchdog.observers.api import ObservedWatch
from watchdog.observers.inotify import InotifyObserver, InotifyWatchGroup

from megamax_sync.job import SIDECAR_SUFFIX
from megamax_sync.watch import canary

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

#: inotify(7): the file system below a watch was unmounted.
_IN_UNMOUNT = 0x2000

#: Called with a folder, and whether everything below it is worth a look too.
Mark = Callable[[bytes, bool], None]


class _Handler(FileSystemEventHandler):
    def __init__(
        self, real: bytes, root: bytes, mark: Mark, heard: Callable[[bytes], None]
    ) -> None:
        self._real = real
        self._root = root
        self._mark = mark
        self._heard = heard

    def on_any_event(self, event: FileSystemEvent) -> None:
        for raw in (event.src_path, event.dest_path):
            if raw:
                path = self._shown(os.fsencode(raw))
                name = os.path.basename(path)
                if event.is_directory:
                    self._mark(path, True)
                elif name.startswith(canary.PREFIX):
                    self._heard(path)
                # Hidden files are never wanted, and our own sidecars would keep their folder
                # dirty for ever.
                elif not name.startswith(b".") and not name.endswith(SIDECAR_SUFFIX):
                    self._mark(os.path.dirname(path), False)

    def _shown(self, path: bytes) -> bytes:
        """Put the watched folder's own name back where it is reached through a link."""
        if path == self._real:
            return self._root
        return self._root.rstrip(b"/") + path[len(self._real.rstrip(b"/")) :]


class Observer:
    """Watches folders until it is stopped. Its callbacks are called on watchdog's threads."""

    def __init__(
        self,
        mark: Mark,
        lost: Callable[[str], None] = lambda _: None,
        heard: Callable[[bytes], None] = lambda _: None,
    ) -> None:
        """``lost`` is told why events were lost, ``heard`` of each canary.

        Raises OSError when the system allows no further inotify instance.
        """
        self._mark = mark
        self._lost = lost
        self._heard = heard
        self._observer = InotifyObserver()
        self._observer.daemon = True
        # What is private here is pinned by a test, see the module's text.
        self._inotify: Any = vars(self._observer)["_inotify_fd"]
        self._handle_event = self._inotify.handle_event
        self._inotify.handle_event = self._raw
        self._watches: dict[bytes, tuple[ObservedWatch, bytes]] = {}
        #: Watched paths of which events were lost since anybody came to them: another folder may
        #: lie there now, and the watch may be that of a folder which has moved.
        self._stale: set[bytes] = set()

    def start(self) -> None:
        """Begin to dispatch."""
        # Folders made quickly are reported to it twice, and watches are taken anew, which it bears
        # well, unless the warning is turned into an error: that would end its reader.
        # What it warns with shows the whole group, every watched folder in it, whether anybody
        # sees it or not: 1.3 ms each time with 1000 folders, 8 ms with 5000.
        type.__setattr__(InotifyWatchGroup, "__repr__", object.__repr__)
        warnings.filterwarnings("ignore", "Callback with id .* already exists", RuntimeWarning)
        self._observer.start()

    def watch(self, root: bytes) -> None:
        """Watch a folder and all below it, in place of what was watched under its name before.

        Raises OSError when not even the folder itself can be watched.
        """
        self.unwatch(root)
        # A watched symbolic link gives no events: watch what it leads to.
        real = os.path.realpath(root)
        handler = _Handler(real, root, self._mark, self._heard)
        watch = self._observer.schedule(
            handler, os.fsdecode(real), recursive=True, event_filter=EVENTS
        )
        self._watches[root] = (watch, real)

    def unwatch(self, root: bytes) -> None:
        """Watch a folder no longer."""
        known = self._watches.pop(root, None)
        if known is not None:
            self._mend(known[0])
            # Two watched names can lead to one folder, which watchdog counts once.
            with contextlib.suppress(KeyError):
                self._observer.unschedule(known[0])

    def covers(self, folder: bytes) -> bool:
        """Tell whether this very folder is watched: below the limit on watches it may not be.

        After a loss of events, its watch is taken anew when it is asked about for the first time.
        """
        holding = self._holding(folder)
        for _, group, path in holding:
            if path in self._stale:
                self._watch_anew(group, path)
        self._stale.difference_update(path for _, _, path in holding)
        # watchdog notes a folder that may not be read as watched by -1.
        return any(group._active_callbacks_by_path.get(path, -1) >= 0 for _, group, path in holding)

    @staticmethod
    def _watch_anew(group: Any, path: bytes) -> None:
        """Put right which folder a path is watched as; one that is still the same keeps its watch.

        A folder that was moved meanwhile keeps the path that it had until its new one is watched.
        """
        with group._lock, contextlib.suppress(OSError):
            if group.is_active and path in group._active_callbacks_by_path:
                group._active_callbacks_by_path[path] = -1
                group._add_callback(path)

    def watch_below(self, folder: bytes) -> bool:
        """Watch a folder that has no watch, and all below it; True if it has one now."""
        for root, group, path in self._holding(folder):
            with contextlib.suppress(OSError):
                if group.is_active:
                    with group._lock:
                        group._add_all_callbacks(path)
                else:
                    # The end of the watched folder itself has ended it all.
                    self.watch(root)
        return self.covers(folder)

    def _holding(self, folder: bytes) -> list[tuple[bytes, Any, bytes]]:
        """Return what watches hold a folder: root, watchdog's group, its path for the folder."""
        found = []
        for root, (watch, real) in self._watches.items():
            base, group = root.rstrip(b"/"), self._group(watch)
            if group is not None and (folder == root or folder.startswith(base + b"/")):
                path = real.rstrip(b"/") + folder[len(base) :] if folder != root else real
                found.append((root, group, path))
        return found

    def fault(self, excused: Callable[[bytes], bool]) -> str | None:
        """Say which of watchdog's threads has died; None when all live.

        The emitter of an ``excused`` folder (one that is missing) may be dead.
        """
        if not self._observer.is_alive():
            return "watchdog's dispatcher has died"
        if not self._inotify.is_alive():
            return "watchdog's reader has died"
        for root, (watch, _) in self._watches.items():
            emitter = self._observer._emitter_for_watch.get(watch)
            if (emitter is None or not emitter.is_alive()) and not excused(root):
                return f"watchdog's emitter for {os.fsdecode(root)} has died"
        return None

    def stop(self, timeout: float) -> None:
        """End the threads, waiting ``timeout`` seconds at the most."""
        if not self._observer.is_alive():
            # Its own way to stop is not gone by a dispatcher that is dead, or was never alive.
            threading.Thread(target=self._observer.on_thread_stop, daemon=True).start()
            return
        for watch, _ in self._watches.values():
            self._mend(watch)
        self._observer.stop()
        self._observer.join(timeout)

    def _mend(self, watch: ObservedWatch) -> None:
        """Take away what would break watchdog's own way to end a watch.

        After folders were moved it may note two watches for one path; it then fails to remove the
        second, and leaves its threads behind.
        """
        group = self._group(watch)
        if group is not None:
            with group._lock:
                for descriptor, path in list(group._active_callbacks_by_watch.items()):
                    if group._active_callbacks_by_path.get(path) != descriptor:
                        del group._active_callbacks_by_watch[descriptor]

    def _group(self, watch: ObservedWatch) -> Any:
        emitter: Any = self._observer._emitter_for_watch.get(watch)
        return None if emitter is None else emitter._inotify

    def _raw(self, event: Any) -> None:
        """Pass a raw event on, and notice what watchdog keeps to itself.

        A lost event is not passed on: watchdog would take away all watches, and add them anew. Each
        that is taken away makes an event, so that with more folders than the kernel keeps events
        for (``fs.inotify.max_queued_events``) the queue overflows again, for ever.
        """
        if event.is_queue_overflow:
            groups = (self._group(watch) for watch, _ in list(self._watches.values()))
            self._stale = {
                path
                for group in groups
                if group is not None
                for path in list(group._active_callbacks_by_path)
            }
            self._lost("the kernel's queue of events overflowed")
            return
        try:
            self._handle_event(event)
        except Exception as error:  # noqa: BLE001 - runs on watchdog's reader, which ends for ever with any exception while it looks alive; everything is scanned instead
            self._lost(f"watchdog failed ({type(error).__name__}: {error})")
        if event.mask & _IN_UNMOUNT:
            self._lost("a file system was unmounted")
