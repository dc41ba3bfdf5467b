"""The loop that finds finished files: dirty folders in, queued jobs out."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from megamax_sync.clock import Clock
from megamax_sync.loop import Loop
from megamax_sync.store import Store
from megamax_sync.watch.coverage import Coverage
from megamax_sync.watch.intake import Intake, Past
from megamax_sync.watch.rules import Folders, Rules
from megamax_sync.watch.scanner import Found
from megamax_sync.watch.settler import Settler
from megamax_sync.watch.walker import Walker

_log = structlog.get_logger()

#: How long one step may walk or look before it gives way to the other work, in seconds.
_SLICE = 0.2
#: How long it walks before it looks whether too many files have gathered, in seconds.
_STRIDE = 0.02
#: So many files are held in memory, and the walk waits: those that nobody has looked at, which
#: are looked at in a second or two, and all that will be known soon, most of which are young.
_MOST_UNSEEN, _MOST_SOON = 10_000, 20_000
#: A file that waits is looked at this often at the most, whatever happens in its folder.
_LOOK_PAUSE = 1.0


#: How long after the first scan the files that it found may take to be known, in seconds.
_TAKES_IN = 120.0


class Watcher(Loop):
    """Scans, waits until files are finished, and queues them."""

    lull = 0.05

    def __init__(
        self,
        store: Store,
        rules: Rules,
        folders: Folders,
        *,
        settle_seconds: float,
        allow_sparse: bool,
        rescan_seconds: float,
        observer: str | None,
        past: Past | None = None,
        root_of: Callable[[bytes], bytes | None] | None = None,
        clock: Clock,
        stop: threading.Event,
        on_error: Callable[[str, BaseException], None],
        on_fine: Callable[[str], None],
        settled: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        """``observer`` is MEGAMAX_OBSERVER; None to scan once, and again only when told.

        ``past`` knows of files that have no job; ``root_of`` names the watched folder of one that
        was handed in, where the rules do not; ``settled`` is told how long each file took to be
        finished, in seconds.
        """
        super().__init__(
            "watcher",
            changes=store.database,
            clock=clock,
            stop=stop,
            on_error=on_error,
            on_fine=on_fine,
        )
        self._store = store
        self._rules = rules
        self._rescan_seconds = rescan_seconds
        self._past = past
        self._root_of = root_of or rules.root_of
        self.coverage = Coverage(
            rules.roots,
            self.mark,
            mode=observer,
            wake=store.database.wake,
            expected=store.views.waits_in,
            clock=clock,
        )
        self._intake = Intake(store, folders, self.beat_or_stop, past, self.coverage.roots.lost)
        self._settler = Settler(
            store,
            rules,
            self._intake,
            self.coverage,
            clock,
            settle_seconds=settle_seconds,
            allow_sparse=allow_sparse,
            may_be_found=lambda: not self.scanned.is_set() and not self._crowded(),
            beat=self.beat_or_stop,
            settled=settled,
        )
        self._walker = Walker(
            rules,
            clock,
            lost=self.coverage.roots.lost,
            visited=self.coverage.visited,
            unreadable=self.coverage.unreadable,
            queue=self._intake,
            offer=self._offer,
            beat=self.beat_or_stop,
        )
        self._rescan_at: float | None = 0.0
        self._taken_in_at: float | None = None
        self._unsettled_mark = 0
        self._started = False
        self._watched_until = 0.0
        #: Set once the first scan has begun.
        self.begun = threading.Event()
        #: Set once everything has been walked for the first time.
        self.scanned = threading.Event()
        #: Set once what that has found is in the queue, but for what is still being written.
        self.taken_in = threading.Event()

    # -- told from outside -------------------------------------------------------------------

    def mark(self, folder: bytes, subtree: bool) -> None:
        """Have a folder looked at soon. Called on any thread; does next to nothing."""
        if self._walker.mark(folder, subtree):
            self._store.database.wake()

    def waiting(self) -> list[tuple[bytes, str]]:
        """Return the files that are not finished, with the reason."""
        return [
            (path, one.waits.reason)
            for path, one in self._settler.pending.items()
            if one.waits is not None
        ]

    def settled(self) -> bool:
        """Tell whether nothing more will be found soon: the rest is still being written.

        A file that only needs its quiet period counts as soon; one that changed again and again
        while it was watched, is open, or is incomplete, does not.
        """
        if not self.scanned.is_set() or self._walker.busy:
            return False
        return not self._settler.pending.soon

    def close(self, timeout: float) -> None:
        """End the observer's threads."""
        if self._started:
            self.coverage.stop(timeout)

    # -- the loop ----------------------------------------------------------------------------

    def step(self) -> float | None:
        """Walk a little, look at what is due, queue what is finished."""
        if not self._started:
            if self._past is not None:
                # Before anything is queued; tried again if it fails.
                self._past.prepare(self.beat_or_stop)
            self._started = True
            self.coverage.start()
        now = self.clock.monotonic()
        walk_at = self._walker.next_walk()
        walking = walk_at is not None and walk_at <= now
        self._watched_until = now + self.coverage.tick(busy=walking)
        if self._rescan_at is not None and now >= self._rescan_at and not self._walker.scanning:
            self._walker.begin_scan()
            self.begun.set()
        self._adopt_unsettled()
        self._walk(self.clock.monotonic() + _SLICE)
        # A slice of its own: a long scan must not hold up what is finished.
        self._settler.look_at_due(self.clock.monotonic() + _SLICE)
        if self.scanned.is_set() and not self.taken_in.is_set():
            self._see_whether_taken_in()
        return self._seconds_to_next()

    def _see_whether_taken_in(self) -> None:
        """Where new files come all the time, what the first scan found is in after a while."""
        now = self.clock.monotonic()
        self._taken_in_at = self._taken_in_at or now + _TAKES_IN
        if self.settled() or now >= self._taken_in_at:
            self.taken_in.set()
            self._store.database.wake()

    def _walk(self, until: float) -> None:
        while not self._crowded() and (now := self.clock.monotonic()) < until:
            due = self._walker.next_walk()
            if due is None or due > now:
                break
            if self._walker.advance(min(_STRIDE, until - now)):
                seconds = self._rescan_seconds
                self._rescan_at = self.clock.monotonic() + seconds if seconds else None
                self.scanned.set()
                self._store.database.wake()

    def _crowded(self) -> bool:
        """More is found than is looked at: memory is to be bounded, however many come at once."""
        pending = self._settler.pending
        return pending.unseen >= _MOST_UNSEEN or pending.soon >= _MOST_SOON

    def _seconds_to_next(self) -> float | None:
        # A walk that is held back goes on when files have been looked at, which are due by then.
        walk = None if self._crowded() else self._walker.next_walk()
        dues = (walk, self._settler.pending.next_due())
        moments = [due for due in dues if due is not None]
        if self._rescan_at is not None and not self._walker.scanning:
            moments.append(self._rescan_at)
        if self._rules.roots:
            moments.append(self._watched_until)
        return max(0.0, min(moments) - self.clock.monotonic()) if moments else None

    def _offer(self, found: list[Found]) -> None:
        now = self.clock.monotonic()
        files = self._settler.pending
        fresh = []
        for one in found:
            pending = files.get(one.path)
            if pending is None:
                fresh.append(one)
            elif pending.waits is not None and pending.waits.kind != "quiet":
                # Something happened in its folder: what it waited for may be over.
                soon = max(now, pending.looked + _LOOK_PAUSE)
                files.put_off(one.path, min(pending.due, soon))
        log = _log.bind()
        for one in self._intake.sift_fresh(fresh):
            log.debug("file.found", path=one.path, size=one.stamp.size)
            self._settler.add(one.path, one.root)

    def _adopt_unsettled(self) -> None:
        unsettled, mark = self._store.jobs.unsettled_since(self._unsettled_mark)
        for path, root in unsettled:
            self._settler.adopt(path, root or self._root_of(path), named=root is None)
        self._unsettled_mark = mark
