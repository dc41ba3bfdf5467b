"""Receivers that take a trickle: never so little that a write stalls, and never enough."""

from __future__ import annotations

#: Seconds of waiting over which a receiver's rate is judged.
RATE_WINDOW = 60.0


class Trickle:
    """Judges one receiver. ``least`` is in bytes a second, 0 for whatever it takes.

    Only waiting for the receiver counts: time that we ourselves take (for bandwidth, for the disk)
    does not speak against it.
    """

    def __init__(self, least: float) -> None:
        self._least = least
        self._waited = 0.0
        self._taken = 0

    def took(self, nbytes: int) -> None:
        """Count what it has taken."""
        self._taken += nbytes

    def longest_wait(self, seconds: float | None) -> float | None:
        """Cut a wait of ``seconds`` (None: without an end) to the time of the next verdict."""
        if not self._least:
            return seconds
        most = max(RATE_WINDOW - self._waited, 0.0)
        return most if seconds is None else min(seconds, most)

    def too_slow(self, waited: float) -> float | None:
        """Count ``waited`` seconds; return its rate where a whole window has shown it too low."""
        self._waited += waited
        if not self._least or self._waited < RATE_WINDOW:
            return None
        rate = self._taken / self._waited
        self._waited, self._taken = 0.0, 0
        return rate if rate < self._least else None
