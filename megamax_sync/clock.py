"""Time, handed in so that tests can turn it.

The queue has to keep moments across restarts, so it keeps Unix time; but a wall clock jumps (NTP,
a laptop's sleep, a person). :class:`Clock` therefore looks at the wall once, when it is made, and
counts on with the monotonic clock: within one run no schedule can storm or freeze, whatever the
wall clock does.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

_FIRST = datetime.min.replace(tzinfo=UTC).timestamp()
_LAST = datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp()


class Clock:
    """The clock of one run. All values are seconds, as floats."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never goes back."""
        return time.monotonic()

    def now(self) -> float:
        """Unix time by the monotonic clock: for schedules, due times and leases."""
        return time.monotonic() + self._offset

    def wall(self) -> float:
        """Unix time as the machine has it now: for what people read and for file times."""
        return time.time()


def iso(moment: float) -> str:
    """Render Unix time as ISO 8601 in UTC, to the second: ``2023-04-15T03:15:21Z``."""
    # Services name moments that never come, or never were; a float rounds the last one past it.
    inside = min(max(moment, _FIRST), _LAST)
    return datetime.fromtimestamp(inside, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
