"""A kept connection answers at once."""

from __future__ import annotations

import time

import httpx

from megamax_sync.sandbox import Sandbox


def test_kept_connections_do_not_wait_for_acknowledgements() -> None:
    """Twenty calls on one connection take far less than twenty delayed acknowledgements (40 ms)."""
    with Sandbox() as sandbox, httpx.Client(trust_env=False) as client:
        account = {"login": sandbox.login, "key": sandbox.key}
        client.get(f"{sandbox.api_url}/file/get", params=account)
        began = time.monotonic()
        for _ in range(20):
            client.get(f"{sandbox.api_url}/file/get", params=account)
        assert time.monotonic() - began < 20 * 0.03
