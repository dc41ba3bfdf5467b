"""What is wrong right now, in one word and one sentence: ``daemon.problem``."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import structlog

from megamax_sync.errors import MegamaxError, StoreError, StoreUnwritable

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Problem:
    """``word`` is ``credentials``, ``unreachable``, ``disk-full`` or ``watch``."""

    word: str
    detail: str


class Troubles:
    """Collects what the loops report, and says each trouble once, not each time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._storage: dict[str, str] = {}
        self._said: dict[str, str] = {}

    def report(self, part: str, error: BaseException) -> None:
        """A loop's step ended with this error. Called on any thread."""
        text = f"{type(error).__name__}: {error}"
        with self._lock:
            if isinstance(error, StoreUnwritable):
                self._storage[part] = str(error)
            if self._said.get(part) == text:
                return
            self._said[part] = text
        if isinstance(error, MegamaxError):
            event = "queue.failed" if isinstance(error, StoreError) else "loop.failed"
            _log.error(event, part=part, error=str(error))
        else:
            _log.error("loop.failed", part=part, error=text, exc_info=error)

    def fine(self, part: str) -> None:
        """A loop's step ended well."""
        if part in self._said:
            with self._lock:
                self._said.pop(part, None)
                self._storage.pop(part, None)

    def disk_full(self) -> Problem | None:
        """Say what has no space left; None when everything has."""
        with self._lock:
            details = list(self._storage.values())
        return Problem("disk-full", details[0]) if details else None
