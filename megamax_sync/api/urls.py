"""Where login and key may travel, through which proxy, and what stands in a path."""

from __future__ import annotations

import urllib.request
from urllib.parse import quote, urlsplit

import httpx

from megamax_sync.api.models import usable_hashid
from megamax_sync.errors import ConfigError, InsecureUrl, RemoteFileMissing, ServiceNonsense
from megamax_sync.loopback import is_loopback

#: DNS has no longer ones, and the socket and TLS modules refuse them each in their own way.
_LONGEST_LABEL = 63


def parse(url: str) -> httpx.URL | None:
    """The URL if it is http(s), names a host and holds no userinfo; else None."""
    try:
        parsed = _url(url)
    except (httpx.InvalidURL, ValueError):
        return None
    if parsed.scheme not in {"http", "https"} or parsed.userinfo:
        return None
    labels = parsed.raw_host.removesuffix(b".").split(b".")
    if not all(0 < len(label) <= _LONGEST_LABEL for label in labels):
        return None
    return parsed.copy_with(fragment=None) if parsed.fragment else parsed


def _url(text: str) -> httpx.URL:
    # httpx alone takes hosts that nobody can have, such as "[".
    urlsplit(text)
    return httpx.URL(text.strip())


def is_secure(url: httpx.URL) -> bool:
    """Tell whether secrets may travel there: not over plain HTTP, but to this machine."""
    return url.scheme == "https" or is_loopback(url.host)


def parse_base(setting: str) -> httpx.URL:
    """The base of all calls. Raises ConfigError for what cannot be one."""
    url = parse(setting)
    if url is None or url.query:
        raise ConfigError("MEGAMAX_API_URL: give an http(s) URL without user name and query")
    if not is_secure(url):
        raise ConfigError(
            f"MEGAMAX_API_URL: {url.host} is to be reached over plain http; "
            "only https keeps the key safe"
        )
    return url


def parse_upload(given: str) -> httpx.URL:
    """Where the service wants an upload sent. Raises ServiceNonsense and InsecureUrl."""
    url = parse(given)
    if url is None:
        raise ServiceNonsense("the service gave no usable upload URL", answered=True)
    if not is_secure(url):
        raise InsecureUrl(
            f"the service wants the upload sent to {url.host} over plain http, "
            "where anybody could read the key"
        )
    return url


def proxy_for(url: httpx.URL, setting: str | None) -> str | None:
    """The proxy's URL for ``url``. ``setting`` is a URL, None, or ``env`` for the environment's.

    Loopback never goes through a proxy; the environment's ``NO_PROXY`` is honoured.
    """
    if not setting or is_loopback(url.host):
        return None
    if setting != "env":
        return setting
    proxies = urllib.request.getproxies_environment()
    if urllib.request.proxy_bypass(url.host, proxies):
        return None
    return proxies.get(url.scheme) or proxies.get("all")


def parse_proxy(setting: str) -> httpx.Proxy:
    """Raise ConfigError, without the URL (it may hold a password), for what cannot be used."""
    try:
        url = _url(setting if "://" in setting else f"http://{setting}")
    except (httpx.InvalidURL, ValueError):
        url = None
    if url is None or url.scheme not in {"http", "socks5", "socks5h"} or not url.host:
        raise ConfigError("MEGAMAX_PROXY: give http://HOST:PORT or socks5://HOST:PORT, or env")
    return httpx.Proxy(url)


def segment(hashid: str) -> str:
    """``hashid`` as one segment of a path."""
    if not usable_hashid(hashid):
        raise RemoteFileMissing("that is no hashid")
    return quote(hashid, safe="", errors="replace")
