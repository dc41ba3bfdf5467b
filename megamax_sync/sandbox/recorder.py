"""What was asked of the sandbox, for assertions such as "no call was made"."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, replace

_KEPT = 100_000


@dataclass(frozen=True)
class RequestRecord:
    """One request. ``path`` has no query, ``at`` is Unix time of its arrival.

    ``call`` is one of :data:`~megamax_sync.sandbox.faults.CALLS` or ``unknown``; ``status`` is
    ``None`` while there is no answer, and for ever where none was sent.
    """

    call: str
    method: str
    path: str
    status: int | None
    at: float


class Exchange:
    """One request on its way; its answer's status is filled in when there is one."""

    def __init__(self, record: RequestRecord) -> None:
        self.record = record

    def answered(self, status: int) -> None:
        """Note the status of the answer that is being sent."""
        self.record = replace(self.record, status=status)


class Recorder:
    """The last 100,000 requests in order of arrival. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._exchanges: deque[Exchange] = deque(maxlen=_KEPT)

    def open(self, call: str, method: str, path: str) -> Exchange:
        """Note a request that has just arrived."""
        exchange = Exchange(RequestRecord(call, method, path, None, time.time()))
        with self._lock:
            self._exchanges.append(exchange)
        return exchange

    def records(self) -> list[RequestRecord]:
        """All requests so far, oldest first."""
        with self._lock:
            return [exchange.record for exchange in self._exchanges]
