"""One connection of :class:`~megamax_sync.api.network.Backend`: what is sent, and what comes."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpcore

from megamax_sync.api.interim import is_final, split_interim
from megamax_sync.api.tls import Tls
from megamax_sync.api.trickle import Trickle

if TYPE_CHECKING:
    from megamax_sync.api.network import Backend

#: So much is made secret and sent at a time, in bytes. Half as much takes a tenth more of the
#: processor time; twice as much saves nothing that can be seen, and takes a megabyte more of memory
#: for each worker.
_TLS_PIECE = 1 << 18
_READ = 1 << 16


@contextlib.contextmanager
def errors(timed_out: type[Exception], failed: type[Exception]) -> Iterator[None]:
    """Turn the socket's errors into those of httpcore."""
    try:
        yield
    except TimeoutError as exc:
        raise timed_out("timed out") from exc
    except OSError as exc:
        raise failed(str(exc)) from exc


class Stream(httpcore.NetworkStream):
    """One connection.

    ``patience`` (seconds) is for reads and writes that have no time-out of their own: httpcore asks
    a SOCKS proxy without one.
    """

    def __init__(
        self,
        sock: socket.socket,
        backend: Backend,
        tls: Tls | None = None,
        *,
        patience: float | None = None,
    ) -> None:
        self._sock = sock
        self._backend = backend
        self._patience = patience
        self._tls = tls
        self._incoming = select.poll()
        # One that was closed meanwhile has no descriptor.
        if sock.fileno() >= 0:
            self._incoming.register(sock, select.POLLIN)
        self._early = b""
        self._ended = False
        self._leave = False
        self._trickle = Trickle(backend.min_rate)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what came early, or wait for more; empty at the end."""
        timeout = self._patience if timeout is None else timeout
        with errors(httpcore.ReadTimeout, httpcore.ReadError):
            self._sock.settimeout(timeout)
            while not (self._early or self._ended):
                with self._backend.waiting(timeout):
                    self._early = self._receive()
                    self._reply()
        data, self._early = self._early[:max_bytes], self._early[max_bytes:]
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of ``buffer``, unless an answer comes first (``WriteError``).

        ``timeout`` is for a stall: seconds in which nothing at all is taken.
        """
        timeout = self._patience if timeout is None else timeout
        with errors(httpcore.WriteTimeout, httpcore.WriteError):
            self._sock.settimeout(0)
            self._backend.latest = self
            if self._tls is None:
                self._send_all(buffer, timeout)
                return
            with memoryview(buffer) as view:
                for start in range(0, len(view), _TLS_PIECE):
                    piece = self._tls.encrypt(view[start : start + _TLS_PIECE])
                    self._send_all(piece, timeout)

    def _send_all(self, data: bytes, timeout: float | None) -> None:
        rest: bytes | memoryview = data
        while rest:
            if self._answered():
                raise httpcore.WriteError("answered before the whole request was sent")
            taken = self._send(rest, timeout)
            self._trickle.took(taken)
            self._backend.alive()
            rest = memoryview(data)[len(data) - len(rest) + taken :]

    def wait_for_leave(self, seconds: float) -> None:
        """Wait until an answer begins, be it ``100 Continue`` or the last one; not for ever.

        A receiver that knows nothing of this is sent the body after ``seconds`` (RFC 9110, 10.1.1).
        """
        with errors(httpcore.WriteTimeout, httpcore.WriteError):
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0 and not (self._answered() or self._leave):
                self._poll(select.POLLIN, left)

    def _send(self, part: bytes | memoryview, timeout: float | None) -> int:
        """Send some of ``part``; 0 if something can be read instead."""
        end: float | None = None
        while True:
            try:
                return self._sock.send(part)
            except BlockingIOError:
                before = time.monotonic()
            if timeout is not None:
                end = end or before + timeout
                if before >= end:
                    raise TimeoutError
            left = None if end is None else end - before
            ready = self._poll(select.POLLIN | select.POLLOUT, self._trickle.longest_wait(left))
            rate = self._trickle.too_slow(time.monotonic() - before)
            if rate is not None:
                raise httpcore.WriteTimeout(f"the receiver took {rate:.0f} bytes a second")
            if ready & select.POLLIN and self._answered():
                return 0

    def _poll(self, wanted: int, seconds: float | None) -> int:
        poll = select.poll()
        poll.register(self._sock, wanted)
        # Rounded up: a wait cut to 0 ms would spin.
        with self._backend.waiting(seconds):
            found = poll.poll(None if seconds is None else int(seconds * 1000) + 1)
        return found[0][1] if found else 0

    def _answered(self) -> bool:
        """Whether an answer, or the end of the connection, came before it was asked for.

        What was read is kept for :meth:`read`. On TLS the socket also becomes readable for what
        is no data (session tickets), so only a real read can tell.
        """
        # To be told of nothing by an exception takes longer than to ask first.
        if not self._ended and self._incoming.poll(0):
            with contextlib.suppress(BlockingIOError):
                self._early, leave = split_interim(self._early + self._receive())
                self._leave = self._leave or leave
        return self._ended or is_final(self._early)

    def _receive(self) -> bytes:
        """Return what has come, which may be nothing over TLS; notices the end."""
        data = self._sock.recv(_READ)
        if self._tls is None:
            self._ended = not data
            return data
        plain = self._tls.decrypt(data)
        self._ended = self._tls.ended
        return plain

    def _reply(self) -> None:
        """Say what TLS wants to have said, which is nothing as a rule.

        Whoever has hung up by now may have answered before.
        """
        if self._tls is not None and (reply := self._tls.answer()):
            with contextlib.suppress(OSError):
                self._sock.sendall(reply)

    def close(self) -> None:
        """Close the connection."""
        if self._tls is not None:
            tls = self._tls
            self._backend.sessions.keep(tls.trust, tls.host, tls.session)
        self._backend.drop(self._sock)

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Shake hands on this connection, within ``timeout``."""
        sessions = self._backend.sessions
        with errors(httpcore.ConnectTimeout, httpcore.ConnectError):
            try:
                tls = Tls(ssl_context, server_hostname, sessions.of(ssl_context, server_hostname))
                with self._backend.waiting(timeout):
                    tls.shake_hands(self._sock, timeout)
            except BaseException as exc:
                # httpcore does not close what it could not use.
                self._backend.drop(self._sock)
                sessions.forget(ssl_context, server_hostname)
                if isinstance(exc, ValueError):
                    raise OSError(f"TLS cannot begin: {exc}") from exc
                raise
        return Stream(self._sock, self._backend, tls, patience=self._patience)

    def get_extra_info(self, info: str) -> Any:
        """Whether something (for an idle connection: the end) can be read; nothing else is told."""
        if info != "is_readable":
            return None
        return bool(self._early or self._ended or self._incoming.poll(0))
