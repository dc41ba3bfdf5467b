"""A Megamax in memory that says, byte for byte, whatever a fault wants it to say."""

from __future__ import annotations

import contextlib
import email
import email.policy
import hashlib
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

LOGIN, KEY = "canary+matrix@example.org", "Matr1x/Kanarien+8=7"
CALLS = ("file", "files", "generate", "upload", "mirrors", "direct")
_LINGER_ZERO = struct.pack("ii", 1, 0)


@dataclass
class Stored:
    """A file that arrived."""

    hashid: str
    name: str
    size: int
    sha: str
    folder: str | None
    at: float = field(default_factory=time.time)


@dataclass
class Asked:
    """A request that came in: its call, its head as it was, and how to read the rest."""

    call: str
    parts: list[str]
    query: dict[str, str]
    headers: dict[str, str]
    early: bytes
    conn: socket.socket
    number: int = 0

    def body(self, most: int | None = None) -> bytes:
        """Read the body, or ``most`` bytes of it."""
        length = int(self.headers.get("content-length", "0"))
        length = length if most is None else min(most, length)
        data = bytearray(self.early)
        while len(data) < length:
            piece = self.conn.recv(1 << 16)
            if not piece:
                raise ConnectionError("the client went away")
            data += piece
        return bytes(data)


#: What a fault does with a request.
Act = Callable[["Double", Asked], None]


def answer(status: int, body: bytes, *lines: str) -> bytes:
    """A whole answer; ``lines`` are further headers, or others of the same name."""
    head = [f"HTTP/1.1 {status} Whatever", "Connection: close", f"Date: {http_date()}", *lines]
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in lines):
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def http_date(ahead: float = 0.0) -> str:
    """A moment as HTTP writes it, ``ahead`` seconds from now."""
    moment = datetime.fromtimestamp(time.time() + ahead, UTC)
    return moment.strftime("%a, %d %b %Y %H:%M:%S GMT")


def envelope(result: object, status: str = "success", message: str = "OK") -> bytes:
    """The document's envelope."""
    return json.dumps({"status": status, "message": message, "result": result}).encode()


class Double:
    """The service. ``faults`` maps a call to what happens to its n-th request."""

    def __init__(self) -> None:
        self.stored: list[Stored] = []
        self.calls: Counter[str] = Counter()
        self.faults: dict[str, tuple[Act, Callable[[int], bool]]] = {}
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self._tokens = 0
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closing.set()
        # Closing alone does not wake a thread that accepts.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self.lock:
            for conn in self._open:
                with contextlib.suppress(OSError):
                    conn.shutdown(socket.SHUT_RDWR)

    @property
    def api_url(self) -> str:
        """The base of its calls."""
        return f"http://127.0.0.1:{self.port}/api"

    def copies(self) -> Counter[str]:
        """How often it has each content."""
        with self.lock:
            return Counter(one.sha for one in self.stored)

    def break_when(self, call: str, act: Act, when: Callable[[int], bool]) -> None:
        """Let ``act`` answer the n-th ``call`` wherever ``when(n)``."""
        self.faults[call] = act, when

    # -- serving -----------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                conn, _ = self._listener.accept()
            except OSError:
                return
            with self.lock:
                self._open.add(conn)
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn: socket.socket) -> None:
        try:
            conn.settimeout(20)
            asked = self._head(conn)
            if asked is not None:
                act, when = self.faults.get(asked.call, (None, None))
                if act is not None and when is not None and when(asked.number):
                    act(self, asked)
                else:
                    conn.sendall(self.do(asked))
        except (OSError, ValueError):
            pass
        finally:
            with self.lock:
                self._open.discard(conn)
                conn.close()

    def _head(self, conn: socket.socket) -> Asked | None:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = conn.recv(1 << 16)
            if not piece:
                return None
            data += piece
        head, _, early = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        split = urlsplit(first.split(" ")[1])
        parts = split.path.strip("/").split("/")[1:]
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
        asked = Asked(_call(parts), parts, dict(parse_qsl(split.query)), headers, early, conn)
        with self.lock:
            self.calls[asked.call] += 1
            asked.number = self.calls[asked.call]
        return asked

    def do(self, asked: Asked) -> bytes:
        """Carry a request out; return the answer."""
        if asked.call == "upload":
            return self._take(asked)
        if (asked.query.get("login"), asked.query.get("key")) != (LOGIN, KEY):
            return answer(403, envelope(None, "error", "who are you?"))
        if asked.call == "generate":
            self._tokens += 1
            url = f"http://127.0.0.1:{self.port}/in/{self._tokens}"
            return answer(200, envelope(url))
        with self.lock:
            known = list(self.stored)
        if asked.call == "files":
            folder, status = asked.query.get("folder"), asked.query.get("status")
            rows = [self._row(one) for one in known if folder in {None, one.folder}]
            listed = [row for row in rows if status in {None, row["status"]}]
            return answer(200, envelope(listed))
        one = next((one for one in known if one.hashid in asked.parts), None)
        if one is None:
            return answer(404, envelope(None, "error", "no such file"))
        if asked.call == "mirrors":
            mirror = {"driver": "ok", "iframe": f"//ok.example/{one.hashid}", "link": None}
            group = {"title": "source", "size": one.size, "mirrors": [mirror]}
            return answer(200, envelope([group]))
        if asked.call == "direct":
            link = f"https://cdn.example/{one.hashid}"
            direct = {"label": "source", "size": one.size, "stream": link, "download": link}
            return answer(200, envelope([direct]))
        return answer(200, envelope(self._row(one)))

    def _row(self, one: Stored) -> dict[str, Any]:
        return {
            "hashid": one.hashid,
            "name": one.name.rpartition(".")[0],
            "size": one.size,
            "status": "converted" if time.time() - one.at > 0.1 else "converting",
            "created_at": datetime.fromtimestamp(one.at, UTC).isoformat(),
        }

    def store(self, asked: Asked) -> Stored:
        """Read an upload's form, and keep its file."""
        head = f"Content-Type: {asked.headers['content-type']}\r\n\r\n".encode()
        form = email.message_from_bytes(head + asked.body(), policy=email.policy.HTTP)
        assert isinstance(form, EmailMessage)
        fields = {
            str(part.get_param("name", header="content-disposition")): part
            for part in form.iter_parts()
        }
        data = fields["file"].get_payload(decode=True)
        assert isinstance(data, bytes)
        folder = str(fields["folder"].get_payload()) if "folder" in fields else None
        sha = hashlib.sha256(data).hexdigest()
        name = fields["file"].get_filename() or ""
        with self.lock:
            number = len(self.stored)
            one = Stored(f"H{number}x{sha[:6]}", name, len(data), sha, folder)
            self.stored.append(one)
        return one

    def _take(self, asked: Asked) -> bytes:
        one = self.store(asked)
        return answer(200, envelope({"hashid": one.hashid, "name": one.name, "size": one.size}))


def reset(conn: socket.socket) -> None:
    """Break a connection off with a TCP RST."""
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    conn.close()


def _call(parts: list[str]) -> str:
    if parts[:3] == ["file", "upload", "generate"]:
        return "generate"
    if parts[:2] == ["mirror", "get"]:
        return "mirrors"
    if parts[:2] == ["file", "get"]:
        if len(parts) == 2:
            return "files"
        return "direct" if parts[-1] == "direct" else "file"
    return "upload"
