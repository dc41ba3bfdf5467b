"""How well each watched folder is watched, and what makes up for what is not.

Events fail in silent ways: the kernel's queue overflows, the limit on watches is reached, the file
system reports nothing, watchdog's reader dies, the folder is unmounted or replaced. Each is
noticed here, said once, answered by a scan at once, and made up for by polling (our own scan,
every :data:`POLL_SECONDS`) until events can be relied on again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from megamax_sync.clock import Clock
from megamax_sync.filesystem import filesystem_type, is_remote
from megamax_sync.watch import limits
from megamax_sync.watch.canary import Canary
from megamax_sync.watch.observer import Observer
from megamax_sync.watch.roots import Roots, leads_to
from megamax_sync.watch.unreadable import Unreadable
from megamax_sync.watch.unwatched import Unwatched

_log = structlog.get_logger()

#: How often what gives no events is scanned, in seconds.
POLL_SECONDS = 10.0
#: How often the folders themselves and watchdog's threads are looked at, in seconds.
CHECK_SECONDS = 5.0


@dataclass
class _Eye:
    """One watched folder. Moments are of the monotonic clock."""

    root: bytes
    #: Why it is polled; None while its events are relied on.
    polled: str | None = None
    #: It is polled by choice, or by the nature of its file system: nothing to worry about.
    willingly: bool = False
    poll_at: float = 0.0
    canary: Canary = field(init=False)

    def __post_init__(self) -> None:
        self.canary = Canary(self.root)


class Coverage:
    """Keeps every watched folder watched, one way or the other.

    The watcher's loop calls :meth:`tick`. ``mark`` has a folder looked at soon.
    """

    def __init__(
        self,
        roots: Sequence[bytes],
        mark: Callable[[bytes, bool], None],
        *,
        mode: str | None,
        wake: Callable[[], None],
        expected: Callable[[bytes], bool] = lambda _root: False,
        clock: Clock,
    ) -> None:
        """``wake`` has :meth:`tick` called soon; ``expected`` is for :class:`Roots`.

        ``mode`` is MEGAMAX_OBSERVER: ``auto``, ``inotify`` or ``polling``; None for neither.
        """
        self.roots = Roots(roots, expected)
        self._mark = mark
        self._mode = mode
        self._wake = wake
        self._clock = clock
        self._eyes = [
            _Eye(root)
            for root in (roots if mode is not None else ())
            if not any(leads_to(other, root) for other in roots)
        ]
        self._observer: Observer | None = None
        self._lock = threading.Lock()
        self._losses: list[str] = []
        self._check_at = 0.0
        self._unwatched = Unwatched(mark, self._is_lost, POLL_SECONDS)
        self._unreadable = Unreadable(mark, POLL_SECONDS)

    # -- life ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to watch, before the first scan: what comes between the two is then seen."""
        self.roots.check()
        for eye in self._eyes:
            self._choose(eye)
        self._observe()
        folders = sorted(self.roots.all)
        _log.info("watch.started", folders=folders, observer=self.kind)

    def stop(self, timeout: float) -> None:
        """End all threads, and take canaries away."""
        for eye in self._eyes:
            eye.canary.take_away()
        if self._observer is not None:
            self._observer.stop(timeout)

    def tick(self, *, busy: bool) -> float:
        """Look after everything that is due; return the seconds until the next due thing.

        Nothing is polled while a walk is under way (``busy``).
        """
        now = self._clock.monotonic()
        with self._lock:
            losses, self._losses = self._losses, []
        if losses:
            self._check_at = 0.0
            _log.warning("watch.overflowed", reason=losses[0], times=len(losses))
        if now >= self._check_at:
            self.check()
        for eye in self._eyes:
            if eye.polled is not None and now >= eye.poll_at and not busy:
                eye.poll_at = now + POLL_SECONDS
                self._mark(eye.root, True)
            self._listen_to_canary(eye, now)
        self._unwatched.settle(self._observer, now)
        self._unreadable.tick(now)
        if not busy:
            self._unwatched.tick(now)
        return max(0.0, min(self._moments()) - self._clock.monotonic())

    def _moments(self) -> list[float]:
        moments = [self._check_at]
        moments += [eye.poll_at for eye in self._eyes if eye.polled is not None]
        moments += [eye.canary.due for eye in self._eyes if self._proves(eye)]
        moments += [due for due in (self._unreadable.due,) if due is not None]
        return [*moments, *self._unwatched.moments()]

    # -- told by others --------------------------------------------------------------------------

    def visited(self, folder: bytes) -> bool:
        """A walk has read this folder: tell whether its events are relied on."""
        self._unreadable.read(folder)
        if self._observer is None or self._eye_of(folder).polled is not None:
            return False
        covered = self._observer.covers(folder)
        self._unwatched.visited(folder, covered=covered, now=self._clock.monotonic())
        return covered

    def unreadable(self, folder: bytes, why: str) -> None:
        """A walk has come to this folder, and could not read it."""
        if folder in self.roots.all:
            # Without it, nothing is left of what is watched: that is said in another way.
            self._check_at = 0.0
        else:
            self._unreadable.failed(folder, why, self._clock.monotonic())

    def _is_lost(self, folder: bytes) -> bool:
        return self.roots.lost(self._eye_of(folder).root)

    def problem(self) -> str | None:
        """Say in one sentence what is watched less well than wanted; None when all is well."""
        missing = self.roots.problem()
        if missing:
            return missing
        for eye in self._eyes:
            if eye.polled is not None and not eye.willingly:
                return (
                    f"{os.fsdecode(eye.root)} is scanned every {POLL_SECONDS:.0f} s: {eye.polled}"
                )
        return self._unreadable.problem() or self._unwatched.problem()

    @property
    def kind(self) -> str | None:
        """``inotify``, ``polling``, or ``inotify+polling``; None while nothing is watched."""
        ways = {"polling" if eye.polled is not None else "inotify" for eye in self._eyes}
        if self._unwatched:
            ways.add("polling")
        return "+".join(sorted(ways)) or None

    # -- watchdog ----------------------------------------------------------------------------------

    def _choose(self, eye: _Eye) -> None:
        """Decide by which way a folder is watched, from the setting and its file system."""
        if self._mode == "polling":
            eye.polled, eye.willingly = "MEGAMAX_OBSERVER=polling", True
        elif self._mode == "auto" and is_remote(eye.root):
            eye.polled = f"events cannot be relied on with {filesystem_type(eye.root)}"
            eye.willingly = True
        else:
            eye.polled, eye.willingly = None, False
        eye.canary.begin_anew()

    def _observe(self) -> None:
        """Watch with a new observer whatever is not polled."""
        listened = [eye for eye in self._eyes if not eye.willingly]
        self._observer = None
        self._unwatched.clear()
        if not listened:
            return
        try:
            self._observer = Observer(self._mark, self._lost, self._heard)
        except OSError as error:
            for eye in listened:
                self._poll(eye, limits.of_instances(error))
            return
        self._observer.start()
        for eye in listened:
            self._listen(eye)

    def _listen(self, eye: _Eye) -> None:
        if self._observer is None or eye.willingly or self.roots.lost(eye.root):
            return
        try:
            self._observer.watch(eye.root)
        except OSError as error:
            self._poll(eye, error.strerror or str(error))

    def _poll(self, eye: _Eye, why: str) -> None:
        if eye.polled is None:
            _log.warning("watch.degraded", path=eye.root, error=why)
        eye.polled = why
        eye.poll_at = 0.0

    def _lost(self, why: str) -> None:
        """Events were lost. Called on watchdog's thread, which must not be kept."""
        with self._lock:
            self._losses.append(why)
        self._mark_all()

    def _heard(self, canary: bytes) -> None:
        """A canary's event has arrived. Called on watchdog's thread."""
        for eye in self._eyes:
            eye.canary.heard(canary)
        self._wake()

    def _mark_all(self) -> None:
        for eye in self._eyes:
            self._mark(eye.root, True)

    # -- looking after -----------------------------------------------------------------------------

    def check(self) -> None:
        """Look at the watched folders themselves, and at watchdog's threads."""
        self._check_at = self._clock.monotonic() + CHECK_SECONDS
        for root in self.roots.check():
            for eye in self._eyes:
                if eye.root == root:
                    eye.canary.take_away()
                    self._choose(eye)
                    if self._observer is not None:
                        self._observer.unwatch(root)
                    self._listen(eye)
            self._mark(root, True)
        fault = None if self._observer is None else self._observer.fault(self.roots.lost)
        if fault is not None:
            _log.error("watch.degraded", error=fault)
            self._renew()
        elif self._unwatched.may_be_watched_now():
            self._renew()

    def _renew(self) -> None:
        """Begin anew with another observer; what happened between the two is found by a scan."""
        if self._observer is not None:
            self._observer.stop(1.0)
        for eye in self._eyes:
            eye.canary.take_away()
            self._choose(eye)
        self._observe()
        self._mark_all()
        _log.info("watch.recovered", observer=self.kind)

    def _proves(self, eye: _Eye) -> bool:
        """Tell whether canaries can say anything about this folder."""
        return self._observer is not None and not eye.willingly and not self.roots.lost(eye.root)

    def _listen_to_canary(self, eye: _Eye, now: float) -> None:
        if not self._proves(eye):
            return
        sung = eye.canary.tick(now)
        if sung is False:
            self._poll(eye, "events do not arrive")
        elif sung and eye.polled is not None:
            eye.polled = None
            _log.info("watch.recovered", path=eye.root)
            self._mark(eye.root, True)

    def _eye_of(self, folder: bytes) -> _Eye:
        holding = [
            eye
            for eye in self._eyes
            if folder == eye.root or folder.startswith(eye.root.rstrip(b"/") + b"/")
        ]
        return max(holding, key=lambda eye: len(eye.root), default=_Eye(folder, polled="unknown"))
