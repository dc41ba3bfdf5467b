"""A server of a few lines that sends exactly the bytes it is told to, over real sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

LOGIN = "canary+login@example.com"
KEY = "CanaryKey/9Zq+8=7"


@dataclass
class Request:
    """One request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True)


def reply(status: int = 200, body: bytes | object = b"", **headers: str) -> bytes:
    """An answer; what is not bytes is sent as JSON."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Something", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def success(result: object) -> dict[str, Any]:
    """The document's envelope around a result."""
    return {"status": "success", "message": "OK", "result": result}


def read_head(conn: socket.socket) -> tuple[Request, bytes] | None:
    """Read up to the end of the head; also returns what came after it."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = conn.recv(65536)
        if not piece:
            return None
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.split(": ", 1) for line in lines)
    return Request(method, target, {name.lower(): value for name, value in pairs}), rest


def read_request(conn: socket.socket) -> Request | None:
    """Read a request with its body."""
    came = read_head(conn)
    if came is None:
        return None
    request, body = came
    while len(body) < int(request.headers.get("content-length", "0")):
        piece = conn.recv(1 << 20)
        if not piece:
            return None
        body += piece
    request.body = body
    return request


Handler = Callable[[socket.socket], None]


@dataclass(repr=False)
class Server:
    """Runs ``handler`` for each connection; or answers each request with what ``answer`` makes."""

    answer: Callable[[Request], bytes] = field(default=lambda _: reply(200, success(None)))
    handler: Handler | None = None
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.port = self._listener.getsockname()[1]

    def __repr__(self) -> str:
        # Short, because failing tests print it.
        return f"<Server {self.url}>"

    @property
    def url(self) -> str:
        scheme = "https" if self.tls else "http"
        return f"{scheme}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for conn in self._open:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(conn, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                conn, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(conn)
            self._start(self._serve, conn)

    def _serve(self, conn: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(conn.close)
            if self.tls:
                conn = self.tls.wrap_socket(conn, server_side=True)
                self._open.append(conn)
                stack.callback(conn.close)
            (self.handler or self._converse)(conn)

    def _converse(self, conn: socket.socket) -> None:
        while (request := read_request(conn)) is not None:
            self.requests.append(request)
            conn.sendall(self.answer(request))
