"""Live events: one look a tick for all who watch, and none while nobody does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import structlog
from starlette.concurrency import run_in_threadpool

from megamax_sync.errors import MegamaxError
from megamax_sync.http.html import Html

_log = structlog.get_logger()

#: Between two looks, in seconds.
TICK = 1.0
#: A comment goes out after so many seconds of silence, so that proxies keep the connection.
_COMMENT_SECONDS = 15.0
#: Viewers at a time.
MOST = 200


class Look:
    """What one look has found: the status document, the page's parts, and the jobs that moved."""

    def __init__(self, status: dict[str, Any], parts: dict[str, Html], changed: list[int]) -> None:
        self.status = status
        self.parts = parts
        self.changed = changed


class Full(Exception):
    """As many watch as can."""


class Broadcast:
    """Looks while there are viewers, and tells each what has changed since they were told last.

    All of it happens on the server's event loop, but for ``look``, which is called on a thread of
    its own. What an event says is put into bytes once, whoever gets it.
    """

    def __init__(self, look: Callable[[], Look], *, tick: float = TICK) -> None:
        self._look = look
        self._tick = tick
        self._viewers: set[asyncio.Queue[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._number = 0
        self._parts: dict[str, str] = {}
        self._status = ""
        #: The events of the last look, by whether parts are wanted.
        self._events: dict[bool, bytes] = {True: b"", False: b""}

    @property
    def viewers(self) -> int:
        """How many watch."""
        return len(self._viewers)

    async def watch(self, *, parts: bool) -> AsyncIterator[bytes]:
        """Yield events for one viewer, until they go. Raises :class:`Full` at once."""
        if len(self._viewers) >= MOST:
            raise Full
        return self._events_for(parts)

    async def _events_for(self, parts: bool) -> AsyncIterator[bytes]:
        # One place: a viewer that is slow is told the latest, not all that it has missed.
        told: asyncio.Queue[None] = asyncio.Queue(1)
        self._viewers.add(told)
        try:
            seen = self._number
            yield b"retry: 2000\n\n" + self._everything(parts)
            self._begin()
            while True:
                try:
                    async with asyncio.timeout(_COMMENT_SECONDS):
                        await told.get()
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                behind, seen = self._number - seen, self._number
                yield self._events[parts] if behind == 1 else self._everything(parts)
        finally:
            self._viewers.discard(told)

    def _begin(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        failed = False
        while self._viewers:
            try:
                look = await run_in_threadpool(self._look)
            except MegamaxError as error:
                # The queue is away for a moment: the next look may find it.
                if not failed:
                    _log.warning("http.look_failed", error=str(error))
                failed = True
            else:
                failed = False
                self._tell(look)
            await asyncio.sleep(self._tick)
        # Whoever comes next has seen nothing of this.
        self._parts, self._status = {}, ""

    def _tell(self, look: Look) -> None:
        parts = {name: str(html) for name, html in look.parts.items()}
        changed = {name: text for name, text in parts.items() if self._parts.get(name) != text}
        status = json.dumps(look.status)
        events = b""
        if status != self._status:
            events += _event("status", status)
        if look.changed:
            events += _event("changed", json.dumps(look.changed))
        self._parts, self._status = parts, status
        with_parts = events + (_event("parts", json.dumps(changed)) if changed else b"")
        if not with_parts:
            return
        self._events = {True: with_parts, False: events}
        self._number += 1
        for told in self._viewers:
            if told.empty():
                told.put_nowait(None)

    def _everything(self, parts: bool) -> bytes:
        events = _event("status", self._status) if self._status else b""
        if parts and self._parts:
            events += _event("parts", json.dumps(self._parts))
        return events


def _event(name: str, text: str) -> bytes:
    """Render one event. JSON in ASCII: no line breaks, and no half characters."""
    return f"event: {name}\ndata: {text}\n\n".encode("ascii")
