"""A file made only to see whether its event arrives.

No question to the kernel or to watchdog proves that events come through: a file system may report
none, a thread may hang. A hidden file in the watched folder, taken away at once, does. It is sent
at the start, and then ever more rarely while all is well.
"""

from __future__ import annotations

import contextlib
import os
import secrets

#: The beginning of the names of such files.
PREFIX = b".megamax-canary-"

#: One that has not sung after this many seconds is dead.
PATIENCE = 5.0
#: So many dead ones in a row mean that events do not arrive.
_ENOUGH = 3
#: Each that sings doubles the time to the next, in seconds.
_FIRST, _LONGEST = 60.0, 3600.0


class Canary:
    """Proves for one watched folder that events arrive, or that they do not.

    Moments are of the monotonic clock. :meth:`heard` may be called on any thread.
    """

    def __init__(self, root: bytes) -> None:
        self._root = root
        self._flying: bytes | None = None
        self._sung: bytes | None = None
        self._at = 0.0
        self._pause = _FIRST
        self._dead = 0

    @property
    def due(self) -> float:
        """When :meth:`tick` has something to do."""
        return self._at if self._flying is None else self._at + PATIENCE

    def begin_anew(self) -> None:
        """Send the next one at once."""
        self.take_away()
        self._at, self._pause, self._dead = 0.0, _FIRST, 0

    def heard(self, path: bytes) -> None:
        """An event named this path."""
        self._sung = path

    def tick(self, now: float) -> bool | None:
        """Send one if it is time; True once one has sung, False when enough have died."""
        if self._flying is None:
            if now >= self._at:
                self._send(now)
            return None
        if self._sung == self._flying:
            self.take_away()
            self._dead = 0
            self._rest(now)
            return True
        if now < self._at + PATIENCE:
            return None
        self.take_away()
        self._dead += 1
        self._at = now
        if self._dead < _ENOUGH:
            return None
        self._rest(now)
        return False

    def take_away(self) -> None:
        """Remove the file that is out, if one is."""
        if self._flying is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._flying)
            self._flying = None

    def _send(self, now: float) -> None:
        path = os.path.join(self._root, PREFIX + secrets.token_hex(8).encode())
        self._flying, self._at = path, now
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except OSError:
            # Nothing can be written there, so nothing can be proved.
            self._flying, self._at = None, now + _LONGEST

    def _rest(self, now: float) -> None:
        self._at = now + self._pause
        self._pause = min(self._pause * 2, _LONGEST)
