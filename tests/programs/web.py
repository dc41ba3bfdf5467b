"""A web server on loopback that stops in the middle until it is told to go on."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_CHUNK = 16 * 1024
#: Longer than any test takes, in seconds.
_PATIENCE = 60.0


class Web:
    """Serves one content under every path, in ranges too.

    Each answer stops after ``first`` bytes, until :attr:`go_on` is set.
    """

    def __init__(self, content: bytes, first: int) -> None:
        self.content = content
        self.first = first
        self.go_on = threading.Event()
        #: How many answers have come to their stop.
        self.stopped = 0
        web = self

        class Handler(_Handler):
            served = web

        self._server = serve(Handler)

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve; give the address of the content."""
        with self._server as base:
            try:
                yield f"{base}/film.mp4"
            finally:
                self.go_on.set()


class _Handler(BaseHTTPRequestHandler):
    served: Web
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server calls it by this name
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer with the whole, or with the range that is asked for."""
        web, size = self.served, len(self.served.content)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        end = min(int(asked[2]) + 1, size) if asked and asked[2] else size
        self.send_response(206 if asked else 200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Content-Length", str(end - start))
        self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.end_headers()
        stop = start + web.first
        try:
            for at in range(start, end, _CHUNK):
                if at >= stop and not web.go_on.is_set():
                    web.stopped += 1
                    web.go_on.wait(_PATIENCE)
                self.wfile.write(web.content[at : min(at + _CHUNK, end)])
        except ConnectionError:
            # Who asked has been interrupted.
            self.close_connection = True


@contextmanager
def serve(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Run a server on a free port; give its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
