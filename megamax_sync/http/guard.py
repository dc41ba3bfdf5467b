"""What every request passes first, and every answer last."""

from __future__ import annotations

from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: The longest body that any of our forms has, in bytes.
LONGEST_BODY = 16 << 10

#: Nothing is loaded from elsewhere, nothing runs that is not a file of ours, nobody frames us.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}


class Guard:
    """ASGI middleware: the Host header, a bound on bodies, the headers of answers.

    A page of another site can have its name lead to our address (DNS rebinding) and would then
    count as us in a browser's eyes. The Host header, which it cannot choose, gives it away.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str]) -> None:
        """``hosts``: the names that are ours besides localhost and the address that was called."""
        self._app = app
        self._hosts = {"localhost", *(bare(host) for host in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or let the application begin and end."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        if scope["type"] != "http":
            return
        body = _Body(receive)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        await (self._refusal(scope) or self._app)(scope, body.receive, answer)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_ours(host, scope):
            return PlainTextResponse(
                "this host name is not known here; add it to MEGAMAX_HTTP_HOSTS\n", 421
            )
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length[:20]) > LONGEST_BODY:
            return too_long()
        return None

    def _is_ours(self, host: str, scope: Scope) -> bool:
        name = bare(_without_port(host))
        server = scope.get("server")
        # The address that was really called, which differs from the bound one for 0.0.0.0.
        called = bare(server[0]) if server and server[1] is not None else None
        return bool(name) and (name in self._hosts or name == called)


class TooLong(Exception):
    """A body grows beyond its bound."""


def too_long() -> PlainTextResponse:
    """Refuse a body for its length."""
    return PlainTextResponse("the request is too long\n", 413)


class _Body:
    """A request's body, in so many bytes at the most."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._size = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > LONGEST_BODY:
            raise TooLong
        return message


def bare(host: str) -> str:
    """Write a host as it is compared: small letters, no brackets, no dot at its end."""
    name = host.strip().lower().removeprefix("[").removesuffix("]").removesuffix(".")
    # A socket for both families shows IPv4 callers in this form.
    return name.removeprefix("::ffff:") if "." in name else name


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (
        name
        if colon
        and port.isdigit()
        and not name.endswith(":")
        and (":" not in name or name.endswith("]"))
        else host
    )
