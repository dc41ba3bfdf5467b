"""MEGAMAX_WEBHOOK: a JSON POST for each event, signed, to one address."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from megamax_sync import __version__
from megamax_sync.clock import Clock, iso
from megamax_sync.job import Job
from megamax_sync.notify.courier import Courier, Interrupted, Undelivered
from megamax_sync.status import path_b64, readable_path
from megamax_sync.store import Letter, Store
from megamax_sync.store.outbox import WEBHOOK

#: How long one delivery may take in all, in seconds.
_SECONDS = 20.0
#: How often the stop is looked at, in seconds.
_LOOK = 0.1
#: These are about the one POST, and say little about the next. As a receiver that is being set up
#: may give them for a while, each POST is sent so often.
_REFUSALS = {400, 404, 405, 410, 413, 415, 422}
_PATIENCE = 5


class _Refused(Undelivered):
    """The receiver does not want this one."""


def body_of(letter: Letter, job: Job | None) -> bytes:
    """Render what is told. The same each time for the same letter, as long as the job is the same.

    ``job`` is the job as it is now, for the links; None for a problem, or when it was dropped.
    """
    known = job is not None and job.hashid == letter.hashid and letter.hashid is not None
    document: dict[str, Any] = {
        "schema": 1,
        "id": letter.mark,
        "event": letter.event,
        "at": iso(letter.at),
        "job": letter.job,
        **_path("path", letter.path),
        "hashid": letter.hashid,
        **_path("sidecar", letter.sidecar),
        "error": letter.error,
        "size": job.stamp.size if job else None,
        "folder": job.folder if job else None,
        "name": job.remote_name if job and known else None,
        "mirrors": json.loads(job.mirrors or "[]") if job and known else [],
        "direct": json.loads(job.direct or "[]") if job and known else [],
        "problem": letter.problem,
    }
    return json.dumps(document, ensure_ascii=True).encode()


def _path(name: str, path: bytes | None) -> dict[str, str | None]:
    if path is None:
        return {name: None, f"{name}_b64": None}
    return {name: readable_path(path), f"{name}_b64": path_b64(path)}


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Sign the moment of sending together with the body: ``sha256=<64 hex digits>``."""
    signed = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


class Webhook(Courier):
    """Posts each letter by itself, the oldest first."""

    kind = "webhook"

    def __init__(
        self,
        *,
        url: str,
        secret: str | None,
        tls: ssl.SSLContext,
        trust_env: bool,
        store: Store,
        backoff: Callable[[int], float],
        clock: Clock,
        stop: threading.Event,
        on_error: Callable[[str, BaseException], None],
        on_fine: Callable[[str], None],
    ) -> None:
        """``trust_env``: go through the proxies that the environment names."""
        super().__init__(
            "webhook", store=store, channels=[WEBHOOK], backoff=backoff, clock=clock, stop=stop,
            on_error=on_error, on_fine=on_fine,
        )  # fmt: skip
        self._url = url
        self._secret = secret
        self._tls = tls
        self._trust_env = trust_env
        #: How often each letter was refused. One that never got there was not: its attempts, which
        #: count the times that it waited, say nothing of this.
        self._refusals: Counter[int] = Counter()

    def deliver_due(self, channel: str) -> float | None:
        """Post what is due; while nobody answers, leave the rest for later."""
        letters = self.store.outbox.due(channel)
        for number, letter in enumerate(letters, 1):
            job = self.store.jobs.get(letter.job) if letter.job is not None else None
            try:
                self._post(letter, body_of(letter, job))
            except _Refused as error:
                self.failed([letter], error)
            except Undelivered as error:
                self.failed([letter], error)
                self.put_off(letters[number:])
                return None
            else:
                self.store.outbox.delivered([letter])
                self._refusals.pop(letter.id, None)
        return None

    def _post(self, letter: Letter, body: bytes) -> None:
        timestamp = str(int(self.clock.wall()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"megamax-sync/{__version__}",
            "X-Megamax-Event": letter.event,
            "X-Megamax-Id": letter.mark,
            "X-Megamax-Timestamp": timestamp,
        }
        if self._secret is not None:
            headers["X-Megamax-Signature"] = signature(self._secret, timestamp, body)
        post = _Post(self._url, headers, body, self._tls, trust_env=self._trust_env)
        post.start()
        until = self.clock.monotonic() + _SECONDS
        while not post.ended.wait(_LOOK):
            self.beat()
            if self.stop_event.is_set() or self.clock.monotonic() >= until:
                post.abort()
                if self.stop_event.is_set():
                    raise Interrupted
                raise Undelivered(f"no answer within {_SECONDS:g} s")
        if post.error is not None:
            raise Undelivered(f"no answer ({post.error})")
        if post.status is None or not 200 <= post.status < 300:
            what = f"the answer was HTTP {post.status}"
            if post.status is not None and 300 <= post.status < 400:
                what += ", and redirects are not followed"
            if post.status in _REFUSALS:
                self._refusals[letter.id] += 1
                raise _Refused(what, final=self._refusals[letter.id] >= _PATIENCE)
            raise Undelivered(what, retry_after=post.retry_after)


class _Post(threading.Thread):
    """One request, on a thread that can be left behind: a name server may take its time."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        tls: ssl.SSLContext,
        *,
        trust_env: bool,
    ) -> None:
        super().__init__(name="webhook-post", daemon=True)
        self._request = (url, dict(headers), body)
        self._tls = tls
        self._trust_env = trust_env
        self._socket: socket.socket | None = None
        self.ended = threading.Event()
        self.status: int | None = None
        self.retry_after: float | None = None
        #: Why there is no answer; without the address, which is a secret.
        self.error: str | None = None

    def run(self) -> None:
        """Send, and look at the answer's head; its body is nobody's concern."""
        url, headers, body = self._request
        try:
            with (
                httpx.Client(
                    verify=self._tls,
                    trust_env=self._trust_env,
                    follow_redirects=False,
                    # Whoever waits ends it sooner; this is for a thread that was left behind.
                    timeout=2 * _SECONDS,
                ) as client,
                client.stream(
                    "POST", url, headers=headers, content=body, extensions={"trace": self._trace}
                ) as answer,
            ):
                self.status = answer.status_code
                given = answer.headers.get("Retry-After", "")
                self.retry_after = float(given) if given.isascii() and given.isdigit() else None
        except httpx.HTTPError as error:
            number = _errno(error)
            self.error = os.strerror(number) if number else type(error).__name__
        except Exception as error:  # noqa: BLE001 - it is handed to the thread that waits for this one, which would else take a failure for a delivery without one
            self.error = type(error).__name__
        finally:
            self.ended.set()

    def abort(self) -> None:
        """Have the thread end soon: nobody waits for it any more."""
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def _trace(self, name: str, info: Mapping[str, Any]) -> None:
        if name == "connection.connect_tcp.complete":
            self._socket = info["return_value"].get_extra_info("socket")


def _errno(error: BaseException) -> int | None:
    cause: BaseException | None = error
    while cause is not None:
        number = getattr(cause, "errno", None)
        if isinstance(number, int) and number > 0:
            return number
        cause = cause.__cause__ or cause.__context__
    return None
