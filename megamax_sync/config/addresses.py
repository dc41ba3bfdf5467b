"""URLs, host names, addresses to listen on, and secrets. None of them is ever shown whole."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr

from megamax_sync.config.form import Form, InvalidValueError, has_control, items, text_of
from megamax_sync.config.paths import absolute
from megamax_sync.loopback import is_loopback

_PROXY_SCHEMES = frozenset({"http", "https", "socks5", "socks5h"})
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\]")


@dataclass(frozen=True, slots=True)
class HttpAddress:
    """Where the pages are served: ``host`` and ``port``, or else the UNIX socket ``path``.

    ``host`` is without brackets; port 0 is any free one.
    """

    host: str | None = None
    port: int | None = None
    path: str | None = None


def _split(text: str) -> SplitResult | None:
    """The parts of a URL that has a host and a sane port, else None."""
    # urlsplit drops line breaks and tabs in silence.
    if has_control(text) or " " in text:
        return None
    try:
        parts = urlsplit(text)
        return parts if parts.hostname and parts.port != 0 else None
    except ValueError:
        return None


def api_url() -> Form:
    """The base of the API's calls, without a slash at its end."""

    def parse(value: object) -> str:
        text = text_of(value)
        parts = _split(text)
        shown = not {"@", "?", "#"} & set(text)
        if parts is None or parts.scheme not in {"http", "https"}:
            remedy = "set an https:// address"
            raise InvalidValueError(value, "is no web address", remedy, shown=shown)
        if not shown:
            problem = "has a user, a query or a fragment"
            raise InvalidValueError(value, problem, "set the address alone", shown=False)
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            problem = "would send login and key in the clear"
            raise InvalidValueError(value, problem, "write https://")
        return text.rstrip("/")

    return Form(parse, "an https:// address (http:// for this machine alone)")


def secret() -> Form:
    """A secret: text without control characters, the space around it dropped."""

    def parse(value: object) -> SecretStr:
        given = value.get_secret_value() if isinstance(value, SecretStr) else text_of(value)
        if has_control(given):
            problem = "holds control characters"
            raise InvalidValueError(value, problem, "copy it again, on one line", shown=False)
        try:
            # In a locale without UTF-8, what is beyond ASCII comes as bytes in disguise.
            return SecretStr(given.encode("utf-8", "surrogateescape").decode())
        except UnicodeError:
            raise InvalidValueError(value, "is not UTF-8", "copy it again", shown=False) from None

    return Form(parse, "text")


def proxy() -> Form:
    """A proxy's URL, or ``env``; it may hold a password."""

    def parse(value: object) -> SecretStr:
        text = text_of(value)
        if text.lower() == "env":
            return SecretStr("env")
        parts = _split(text)
        if parts is None or parts.scheme not in _PROXY_SCHEMES:
            remedy = "set http://, https://, socks5:// or socks5h:// with a host, or env"
            raise InvalidValueError(value, "is no proxy", remedy, shown="@" not in text)
        return SecretStr(text)

    return Form(parse, "an http://, https://, socks5:// or socks5h:// address, or env")


def web_url() -> Form:
    """A URL that is called as it is; its path or query may be a secret of its own."""

    def parse(value: object) -> SecretStr:
        parts = _split(text_of(value))
        if parts is None or parts.scheme not in {"http", "https"}:
            remedy = "set an https:// or http:// address"
            raise InvalidValueError(value, "is no web address", remedy, shown=False)
        return SecretStr(text_of(value))

    return Form(parse, "an https:// or http:// address")


def notification_urls() -> Form:
    """Apprise URLs, separated by spaces; they hold tokens and passwords."""

    def parse(value: object) -> tuple[SecretStr, ...]:
        given = items(value, None)
        if not all(_SCHEME.fullmatch(url) for url in given):
            remedy = "write SERVICE://… addresses, separated by spaces"
            raise InvalidValueError(value, "has a part that is no Apprise URL", remedy, shown=False)
        return tuple(SecretStr(url) for url in given)

    return Form(parse, "Apprise URLs, separated by spaces")


def host_names() -> Form:
    """Host names without a port, in lower case."""

    def parse(value: object) -> tuple[str, ...]:
        given = tuple(dict.fromkeys(item.lower() for item in items(value, ",")))
        for name in given:
            if not _HOST.fullmatch(name):
                problem = f"has {name!r}, which is no host name"
                raise InvalidValueError(
                    value, problem, "write names without port, separated by commas"
                )
        return given

    return Form(parse, "host names, separated by commas")


def http_address() -> Form:
    """``HOST:PORT``, ``[IPV6]:PORT``, ``unix:/path``, or ``off`` for None."""
    remedy = "set 127.0.0.1:8765, [::1]:8765, unix:/path or off"

    def parse(value: object) -> HttpAddress | None:
        text = text_of(value)
        if text.lower() == "off":
            return None
        if text.startswith("unix:"):
            if text == "unix:":
                raise InvalidValueError(value, "names no socket", remedy)
            return HttpAddress(path=absolute(text.removeprefix("unix:")))
        host, _, port = text.rpartition(":")
        if not _HOST.fullmatch(host.lower()) or not re.fullmatch("[0-9]{1,5}", port):
            raise InvalidValueError(value, "is no address to listen on", remedy)
        if int(port) > 65535:
            raise InvalidValueError(
                value, "has no valid port", "set a port from 0 (any free one) to 65535"
            )
        if host.startswith("["):
            host = host[1:-1]
            try:
                ipaddress.IPv6Address(host)
            except ValueError:
                raise InvalidValueError(value, "holds no IPv6 address", remedy) from None
        return HttpAddress(host=host, port=int(port))

    return Form(parse, "HOST:PORT, [IPV6]:PORT, unix:/path or off")
