"""The pages of the daemon, where MEGAMAX_HTTP asks for them; their parts are imported only then.

``--scan`` has none: it ends by itself, has its own display, and would take the daemon's address.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from megamax_sync.config import Settings
from megamax_sync.daemon import Daemon
from megamax_sync.state import StateFolder

if TYPE_CHECKING:
    from megamax_sync.http import Pages


def listen(settings: Settings) -> socket.socket | None:
    """Listen where the pages are to be served; None for nowhere.

    Raises :class:`~megamax_sync.errors.ConfigError` for an address that cannot be used.
    """
    if settings.http is None:
        return None
    from megamax_sync.http.server import listen as listen_on

    return listen_on(settings.http)


def close(listener: socket.socket | None) -> None:
    """Listen no more."""
    if listener is not None:
        listener.close()


def pages(
    settings: Settings, listener: socket.socket | None, folder: StateFolder, daemon: Daemon
) -> Pages | None:
    """Build the pages of this daemon."""
    if listener is None or settings.http is None:
        return None
    from megamax_sync.http import Instance, Pages

    instance = Instance(
        queue=folder.queue,
        store=daemon.store,
        clock=daemon.clock,
        meters=daemon.meters,
        live=daemon.live,
        parts=daemon.parts,
        gates={
            "api": lambda: daemon.api_gate.paused_reason,
            "upload": lambda: daemon.upload_gate.paused_reason,
        },
        unwatched=daemon.watcher.coverage.problem,
    )
    token = settings.http_token
    return Pages(
        listener,
        instance,
        token=token.get_secret_value() if token else None,
        hosts=settings.http_hosts,
        bound=settings.http.host,
    )
