"""A server that takes what is posted, and answers as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """What has come, and what is answered: the statuses in turn, then 200."""

    port: int
    answers: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    #: While it is cleared, nobody gets an answer.
    open: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """The address; its query is a secret."""
        return f"http://127.0.0.1:{self.port}/hook?token=s3cr3t-t0ken"

    def documents(self) -> list[Any]:
        """The bodies, read."""
        return [json.loads(body) for _, _, body in list(self.requests)]


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Run one on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            made.requests.append((self.path, dict(self.headers), body))
            made.open.wait(30)
            status = made.answers.pop(0) if made.answers else 200
            self.send_response(status)
            for name, value in made.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        made = Receiver(server.server_address[1])
        made.open.set()
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield made
        finally:
            made.open.set()
            server.shutdown()
            thread.join()
