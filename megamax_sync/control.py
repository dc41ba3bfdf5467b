"""The control socket: other processes wake the daemon, and ask it how it is.

One JSON object a line, in and out, over a Unix socket in the state folder, which is private. What
is only known while it happens (progress, rates, problems) is asked for here and never written to
disk, so it stays true on a full one.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

TIMEOUT = 5.0
_PAUSE = 0.1
_LONGEST = 16 << 20


class ControlServer(threading.Thread):
    """Answers one question at a time. ``answer`` is called with the request's ``ask``."""

    def __init__(self, path: str, answer: Callable[[str], dict[str, Any]]) -> None:
        super().__init__(name="control", daemon=True)
        self._path = path
        self._answer = answer
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def open(self) -> None:
        """Bind and begin to answer. Raises OSError. Call it with the folder's lock held."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        with _short(self._path) as short:
            self._listener.bind(short)
        self._listener.listen(16)
        self.start()

    def open_again(self) -> None:
        """Bind anew, where the socket was deleted. Raises OSError."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        with _short(self._path) as short:
            listener.bind(short)
        listener.listen(16)
        # Whoever waits at the old one notices, and comes to the new one.
        old, self._listener = self._listener, listener
        _shut(old)
        old.close()

    def run(self) -> None:
        """Serve until :meth:`close`."""
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                # Out of descriptors: that passes, and accept would fail at once until then.
                self._closing.wait(_PAUSE)
                continue
            try:
                with contextlib.suppress(OSError):
                    self._serve(connection)
            except Exception as error:  # noqa: BLE001 - a bug in one answer must not end the thread that health is asked by; it is logged
                # Here and not above: those who only ask need no log, which takes long to import.
                import structlog

                log = structlog.get_logger()
                log.warning("control.failed", error=f"{type(error).__name__}: {error}")

    def _serve(self, connection: socket.socket) -> None:
        with connection, self._interruptible(connection):
            connection.settimeout(TIMEOUT)
            with connection.makefile("rwb") as stream:
                request = json.loads(stream.readline(1024))
                stream.write(json.dumps(self._answer(str(request["ask"]))).encode() + b"\n")

    @contextlib.contextmanager
    def _interruptible(self, connection: socket.socket) -> Iterator[None]:
        """Have :meth:`close` end this connection, whatever its client waits for."""
        with self._lock:
            self._connection = connection
            if self._closing.is_set():
                _shut(connection)
        try:
            yield
        finally:
            with self._lock:
                self._connection = None

    def close(self) -> None:
        """Stop answering, and take the socket away."""
        self._closing.set()
        with self._lock:
            if self._connection is not None:
                _shut(self._connection)
        _shut(self._listener)
        self._listener.close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        if self.is_alive():
            self.join(TIMEOUT)


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def ask(path: str, question: str, *, timeout: float = TIMEOUT) -> dict[str, Any] | None:
    """Ask the instance that owns this socket; None when there is none, or it does not answer."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            with _short(path) as short:
                connection.connect(short)
            with connection.makefile("rwb") as stream:
                stream.write(json.dumps({"ask": question}).encode() + b"\n")
                stream.flush()
                answer = json.loads(stream.readline(_LONGEST))
    except (OSError, ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


@contextlib.contextmanager
def _short(path: str) -> Iterator[str]:
    """Name a socket by its folder's descriptor: such addresses end at 107 bytes, paths do not."""
    folder, name = os.path.split(path)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{name}"
    finally:
        os.close(fd)
