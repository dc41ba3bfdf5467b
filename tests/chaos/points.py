"""Where the program is killed: names for moments of its life, and the trap that is set there.

A trap wraps one function of the program from outside, in the process that is to die, and sends it
SIGKILL before or after the n-th call. The program knows nothing of it.
"""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Callable
from typing import Any

#: Name → module below the package, function in it, and on which side of a call the end comes.
#: ``half`` writes half of what the call was given first.
POINTS: dict[str, tuple[str, str, str]] = {
    # The watch
    "a file was queued": ("watch.intake", "Intake.take", "after"),
    "a job was settled, not committed": ("store.jobs", "Jobs.settle", "after"),
    # The journal, in its order
    "attempt begun, not committed": ("store.journal", "Journal.begin", "after"),
    "attempt begun": ("upload.worker", "open_unchanged", "before"),
    "before the URL is asked for": ("api.client", "MegamaxClient.upload_url", "before"),
    "URL received": ("api.client", "MegamaxClient.upload_url", "after"),
    "before the first byte": ("store.journal", "Journal.sending", "after"),
    "body begun, half of it sent": ("api.network", "Stream.write", "half"),
    "body fully sent, not recorded": ("store.journal", "Journal.sent", "before"),
    "body fully sent": ("store.journal", "Journal.sent", "after"),
    "answer received, not verified": ("api.client", "MegamaxClient.upload", "after"),
    "answer verified, not recorded": ("upload.ledger", "Ledger.arrived", "before"),
    "arrival in the journal, not committed": ("store.journal", "Journal.arrived", "after"),
    "arrival in the job, not committed": ("store.jobs", "Jobs.arrived", "after"),
    "recorded, sidecar not written": ("upload.ledger", "Ledger.arrived", "after"),
    # After an attempt that went wrong
    "outcome unknown, recorded": ("store.journal", "Journal.unknown", "after"),
    "failure recorded, job not put back": ("store.journal", "Journal.failed", "after"),
    "discarded, job not put back": ("store.journal", "Journal.discarded", "after"),
    "job put back": ("store.jobs", "Jobs.release", "after"),
    # Looking for a lost upload
    "before the list is asked": ("upload.lookup", "Lookup.settle", "before"),
    "list received": ("api.client", "MegamaxClient.files", "after"),
    "not listed, recorded": ("store.journal", "Journal.not_listed", "after"),
    "found, not taken": ("upload.lookup", "Lookup._take", "before"),
    "found and taken": ("upload.lookup", "Lookup._take", "after"),
    # Starting
    "at start, nothing rescued": ("store.journal", "Journal.rescue", "before"),
    "at start, attempts rescued": ("store.jobs", "Jobs.rescue", "before"),
    "at start, all rescued": ("store.jobs", "Jobs.rescue", "after"),
    # The sidecar
    "sidecar not begun": ("sidecar.placement", "Placement.write", "before"),
    "sidecar's temporary file made, empty": ("sidecar.placement", "encode", "before"),
    "sidecar's temporary file written": ("os", "replace", "before"),
    "sidecar in its place, not recorded": ("sidecar.placement", "Placement.write", "after"),
    "sidecar recorded, not committed": ("store.tracking", "Tracking.sidecar_written", "after"),
    # The tracker
    "before a status is asked for": ("track.statuses", "Statuses.ask", "before"),
    "status received": ("api.client", "MegamaxClient.file", "after"),
    "status recorded": ("store.tracking", "Tracking.track", "after"),
    "mirrors received": ("api.client", "MegamaxClient.mirrors", "after"),
    "direct links received": ("api.client", "MegamaxClient.direct", "after"),
    "before it is done": ("store.tracking", "Tracking.complete", "before"),
    "done, not committed": ("store.tracking", "Tracking.complete", "after"),
}

#: Smaller writes are heads of requests.
_A_BODY = 700


def set_trap(point: str, nth: int) -> None:
    """Let this process be killed at the ``nth`` passing of a point."""
    where, name, side = POINTS[point]
    owner: Any = importlib.import_module(where if where == "os" else f"megamax_sync.{where}")
    *path, last = name.split(".")
    for part in path:
        owner = getattr(owner, part)
    # An attribute that moved is a trap that never closes: better to fail here.
    original = getattr(owner, last)
    setattr(owner, last, _half(original) if side == "half" else _trapped(original, side, nth))


def _trapped(original: Callable[..., Any], side: str, nth: int) -> Callable[..., Any]:
    passed = 0

    def trapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal passed
        passed += 1
        if side == "before" and passed >= nth:
            die()
        result = original(*args, **kwargs)
        if passed >= nth:
            die()
        return result

    return trapped


def _half(original: Callable[..., Any]) -> Callable[..., Any]:
    def trapped(stream: Any, buffer: bytes, *args: Any, **kwargs: Any) -> Any:
        if len(buffer) < _A_BODY or buffer.startswith((b"GET ", b"POST ")):
            return original(stream, buffer, *args, **kwargs)
        original(stream, buffer[: len(buffer) // 2], *args, **kwargs)
        return die()

    return trapped


def die() -> None:
    """End this process as kill -9 does, at once."""
    os.kill(os.getpid(), signal.SIGKILL)
