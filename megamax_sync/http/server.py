"""Serves the pages with uvicorn, in a thread of its own: listen, start, stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
import threading
from typing import Any, cast

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from megamax_sync.config import HttpAddress
from megamax_sync.errors import ConfigError

#: How long a client may take to send a request, or to take in a piece of an answer, in seconds.
PATIENCE = 10.0
#: Connections at a time; further ones are closed at once.
_MOST_CONNECTIONS = 512
_KEEP_ALIVE_SECONDS = 30
_START_SECONDS = 10.0
_STOP_SECONDS = 1.5


def listen(address: HttpAddress) -> socket.socket:
    """Bind and listen. Raises :class:`ConfigError` that says what stands in the way."""
    shown = (address.path and f"unix:{address.path}") or _host_and_port(address)
    try:
        return _listen_on_path(address.path) if address.path else _listen_on_port(address)
    except OSError as error:
        remedy = {
            errno.EADDRINUSE: "something else listens there; set another one",
            errno.EACCES: "set a port above 1023, or a path that this user may write to",
            errno.EADDRNOTAVAIL: "set an address of this machine, such as 127.0.0.1:8765",
            errno.ENOENT: "make the folder of the socket first",
        }.get(error.errno or 0, "set another one, or off")
        why = error.strerror or str(error)
        raise ConfigError(f"MEGAMAX_HTTP: '{shown}' cannot be used ({why}); {remedy}") from error


def _host_and_port(address: HttpAddress) -> str:
    host = address.host or ""
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"


def _listen_on_port(address: HttpAddress) -> socket.socket:
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, protocol, _, where = found[0]
    # asyncio turns Nagle's algorithm off only where the protocol is named.
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # [::] is every address of the machine, whatever the system's default says.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(where)
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _listen_on_path(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _take_away_left_over(path)
        listener.bind(path)
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _take_away_left_over(path: str) -> None:
    """Take away the socket of an instance that was killed; nothing that is anything else."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
            caller.settimeout(1.0)
            try:
                caller.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)


class _Protocol(H11Protocol):
    """Does not wait for ever: neither for a request to be whole, nor for an answer to be read."""

    _reading: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Of a stream it is one that can be read and written, which uvicorn relies on, too.
        stream = cast("asyncio.Transport", transport)
        super().connection_made(stream)
        if len(self.connections) > _MOST_CONNECTIONS:
            stream.abort()
        else:
            self._reading = self._abort_later()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_whole():
            self._end_reading()
        elif self._reading is None:
            # The next request on a kept connection begins.
            self._reading = self._abort_later()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_reading()
        self._end_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writing = self._abort_later()

    def resume_writing(self) -> None:
        self._end_writing()
        super().resume_writing()

    def _is_whole(self) -> bool:
        """Tell whether no part of a request has come that lacks the rest."""
        if self.conn.their_state is h11.IDLE:
            return not self.conn.trailing_data[0]
        return self.conn.their_state is not h11.SEND_BODY

    def _abort_later(self) -> asyncio.TimerHandle:
        return self.loop.call_later(PATIENCE, self.transport.abort)

    def _end_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _end_writing(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None


class _Uvicorn(uvicorn.Server):
    """Says when it serves; leaves signals to the program."""

    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready.set()


class Server:
    """One run of the server, from :meth:`start` to :meth:`stop`. Takes over ``listener``."""

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        self._listener = listener
        name = listener.getsockname()
        self._path = name if listener.family == socket.AF_UNIX else None
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        config = uvicorn.Config(
            app,
            http=_Protocol,
            loop="asyncio",
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=1,
            # A connection that has sent no request is in no state that h11 would bound.
            h11_max_incomplete_event_size=16 << 10,
        )
        self._server = _Uvicorn(config, self._ready)
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        """Serve; on return requests are answered."""
        self._thread.start()
        if not self._ready.wait(_START_SECONDS):
            raise RuntimeError("the pages could not be started")

    def is_alive(self) -> bool:
        """Tell whether the thread runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Break all connections off and end the thread, in a second and a half at the most."""
        if self._loop is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._break_off)
            self._thread.join(_STOP_SECONDS)
        self._listener.close()
        if self._path:
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._server.serve(sockets=[self._listener])

    def _break_off(self) -> None:
        self._server.should_exit = True
        for connection in list(self._server.server_state.connections):
            transport: Any = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
