"""What every request passes first: it is recorded, and may meet a fault."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Message, Receive, Scope, Send

from megamax_sync.sandbox.app import FAULT_KEY, envelope
from megamax_sync.sandbox.faults import Fault, FaultKind, FaultScript
from megamax_sync.sandbox.recorder import Exchange, Recorder

#: How often a held call looks whether it is released, in seconds.
_LOOK = 0.01
_LINGER_ZERO = struct.pack("ii", 1, 0)


class Connections:
    """The open connections by the client's address, so that a fault can break one."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], asyncio.Transport] = {}

    def add(self, client: tuple[str, int], transport: asyncio.Transport) -> None:
        """Note a connection that was made."""
        self._open[client] = transport

    def discard(self, client: tuple[str, int]) -> None:
        """Forget a connection that is gone."""
        self._open.pop(client, None)

    def reset(self, client: tuple[str, int]) -> None:
        """Break it off with a TCP RST."""
        with contextlib.suppress(KeyError):
            transport = self._open[client]
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            transport.abort()

    def close(self, client: tuple[str, int]) -> None:
        """End it properly, after what was written."""
        with contextlib.suppress(KeyError):
            self._open[client].close()

    def abort_all(self) -> None:
        """Break all of them off."""
        for transport in list(self._open.values()):
            transport.abort()


def _named(route: BaseRoute, scope: Scope) -> str | None:
    if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
        return route.name
    return None


class Gate:
    """ASGI middleware around the application. ``closing`` is set when the sandbox stops."""

    def __init__(
        self,
        app: Starlette,
        *,
        faults: FaultScript,
        recorder: Recorder,
        connections: Connections,
        closing: asyncio.Event,
    ) -> None:
        self._app = app
        self._faults = faults
        self._recorder = recorder
        self._connections = connections
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        names = (_named(route, scope) for route in self._app.routes)
        call = next((name for name in names if name), "unknown")
        # Read first: whoever sees this request recorded may release it.
        releases = self._faults.releases
        exchange = self._recorder.open(call, scope["method"], scope["path"])
        request = _Request(self._app, scope, receive, send, exchange)
        fault = self._faults.take(call)
        # The client is gone: there is nobody to answer.
        with contextlib.suppress(ClientDisconnect):
            if fault is None:
                await request.serve()
            else:
                if fault.kind is FaultKind.HOLD:
                    await self._wait_for_release(releases)
                await self._act_out(fault, request)

    async def _wait_for_release(self, before: int) -> None:
        # The script belongs to other threads: it is looked at, for it cannot wake this loop.
        while self._faults.releases == before and not self._closing.is_set():
            await asyncio.sleep(_LOOK)

    async def _act_out(self, fault: Fault, request: _Request) -> None:
        match fault.kind:
            case FaultKind.RESET:
                await self._reset(request)
            case FaultKind.STATUS:
                if not fault.early:
                    await request.read()
                response: Response = envelope(None, status=fault.code, message=fault.message)
                response.headers.update(dict(fault.headers))
                await request.answer(response)
            case FaultKind.RAW:
                await request.read()
                headers = {"content-type": fault.content_type}
                await request.answer(Response(fault.body, fault.code, headers))
            case FaultKind.DELAY:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), fault.seconds)
                await request.serve()
            case FaultKind.HOLD:
                await request.serve()
            case FaultKind.CUT_BODY:
                await request.serve_cut(fault.nbytes)
                self._connections.close(request.client)
                await request.wait_until_gone()
            case FaultKind.LOST_ANSWER:
                await request.serve_unheard()
                await self._reset(request)
            case FaultKind.RESET_AFTER:
                await request.read(fault.nbytes)
                await self._reset(request)
            case FaultKind.STALL:
                await self._closing.wait()
                await self._reset(request)
            case FaultKind.WRONG_SIZE | FaultKind.HIDE_NEW:
                request.scope[FAULT_KEY] = fault
                await request.serve()

    async def _reset(self, request: _Request) -> None:
        self._connections.reset(request.client)
        await request.wait_until_gone()


class _Request:
    """One request with the ways to serve it, well and badly."""

    def __init__(
        self, app: Starlette, scope: Scope, receive: Receive, send: Send, exchange: Exchange
    ) -> None:
        self.scope = scope
        self.client: tuple[str, int] = scope["client"]
        self._app = app
        self._receive_raw = receive
        self._send_raw = send
        self._exchange = exchange
        self._gone = False

    async def serve(self) -> None:
        """As it should be."""
        await self._app(self.scope, self._receive, self._send)

    async def answer(self, response: Response) -> None:
        """With this, whatever was asked."""
        await response(self.scope, self._receive, self._send)

    async def serve_unheard(self) -> None:
        """Do all of it and keep the answer."""

        async def swallow(_message: Message) -> None:
            return

        await self._app(self.scope, self._receive, swallow)

    async def serve_cut(self, nbytes: int) -> None:
        """Announce the whole answer, send ``nbytes`` of its body, never its end."""
        left = nbytes

        async def cut(message: Message) -> None:
            nonlocal left
            if message["type"] == "http.response.start":
                # An answer shorter than that still has to miss something.
                message["headers"] = [
                    (name, _at_least(value, nbytes + 1) if name == b"content-length" else value)
                    for name, value in message["headers"]
                ]
                await self._send(message)
                return
            body = message.get("body", b"")[:left]
            left -= len(body)
            await self._send({"type": "http.response.body", "body": body, "more_body": True})

        await self._app(self.scope, self._receive, cut)

    async def read(self, nbytes: int | None = None) -> None:
        """Read ``nbytes`` of the body, or all of it, and drop it."""
        seen = 0
        more = True
        while more and (nbytes is None or seen < nbytes):
            message = await self._receive()
            seen += len(message.get("body", b""))
            more = message.get("more_body", False)

    async def wait_until_gone(self) -> None:
        """Wait until the server knows that the connection, broken by us, is gone."""
        while not self._gone:
            await self._receive()

    async def _receive(self) -> Message:
        message = await self._receive_raw()
        if message["type"] == "http.disconnect":
            self._gone = True
        return message

    async def _send(self, message: Message) -> None:
        if self._gone:
            return
        if message["type"] == "http.response.start":
            self._exchange.answered(message["status"])
        await self._send_raw(message)


def _at_least(value: bytes, minimum: int) -> bytes:
    return str(max(int(value), minimum)).encode("ascii")
