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
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpcore

from megamax_sync.api.interim import is_final, split_interim
from megamax_sync.api.sessions import Sessions
from megamax_sync.api.trickle import Trickle

#: OpenSSL tells of progress only after a whole write, and a slow receiver must be seen to take
#: some. But each write has to wait for its turn among Python's threads: four uploads at once take
#: a fifth less processor time with large ones. So receivers that take one soon get the large.
_TLS_WRITE, _TLS_WRITE_MOST, _AT_ONCE = 1 << 16, 1 << 18, 0.25
_READ = 1 << 16
_NOT_READY = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def _unwatched(_seconds: float | None) -> AbstractContextManager[None]:
    return contextlib.nullcontext()


@contextlib.contextmanager
def _errors(timed_out: type[Exception], failed: type[Exception]) -> Iterator[None]:
    """Turn the socket's errors into those of httpcore."""
    try:
        yield
    except TimeoutError as exc:
        raise timed_out("timed out") from exc
    except OSError as exc:
        raise failed(str(exc)) from exc


class Backend(httpcore.NetworkBackend):
    """Opens the connections of one client, and knows which are open.

    ``min_rate`` is in bytes a second, 0 for none.
    """

    def __init__(self, min_rate: float = 0.0) -> None:
        self.min_rate = min_rate
        #: How many connections were ever opened: tells a fresh one from one that was kept alive.
        self.opened = 0
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
        local_address: str | None = None,  # noqa: ARG002 - httpcore passes it by name; no pool of ours sets one
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of ``host`` that answers."""
        aborts = self.aborts
        with _errors(httpcore.ConnectTimeout, httpcore.ConnectError):
            failure: OSError = OSError(f"{host} has no address")
            # Looking a name up has limits of the resolver's own, which are shorter as a rule.
            with self.waiting(timeout):
                addresses = self._addresses(host, port)
            for family, kind, protocol, _, address in addresses:
                sock = socket.socket(family, kind, protocol)
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
                self.opened += 1
                return Stream(sock, self)
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
                    # SSLSocket.shutdown would first forget the TLS layer, and a write that is under
                    # way in another thread would go out in the clear.
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def keep(self, sock: socket.socket) -> None:
        """Make ``sock`` one that :meth:`abort` shuts down."""
        with self._lock:
            self._open.add(sock)

    def drop(self, sock: socket.socket) -> None:
        """Close ``sock``; under the lock, so that no abort hits a reused descriptor."""
        with self._lock:
            self._open.discard(sock)
            sock.close()

    @contextlib.contextmanager
    def replacing(
        self, sock: socket.socket, wrap: Callable[[], ssl.SSLSocket]
    ) -> Iterator[ssl.SSLSocket]:
        """Put the TLS socket that ``wrap`` makes of ``sock`` in its place."""
        with self._lock:
            self._open.discard(sock)
            try:
                tls = wrap()
            except (OSError, ValueError) as exc:
                sock.close()
                raise OSError(f"TLS cannot begin: {exc}") from exc
            self._open.add(tls)
        try:
            yield tls
        except BaseException:
            self.drop(tls)
            raise


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
        with _errors(httpcore.ReadTimeout, httpcore.ReadError):
            self._sock.settimeout(timeout)
            with self._backend.waiting(timeout):
                return self._sock.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of ``buffer``, unless an answer comes first (``WriteError``).

        ``timeout`` is for a stall: seconds in which nothing at all is taken.
        """
        with memoryview(buffer) as view, _errors(httpcore.WriteTimeout, httpcore.WriteError):
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
        with _errors(httpcore.WriteTimeout, httpcore.WriteError):
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
            _errors(httpcore.ConnectTimeout, httpcore.ConnectError),
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
