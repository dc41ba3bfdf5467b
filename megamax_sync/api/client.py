"""The calls of the Megamax API, one method each.

A runnable example, also for use without the rest of the package::

    import os
    from megamax_sync.api import MegamaxClient, MultipartFile

    path = "holiday.mp4"
    with (
        MegamaxClient("https://api.megamax.me/api", "you@example.com", "YOUR-KEY") as megamax,
        open(path, "rb", buffering=0) as file,
    ):
        body = MultipartFile(file, name=path, size=os.stat(path).st_size)
        uploaded = megamax.upload(megamax.upload_url(), body)
        print(uploaded.hashid, megamax.file(uploaded.hashid).status)

Every failure is one of :mod:`megamax_sync.errors`; no text of theirs holds login, key, or a URL
with a query. No redirect is ever followed, and nothing is repeated behind the caller's back but a
GET on a kept connection that the server had just closed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlencode

import httpx

from megamax_sync import __version__
from megamax_sync.api import answers, urls
from megamax_sync.api.answers import Answer, Call, Sieve
from megamax_sync.api.models import (
    DirectLink,
    MirrorGroup,
    RemoteFile,
    UploadedFile,
)
from megamax_sync.api.multipart import EncodedBody, MultipartFile
from megamax_sync.api.network import Backend
from megamax_sync.api.pace import Pacer
from megamax_sync.api.retry import Stop
from megamax_sync.api.scrub import Scrubber
from megamax_sync.api.telling import told
from megamax_sync.api.transport import Transport
from megamax_sync.errors import (
    ServiceNonsense,
    ServiceUnreachable,
    UploadCancelled,
)

USER_AGENT = f"megamax-sync/{__version__}"
_LONGEST_ANSWER = 64 << 20
_LONGEST_UPLOAD_ANSWER = 1 << 20
#: The smallest file before whose body leave is asked for: curl draws the line there, too.
_ASK_FROM = 1 << 20


class MegamaxClient:
    """One account on one service. Not for many threads at once: make one for each.

    Login and key are given either as they are, or as ``credentials``, which is called before each
    request and returns both: for programs whose credentials may change.

    ``timeout`` is in seconds, for connecting, for each read, and for a write that is stalled; it
    never limits a whole upload. ``min_rate`` (bytes a second, over a minute of waiting for the
    receiver; 0 for none) ends uploads whose receiver takes a trickle. ``leave_after`` (seconds; 0
    to ask for none) is how long the body of a large upload waits for the receiver's ``100
    Continue`` before it is sent all the same. ``verify_upload_tls=False`` trusts any certificate of
    upload hosts, and of those alone. ``proxy`` is an HTTP or SOCKS proxy's URL, ``"env"`` for the
    environment's, or None. ``pacer`` is asked before each call of the API; ``stop`` ends that wait.

    Raises :class:`~megamax_sync.errors.ConfigError` for settings that cannot be used.
    """

    def __init__(
        self,
        api_url: str,
        login: str | None = None,
        key: str | None = None,
        *,
        credentials: Callable[[], tuple[str, str]] | None = None,
        timeout: float = 60.0,
        verify_upload_tls: bool = True,
        ca_file: str | None = None,
        proxy: str | None = None,
        user_agent: str = USER_AGENT,
        pacer: Pacer | None = None,
        stop: Stop | None = None,
        min_rate: float = 0.0,
        leave_after: float = 0.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._base = urls.parse_base(api_url)
        self._path = self._base.raw_path.decode().rstrip("/")
        if proxy and proxy != "env":
            urls.parse_proxy(proxy)
        self._credentials = credentials or (lambda: (login or "", key or ""))
        self._timeout = httpx.Timeout(timeout).as_dict()
        self._scrub: Scrubber | None = None
        self._user_agent = user_agent
        self._pacer = pacer
        self._stop = stop
        self._now = now
        self._asks_leave = leave_after > 0
        self._backend = Backend(min_rate)
        self._api = Transport(
            backend=self._backend, proxy=proxy, ca_file=ca_file, verify=True, keep_alive=2
        )
        # An upload cannot be repeated when a kept connection turns out to be dead: none is kept.
        self._uploads = Transport(
            backend=self._backend,
            proxy=proxy,
            ca_file=ca_file,
            verify=verify_upload_tls,
            keep_alive=0,
            leave_after=leave_after,
        )
        #: Seconds to add to our clock (``now``) to get the service's, to about one second; from
        #: the last answer of the API, None before the first.
        self.server_clock_offset: float | None = None
        #: Told of each call by its method's name when it has ended, with its error or None.
        self.on_call: Callable[[str, BaseException | None], None] = lambda _call, _error: None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def wait_as(
        self,
        stop: Stop,
        alive: Callable[[], None],
        waiting: Callable[[float | None], AbstractContextManager[None]],
    ) -> None:
        """Wait for turns until ``stop``, and call ``alive`` whenever a receiver took bytes.

        Each wait for the network happens inside ``waiting(seconds)``, which is told how long it can
        last. For programs that watch over the thread which uses this client.
        """
        self._stop = stop
        self._backend.alive = alive
        self._backend.waiting = waiting

    def close(self) -> None:
        """Close all connections; for the owner, when no request is under way."""
        self._api.close()
        self._uploads.close()

    def abort(self) -> None:
        """Make requests that are under way fail at once (``ServiceUnreachable``); from any thread.

        The client can be used again afterwards. To end an upload for good, make its ``check`` hook
        raise too.
        """
        self._backend.abort()

    @told
    def file(self, hashid: str) -> RemoteFile:
        """What the service knows of one file; RemoteFileMissing if that is nothing."""
        result = self._get(f"file/get/{urls.segment(hashid)}", Call.FILE)
        return answers.one(RemoteFile, result)

    @told
    def files(
        self,
        *,
        folder: int | None = None,
        status: str | None = None,
        keep: Callable[[RemoteFile], bool] = lambda _file: True,
    ) -> list[RemoteFile]:
        """The account's files, of one folder or with one status if asked so.

        Only those that ``keep`` wants are held in memory; there may be a hundred thousand.
        """
        query: dict[str, str] = {}
        if folder is not None:
            query["folder"] = str(folder)
        if status is not None:
            query["status"] = status
        sieve = answers.sieve(RemoteFile, keep)
        return answers.many(RemoteFile, self._get("file/get", Call.ACCOUNT, query, sieve))

    @told
    def upload_url(self) -> str:
        """A fresh URL for one upload. It may expire: ask when ready to send.

        Raises :class:`~megamax_sync.errors.InsecureUrl` for one over plain HTTP.
        """
        result = self._get("file/upload/generate", Call.ACCOUNT)
        url = result.strip() if isinstance(result, str) else ""
        urls.parse_upload(url)
        return url

    @told
    def upload(self, url: str, body: MultipartFile, *, folder: int | None = None) -> UploadedFile:
        """Send ``body`` to a ``url`` that :meth:`upload_url` gave.

        The call is not idempotent. After any error but a FileError that comes once ``body`` has
        told ``on_body_sent``, the file may have arrived (a proxy's 504 says little): look at the
        list before sending it again.
        """
        target = urls.parse_upload(url)
        login, key = self._credentials()
        fields = {"login": login, "key": key}
        if folder is not None:
            fields["folder"] = str(folder)
        encoded = body.encode(fields)
        headers = {
            "Content-Type": encoded.content_type,
            "Content-Length": str(encoded.content_length),
        }
        if self._asks_leave and body.size >= _ASK_FROM:
            headers["Expect"] = "100-continue"
        request = self._request("POST", target, headers, encoded)
        scrub = self._scrubber(login, key)
        answer = self._exchange(self._uploads, request, _LONGEST_UPLOAD_ANSWER, scrub)
        if answer.status == HTTPStatus.EXPECTATION_FAILED:
            # It refuses to be asked (RFC 9110, 10.1.1), not the file: the next one goes as it is.
            self._asks_leave = False
        result = answers.result_of(answer, Call.UPLOAD, scrub)
        if body.sent < body.size:
            raise ServiceNonsense("the service confirmed a file it did not have yet", answered=True)
        return answers.one(UploadedFile, result)

    @told
    def mirrors(self, hashid: str) -> list[MirrorGroup]:
        """The copies on other hosts; they may come some time after the conversion."""
        result = self._get(f"mirror/get/{urls.segment(hashid)}", Call.FILE)
        return answers.many(MirrorGroup, result)

    @told
    def direct(self, hashid: str) -> list[DirectLink]:
        """Direct links. Any refusal, for one without a premium plan, is a DirectLinksRefused."""
        result = self._get(f"file/get/{urls.segment(hashid)}/direct", Call.DIRECT)
        return answers.many(DirectLink, result)

    def _get(
        self, path: str, call: Call, query: Mapping[str, str] = {}, sieve: Sieve | None = None
    ) -> object:
        if self._pacer and not self._pacer.wait(self._stop):
            raise UploadCancelled("stopped while waiting for a turn to ask the service")
        login, key = self._credentials()
        scrub = self._scrubber(login, key)
        # A lone surrogate cannot be encoded, and no service knows such a login.
        params = urlencode({"login": login, "key": key, **query}, errors="replace", quote_via=quote)
        # The target goes by itself: httpx looks at each character of a URL, which takes a quarter
        # of a call's time, and what is not in the request's URL nobody prints with it.
        target = f"{self._path}/{path}?{params}".encode("ascii")
        request = self._request("GET", self._base, {}, None)
        request.extensions["target"] = target
        answer = self._exchange(self._api, request, _LONGEST_ANSWER, scrub, repeatable=True)
        date = answers.date_of(answer.headers)
        if date is not None:
            self.server_clock_offset = date - self._now()
        return answers.result_of(answer, call, scrub, sieve)

    def _scrubber(self, *secrets: str) -> Scrubber:
        # To find all forms of a secret takes as long as a tenth of a call.
        if self._scrub is None or self._scrub.secrets != secrets:
            self._scrub = Scrubber(*secrets)
        return self._scrub

    def _request(
        self, method: str, url: httpx.URL, headers: Mapping[str, str], body: EncodedBody | None
    ) -> httpx.Request:
        return httpx.Request(
            method,
            url,
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": self._user_agent,
                **headers,
            },
            content=body,
            extensions={"timeout": self._timeout},
        )

    def _exchange(
        self,
        transport: Transport,
        request: httpx.Request,
        limit: int,
        scrub: Scrubber,
        *,
        repeatable: bool = False,
    ) -> Answer:
        """Send, read, close. Errors are raised outside of the handler: httpx's may know the URL."""
        before = self._backend.tries, self._backend.aborts
        try:
            response = transport.handle_request(request)
            try:
                return answers.read(response, limit)
            finally:
                response.close()
        except httpx.TransportError as exc:
            error = _unreachable(exc, request.url.host, scrub)
            waited = isinstance(exc, httpx.TimeoutException)
        # Only a connection that was kept from an earlier call may be dead through nobody's fault.
        kept = before == (self._backend.tries, self._backend.aborts)
        if repeatable and kept and not waited:
            return self._exchange(transport, request, limit, scrub)
        raise error


def _unreachable(exc: httpx.TransportError, host: str, scrub: Scrubber) -> ServiceUnreachable:
    text = scrub(str(exc))
    detail = f"{type(exc).__name__}: {text}" if text else type(exc).__name__
    return ServiceUnreachable(f"no answer from {host} ({detail})")
