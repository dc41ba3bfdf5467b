"""Connections: receivers that stall, proxies, and being aborted."""

from __future__ import annotations

import contextlib
import io
import os
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megamax_sync import errors
from megamax_sync.api import MegamaxClient, MultipartFile, network, sessions, stream, urls
from megamax_sync.api import trickle as trickle_of
from megamax_sync.api.transport import trust

from .server import KEY, LOGIN, Server, read_head, reply, success


def big() -> MultipartFile:
    content = b"x" * (64 << 20)
    return MultipartFile(io.BytesIO(content), name="a.mp4", size=len(content))


def never_read(conn: socket.socket) -> None:
    read_head(conn)
    threading.Event().wait(2)


def trickle(conn: socket.socket) -> None:
    read_head(conn)
    pause = threading.Event()
    for _ in range(200):
        conn.recv(1 << 16)
        pause.wait(0.02)


@pytest.mark.parametrize("secure", [False, True])
def test_stalled_receiver(server_tls: ssl.SSLContext, certificate: Path, secure: bool) -> None:
    """A receiver that takes nothing at all is given up after the time-out."""
    with (
        Server(handler=never_read, tls=server_tls if secure else None) as server,
        MegamaxClient(server.url, LOGIN, KEY, timeout=0.3, ca_file=str(certificate)) as client,
        pytest.raises(errors.ServiceUnreachable, match="WriteTimeout"),
    ):
        client.upload(server.url, big())


