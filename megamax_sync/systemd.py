"""systemd's notification protocol (sd_notify(3)): datagrams to ``$NOTIFY_SOCKET``."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


class Notifier:
    """Tells systemd how the service is; does nothing where there is no systemd."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the NUL of an abstract address.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        usec = environ.get("WATCHDOG_USEC", "")
        for_us = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        #: Seconds within which systemd wants a sign of life; None where it wants none.
        self.watchdog = int(usec) / 1e6 if usec.isdigit() and for_us else None

    def send(self, *lines: str) -> None:
        """Send assignments such as ``READY=1``. Never fails: a deaf systemd is not our trouble."""
        if self._address:
            with (
                contextlib.suppress(OSError),
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out,
            ):
                out.sendto("\n".join(lines).encode(), self._address)
