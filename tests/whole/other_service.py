"""A second Megamax that shares nothing with the sandbox, and answers a little differently.

It keeps to the document where the document speaks, and takes liberties where it is silent: lists
without extensions, chunked answers, numbers as text, further fields and statuses, a list without a
folder that shows only what lies in none, mirrors that come late. Whoever gets along with both
holds to the document and not to one of them.
"""

from __future__ import annotations

import email
import email.message
import email.policy
import hashlib
import json
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

LOGIN, KEY = "someone+else@example.com", "kéy with % and & signs"
STATUSES = ["onqueue", "transferring", "thumbnailing", "converting", "converted"]


class OtherService:
    """Serves on loopback while it is entered. ``step``: seconds a status lasts."""

    def __init__(self, step: float = 0.1) -> None:
        self.step = step
        self.stored: list[dict[str, Any]] = []
        self.tokens: set[str] = set()
        self.lock = threading.Lock()
        service = self

        class Handler(_Handler):
            other = service

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.api_url = f"http://127.0.0.1:{self._server.server_address[1]}/v2/api"

    def __enter__(self) -> OtherService:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def status(self, entry: dict[str, Any]) -> str:
        """Where the file has come to by now."""
        age = time.monotonic() - entry["since"]
        return STATUSES[min(int(age / self.step), len(STATUSES) - 1)]

    def described(self, entry: dict[str, Any]) -> dict[str, Any]:
        """The document's description of a file, with some liberties."""
        return {
            "hashid": entry["hashid"],
            "name": entry["name"].rsplit(".", 1)[0],
            "type": "video",
            "size": str(entry["size"]),
            "views": None,
            "poster": None,
            "status": self.status(entry),
            "created_at": entry["created"].isoformat(),
            "folder_id": entry["folder"],
            "tags": [],
        }


class _Handler(BaseHTTPRequestHandler):
    other: OtherService
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server calls it by this name
        """Say nothing."""

    def answer(self, result: object, status: int = 200, message: str = "OK") -> None:
        """Send the envelope, chunked in odd places."""
        word = "success" if status == 200 else "error"
        body = json.dumps({"status": word, "message": message, "result": result, "took": 0.01})
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=UTF-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        data = body.encode()
        for start in range(0, len(data), 37):
            part = data[start : start + 37]
            self.wfile.write(b"%x;x=y\r\n%b\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    def do_GET(self) -> None:
        """The five calls of the document that are no upload."""
        split = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        if (query.get("login"), query.get("key")) != (LOGIN, KEY):
            self.answer(None, 403, "who are you?")
            return
        parts = split.path.strip("/").split("/")[2:]
        if parts == ["file", "upload", "generate"]:
            token = hashlib.sha256(str(time.monotonic_ns()).encode()).hexdigest()[:12]
            self.other.tokens.add(token)
            host = self.headers["Host"]
            self.answer(f"http://{host}/in/{token}?part=1")
        elif parts == ["file", "get"]:
            self.listing(query)
        else:
            self.one(parts)

    def listing(self, query: dict[str, str]) -> None:
        """Only what lies in no folder, unless one is named."""
        folder = query.get("folder")
        rows = [
            self.other.described(entry)
            for entry in reversed(self.other.stored)
            if str(entry["folder"] or "") == (folder or "")
        ]
        wanted = query.get("status")
        self.answer([row for row in rows if wanted is None or row["status"] == wanted])

    def one(self, parts: list[str]) -> None:
        """File, mirrors, direct links."""
        entry = next((e for e in self.other.stored if e["hashid"] in parts), None)
        if entry is None:
            self.answer([], 404, "no such file")
        elif parts[:2] == ["mirror", "get"]:
            late = self.other.status(entry) == "converted" and entry["asked"] > 1
            entry["asked"] += 1
            mirror = {"driver": "ok", "iframe": f"//ok.example/{entry['hashid']}", "link": None}
            self.answer([{"title": "source", "size": "17", "mirrors": [mirror]}] if late else [])
        elif parts[-1] == "direct":
            self.answer(None, 402, "no premium plan")
        else:
            self.answer(self.other.described(entry))

    def do_POST(self) -> None:
        """Take an upload, as a server that reads the form with the standard library would."""
        length = int(self.headers["Content-Length"])
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        form = email.message_from_bytes(head + self.rfile.read(length), policy=email.policy.HTTP)
        fields: dict[str, Any] = {}
        assert isinstance(form, email.message.EmailMessage)
        for part in form.iter_parts():
            fields[str(part.get_param("name", header="content-disposition"))] = part
        text = {
            name: part.get_payload(decode=True).decode()
            for name, part in fields.items()
            if name != "file"
        }
        token = urlsplit(self.path).path.rsplit("/", 1)[-1]
        if (text.get("login"), text.get("key")) != (LOGIN, KEY):
            self.answer(None, 401, "who are you?")
            return
        with self.other.lock:
            if token not in self.other.tokens:
                self.answer(None, 404, "no such upload")
                return
            self.other.tokens.discard(token)
            data = fields["file"].get_payload(decode=True)
            entry = {
                "hashid": hashlib.sha256(token.encode()).hexdigest()[:13],
                "name": fields["file"].get_filename(),
                "size": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "folder": int(text["folder"]) if "folder" in text else None,
                "created": datetime.now(UTC),
                "since": time.monotonic(),
                "asked": 0,
            }
            self.other.stored.append(entry)
        self.answer(
            {
                "hashid": entry["hashid"],
                "folder": None if entry["folder"] is None else str(entry["folder"]),
                "name": entry["name"],
                "ext": "mp4",
                "mimeType": "video/mp4",
                "size": str(entry["size"]),
                "status": "onqueue",
                "uploaded_at": entry["created"].strftime("%Y-%m-%d %H:%M:%S"),
            }
        )
