"""A plain HTTP caller for the sandbox's tests; it shares nothing with the project's client."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from megamax_sync.sandbox import Sandbox

BOUNDARY = "----a-boundary-for-tests"


class Caller:
    """Calls a running sandbox."""

    def __init__(self, sandbox: Sandbox, http: httpx.Client) -> None:
        self.sandbox = sandbox
        self.http = http
        self.credentials = {"login": sandbox.login, "key": sandbox.key}

    def call(self, path: str, **parameters: str | int) -> httpx.Response:
        """GET a path below the API's base, with credentials unless ``parameters`` has others."""
        return self.http.get(
            f"{self.sandbox.api_url}/{path}", params={**self.credentials, **parameters}
        )

    def result(self, path: str, **parameters: str | int) -> Any:
        """The result of a call that succeeds."""
        response = self.call(path, **parameters)
        answer = response.json()
        assert (response.status_code, answer["status"], answer["message"]) == (200, "success", "OK")
        return answer["result"]

    def url(self) -> str:
        """A fresh upload URL."""
        return str(self.result("file/upload/generate"))

    def post(self, body: bytes | Iterable[bytes], url: str | None = None) -> httpx.Response:
        """POST a form's body to an upload URL."""
        content_type = f"multipart/form-data; boundary={BOUNDARY}"
        return self.http.post(
            url or self.url(), content=body, headers={"content-type": content_type}
        )

    def upload(self, data: bytes = b"video", name: str = "a.mp4", **fields: str) -> httpx.Response:
        """Upload a file with the fields before it."""
        return self.post(form(file_part(data, name), **{**self.credentials, **fields}))


@contextmanager
def running(sandbox: Sandbox) -> Iterator[Caller]:
    """Start a sandbox, call it, close it."""
    with sandbox, httpx.Client(timeout=20, trust_env=False, verify=False) as http:
        yield Caller(sandbox, http)


def file_part(data: bytes, name: str | bytes = "a.mp4", content_type: str = "video/mp4") -> bytes:
    """A ``file`` part with its delimiter; ``name`` goes into the header as it is."""
    raw = name.encode() if isinstance(name, str) else name
    head = b'Content-Disposition: form-data; name="file"; filename="' + raw + b'"\r\n'
    return (
        f"--{BOUNDARY}\r\n".encode()
        + head
        + f"Content-Type: {content_type}\r\n\r\n".encode()
        + data
        + b"\r\n"
    )


def field_part(name: str, value: str) -> bytes:
    """A plain field with its delimiter."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
    return f"{head}{value}\r\n".encode()


def form(*parts: bytes, **fields: str) -> bytes:
    """A whole body: the fields, the parts, and the end."""
    first = b"".join(field_part(name, value) for name, value in fields.items())
    return first + b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until ``condition`` holds."""
    pause = threading.Event()
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        pause.wait(0.01)
