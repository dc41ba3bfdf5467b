"""``100 Continue``: a large body waits for the receiver's leave, where that is asked for."""

from __future__ import annotations

import io
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest

from megamax_sync import errors
from megamax_sync.api import MegamaxClient, MultipartFile

from .server import KEY, LOGIN, Request, Server, read_head, reply, success

TAKEN = reply(
    200, success({"hashid": "9mO", "name": "a.mp4", "size": 1 << 20, "status": "onqueue"})
)


def large(size: int = 1 << 20) -> MultipartFile:
    """The smallest file that is asked about."""
    return MultipartFile(io.BytesIO(b"x" * size), name="a.mp4", size=size)


def client_of(server: Server, leave_after: float, ca: Path | None = None) -> MegamaxClient:
    """A client that asks."""
    ca_file = str(ca) if ca else None
    return MegamaxClient(server.url, LOGIN, KEY, leave_after=leave_after, ca_file=ca_file)


class Receiver:
    """Reads a head, says ``first``, and then what it thinks of the body."""

    def __init__(self, first: bytes) -> None:
        self.first = first
        self.head: Request | None = None
        #: What of the body had come before anything was said.
        self.early = b""

    def __call__(self, conn: socket.socket) -> None:
        came = read_head(conn)
        assert came is not None
        self.head, self.early = came
        conn.settimeout(0.3)
        try:
            self.early += conn.recv(1 << 16)
        except TimeoutError:
            conn.sendall(self.first)
        conn.settimeout(10)
        left = int(self.head.headers["content-length"]) - len(self.early)
        while left > 0 and (piece := conn.recv(1 << 20)):
            left -= len(piece)
        if left == 0:
            conn.sendall(TAKEN)


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize(
    "first", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 \r\nA: b\r\n\r\n"]
)
def test_the_body_waits_for_leave(
    server_tls: ssl.SSLContext, certificate: Path, secure: bool, first: bytes
) -> None:
    """Nothing of it is sent before, and it need not wait for the time to pass."""
    receiver = Receiver(first)
    with (
        Server(handler=receiver, tls=server_tls if secure else None) as server,
        client_of(server, 30, certificate) as client,
    ):
        began = time.monotonic()
        assert client.upload(server.url, large()).hashid == "9mO"
        assert time.monotonic() - began < 15
    assert receiver.head is not None
    assert receiver.head.headers["expect"] == "100-continue"
    assert receiver.early == b""


def test_early_hints_are_no_leave() -> None:
    """Another interim answer does not let the body go."""
    receiver = Receiver(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    with Server(handler=receiver) as server, client_of(server, 1.0) as client:
        began = time.monotonic()
        client.upload(server.url, large())
        assert time.monotonic() - began >= 1.0


def test_a_refusal_saves_the_body() -> None:
    """A 413 to the head is taken, and no byte of the file was sent."""
    with (
        Server(handler=Receiver(reply(413, {"status": "error", "message": "too large"}))) as server,
        client_of(server, 30) as client,
    ):
        body = large()
        with pytest.raises(errors.UploadRefused, match="too large"):
            client.upload(server.url, body)
        assert body.sent == 0


def test_a_receiver_that_knows_nothing_of_it_gets_the_body() -> None:
    """After the time, as RFC 9110 asks."""
    receiver = Receiver(b"")
    with Server(handler=receiver) as server, client_of(server, 0.2) as client:
        assert client.upload(server.url, large()).size == 1 << 20


@pytest.mark.parametrize(("leave_after", "size"), [(0.0, 1 << 20), (30.0, (1 << 20) - 1)])
def test_small_bodies_and_others_do_not_ask(leave_after: float, size: int) -> None:
    """Nothing is asked where it was not wanted, or would cost more than it saves."""
    with (
        Server(lambda _request: TAKEN) as server,
        client_of(server, leave_after) as client,
    ):
        client.upload(server.url, large(size))
        assert "expect" not in server.requests[0].headers


def test_who_will_not_be_asked_is_not_asked_again() -> None:
    """A 417 is an attempt that failed; the next one has no such header."""

    def answer(request: Request) -> bytes:
        return reply(417) if "expect" in request.headers else TAKEN

    with Server(answer) as server, client_of(server, 0.2) as client:
        with pytest.raises(errors.ServiceRefusal, match="417"):
            client.upload(server.url, large())
        assert client.upload(server.url, large()).hashid == "9mO"


def test_the_wait_can_be_aborted() -> None:
    """A stop does not wait for leave."""
    came = threading.Event()
    end = threading.Event()

    def handler(conn: socket.socket) -> None:
        read_head(conn)
        came.set()
        end.wait(10)

    with Server(handler=handler) as server, client_of(server, 60) as client:

        def abort() -> None:
            came.wait(10)
            client.abort()

        aborter = threading.Thread(target=abort)
        aborter.start()
        began = time.monotonic()
        with pytest.raises(errors.ServiceUnreachable):
            client.upload(server.url, large())
        assert time.monotonic() - began < 15
        aborter.join()
        end.set()
