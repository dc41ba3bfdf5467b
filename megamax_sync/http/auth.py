"""Who may see, and who may change: the token, its cookie, and the proof that a form is ours.

The cookie is not the token but a mark made with it that runs out, so whoever finds one cannot sign
anything else, and a new token ends all of them. Another site can neither send it (SameSite), nor
claim to be us (Origin), nor know what stands in our forms.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

COOKIE = "megamax-sync"
#: How long a browser stays signed in, in seconds.
COOKIE_SECONDS = 30 * 86400
#: What stands in a form's field of this name shows that the form is one of ours.
FORM_FIELD = "proof"


class Proof(enum.Enum):
    """By what somebody has shown who they are."""

    NOTHING = "nothing"
    #: Sent by the browser of its own accord, so a change needs more than that.
    COOKIE = "cookie"
    HEADER = "header"


class Keeper:
    """Knows the token. All comparisons take the same time, whatever differs."""

    def __init__(self, token: str | None, now: Callable[[], float]) -> None:
        """``token`` None: everybody sees, and nobody changes. ``now`` is Unix time."""
        self._token = None if token is None else token.encode()
        self._now = now

    @property
    def asks(self) -> bool:
        """There is a token: nothing is shown without it, and everything can be done with it."""
        return self._token is not None

    def is_token(self, given: str) -> bool:
        """Tell whether this is the token."""
        return self._token is not None and _same(given.encode("utf-8", "replace"), self._token)

    def proof(self, request: HTTPConnection) -> Proof:
        """Tell what a request shows."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # Header values arrive as Latin-1, whatever was meant.
        given = given.strip().encode("latin-1", "replace").decode("utf-8", "replace")
        if scheme.lower() == "bearer" and self.is_token(given):
            return Proof.HEADER
        return Proof.COOKIE if self._is_signed(_cookie(request)) else Proof.NOTHING

    def sign_in(self) -> str:
        """Make a cookie's value."""
        until = str(int(self._now()) + COOKIE_SECONDS)
        return f"{until}.{self._mark('cookie', until)}"

    def _is_signed(self, cookie: str) -> bool:
        until, _, mark = cookie.partition(".")
        if self._token is None or not (until.isascii() and until.isdigit() and len(until) < 15):
            return False
        signed = _same(mark.encode("utf-8", "replace"), self._mark("cookie", until).encode())
        return signed and int(until) > self._now()

    def form_proof(self, request: HTTPConnection) -> str:
        """Return what a form on this page has to bring along; it is good for this browser alone."""
        return self._mark("form", _cookie(request))

    def is_form(self, request: HTTPConnection, given: str) -> bool:
        """Tell whether a form that came along with ``given`` is one that we gave this browser."""
        expected = self.form_proof(request).encode()
        return self.asks and _same(given.encode("utf-8", "replace"), expected)

    def _mark(self, purpose: str, text: str) -> str:
        message = f"megamax-sync {purpose}\0{text}".encode("utf-8", "replace")
        return hmac.new(self._token or b"", message, hashlib.sha256).hexdigest()


def from_here(request: HTTPConnection) -> bool:
    """Tell whether a browser says that the request comes from one of our own pages.

    The host has been checked before; that the Origin has the same is enough, whatever the scheme:
    a proxy in front of us may speak HTTPS.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    origin = request.headers.get("origin")
    if origin is None:
        return site is not None
    return urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower() != ""


def _cookie(request: HTTPConnection) -> str:
    try:
        cookies: SimpleCookie = SimpleCookie(request.headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""


def _same(given: bytes, expected: bytes) -> bool:
    # Digests first: the time of a comparison would otherwise tell the length.
    return hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(expected).digest())
