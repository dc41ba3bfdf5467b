"""The work on the embedded Megamax: apart from the real one in all it reads and writes."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

from pydantic import SecretStr

from megamax_sync.config import AfterDone, Settings
from megamax_sync.errors import StoreError

#: A sandbox that another command runs for a moment is waited for this long, in seconds.
_TAKEN = 5.0


def own_folders(settings: Settings) -> Settings:
    """Return the settings for ``--sandbox``: own queue and sidecars, nothing that tells others."""
    home = os.path.join(settings.state_dir, "sandbox")
    update: dict[str, Any] = {
        "state_dir": home,
        "sidecar_dir": os.path.join(home, "sidecars"),
        "proxy": None,
        "ca_file": None,
        "upload_verify_tls": True,
        "after_done": AfterDone("keep"),
        "on_done": (),
        "on_failed": (),
        "notify": (),
        "webhook": None,
        "webhook_secret": None,
    }
    if "poll_seconds" not in settings.sources:
        update["poll_seconds"] = 1.0
    return settings.model_copy(update=update)


def with_account(settings: Settings, api_url: str, login: str, key: str) -> Settings:
    """Return settings that lead to a running sandbox."""
    return settings.model_copy(
        update={"api_url": api_url, "login": SecretStr(login), "key": SecretStr(key)}
    )


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[Settings]:
    """Run the embedded Megamax of these settings; yields them with its address and account.

    Raises :class:`StoreError` when it cannot be started.
    """
    from megamax_sync.sandbox import Sandbox

    sandbox = Sandbox(_data(settings))
    waited, patience = 0.0, threading.Event()
    while True:
        try:
            sandbox.start()
            break
        except OSError as error:
            if not isinstance(error, BlockingIOError) or waited >= _TAKEN:
                raise StoreError(f"the sandbox cannot be started: {error.strerror}") from error
            patience.wait(0.1)
            waited += 0.1
    try:
        yield with_account(settings, sandbox.api_url, sandbox.login, sandbox.key)
    finally:
        sandbox.close()


@contextlib.contextmanager
def reachable(settings: Settings) -> Iterator[Settings]:
    """Use the sandbox that another command runs on this data, else run it for the moment."""
    from megamax_sync.sandbox import Sandbox

    sandbox = Sandbox(_data(settings))
    try:
        sandbox.start()
    except BlockingIOError:
        yield _of_the_other(settings)
        return
    except OSError as error:
        raise StoreError(f"the sandbox cannot be started: {error.strerror}") from error
    try:
        yield with_account(settings, sandbox.api_url, sandbox.login, sandbox.key)
    finally:
        sandbox.close()


def _of_the_other(settings: Settings) -> Settings:
    from pathlib import Path

    from megamax_sync.sandbox.catalogue import Catalogue

    catalogue = Catalogue(Path(_data(settings)) / "catalogue.db")
    try:
        port, login, key = (catalogue.setting(name) or "" for name in ("port", "login", "key"))
    finally:
        catalogue.close()
    return with_account(settings, f"http://127.0.0.1:{port}/api", login, key)


def _data(settings: Settings) -> str:
    return os.path.join(settings.state_dir, "megamax")
