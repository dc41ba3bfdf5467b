"""systemd's notification protocol (sd_notify(3)): datagrams to ``$NOTIFY_SOCKET``."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping

_PATIENCE = 1.0


class Notifier:
    """Tells systemd how the service is; does nothing where there is no systemd."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the NUL of an abstract address.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        usec = environ.get("WATCHDOG_USEC", "")
        for_us = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        #: Seconds within which systemd wants a sign of life; None where it wants none.
        self.watchdog = int(usec) / 1e6 if usec.isdecimal() and int(usec) and for_us else None

    @property
    def heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._address)

    def send(self, *lines: str) -> None:
        """Send assignments such as ``READY=1``. Never fails: a deaf systemd is not our trouble."""
        if self._address:
            with (
                contextlib.suppress(OSError),
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out,
            ):
                # Its buffer may be full for as long as it hangs.
                out.settimeout(_PATIENCE)
                out.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
