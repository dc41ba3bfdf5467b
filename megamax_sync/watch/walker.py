"""Walks in slices: over the folders that events have named, and now and then over everything."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import structlog

from megamax_sync.clock import Clock
from megamax_sync.store.resting import Version
from megamax_sync.watch.memory import Memory
from megamax_sync.watch.roots import leads_to
from megamax_sync.watch.rules import Rules
from megamax_sync.watch.scanner import Found, Walk, walks

_log = structlog.get_logger()

#: A folder that was walked is left alone for so many times as long, whatever happens in it …
_REST = 10.0
#: … but not for longer than this, in seconds, and not at all after a walk shorter than this.
_LONGEST_REST, _SHORT_WALK = 60.0, 0.02


class Queue(Protocol):
    """What a walk asks the queue."""

    def fresh(self, seen: Sequence[Version]) -> set[bytes]:
        """Return the paths of those about which something may have to be done."""

    def stirred(self) -> Iterable[bytes] | None:
        """Return what :meth:`Memory.begin_scan` takes."""


class Walker:
    """Walks one folder after the other, and gives way in between."""

    def __init__(
        self,
        rules: Rules,
        clock: Clock,
        *,
        lost: Callable[[bytes], bool],
        visited: Callable[[bytes], bool],
        unreadable: Callable[[bytes, str], None],
        queue: Queue,
        offer: Callable[[list[Found]], None],
        beat: Callable[[], None],
    ) -> None:
        """``lost``: watched folders that are missing; ``visited`` is told of each folder that is
        read, and tells whether its events are relied on, and ``unreadable`` of each that cannot
        be, and why; ``offer`` gets what is wanted, without what the ``queue`` has as it is.

        ``beat`` is called between folders, and may raise to end it all.
        """
        self._rules = rules
        self._clock = clock
        self._lost = lost
        self._visited = visited
        self._unread = unreadable
        self._queue = queue
        self._offer = offer
        self._beat = beat
        self._lock = threading.Lock()
        self._marked: dict[bytes, bool] = {}
        #: A folder was marked for the first time since :meth:`advance` looked.
        self._news = False
        #: Until when folders are left alone, by the monotonic clock.
        self._rests: dict[bytes, float] = {}
        self._marked_walk: Iterator[None] | None = None
        self._scan: Iterator[None] | None = None
        self._memory = Memory(clock, visited)
        #: What was said of files that the disk does not give.
        self._said: dict[bytes, str] = {}
        #: Seconds that the queue was asked for, in all.
        self._asking = 0.0

    @property
    def busy(self) -> bool:
        """There is something to walk, now or after a rest."""
        return bool(self._marked) or self._marked_walk is not None or self.scanning

    @property
    def scanning(self) -> bool:
        """A walk over everything is under way."""
        return self._scan is not None

    def next_walk(self) -> float | None:
        """Return the moment of the monotonic clock at which something is to be walked."""
        if self.scanning or self._marked_walk is not None:
            return 0.0
        with self._lock:
            return min((self._rests.get(folder, 0.0) for folder in self._marked), default=None)

    def mark(self, folder: bytes, subtree: bool) -> bool:
        """Have a folder walked; True if :meth:`next_walk` may now be sooner.

        Called on any thread.
        """
        with self._lock:
            first = folder not in self._marked and not self._news
            self._news = self._news or first
            self._marked[folder] = self._marked.get(folder, False) or subtree
        return first

    def begin_scan(self) -> None:
        """Have everything walked."""
        self._memory.begin_scan(self._queue.stirred())
        self._scan = self._walk_everything()

    def advance(self, seconds: float) -> bool:
        """Walk for this long, marked folders and everything each; True when all has been walked."""
        with self._lock:
            self._news = False
        now = self._clock.monotonic()
        due = self.next_walk()
        if self._marked_walk is None and self._marked and due is not None and due <= now:
            self._marked_walk = self._walk_marked()
        if self._marked_walk is not None and self._go_on(self._marked_walk, now + seconds):
            self._marked_walk = None
        if self._scan is None:
            return False
        # A time of its own: folders that are marked again and again must not hold it up.
        until = self._clock.monotonic() + seconds
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
        while (marked := self._take_marked()) is not None:
            folder, subtree = marked
            root = folder if folder in self._rules.roots else self._rules.root_of(folder)
            if root is None or self._rules.unwanted_way(folder, root):
                continue
            if folder != root and not leads_to(root, folder):
                # watchdog names links to folders as folders when a tree is moved in.
                continue
            if subtree and folder in self._rules.roots:
                self._memory.drop_below(folder)
            walked = Walk(
                self._rules, folder, subtree=subtree, on_folder=self._was_marked, fresh=self._ask
            )
            walk = iter(walked)
            took = 0.0
            try:
                while True:
                    began, asked = self._clock.monotonic(), self._asking
                    found = next(walk, None)
                    # Without the queue, which may wait for a slow disk, and what others do.
                    took += self._clock.monotonic() - began - (self._asking - asked)
                    if found is None:
                        break
                    self._offer(found)
                    yield
            except Exception:
                # Nobody else is going to name it again.
                self.mark(folder, subtree)
                raise
            self._tell_unreadable(walked)
            self._let_rest(folder, took)

    def _tell_unreadable(self, walk: Walk) -> None:
        for folder, why in walk.unreadable:
            self._unread(folder, why)
        for path, why in walk.unlooked:
            # Each scan comes to it again, and finds the same as a rule.
            if self._said.get(path) != why:
                _log.warning("watch.degraded", path=path, error=f"cannot be looked at ({why})")
        self._said |= dict(walk.unlooked)

    def _was_marked(self, folder: bytes) -> bool:
        self._memory.drop(folder)
        return self._visited(folder)

    def _ask(self, seen: Sequence[Version]) -> set[bytes]:
        began = self._clock.monotonic()
        try:
            return self._queue.fresh(seen)
        finally:
            self._asking += self._clock.monotonic() - began

    def _take_marked(self) -> tuple[bytes, bool] | None:
        """Take the first marked folder that is not to be left alone."""
        now = self._clock.monotonic()
        with self._lock:
            for folder in self._marked:
                if self._rests.get(folder, 0.0) <= now:
                    return folder, self._marked.pop(folder)
        return None

    def _let_rest(self, folder: bytes, took: float) -> None:
        now = self._clock.monotonic()
        with self._lock:
            self._rests = {one: until for one, until in self._rests.items() if until > now}
            if took >= _SHORT_WALK:
                self._rests[folder] = now + min(took * _REST, _LONGEST_REST)

    def _walk_everything(self) -> Iterator[None]:
        began, files, candidates = self._clock.monotonic(), 0, 0
        for walk in walks(
            self._rules,
            left_out=self._lost,
            on_folder=self._visited,
            fresh=self._ask,
            memory=self._memory,
        ):
            for found in walk:
                self._offer(found)
                yield
            files += walk.files
            candidates += walk.candidates
            self._tell_unreadable(walk)
        self._memory.end_scan()
        seconds = round(self._clock.monotonic() - began, 3)
        _log.info("scan.finished", seconds=seconds, files=files, candidates=candidates)
