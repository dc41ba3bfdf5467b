"""A start on a full disk: nothing can be done, but to say so until there is space."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

import structlog

from megamax_sync.cli.signals import Signals
from megamax_sync.clock import iso
from megamax_sync.control import ControlServer
from megamax_sync.errors import StoreFull
from megamax_sync.state import StateFolder
from megamax_sync.systemd import Notifier

_log = structlog.get_logger()
_T = TypeVar("_T")

#: How often it is tried again, in seconds.
_AGAIN = 3.0


def wait_for_space(
    begin: Callable[[], _T], folder: StateFolder, signals: Signals, notifier: Notifier
) -> _T | None:
    """Call ``begin`` until the disk has the space for it; None when a signal ended that.

    Meanwhile others are told, as far as a full disk lets them ask.
    """
    try:
        return begin()
    except StoreFull as error:
        detail = str(error)
    _log.error("queue.failed", error=detail)
    # As ready as it can be: to be started over and over would not help.
    notifier.send("READY=1", f"STATUS=disk-full: {detail}")
    since = iso(time.time())

    def live(_question: str) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "since": since,
            "problem": "disk-full",
            "problem_detail": detail,
            "observer": None,
            "bwlimit": None,
            "uploads": [],
            "parts": [],
        }

    while True:
        server = ControlServer(folder.socket, live)
        # The socket itself needs some space, too.
        with contextlib.suppress(OSError):
            server.open()
        try:
            signals.wait(_AGAIN)
        finally:
            server.close()
        if signals.ending is not None:
            return None
        if notifier.watchdog:
            notifier.send("WATCHDOG=1")
        with contextlib.suppress(StoreFull):
            return begin()
