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
from megamax_sync.api.trickle import Trickle

if TYPE_CHECKING:
    from megamax_sync.api.network import Backend

#: OpenSSL tells of progress only after a whole write, and a slow receiver must be seen to take
#: some. But each write has to wait for its turn among Python's threads: four uploads at once take
#: a fifth less processor time with large ones. So receivers that take one soon get the large.
_TLS_WRITE, _TLS_WRITE_MOST, _AT_ONCE = 1 << 16, 1 << 18, 0.25
_READ = 1 << 16
_NOT_READY = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


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
    """One connection."""

    def __init__(self, sock: socket.socket, backend: Backend) -> None:
        self._sock = sock
        self._backend = backend
        self._secure = isinstance(sock, ssl.SSLSocket)
        self._write_size = _TLS_WRITE if self._secure else 1 << 30
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
        if self._early:
            data, self._early = self._early[:max_bytes], self._early[max_bytes:]
            return data
        if self._ended:
            return b""
        with errors(httpcore.ReadTimeout, httpcore.ReadError):
            self._sock.settimeout(timeout)
            with self._backend.waiting(timeout):
                return self._sock.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of ``buffer``, unless an answer comes first (``WriteError``).

        ``timeout`` is for a stall: seconds in which nothing at all is taken.
        """
        with memoryview(buffer) as view, errors(httpcore.WriteTimeout, httpcore.WriteError):
            self._sock.settimeout(0)
            self._backend.latest = self
            start = 0
            while start < len(view):
                if self._answered():
                    raise httpcore.WriteError("answered before the whole request was sent")
                # After "not ready" OpenSSL wants the very same bytes again, and gets them.
                began = time.monotonic()
                taken = self._send(view[start : start + self._write_size], timeout)
                if self._secure:
                    quick = time.monotonic() - began < _AT_ONCE
                    self._write_size = _TLS_WRITE_MOST if quick else _TLS_WRITE
                self._trickle.took(taken)
                start += taken
                self._backend.alive()

    def wait_for_leave(self, seconds: float) -> None:
        """Wait until an answer begins, be it ``100 Continue`` or the last one; not for ever.

        A receiver that knows nothing of this is sent the body after ``seconds`` (RFC 9110, 10.1.1).
        """
        with errors(httpcore.WriteTimeout, httpcore.WriteError):
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0 and not (self._answered() or self._leave):
                self._poll(select.POLLIN, left)

    def _send(self, part: memoryview, timeout: float | None) -> int:
        """Send some of ``part``; 0 if something can be read instead."""
        began = time.monotonic()
        while True:
            try:
                return self._sock.send(part)
            except _NOT_READY as exc:
                wanted = select.POLLIN
                if not isinstance(exc, ssl.SSLWantReadError):
                    wanted |= select.POLLOUT
            before = time.monotonic()
            left = None if timeout is None else began + timeout - before
            if left is not None and left <= 0:
                raise TimeoutError
            ready = self._poll(wanted, self._trickle.longest_wait(left))
            # Of a large write over TLS nobody knows how much is taken; it has its time-out, too.
            large = len(part) if self._secure and len(part) > _TLS_WRITE else 0
            rate = self._trickle.too_slow(time.monotonic() - before, large)
            if rate is not None:
                raise httpcore.WriteTimeout(f"the receiver took {rate:.0f} bytes a second")
            if ready & select.POLLIN and self._answered():
                return 0
            if ready & select.POLLOUT:
                # There is room: something was taken, though OpenSSL tells of whole writes alone.
                began = time.monotonic()

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
        if self._ended:
            return True
        # To be told of nothing by an exception takes longer than to ask first. OpenSSL holds back
        # nothing here: each read takes more than a record.
        if not self._incoming.poll(0):
            return is_final(self._early)
        try:
            data = self._sock.recv(_READ)
        except _NOT_READY:
            return is_final(self._early)
        self._ended = not data
        self._early, leave = split_interim(self._early + data)
        self._leave = self._leave or leave
        return self._ended or is_final(self._early)

    def close(self) -> None:
        """Close the connection."""
        if isinstance(self._sock, ssl.SSLSocket):
            self._backend.sessions.keep(self._sock)
        self._backend.drop(self._sock)

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Shake hands on this connection, within ``timeout`` for each step."""

        def wrap() -> ssl.SSLSocket:
            return ssl_context.wrap_socket(
                self._sock,
                server_hostname=server_hostname,
                do_handshake_on_connect=False,
                session=session,
            )

        session = self._backend.sessions.of(ssl_context, server_hostname)

        with (
            errors(httpcore.ConnectTimeout, httpcore.ConnectError),
            self._backend.replacing(self._sock, wrap) as tls,
        ):
            tls.settimeout(timeout)
            with self._backend.waiting(timeout):
                self._backend.sessions.shake_hands(tls)
        return Stream(tls, self._backend)

    def get_extra_info(self, info: str) -> Any:
        """Whether something (for an idle connection: the end) can be read; nothing else is told."""
        if info != "is_readable":
            return None
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(self._early or self._ended or poll.poll(0))
