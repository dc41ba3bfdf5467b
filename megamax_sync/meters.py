"""What only the stages can count: bytes on their way, calls, how long files took to be finished.

Plain numbers behind one lock, handed to the stages by the daemon and read by whoever shows them.
They begin at nought with each start, as Prometheus expects of counters. All that the queue writes
down anyway (uploads, waits, conversions) is counted from there instead.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from megamax_sync.errors import (
    CredentialsRejected,
    DirectLinksRefused,
    FileError,
    RemoteFileMissing,
    ServiceError,
    ServiceFault,
    ServiceNonsense,
    ServiceUnreachable,
    UploadCancelled,
)

#: Upper ends of the buckets for durations, in seconds: from a moment to a day.
BUCKETS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)

_OUTCOMES: tuple[tuple[type[BaseException], str], ...] = (
    (UploadCancelled, "cancelled"),
    (CredentialsRejected, "credentials"),
    (RemoteFileMissing, "missing"),
    (DirectLinksRefused, "refused"),
    (ServiceUnreachable, "unreachable"),
    (ServiceFault, "fault"),
    (ServiceNonsense, "nonsense"),
    (ServiceError, "refused"),
    (FileError, "file"),
)


class Histogram:
    """Durations in seconds, by bucket. Its owner sees to locking."""

    def __init__(self, bounds: Sequence[float] = BUCKETS) -> None:
        self.bounds = tuple(bounds)
        #: How many fell into each bucket, the last one beyond all bounds.
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration. A wall clock that was set back makes none negative."""
        seconds = max(0.0, seconds)
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds

    def copy(self) -> Histogram:
        """Return one like it, that does not change."""
        other = Histogram(self.bounds)
        other.counts, other.sum = list(self.counts), self.sum
        return other


class Meters:
    """Counts, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent = 0
        self._settle = Histogram()
        self._calls: Counter[tuple[str, str]] = Counter()

    def sent(self, nbytes: int) -> None:
        """Bytes of a file have gone out."""
        with self._lock:
            self._sent += nbytes

    def settled(self, seconds: float) -> None:
        """A file was found to be finished, so long after it had been found."""
        with self._lock:
            self._settle.observe(seconds)

    def called(self, call: str, error: BaseException | None) -> None:
        """A call of the API has ended, with this error or well."""
        outcome = "success"
        if error is not None:
            outcome = next((name for kind, name in _OUTCOMES if isinstance(error, kind)), "error")
        with self._lock:
            self._calls[call, outcome] += 1

    @property
    def bytes_sent(self) -> int:
        """The bytes of files that have gone out so far."""
        return self._sent

    def calls(self) -> dict[tuple[str, str], int]:
        """Return how many calls there have been, by call and outcome."""
        with self._lock:
            return dict(self._calls)

    def settle(self) -> Histogram:
        """Return how long files took to be finished."""
        with self._lock:
            return self._settle.copy()
