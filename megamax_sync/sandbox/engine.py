"""Runs the application with uvicorn in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from megamax_sync.sandbox.account import Account
from megamax_sync.sandbox.app import build_app
from megamax_sync.sandbox.faults import FaultScript
from megamax_sync.sandbox.gate import Connections, Gate
from megamax_sync.sandbox.recorder import Recorder

#: Longer than any poll of a client: a connection that the server drops just when the next request
#: is sent looks like a fault, and faults are to come from the script only.
_KEEP_ALIVE_SECONDS = 75
_START_SECONDS = 10.0
_STOP_SECONDS = 3.0


class _Protocol(H11Protocol):
    """Notes its connection, which ASGI does not show to applications."""

    #: Those of one engine, which makes a class of its own: uvicorn makes the objects.
    noted: ClassVar[Connections]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Of a stream it is one that can be read and written, which uvicorn relies on, too.
        stream = cast("asyncio.Transport", transport)
        super().connection_made(stream)
        if self.client is not None:
            self.noted.add(self.client, stream)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.client is not None:
            self.noted.discard(self.client)
        super().connection_lost(exc)


class _Server(uvicorn.Server):
    """Says when it serves."""

    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready.set()


class Engine:
    """One run of the server, from :meth:`start` to :meth:`stop`.

    ``listener`` is bound and becomes the engine's; ``tls`` is a certificate and a key file.
    """

    def __init__(
        self,
        account: Account,
        listener: socket.socket,
        base_url: str,
        *,
        faults: FaultScript,
        recorder: Recorder,
        tls: tuple[str, str] | None,
    ) -> None:
        self._listener = listener
        self._connections = Connections()
        self._closing = asyncio.Event()
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="sandbox-disk")
        gate = Gate(
            build_app(account, base_url, self._pool),
            faults=faults,
            recorder=recorder,
            connections=self._connections,
            closing=self._closing,
        )

        class Protocol(_Protocol):
            noted = self._connections

        config = uvicorn.Config(
            gate,
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=1,
            ssl_certfile=tls[0] if tls else None,
            ssl_keyfile=tls[1] if tls else None,
        )
        # Loaded here, so that a certificate that cannot be read is the caller's exception.
        config.load()
        self._server = _Server(config, self._ready)
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)

    def start(self) -> None:
        """Serve; on return requests are answered."""
        self._thread.start()
        if not self._ready.wait(_START_SECONDS):
            raise RuntimeError("the sandbox did not start")

    def stop(self) -> None:
        """Break all connections off and end the thread, within three seconds."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._break_off)
        self._thread.join(_STOP_SECONDS)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._server.serve(sockets=[self._listener])

    def _break_off(self) -> None:
        self._server.should_exit = True
        self._closing.set()
        self._connections.abort_all()
