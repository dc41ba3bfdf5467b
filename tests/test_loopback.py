"""Where secrets may travel in the clear: to this machine, and what settings and calls agree on."""

from __future__ import annotations

import httpx
import pytest

from megamax_sync.api.urls import require_secure
from megamax_sync.config import load
from megamax_sync.errors import ConfigError, InsecureUrl
from megamax_sync.loopback import is_loopback

HOSTS = [
    ("localhost", True),
    ("LocalHost", True),
    ("localhost.", True),
    ("127.0.0.1", True),
    ("127.8.9.1", True),
    ("[::1]", True),
    ("localhost.example.com", False),
    ("127.0.0.1.example.com", False),
    ("0.0.0.0", False),
    ("[::2]", False),
    ("192.168.0.1", False),
]


@pytest.mark.parametrize(("host", "ours"), HOSTS)
def test_settings_and_calls_agree_on_what_this_machine_is(host: str, ours: bool) -> None:
    """An address that the settings take is one that the client uses, and the other way round."""
    assert is_loopback(host.strip("[]")) is ours
    url, taken, used = f"http://{host}:81/api", True, True
    try:
        load(environ={"MEGAMAX_API_URL": url})
    except ConfigError:
        taken = False
    try:
        require_secure(httpx.URL(url))
    except InsecureUrl:
        used = False
    assert (taken, used) == (ours, ours)
