"""A script of faults: what goes wrong, at which call, the n-th time.

Faults are set through Python only. Nothing that comes over the network can cause one.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Mapping
from dataclasses import dataclass

#: The names of the calls, as faults and recorded requests use them. ``stream`` serves the bytes.
CALLS = ("file", "files", "generate", "upload", "mirrors", "direct", "stream")


class FaultKind(enum.Enum):
    """What a fault does; :class:`Fault` has a constructor for each."""

    RESET = "reset"
    STATUS = "status"
    DELAY = "delay"
    HOLD = "hold"
    RAW = "raw"
    CUT_BODY = "cut_body"
    LOST_ANSWER = "lost_answer"
    RESET_AFTER = "reset_after"
    STALL = "stall"
    WRONG_SIZE = "wrong_size"
    HIDE_NEW = "hide_new"


#: Faults that make sense for one call only.
_BOUND_TO = {
    FaultKind.RESET_AFTER: "upload",
    FaultKind.STALL: "upload",
    FaultKind.WRONG_SIZE: "upload",
    FaultKind.HIDE_NEW: "files",
}


@dataclass(frozen=True)
class Fault:
    """One fault. Make it with a constructor; the fields are what that one needs."""

    kind: FaultKind
    code: int = 0
    message: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    early: bool = False
    seconds: float = 0.0
    body: bytes = b""
    content_type: str = ""
    nbytes: int = 0
    delta: int = 0

    @classmethod
    def reset(cls) -> Fault:
        """Reset the connection (TCP RST) before any answer; an upload's body is not read."""
        return cls(FaultKind.RESET)

    @classmethod
    def status(
        cls,
        code: int,
        message: str = "Something went wrong",
        headers: Mapping[str, str] | None = None,
        *,
        early: bool = False,
    ) -> Fault:
        """Answer with this status and an error envelope, and do nothing else.

        A request's body is read first; with ``early`` the answer is sent before it, and the body
        is drained afterwards (or cut off, with ``headers={"connection": "close"}``).
        """
        pairs = tuple((headers or {}).items())
        return cls(FaultKind.STATUS, code=code, message=message, headers=pairs, early=early)

    @classmethod
    def redirect(cls, location: str, code: int = 302) -> Fault:
        """Answer with a redirect to ``location``, after the request's body was read."""
        return cls.status(code, "Redirecting", {"location": location})

    @classmethod
    def delay(cls, seconds: float) -> Fault:
        """Wait ``seconds``, then go on as if nothing had been."""
        return cls(FaultKind.DELAY, seconds=seconds)

    @classmethod
    def hold(cls) -> Fault:
        """Wait for :meth:`FaultScript.release`, then go on as if nothing had been."""
        return cls(FaultKind.HOLD)

    @classmethod
    def raw(cls, status: int, body: bytes, content_type: str = "text/html") -> Fault:
        """Answer with exactly this: a proxy's HTML page, broken JSON."""
        return cls(FaultKind.RAW, code=status, body=body, content_type=content_type)

    @classmethod
    def cut_body(cls, nbytes: int) -> Fault:
        """Carry the request out, announce the whole answer, send ``nbytes`` of it, and close."""
        return cls(FaultKind.CUT_BODY, nbytes=nbytes)

    @classmethod
    def lost_answer(cls) -> Fault:
        """Carry the request out entirely, then reset the connection instead of answering."""
        return cls(FaultKind.LOST_ANSWER)

    @classmethod
    def reset_after(cls, nbytes: int) -> Fault:
        """Uploads: read ``nbytes`` of the body, then reset; nothing is stored."""
        return cls(FaultKind.RESET_AFTER, nbytes=nbytes)

    @classmethod
    def stall(cls) -> Fault:
        """Uploads: never read the body, until the sandbox closes."""
        return cls(FaultKind.STALL)

    @classmethod
    def wrong_size(cls, delta: int) -> Fault:
        """Uploads: report a size that is ``delta`` bytes off, in the answer and ever after."""
        return cls(FaultKind.WRONG_SIZE, delta=delta)

    @classmethod
    def hide_new(cls, seconds: float) -> Fault:
        """Lists: leave out the files that are younger than ``seconds``."""
        return cls(FaultKind.HIDE_NEW, seconds=seconds)


class _Entry:
    def __init__(self, call: str, fault: Fault, nth: tuple[int, ...] | None) -> None:
        self.call = call
        self.fault = fault
        self.nth = nth
        self.seen = 0

    def fires(self) -> bool:
        self.seen += 1
        return self.nth is None or self.seen in self.nth


class FaultScript:
    """Which faults happen when. Safe to use from any thread, also while a sandbox runs on it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[_Entry] = []
        self._releases = 0

    def add(self, call: str, fault: Fault, nth: int | tuple[int, ...] | None = 1) -> None:
        """Let ``fault`` happen at the ``nth`` ``call``, counted from now on; ``None``: at each.

        Where several fit the same request, the one added first happens.

        Raises:
            ValueError: no such call, or the fault does not apply to it.
        """
        if call not in CALLS:
            raise ValueError(f"no call {call!r}; there are {', '.join(CALLS)}")
        only = _BOUND_TO.get(fault.kind, call)
        if only != call:
            raise ValueError(f"{fault.kind.value} applies to {only!r} only, not to {call!r}")
        numbers = (nth,) if isinstance(nth, int) else nth
        with self._lock:
            self._entries.append(_Entry(call, fault, numbers))

    def clear(self) -> None:
        """Forget every fault: from now on all goes well, also for what is held."""
        with self._lock:
            self._entries.clear()
            self._releases += 1

    @property
    def releases(self) -> int:
        """How often what was held has been let go: what is held goes on when this grows."""
        return self._releases

    def release(self) -> None:
        """Let the calls go on that are held by now; later ones are held anew."""
        with self._lock:
            self._releases += 1

    def take(self, call: str) -> Fault | None:
        """Count one ``call``, and return the fault that is to happen, if any."""
        with self._lock:
            hits = [entry for entry in self._entries if entry.call == call and entry.fires()]
        return hits[0].fault if hits else None
