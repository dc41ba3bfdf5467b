"""Where secrets may travel in the clear: to this machine, and what settings and calls agree on."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from megamax_sync.api.urls import parse_base, parse_upload
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
    url = f"http://{host}:81/api"
    answers = []
    for use in (lambda: load(environ={"MEGAMAX_API_URL": url}), lambda: parse_base(url)):
        answers.append(_works(use, ConfigError))
    answers.append(_works(lambda: parse_upload(url), InsecureUrl))
    assert answers == [ours] * 3


def _works(use: Callable[[], object], refusal: type[Exception]) -> bool:
    try:
        use()
    except refusal:
        return False
    return True
