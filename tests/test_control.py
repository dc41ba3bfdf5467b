"""The control socket: answered, or quietly not."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from upload.pipeline import wait_for

from megamax_sync.control import ControlServer, ask


def answer(question: str) -> dict[str, Any]:
    """Say it back, or break."""
    if question == "break":
        raise ZeroDivisionError
    return {"asked": question}


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A socket whose path is longer than such addresses may be."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    return str(folder / "control.sock")


@pytest.fixture
def server(path: str) -> Iterator[ControlServer]:
    """A server that answers."""
    opened = ControlServer(path, answer)
    opened.open()
    yield opened
    opened.close()


@pytest.mark.usefixtures("server")
def test_questions_are_answered(path: str) -> None:
    """One after the other, on a path of any length."""
    assert len(path) > 108
    assert ask(path, "live") == {"asked": "live"}
    assert ask(path, "wake\n") == {"asked": "wake\n"}


def test_nobody_there_is_no_answer(path: str, tmp_path: Path) -> None:
    """No socket, no folder, and a socket that a kill left behind."""
    assert ask(path, "live") is None
    assert ask(str(tmp_path / "none/s"), "live") is None
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(tmp_path / "s"))
    left.close()
    assert ask(str(tmp_path / "s"), "live") is None


def test_a_left_over_socket_is_replaced_and_taken_away(tmp_path: Path) -> None:
    """The next instance binds in its place, and leaves nothing."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left:
        left.bind(path)
    server = ControlServer(path, answer)
    server.open()
    assert ask(path, "live") == {"asked": "live"}
    server.close()
    assert os.listdir(tmp_path) == []


def test_one_that_was_never_opened_can_be_closed(path: str) -> None:
    """Also twice."""
    server = ControlServer(path, answer)
    server.close()
    server.close()


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\n", b"{}\n", b"[]\n", b"7\n", b"\xff\n", b"[" * 1023 + b"\n", b'{"ask": "break"}\n'],
)
def test_garbage_ends_no_answers(path: str, server: ControlServer, garbage: bytes) -> None:
    """Whatever one asks, and whatever the answer runs into, the next is answered."""
    address = f"/proc/self/fd/{os.open(os.path.dirname(path), os.O_PATH)}/control.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(address)
        client.sendall(garbage)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b""
    os.close(int(address.split("/")[4]))
    assert ask(path, "live") == {"asked": "live"}
    assert server.is_alive()


@pytest.mark.parametrize(
    "reply", [b"", b"{", b"[1]\n", b"null\n", b"\xff\n", b"[" * 200_000 + b"\n"]
)
def test_a_foreign_answer_is_none(tmp_path: Path, reply: bytes) -> None:
    """Whoever else listens there is not believed."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                assert json.loads(connection.recv(100)) == {"ask": "live"}
                connection.sendall(reply)

        other = threading.Thread(target=serve)
        other.start()
        assert ask(path, "live") is None
        other.join()


def test_a_silent_server_is_waited_for_no_longer_than_told(tmp_path: Path) -> None:
    """One that accepts and says nothing counts as not there."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()
        assert ask(path, "live", timeout=0.05) is None


def test_a_client_that_says_nothing_delays_no_end(path: str) -> None:
    """Whoever connects and asks nothing is sent away when the server closes."""
    server = ControlServer(path, answer)
    server.open()
    folder = os.open(os.path.dirname(path), os.O_PATH)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(f"/proc/self/fd/{folder}/control.sock")
        wait_for(lambda: server._connection is not None)
        began = time.monotonic()
        server.close()
        assert time.monotonic() - began < 1
        assert not server.is_alive()
    os.close(folder)


def test_a_client_that_comes_as_the_server_closes_is_sent_away(path: str) -> None:
    """The connection that is accepted last is ended, too."""
    server = ControlServer(path, answer)
    server._closing.set()
    ours, theirs = socket.socketpair()
    with theirs:
        began = time.monotonic()
        with pytest.raises(ValueError):
            server._serve(ours)
        assert time.monotonic() - began < 1
    server.close()


def test_a_failing_accept_is_waited_out(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of descriptors, it asks again a little later and does not spin."""
    server = ControlServer(path, answer)
    real = server._closing.wait
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return real(seconds)

    monkeypatch.setattr(server._closing, "wait", wait)
    server._listener.close()
    threading.Timer(0.25, server._closing.set).start()
    server.run()
    assert 1 <= len(waits) <= 5
    server.close()
