"""Notifications to systemd."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from megamax_sync import systemd
from megamax_sync.systemd import Notifier


def test_without_systemd_nothing_happens() -> None:
    """No socket, no watchdog, no error."""
    notifier = Notifier({})
    notifier.send("READY=1")
    assert notifier.watchdog is None
    assert not notifier.heard


@pytest.mark.parametrize("abstract", [False, True])
def test_lines_arrive_in_one_datagram(tmp_path: Path, abstract: bool) -> None:
    """At paths and abstract addresses; what is no Unicode does not matter."""
    name = f"megamax-sync-test-{os.getpid()}" if abstract else str(tmp_path / "n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name}" if abstract else name)
        receiver.settimeout(10)
        notifier = Notifier({"NOTIFY_SOCKET": f"@{name}" if abstract else name})
        assert notifier.heard
        notifier.send("READY=1", "STATUS=\udcff")
        assert receiver.recv(100) == b"READY=1\nSTATUS=?"


def test_a_deaf_systemd_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody there, or nobody who reads: it goes on all the same."""
    monkeypatch.setattr(systemd, "_PATIENCE", 0.01)
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "none")}).send("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "n"))
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "n")})
        for _ in range(20):
            notifier.send("x" * 50_000)


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("3000000", None, 3.0),
        pytest.param("3000000", str(os.getpid()), 3.0, id="ours"),
        ("3000000", "1", None),
        ("0", None, None),
        ("²", None, None),
        ("-1", None, None),
    ],
)
def test_the_watchdog_is_for_the_process_it_names(
    usec: str, pid: str | None, seconds: float | None
) -> None:
    """In seconds; nonsense is none."""
    environ = {"WATCHDOG_USEC": usec} | ({"WATCHDOG_PID": pid} if pid else {})
    assert Notifier(environ).watchdog == seconds
