"""TLS sessions, kept for the next connection to the same host.

Each upload has a connection of its own. A handshake that goes on with a session takes less than
half of the processor time of a whole one, here and there, and no certificates travel.
"""

from __future__ import annotations

import ssl
import threading

#: Of so many hosts a session is kept: those that were left last.
_MOST = 16


class Sessions:
    """Of one client. A session is only ever used with the trust that it was made under."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: The youngest last.
        self._kept: dict[tuple[ssl.SSLContext, str | None], ssl.SSLSession] = {}

    def of(self, trust: ssl.SSLContext, host: str | None) -> ssl.SSLSession | None:
        """Return what the last connection to a host has left behind."""
        with self._lock:
            return self._kept.get((trust, host))

    def forget(self, trust: ssl.SSLContext, host: str | None) -> None:
        """Whoever fails to shake hands may have failed because of the session."""
        with self._lock:
            self._kept.pop((trust, host), None)

    def keep(self, trust: ssl.SSLContext, host: str | None, session: ssl.SSLSession | None) -> None:
        """Keep what a connection that ends has: its ticket came some time after the handshake."""
        if session is None or not session.has_ticket:
            return
        with self._lock:
            self._kept.pop((trust, host), None)
            self._kept[trust, host] = session
            if len(self._kept) > _MOST:
                del self._kept[next(iter(self._kept))]
