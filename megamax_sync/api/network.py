"""Bytes to the socket and back, for httpcore.

What large uploads need and httpcore's own backend does badly, or not at all, this one does:

- It looks for an answer *before* the body is through, so that a 413 or 401 in the middle of it is
  read instead of being lost in the reset that follows it. httpcore goes on to read the answer when
  a write fails with ``WriteError``, and this counts on that.
- It notices receivers that take a trickle: its time-out is for each write, so a byte a minute
  would be progress.
- It waits for ``100 Continue`` between a head and its body, where that was asked for.
- It can be aborted from another thread.

And it announces each wait with its bound, so that a thread which waits for the network can be told
from one that is stuck elsewhere.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import httpcore

from megamax_sync.api.sessions import Sessions
from megamax_sync.api.stream import Stream, errors


def _unwatched(_seconds: float | None) -> AbstractContextManager[None]:
    return contextlib.nullcontext()


class Backend(httpcore.NetworkBackend):
    """Opens the connections of one client, and knows which are open.

    ``min_rate`` is in bytes a second, 0 for none.
    """

    def __init__(self, min_rate: float = 0.0) -> None:
        self.min_rate = min_rate
        #: How often a connection was ever tried: tells a fresh one from one that was kept alive.
        self.tries = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        #: How often it was aborted.
        self.aborts = 0
        self.sessions = Sessions()
        #: Called whenever a receiver has taken bytes.
        self.alive: Callable[[], None] = lambda: None
        #: Entered for each wait, with the seconds after which it ends by itself.
        self.waiting: Callable[[float | None], AbstractContextManager[None]] = _unwatched
        #: The stream that was written to last.
        self.latest: Stream | None = None

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - httpcore calls this with it by name, so it has to be taken; it is always None, as no pool here is made with a local address
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of ``host`` that answers."""
        aborts = self.aborts
        self.tries += 1
        with errors(httpcore.ConnectTimeout, httpcore.ConnectError):
            failure: OSError = OSError(f"{host} has no address")
            # Looking a name up has limits of the resolver's own, which are shorter as a rule.
            with self.waiting(timeout):
                addresses = self._addresses(host, port)
            for family, kind, protocol, _, address in addresses:
                try:
                    sock = socket.socket(family, kind, protocol)
                except OSError as exc:
                    # A family that this kernel does not have.
                    failure = exc
                    continue
                self.keep(sock)
                try:
                    self._expect_no_abort(aborts)
                    sock.settimeout(timeout)
                    with self.waiting(timeout):
                        sock.connect(address)
                    for option in socket_options or ():
                        sock.setsockopt(*option)
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                except OSError as exc:
                    self.drop(sock)
                    failure = exc
                    continue
                return Stream(sock, self, patience=timeout)
            raise failure

    def _expect_no_abort(self, aborts: int) -> None:
        if aborts != self.aborts:
            raise OSError("aborted")

    @staticmethod
    def _addresses(host: str, port: int) -> list[Any]:
        try:
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except ValueError as exc:
            raise OSError(f"{host} is no host name") from exc

    def abort(self) -> None:
        """Shut all open connections down; whatever waits on one fails at once."""
        with self._lock:
            self.aborts += 1
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def keep(self, sock: socket.socket) -> None:
        """Make ``sock`` one that :meth:`abort` shuts down."""
        with self._lock:
            self._open.add(sock)

    def drop(self, sock: socket.socket) -> None:
        """Close ``sock``; under the lock, so that no abort hits a reused descriptor."""
        with self._lock:
            self._open.discard(sock)
            sock.close()
