"""Time, handed in so that tests can turn it.

The queue has to keep moments across restarts, so it keeps Unix time; but a wall clock jumps (NTP,
a person). :class:`Clock` therefore looks at the wall once, when it is made, and counts on with a
clock that does not: within one run no schedule can storm or freeze, whatever the wall clock does.

While a machine sleeps, the monotonic clock stands still and links expire all the same. So schedules
count with the one that goes on, and who waits by the other has to be woken when they part.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

#: Linux's clock that counts sleep, too.
_AWAKE_OR_NOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_FIRST = datetime.min.replace(tzinfo=UTC).timestamp()
_LAST = datetime.max.replace(tzinfo=UTC, microsecond=0).timestamp()


class Clock:
    """The clock of one run. All values are seconds, as floats."""

    def __init__(self) -> None:
        self._offset = time.time() - time.clock_gettime(_AWAKE_OR_NOT)

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never goes back, and stands still in sleep."""
        return time.monotonic()

    def now(self) -> float:
        """Unix time that never jumps: for schedules, due times and leases."""
        return time.clock_gettime(_AWAKE_OR_NOT) + self._offset

    def slept(self) -> float:
        """Seconds that the machine has slept so far, since an arbitrary moment."""
        return time.clock_gettime(_AWAKE_OR_NOT) - time.monotonic()

    def wall(self) -> float:
        """Unix time as the machine has it now: for what people read and for file times."""
        return time.time()


def iso(moment: float) -> str:
    """Render Unix time as ISO 8601 in UTC, to the second: ``2023-04-15T03:15:21Z``."""
    # Services name moments that never come, or never were; a float rounds the last one past it.
    inside = min(max(moment, _FIRST), _LAST)
    return datetime.fromtimestamp(inside, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
