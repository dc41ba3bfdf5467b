"""The sandbox as a Python object: start it, look inside, break it, close it."""

from __future__ import annotations

import importlib
import ipaddress
import math
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from megamax_sync.sandbox.account import Account
from megamax_sync.sandbox.catalogue import RemoteRecord
from megamax_sync.sandbox.faults import FaultScript
from megamax_sync.sandbox.recorder import Recorder, RequestRecord

if TYPE_CHECKING:
    from megamax_sync.sandbox.engine import Engine

FOUR_DAYS = 345600.0


class Sandbox:
    """An embedded Megamax with one account. It listens on loopback only.

    Args:
        data: Where files, credentials and the last port are kept; ``None`` for a temporary folder.
        port: 0 for the last one, if it is free, else any.
        step: Seconds that each status lasts, from ``onqueue`` to ``converting``.
        link_ttl: Seconds that a direct link works.
        premium: Whether the account gets direct links.
        mirror_delay: Seconds from the conversion to the first mirrors.
        login, key: The credentials; those kept in ``data``, else random ones.
        faults: What goes wrong, and when.
        tls: Certificate and key file, for HTTPS.

    Raises:
        ValueError: an argument is out of range, or ``host`` is not a loopback address.
    """

    def __init__(
        self,
        data: str | os.PathLike[str] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        step: float = 1.0,
        link_ttl: float = FOUR_DAYS,
        premium: bool = True,
        mirror_delay: float = 0.0,
        login: str | None = None,
        key: str | None = None,
        faults: FaultScript | None = None,
        tls: tuple[str, str] | None = None,
    ) -> None:
        self._host = _loopback(host)
        if not 0 <= port <= 65535:
            raise ValueError(f"port must be from 0 to 65535, not {port}")
        self._port = port
        self._step = _seconds("step", step)
        self._link_ttl = _seconds("link_ttl", link_ttl)
        if self._link_ttl == 0:
            raise ValueError("link_ttl must be more than 0")
        self._mirror_delay = _seconds("mirror_delay", mirror_delay)
        self._data = None if data is None else Path(data)
        self._premium = premium
        self._credentials = (login, key)
        self._faults = faults or FaultScript()
        self._tls = tls
        self._recorder = Recorder()
        self._temporary: str | None = None
        self._account: Account | None = None
        self._engine: Engine | None = None
        self._base_url = ""

    def start(self) -> None:
        """Open the data folder and serve; returns when requests are answered.

        Raises:
            OSError: the port or the folder is taken, or cannot be used.
            RuntimeError: it is running already.
        """
        if self._account is not None:
            raise RuntimeError("the sandbox is running already")
        if self._data is None:
            self._temporary = tempfile.mkdtemp(prefix="megamax-sandbox-")
        try:
            self._open(self._data or Path(self._temporary or ""))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop, within three seconds and whatever is going on; may be called again."""
        engine, self._engine = self._engine, None
        account, self._account = self._account, None
        temporary, self._temporary = self._temporary, None
        if engine is not None:
            engine.stop()
        if account is not None:
            account.close()
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def api_url(self) -> str:
        """The base of all API calls, ``http://127.0.0.1:PORT/api``."""
        self._running()
        return f"{self._base_url}/api"

    @property
    def login(self) -> str:
        """The account's login."""
        return self._running().login

    @property
    def key(self) -> str:
        """The account's key."""
        return self._running().key

    @property
    def requests(self) -> list[RequestRecord]:
        """The requests so far (the last 100,000), in order of arrival; also after the end."""
        return self._recorder.records()

    def files(self) -> list[RemoteRecord]:
        """What the account holds, oldest first, each with its status of now."""
        return self._running().records()

    def add_file(
        self,
        name: str,
        data: bytes,
        *,
        folder: int | None = None,
        status: str | None = "converted",
        created_at: float | None = None,
    ) -> RemoteRecord:
        """Store a file as if somebody had uploaded it elsewhere.

        ``created_at`` is Unix time, now if it is ``None``; with ``status=None`` the file goes
        through the statuses as an uploaded one does.
        """
        account = self._running()
        arriving = account.incoming_path()
        arriving.write_bytes(data)
        clean = name.encode(errors="replace").decode()
        return account.keep(
            arriving, clean, size=len(data), folder=folder, status=status, created_at=created_at
        )

    def set_status(self, hashid: str, status: str | None) -> None:
        """Fix a file's status, also at one the document does not know; ``None`` lets time go on.

        Raises:
            KeyError: no such file.
        """
        if not self._running().catalogue.pin(hashid, status, time.time()):
            raise KeyError(hashid)

    def delete(self, hashid: str) -> None:
        """Delete a file, as its owner can by hand.

        Raises:
            KeyError: no such file.
        """
        if not self._running().delete(hashid):
            raise KeyError(hashid)

    def _open(self, folder: Path) -> None:
        login, key = self._credentials
        self._account = account = Account(
            folder,
            step=self._step,
            link_ttl=self._link_ttl,
            premium=self._premium,
            mirror_delay=self._mirror_delay,
            login=login,
            key=key,
        )
        listener = _bind(self._host, self._port, int(account.catalogue.setting("port") or 0))
        try:
            port = listener.getsockname()[1]
            account.catalogue.set_setting("port", str(port))
            host = f"[{self._host}]" if ":" in self._host else self._host
            self._base_url = f"{'https' if self._tls else 'http'}://{host}:{port}"
            # Imported by name: the web framework is wanted only where a sandbox really runs.
            engine = importlib.import_module("megamax_sync.sandbox.engine")
            self._engine = engine.Engine(
                account,
                listener,
                self._base_url,
                faults=self._faults,
                recorder=self._recorder,
                tls=self._tls,
            )
            self._engine.start()
        except BaseException:
            listener.close()
            raise

    def _running(self) -> Account:
        if self._account is None:
            raise RuntimeError("the sandbox is not running")
        return self._account


def serve(
    *,
    port: int,
    data: str | os.PathLike[str] | None,
    step: float,
    link_ttl: float,
    premium: bool,
    announce: Callable[[Sandbox], None],
    stop: threading.Event,
) -> None:
    """Run a sandbox until ``stop`` is set; ``announce`` is called once it serves.

    Raises:
        ValueError: an argument is out of range.
        OSError: the port or the folder is taken, or cannot be used.
    """
    with Sandbox(data, port=port, step=step, link_ttl=link_ttl, premium=premium) as sandbox:
        announce(sandbox)
        stop.wait()


def _loopback(host: str) -> str:
    address = "127.0.0.1" if host == "localhost" else host
    try:
        loopback = ipaddress.ip_address(address).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ValueError(f"host must be a loopback address, not {host!r}")
    return address


def _seconds(name: str, value: float) -> float:
    if not (math.isfinite(value) and 0 <= value <= 1e9):
        raise ValueError(f"{name} must be a number of seconds from 0 to 1e9, not {value}")
    return value


def _bind(host: str, port: int, last: int) -> socket.socket:
    wishes = [port] if port else [last, 0] if last else [0]
    for wish in wishes[:-1]:
        try:
            return _listener(host, wish)
        except OSError:
            continue
    return _listener(host, wishes[-1])


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it, every answer
    # on a kept connection waits 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
