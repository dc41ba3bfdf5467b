"""From an httpx request to a connection: proxies, TLS trust, and the pools over our own network.

The client hands its requests straight to this transport. ``httpx.Client`` would log each URL, and
the document puts login and key into the URL.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator

import certifi
import httpcore
import httpx
import socksio

from megamax_sync.api.network import Backend
from megamax_sync.api.urls import parse_proxy, proxy_for
from megamax_sync.errors import ConfigError

_MAPPED: dict[type[Exception], type[httpx.TransportError]] = {
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.WriteTimeout: httpx.WriteTimeout,
    httpcore.PoolTimeout: httpx.PoolTimeout,
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ReadError: httpx.ReadError,
    httpcore.WriteError: httpx.WriteError,
    httpcore.ProxyError: httpx.ProxyError,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
}
#: httpcore lets through what the parser says of an answer that is no SOCKS5.
_ERRORS: tuple[type[Exception], ...] = (socksio.SOCKSError, *_MAPPED)


def trust(ca_file: str | None, *, verify: bool = True) -> ssl.SSLContext:
    """The system's certificates, certifi's and those of ``ca_file``; with ``verify`` off, any."""
    if not verify:
        # Certificates that nobody asks for are not read either: that takes 60 ms.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    if ca_file:
        try:
            context.load_verify_locations(ca_file)
        except OSError as exc:
            raise ConfigError(f"MEGAMAX_CA_FILE: {ca_file} cannot be used: {exc}") from exc
    return context


class Transport(httpx.BaseTransport):
    """Sends requests over httpcore's pools, one for each proxy in use.

    ``keep_alive`` is how many idle connections are kept for the next request. The body of one that
    has an ``Expect`` header waits ``leave_after`` seconds for the receiver's leave.
    """

    def __init__(
        self,
        *,
        backend: Backend,
        proxy: str | None,
        ca_file: str | None,
        verify: bool,
        keep_alive: int,
        leave_after: float = 0.0,
    ) -> None:
        self._backend = backend
        self._proxy = proxy
        self._keep_alive = keep_alive
        self._leave_after = leave_after
        self._ca_file = ca_file
        self._verify = verify
        #: By proxy, and whether TLS is to be spoken.
        self._pools: dict[tuple[str | None, bool], httpcore.ConnectionPool] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request``; its extension ``target``, where given, stands for its URL's.

        Raises httpx's transport errors, none of which knows its request.
        """
        proxy = proxy_for(request.url, self._proxy)
        wanted = proxy, request.url.scheme == "https"
        pool = self._pools.get(wanted)
        if pool is None:
            pool = self._pools[wanted] = self._pool(*wanted)
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.extensions.get("target", request.url.raw_path),
        )
        assert isinstance(request.stream, httpx.SyncByteStream)
        body: Iterable[bytes] = request.stream
        if "expect" in request.headers:
            body = self._after_leave(body)
        inner = httpcore.Request(
            request.method,
            url,
            headers=request.headers.raw,
            content=body,
            # Not the target: httpcore would ask a proxy for it.
            extensions={"timeout": request.extensions["timeout"]},
        )
        try:
            response = pool.handle_request(inner)
        except _ERRORS as exc:
            if isinstance(pool, httpcore.SOCKSProxy) and self._backend.latest is not None:
                # httpcore does not close what it could not agree with the proxy on.
                self._backend.latest.close()
            raise _translated(exc) from exc
        assert isinstance(response.stream, Iterable)
        return httpx.Response(
            response.status, headers=response.headers, stream=_AnswerStream(response)
        )

    def _after_leave(self, body: Iterable[bytes]) -> Iterator[bytes]:
        """``body``, once the receiver wants it: httpcore asks for it when the head is sent."""
        if self._backend.latest is not None:
            self._backend.latest.wait_for_leave(self._leave_after)
        yield from body

    def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            pool.close()

    def _pool(self, proxy: str | None, secure: bool) -> httpcore.ConnectionPool:
        # To read all certificates of the system takes longer than everything else at a start.
        tls = trust(self._ca_file, verify=self._verify) if secure or proxy else None
        if proxy is None:
            return httpcore.ConnectionPool(
                ssl_context=tls,
                max_keepalive_connections=self._keep_alive,
                keepalive_expiry=15.0,
                network_backend=self._backend,
            )
        settings = parse_proxy(proxy)
        kind = httpcore.HTTPProxy if settings.url.scheme == "http" else httpcore.SOCKSProxy
        return kind(
            str(settings.url),
            proxy_auth=settings.raw_auth,
            ssl_context=tls,
            max_keepalive_connections=self._keep_alive,
            keepalive_expiry=15.0,
            network_backend=self._backend,
        )


class _AnswerStream(httpx.SyncByteStream):
    """The body of an answer, with httpx's errors."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._response.iter_stream()
        except _ERRORS as exc:
            raise _translated(exc) from exc

    def close(self) -> None:
        self._response.close()


def _translated(exc: Exception) -> httpx.TransportError:
    if isinstance(exc, socksio.SOCKSError):
        return httpx.ProxyError(f"the proxy speaks no SOCKS5: {exc}")
    return _MAPPED[type(exc)](str(exc))
