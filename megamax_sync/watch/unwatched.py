"""Folders that the kernel does not watch though it should: why not, and what is done instead."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import structlog

from megamax_sync.watch import limits
from megamax_sync.watch.observer import Observer

_log = structlog.get_logger()

#: A folder without a watch is given this long: watchdog adds it when it reads of the new folder.
_DOUBT_SECONDS = 2.0


class Unwatched:
    """Finds out of each such folder whether it can be watched.

    If so, it is; its watch was lost, as by an unmount, or it could not be read before. If not, as
    at the limit on watches, it is polled every ``seconds``. Moments are of the monotonic clock.
    """

    def __init__(
        self, mark: Callable[[bytes, bool], None], lost: Callable[[bytes], bool], seconds: float
    ) -> None:
        """``mark`` has a folder walked; ``lost``: it lies in a watched folder that is missing."""
        self._mark = mark
        self._lost = lost
        self._seconds = seconds
        #: Folders that have no watch of their own, and when to look at them again.
        self._bare: set[bytes] = set()
        self._bare_at = 0.0
        #: Folders that seemed to have none, and since when: watchdog may only be late.
        self._doubted: dict[bytes, float] = {}
        #: Why the kernel takes no watch, and the limit then.
        self._why = ""
        self._limit: str | None = None

    def __bool__(self) -> bool:
        """Tell whether any folder is polled."""
        return bool(self._bare)

    def clear(self) -> None:
        """Everything is watched anew."""
        self._bare.clear()
        self._doubted.clear()

    def visited(self, folder: bytes, *, covered: bool, now: float) -> None:
        """A walk has come to this folder."""
        if covered:
            self._bare.discard(folder)
            self._doubted.pop(folder, None)
        elif folder not in self._bare and not self._lost(folder):
            self._doubted.setdefault(folder, now)

    def settle(self, observer: Observer | None, now: float) -> None:
        """Find out about the folders that have had no watch for a while."""
        for folder, since in list(self._doubted.items()):
            if now - since < _DOUBT_SECONDS:
                continue
            del self._doubted[folder]
            if observer is None or observer.covers(folder) or self._lost(folder):
                continue
            if not os.path.isdir(folder):
                continue
            error = limits.refusal(folder)
            if error is None and observer.watch_below(folder):
                # What happened in it without a watch is found by a walk.
                self._mark(folder, True)
                continue
            self._poll(folder, error, now)

    def _poll(self, folder: bytes, error: OSError | None, now: float) -> None:
        if not self._bare:
            self._limit = limits.watches()
            self._bare_at = now + self._seconds
            self._why = self._reason(error)
            _log.warning("watch.degraded", path=folder, error=self._why)
        self._bare.add(folder)
        self._mark(folder, False)

    def _reason(self, error: OSError | None) -> str:
        if error is None:
            return "they give no events, for no known reason"
        if error.errno == errno.ENOSPC:
            return f"the limit on inotify watches is reached; {limits.remedy(self._limit)}"
        return f"the kernel takes no watch ({error.strerror})"

    def tick(self, now: float) -> None:
        """Have what is polled walked, if it is time."""
        if not self._bare or now < self._bare_at:
            return
        self._bare_at = now + self._seconds
        for folder in list(self._bare):
            if not os.path.isdir(folder):
                self._bare.discard(folder)
            elif os.path.dirname(folder) not in self._bare:
                # With all below it: new folders in there are reported by nobody.
                self._mark(folder, True)

    def may_be_watched_now(self) -> bool:
        """Tell whether the limit has been changed since it was reached."""
        return bool(self._bare) and limits.watches() != self._limit

    def moments(self) -> list[float]:
        """When :meth:`settle` and :meth:`tick` have something to do."""
        moments = [since + _DOUBT_SECONDS for since in self._doubted.values()]
        return [*moments, self._bare_at] if self._bare else moments

    def problem(self) -> str | None:
        """Say in one sentence what is polled, and why; None when nothing is."""
        if not self._bare:
            return None
        return f"{len(self._bare)} folders are scanned every {self._seconds:.0f} s, as {self._why}"