def test_the_next_connection_goes_on_with_the_session(
    server_tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each upload has its own connection, and only the first of each trust a whole handshake."""
    taken = success({"hashid": "9mO", "name": "a.mp4", "size": 3, "status": "onqueue"})
    server = Server(lambda _request: reply(200, taken), tls=server_tls)

    def upload(client: MegamaxClient) -> None:
        client.upload(server.url, MultipartFile(io.BytesIO(b"abc"), name="a.mp4", size=3))

    def hits() -> int:
        return server_tls.session_stats()["hits"]

    before = hits()
    with server, MegamaxClient(server.url, LOGIN, KEY, ca_file=str(certificate)) as client:
        for _ in range(3):
            upload(client)
        assert hits() - before == 2
        with MegamaxClient(server.url, LOGIN, KEY, verify_upload_tls=False) as careless:
            upload(careless)
            assert hits() - before == 2
            upload(careless)
            assert hits() - before == 3
        # A handshake that fails may have failed for the session's sake: the next one begins anew.

        def refuse(_self: ssl.SSLObject) -> None:
            raise ssl.SSLError("no session of yours")

        with monkeypatch.context() as patch:
            patch.setattr(ssl.SSLObject, "do_handshake", refuse)
            with pytest.raises(errors.ServiceUnreachable, match="no session of yours"):
                upload(client)
        upload(client)
        assert hits() - before == 3
    # Of more hosts than are kept, the one that was left longest ago is let go.
    monkeypatch.setattr(sessions, "_MOST", 0)
    before = hits()
    with (
        Server(lambda _request: reply(200, taken), tls=server_tls) as server,
        MegamaxClient(server.url, LOGIN, KEY, ca_file=str(certificate)) as client,
    ):
        for _ in range(2):
            client.upload(server.url, MultipartFile(io.BytesIO(b"abc"), name="a.mp4", size=3))
        assert hits() == before


@pytest.mark.parametrize("secure", [False, True])
def test_trickling_receiver(
    server_tls: ssl.SSLContext,
    certificate: Path,
    secure: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A receiver below the minimum rate is given up though it never stalls; above it, it is not."""
    # Longer than a busy machine may keep the receiver from its work.
    monkeypatch.setattr(trickle_of, "RATE_WINDOW", 0.8)
    tls = server_tls if secure else None
    with Server(handler=trickle, tls=tls) as server:
        url, ca = server.url, str(certificate)
        with (
            MegamaxClient(url, LOGIN, KEY, timeout=5, min_rate=1e9, ca_file=ca) as client,
            pytest.raises(errors.ServiceUnreachable, match="bytes a second"),
        ):
            client.upload(url, big())
        with (
            MegamaxClient(url, LOGIN, KEY, timeout=5, min_rate=1, ca_file=ca) as client,
            pytest.raises(errors.ServiceUnreachable) as caught,
        ):
            client.upload(url, big())
        assert "bytes a second" not in str(caught.value)


def tunnel(conn: socket.socket) -> None:
    """Be an HTTP proxy that knows CONNECT."""
    came = read_head(conn)
    assert came is not None
    request, _ = came
    assert request.method == "CONNECT"
    assert request.headers["proxy-authorization"].startswith("Basic ")
    port = int(request.target.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as far:
        conn.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        pump(conn, far)


def pump(near: socket.socket, far: socket.socket) -> None:
    def copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    back = threading.Thread(target=copy, args=(far, near))
    back.start()
    copy(near, far)
    back.join()


def socks(conn: socket.socket) -> None:
    """Be a SOCKS5 proxy that connects every name to this machine."""
    conn.recv(100)
    conn.sendall(b"\x05\x00")
    port = int.from_bytes(conn.recv(300)[-2:], "big")
    with socket.create_connection(("127.0.0.1", port)) as far:
        conn.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
        pump(conn, far)


@pytest.mark.parametrize(("scheme", "handler"), [("http://u:p@", tunnel), ("socks5://", socks)])
def test_proxies(
    server_tls: ssl.SSLContext, scheme: str, handler: Callable[[socket.socket], None]
) -> None:
    """A request goes through an HTTP or a SOCKS proxy, which never sees inside."""
    uploaded = success({"hashid": "x"})
    with (
        Server(lambda _: reply(200, uploaded), tls=server_tls) as server,
        Server(handler=handler) as proxy,
        MegamaxClient(
            "https://api.example",
            LOGIN,
            KEY,
            proxy=f"{scheme}127.0.0.1:{proxy.port}",
            verify_upload_tls=False,
        ) as client,
    ):
        assert client.upload(f"https://far.example:{server.port}/up", small()).hashid == "x"
        assert proxy.connections == 1
        assert client.upload(server.url, small()).hashid == "x"
        assert proxy.connections == 1


def small() -> MultipartFile:
    return MultipartFile(io.BytesIO(b"hello"), name="a.mp4", size=5)


def test_proxy_that_refuses() -> None:
    """A proxy that refuses is no answer of the service, and its password stays inside."""

    def refuse(conn: socket.socket) -> None:
        read_head(conn)
        conn.sendall(reply(407))

    with (
        Server(handler=refuse) as proxy,
        MegamaxClient(
            "https://api.example", LOGIN, KEY, proxy=f"http://u:sesame@127.0.0.1:{proxy.port}"
        ) as client,
    ):
        with pytest.raises(errors.ServiceUnreachable, match="ProxyError: 407") as caught:
            client.files()
        assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 400 Bad Request\r\n", b"\x05\xff"])
def test_what_is_no_socks_proxy(said: bytes) -> None:
    """One that says nothing, something else, or no: no answer of the service, and nothing stays."""

    def answer(conn: socket.socket) -> None:
        conn.recv(100)
        conn.sendall(said)
        # It hangs up when we do.
        while conn.recv(100):
            pass

    with (
        Server(handler=answer) as proxy,
        MegamaxClient(
            "https://api.example",
            LOGIN,
            KEY,
            proxy=f"socks5://127.0.0.1:{proxy.port}",
            timeout=0.3,
        ) as client,
    ):
        for _ in range(2):
            with pytest.raises(errors.ServiceUnreachable):
                client.files()
        assert proxy.connections == 2
        assert not client._backend._open


@pytest.mark.parametrize("proxy", ["ftp://x", "https://x:1", "http://", "http://[", "socks4://x"])
def test_bad_proxy(proxy: str) -> None:
    """A proxy that cannot be used is a fault of the configuration."""
    with pytest.raises(errors.ConfigError, match="MEGAMAX_PROXY"):
        MegamaxClient("https://api.example", LOGIN, KEY, proxy=proxy)


def test_proxy_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """``env`` takes HTTPS_PROXY or ALL_PROXY, honours NO_PROXY, and spares loopback."""
    for name in ("https_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    far = httpx.URL("https://api.example/")
    assert urls.proxy_for(far, "env") is None
    monkeypatch.setenv("ALL_PROXY", "http://all:1")
    assert urls.proxy_for(far, "env") == "http://all:1"
    monkeypatch.setenv("HTTPS_PROXY", "http://tls:1")
    assert urls.proxy_for(far, "env") == "http://tls:1"
    assert urls.proxy_for(far, None) is None
    assert urls.proxy_for(httpx.URL("https://127.0.0.1/"), "env") is None
    monkeypatch.setenv("NO_PROXY", ".example")
    assert urls.proxy_for(far, "env") is None


def test_abort_while_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    """An abort that comes while a name is looked up ends the connection before it is made."""
    backend = network.Backend()
    found = socket.getaddrinfo("127.0.0.1", 1, type=socket.SOCK_STREAM)

    def look_up(_: str, __: int) -> object:
        backend.abort()
        return found

    monkeypatch.setattr(backend, "_addresses", look_up)
    with pytest.raises(httpcore.ConnectError, match="aborted"):
        backend.connect_tcp("127.0.0.1", 1)


def test_stream_keeps_what_came_early() -> None:
    """What is read while looking for an answer is not lost, interim answers apart."""
    near, far = socket.socketpair()
    with near, far:
        made = stream.Stream(near, network.Backend())
        assert made.get_extra_info("is_readable") is False
        assert made.get_extra_info("socket") is None
        far.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        made.write(b"a")
        for part in (b"HTTP", b"/1.1 103 Early\r\n", b"\r\nHTTP/1.1"):
            far.sendall(part)
            made.write(b"a")
        far.sendall(b" 413 No\r\n")
        with pytest.raises(httpcore.WriteError):
            made.write(b"b")
        assert made.get_extra_info("is_readable") is True
        assert made.read(8) == b"HTTP/1.1"
        far.close()
        with pytest.raises(httpcore.WriteError):
            made.write(b"b")
        assert made.read(100).endswith(b"413 No\r\n")
        with pytest.raises(httpcore.WriteError):
            made.write(b"b")
        assert made.read(1) == b""


def test_socket_options() -> None:
    """Options that httpcore hands on are set."""
    with Server() as server:
        made = network.Backend().connect_tcp(
            "127.0.0.1",
            server.port,
            socket_options=[(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)],
        )
        assert isinstance(made, stream.Stream)
        assert made._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        made.close()


def test_tls_that_cannot_begin() -> None:
    """A connection that was lost before the handshake fails like any other, and so does a name."""
    near, far = socket.socketpair()
    with far:
        near.close()
        made = stream.Stream(near, network.Backend())
        with pytest.raises(httpcore.ConnectError):
            made.start_tls(ssl.create_default_context(), "a.example")
    near, far = socket.socketpair()
    with far:
        made = stream.Stream(near, network.Backend())
        with pytest.raises(httpcore.ConnectError, match="cannot begin"):
            made.start_tls(ssl.create_default_context(), ".example")
        assert far.recv(1) == b""


@pytest.mark.parametrize("pause", [5.0, 0.05])
def test_a_handshake_has_a_limit(pause: float) -> None:
    """Silence ends it, and so does a byte now and then."""
    given_up = threading.Event()

    def dawdle(conn: socket.socket) -> None:
        # A record of TLS that never ends.
        for byte in b"\x16\x03\x03\x40\x00" + bytes(200):
            if given_up.wait(pause):
                return
            conn.sendall(bytes([byte]))

    with Server(handler=dawdle) as server:
        made = network.Backend().connect_tcp("127.0.0.1", server.port, 5)
        with pytest.raises(httpcore.ConnectTimeout):
            made.start_tls(ssl.create_default_context(), "a.example", 0.3)
        given_up.set()


def test_the_other_side_hears_why(server_tls: ssl.SSLContext) -> None:
    """Whose certificate is not trusted is told so, as browsers do."""
    heard: list[str] = []

    def handler(conn: socket.socket) -> None:
        try:
            with server_tls.wrap_socket(conn, server_side=True) as secure:
                secure.recv(1)
        except ssl.SSLError as exc:
            heard.append(exc.reason)

    with (
        Server(handler=handler) as server,
        MegamaxClient(f"https://127.0.0.1:{server.port}", LOGIN, KEY) as client,
        pytest.raises(errors.ServiceUnreachable, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        client.files()
    assert heard == ["TLSV1_ALERT_UNKNOWN_CA"]


def test_keys_may_change(
    certificate: Path, tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    """A server that asks for new keys in the middle gets them, between two whole records."""
    command = [require_program("openssl"), "s_server", "-accept", "127.0.0.1:0", "-naccept", "1"]
    traced = tmp_path / "traced"
    command += ["-cert", str(certificate), "-msg", "-msgfile", str(traced)]
    sent = [os.urandom(1 << 20).hex().encode() for _ in range(2)]
    printed = tmp_path / "printed"
    received = printed.read_bytes
    with (
        printed.open("wb") as output,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=output) as server,
    ):
        assert server.stdin is not None
        wait_for(lambda: b"\n" in received().partition(b"ACCEPT")[2])
        port = int(received().partition(b"ACCEPT 127.0.0.1:")[2].split()[0])
        connection = network.Backend().connect_tcp("127.0.0.1", port, 5)
        made = connection.start_tls(trust(None, verify=False), "127.0.0.1", 5)
        made.write(sent[0], 5)
        wait_for(lambda: sent[0] in received())
        server.stdin.write(b"K\n")
        server.stdin.flush()
        wait_for(lambda: re.search(">>>.*KeyUpdate", traced.read_text()))
        made.write(sent[1], 5)
        wait_for(lambda: sent[1] in re.sub(rb"SSL_do_handshake.*\n|Read BLOCK\n", b"", received()))
        server.stdin.write(b"thanks\n")
        server.stdin.flush()
        assert made.read(100, 5) == b"thanks\n"
        made.close()
        server.stdin.close()
        assert server.wait(10) == 0
    assert re.search("<<<.*KeyUpdate", traced.read_text())


def wait_for(condition: Callable[[], object]) -> None:
    pause, end = threading.Event(), time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        pause.wait(0.01)


def test_a_slow_receiver_over_tls_is_not_stalled(
    server_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes longer for a large write than the time-out, but takes some all along, goes on."""
    monkeypatch.setattr(network.Backend, "connect_tcp", _with_small_buffers)
    size = 600_000

    def handler(conn: socket.socket) -> None:
        head, body = read_head(conn) or (None, b"")
        assert head is not None
        left = int(head.headers["content-length"]) - len(body)
        pause = threading.Event()
        while left > 0 and (piece := conn.recv(4096)):
            left -= len(piece)
            # 80 KB/s: 256 KiB take three seconds.
            pause.wait(len(piece) / 80_000)
        conn.sendall(reply(200, success({"hashid": "9mO", "name": "a", "size": size})))

    with (
        Server(handler=handler, tls=server_tls) as server,
        MegamaxClient(server.url, LOGIN, KEY, timeout=2, verify_upload_tls=False) as client,
    ):
        server._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        body = MultipartFile(io.BytesIO(b"x" * size), name="a.mp4", size=size)
        assert client.upload(server.url, body).hashid == "9mO"


_connect = network.Backend.connect_tcp


def _with_small_buffers(backend: network.Backend, *args: Any, **options: Any) -> Any:
    made = _connect(backend, *args, **options)
    assert isinstance(made, stream.Stream)
    made._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
    return made


def test_a_connection_that_cannot_be_made_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a kept connection may be dead through nobody's fault; and one address may follow."""
    tried: list[int] = []
    plain = socket.socket

    def noting(family: int = socket.AF_INET, *more: Any) -> socket.socket:
        tried.append(family)
        if family == socket.AF_INET6:
            raise OSError("Address family not supported by protocol")
        return plain(family, *more)

    addresses = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 9, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 9)),
    ]
    monkeypatch.setattr(network.Backend, "_addresses", staticmethod(lambda *_: addresses))
    monkeypatch.setattr("megamax_sync.api.network.socket.socket", noting)
    with (
        MegamaxClient("http://localhost:9/api", LOGIN, KEY) as client,
        pytest.raises(errors.ServiceUnreachable, match="refused"),
    ):
        client.files()
    assert tried == [socket.AF_INET6, socket.AF_INET]


@pytest.mark.parametrize("host", [".example", "a..b", "a" * 64 + ".example", "."])
def test_host_that_is_none(host: str) -> None:
    """A host whose labels are empty or too long makes no URL."""
    assert urls.parse(f"https://{host}/") is None
    assert urls.parse("https://a.example./") is not None


@given(text=st.text() | st.text("htps:/[]@.%?#1 \x00").map(lambda rest: f"http://{rest}"))
def test_any_url(text: str) -> None:
    """Whatever text is given as a URL, it is one that can be used or None."""
    url = urls.parse(text)
    assert url is None or (url.host and url.scheme in {"http", "https"} and not url.userinfo)


def test_host_that_cannot_be() -> None:
    """A host name that no resolver takes is a connection that fails."""
    with pytest.raises(httpcore.ConnectError):
        network.Backend().connect_tcp("a" * 70 + ".example", 1)
