"""Walks in slices: over the folders that events have named, and now and then over everything."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import structlog

from megamax_sync.clock import Clock
from megamax_sync.watch.rules import Rules
from megamax_sync.watch.scanner import Found, Walk, walks

_log = structlog.get_logger()


class Walker:
    """Walks one folder after the other, and gives way in between."""

    def __init__(
        self,
        rules: Rules,
        clock: Clock,
        *,
        lost: Callable[[bytes], bool],
        visited: Callable[[bytes], None],
        offer: Callable[[list[Found]], None],
        beat: Callable[[], None],
    ) -> None:
        """``lost``: watched folders that are missing; ``visited`` is told of each folder that was
        walked, ``offer`` gets what is wanted.

        ``beat`` is called between folders, and may raise to end it all.
        """
        self._rules = rules
        self._clock = clock
        self._lost = lost
        self._visited = visited
        self._offer = offer
        self._beat = beat
        self._lock = threading.Lock()
        self._marked: dict[bytes, bool] = {}
        self._marked_walk: Iterator[None] | None = None
        self._scan: Iterator[None] | None = None
        self._unreadable: dict[bytes, str] = {}

    @property
    def busy(self) -> bool:
        """There is something to walk."""
        return bool(self._marked) or self._marked_walk is not None or self.scanning

    @property
    def scanning(self) -> bool:
        """A walk over everything is under way."""
        return self._scan is not None

    def mark(self, folder: bytes, subtree: bool) -> bool:
        """Have a folder walked; True if it is the first one. Called on any thread."""
        with self._lock:
            first = not self._marked
            self._marked[folder] = self._marked.get(folder, False) or subtree
        return first

    def begin_scan(self) -> None:
        """Have everything walked."""
        self._scan = self._walk_everything()

    def advance(self, until: float) -> bool:
        """Walk until this moment of the monotonic clock; True when all has been walked."""
        if self._marked_walk is None and self._marked:
            self._marked_walk = self._walk_marked()
        if self._marked_walk is not None and self._go_on(self._marked_walk, until):
            self._marked_walk = None
        if self._scan is None:
            return False
        try:
            over = self._go_on(self._scan, until)
        except BaseException:
            # What was not walked was not scanned: it has to begin again.
            self._scan = None
            raise
        if over:
            self._scan = None
        return over

    def _go_on(self, walk: Iterator[None], until: float) -> bool:
        while self._clock.monotonic() < until:
            self._beat()
            if next(walk, self) is self:
                return True
        return False

    def _walk_marked(self) -> Iterator[None]:
        while self._marked:
            with self._lock:
                folder = next(iter(self._marked))
                subtree = self._marked.pop(folder)
            root = folder if folder in self._rules.roots else self._rules.root_of(folder)
            if root is None or self._rules.unwanted_way(folder, root):
                continue
            try:
                for found in Walk(self._rules, folder, subtree=subtree, on_folder=self._visited):
                    self._offer(found)
                    yield
            except Exception:
                # Nobody else is going to name it again.
                self.mark(folder, subtree)
                raise

    def _walk_everything(self) -> Iterator[None]:
        began, files, candidates = self._clock.monotonic(), 0, 0
        unreadable: dict[bytes, str] = {}
        for walk in walks(self._rules, left_out=self._lost, on_folder=self._visited):
            for found in walk:
                self._offer(found)
                yield
            files += walk.files
            candidates += walk.candidates
            unreadable.update(walk.unreadable)
        for folder, why in unreadable.items():
            if self._unreadable.get(folder) != why:
                _log.warning("watch.degraded", path=folder, error=why)
        self._unreadable = unreadable
        seconds = round(self._clock.monotonic() - began, 3)
        _log.info("scan.finished", seconds=seconds, files=files, candidates=candidates)
