"""The pages, the metrics and the health of a running instance, over HTTP (CONTRACT section 8).

Imported only where MEGAMAX_HTTP is set: what it is made of takes a tenth of a second and some
memory. :func:`~megamax_sync.http.server.listen` comes first, so that an address which cannot be
used is a fault of the configuration, and :class:`Pages` serve on it.
"""

from __future__ import annotations

import socket
from collections.abc import Collection

import structlog

from megamax_sync.http.app import Application
from megamax_sync.http.instance import Instance
from megamax_sync.http.server import Server, listen
from megamax_sync.loopback import is_loopback

__all__ = ["Instance", "Pages", "listen"]

_log = structlog.get_logger()


class Pages:
    """The pages of one instance, from :meth:`start` to :meth:`stop`."""

    def __init__(
        self,
        listener: socket.socket,
        instance: Instance,
        *,
        token: str | None,
        hosts: Collection[str],
        bound: str | None,
    ) -> None:
        """``bound``: the host that ``listener`` is bound to, as configured; None for a path."""
        self._address = listener.getsockname()
        self._open = token is None and bound is not None and not is_loopback(bound)
        self.application = Application(
            instance,
            token=token,
            hosts=[*hosts, *([bound] if bound else [])],
            local=bound is None or is_loopback(bound),
        )
        self._server = Server(self.application.app, listener)

    @property
    def port(self) -> int | None:
        """The port that is listened on; None for a path."""
        return None if isinstance(self._address, str) else int(self._address[1])

    def start(self) -> None:
        """Serve; on return requests are answered."""
        self._server.start()
        where = self._address if isinstance(self._address, str) else None
        _log.info(
            "http.started",
            path=where,
            host=None if where else self._address[0],
            port=self.port,
        )
        if self._open:
            _log.warning(
                "http.open",
                error="other machines may see names and states of all jobs; set MEGAMAX_HTTP_TOKEN",
            )

    def stop(self) -> None:
        """End it, in a second and a half at the most, whoever is connected."""
        self._server.stop()
