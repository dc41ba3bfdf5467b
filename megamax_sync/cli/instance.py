"""The instance at work on a state folder, asked from outside: what it says, and how it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from megamax_sync.control import TIMEOUT, ask
from megamax_sync.health import verdict
from megamax_sync.state import StateFolder


@dataclass(frozen=True)
class Instance:
    """``live`` is its own answer (:meth:`megamax_sync.daemon.Daemon.live`), None if it gave none.

    ``ailment`` says why it makes no progress, None while it does.
    """

    running: bool = False
    live: dict[str, Any] | None = None
    pid: int | None = None
    ailment: str | None = None

    def put_into(self, document: dict[str, Any]) -> None:
        """Say in a status document who runs: one that owns the folder, though it may not answer."""
        document["daemon"] |= {"running": self.running, "pid": self.pid}


def look_at(folder: StateFolder, *, timeout: float = TIMEOUT) -> Instance:
    """Ask the instance; each question waits at most ``timeout`` seconds."""
    if not folder.in_use():
        return Instance()
    pid = folder.owner()
    # First what it says whatever hangs. Who does not say that much says nothing else.
    parts = ask(folder.socket, "parts", timeout=timeout)
    if parts is None:
        silent = "it does not answer: it is starting or stopping, or it was halted, or hangs"
        return Instance(True, None, pid, silent)
    health, live = verdict(parts), ask(folder.socket, "live", timeout=timeout)
    return Instance(True, live, pid, None if health.healthy else health.reason)
