"""The calls, each status, and what must never be told."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import socket
import ssl
import textwrap
import threading
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from megamax_sync import api, errors
from megamax_sync.api import MegamaxClient, MultipartFile, answers
from megamax_sync.api import client as client_module
from megamax_sync.api.models import RemoteFile
from megamax_sync.api.scrub import Scrubber
from megamax_sync.clock import Clock
from megamax_sync.errors import MegamaxError

from .server import KEY, LOGIN, Request, Server, read_head, reply, success

FILE = {"hashid": "VKf", "name": "MNCT", "size": 5, "status": "converted"}
UPLOADED = {"hashid": "9mO", "folder": None, "name": "a.mp4", "size": 5, "status": "converting"}


def body(content: bytes = b"hello", **hooks: Callable[..., Any]) -> MultipartFile:
    return MultipartFile(
        io.BytesIO(content),
        name="a.mp4",
        size=len(content),
        check=hooks.get("check"),
        throttle=hooks.get("throttle"),
        on_progress=hooks.get("on_progress"),
        on_body_sent=hooks.get("on_body_sent"),
    )


CALLS: dict[str, Callable[[MegamaxClient, Server], object]] = {
    "file": lambda client, _: client.file("VKf"),
    "files": lambda client, _: client.files(),
    "upload_url": lambda client, _: client.upload_url(),
    "mirrors": lambda client, _: client.mirrors("VKf"),
    "direct": lambda client, _: client.direct("VKf"),
    "upload": lambda client, server: client.upload(f"{server.url}/up", body()),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())


def failure(
    call: Callable[[MegamaxClient, Server], object], client: MegamaxClient, server: Server
) -> MegamaxError:
    with pytest.raises(MegamaxError) as caught:
        call(client, server)
    return caught.value


def test_file(server: Server, client: MegamaxClient) -> None:
    """One file is asked for by its path, with the credentials as parameters."""
    server.answer = lambda _: reply(200, success(FILE))
    assert client.file("V/K ?").status == "converted"
    request = server.requests[0]
    assert request.target.split("?")[0] == "/api/file/get/V%2FK%20%3F"
    assert request.query == {"login": [LOGIN], "key": [KEY]}


def test_file_in_a_list(server: Server, client: MegamaxClient) -> None:
    """A single file may come as a list of one."""
    server.answer = lambda _: reply(200, success([FILE]))
    assert client.file("VKf").hashid == "VKf"


@pytest.mark.parametrize("hashid", ["", ".", "..", "x" * 300])
def test_no_hashid(server: Server, client: MegamaxClient, hashid: str) -> None:
    """What can be no hashid is missing, and nothing is asked."""
    with pytest.raises(errors.RemoteFileMissing):
        client.file(hashid)
    assert server.requests == []


def test_files(server: Server, client: MegamaxClient) -> None:
    """The list is asked for with folder and status, and broken entries do not lose the rest."""
    server.answer = lambda _: reply(200, success([{"name": "none"}, "x", FILE, {"hashid": ""}]))
    assert [file.hashid for file in client.files(folder=3, status="failed")] == ["VKf"]
    assert server.requests[0].query["folder"] == ["3"]
    assert server.requests[0].query["status"] == ["failed"]


@pytest.mark.parametrize(("result", "count"), [(None, 0), ({"0": FILE, "2": FILE}, 2), ({}, 0)])
def test_php_lists(server: Server, client: MegamaxClient, result: object, count: int) -> None:
    """A list may be null or an object with numbers for keys."""
    server.answer = lambda _: reply(200, success(result))
    assert len(client.files()) == count


def test_of_a_list_only_what_is_wanted_is_kept(server: Server, client: MegamaxClient) -> None:
    """Also of one that PHP has made an object of; an only file in a list's place is still none."""
    other = {**FILE, "hashid": "other"}
    server.answer = lambda _: reply(200, success({"0": FILE, "2": other, "3": {"hashid": ""}}))
    seen = []

    def keep(file: RemoteFile) -> bool:
        seen.append(file.hashid)
        return file.hashid == "other"

    assert [file.hashid for file in client.files(keep=keep)] == ["other"]
    assert seen == ["VKf", "other"]
    server.answer = lambda _: reply(200, success(FILE))
    with pytest.raises(errors.ServiceNonsense):
        client.files(keep=keep)


def test_a_long_list_is_not_held_in_memory(server: Server, client: MegamaxClient) -> None:
    """Of a hundred thousand files a few are wanted: the answer's text is all that is held."""
    files = [{**FILE, "hashid": f"{n:013}", "name": f"A show, part {n}"} for n in range(5000)]
    answer = reply(200, success(files))
    server.answer = lambda _: answer
    client.files(keep=lambda _file: False)
    tracemalloc.start()
    try:
        assert client.files(keep=lambda _file: False) == []
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(answer)


def test_not_a_list(server: Server, client: MegamaxClient) -> None:
    """A result that is no list is nonsense."""
    server.answer = lambda _: reply(200, success("hello"))
    with pytest.raises(errors.ServiceNonsense):
        client.files()


def test_links(server: Server, client: MegamaxClient) -> None:
    """Mirrors and direct links come as models."""
    mirrors = [{"title": "source", "mirrors": [{"driver": "ok", "iframe": "//ok.ru/1"}]}]
    direct = [{"label": "source", "stream": "https://cdn/1", "expires_at": "2023-04-19T03:15:06Z"}]
    server.answer = lambda request: reply(
        200, success(mirrors if "mirror" in request.path else direct)
    )
    assert client.mirrors("V")[0].mirrors[0].iframe == "https://ok.ru/1"
    assert client.direct("V")[0].stream == "https://cdn/1"
    assert [r.path for r in server.requests] == ["/api/mirror/get/V", "/api/file/get/V/direct"]


@pytest.mark.parametrize("url", ["ftp://x/y", "https://u:p@x/y", 5, None, "http://[", ""])
def test_bad_upload_url(server: Server, client: MegamaxClient, url: object) -> None:
    """An upload URL that is none, or holds user names, is nonsense."""
    server.answer = lambda _: reply(200, success(url))
    with pytest.raises(errors.ServiceNonsense):
        client.upload_url()
    with pytest.raises(errors.ServiceNonsense):
        client.upload(str(url), body())


def test_upload(server: Server, client: MegamaxClient) -> None:
    """The body is one multipart form with the credentials first and the folder."""
    server.answer = lambda _: reply(201, success(UPLOADED))
    events: list[object] = []
    sent = body(on_progress=events.append, on_body_sent=lambda: events.append("all"))
    assert client.upload(f"{server.url}/up?x=1", sent, folder=7).hashid == "9mO"
    assert events == [5, "all"]
    assert sent.fingerprint is not None
    request = server.requests[0]
    assert request.target == "/up?x=1"
    assert "transfer-encoding" not in request.headers
    login, key, folder, file = request.body.split(b'form-data; name="')[1:]
    assert (login[:5], key[:3], folder[:6], file[:4]) == (b"login", b"key", b"folder", b"file")
    assert b'filename="a.mp4"\r\nContent-Type: video/mp4\r\n\r\nhello\r\n--' in file


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (300, errors.ServiceNonsense),
        (302, errors.ServiceNonsense),
        (400, errors.ServiceRefusal),
        (401, errors.CredentialsRejected),
        (403, errors.CredentialsRejected),
        (404, errors.ServiceRefusal),
        (408, errors.ServiceFault),
        (409, errors.ServiceRefusal),
        (413, errors.ServiceRefusal),
        (429, errors.ServiceFault),
        (500, errors.ServiceFault),
        (503, errors.ServiceFault),
    ],
)
@every_call
def test_status(
    server: Server,
    client: MegamaxClient,
    call: Callable[[MegamaxClient, Server], object],
    status: int,
    expected: type[MegamaxError],
) -> None:
    """The HTTP status decides which error it is, whatever the envelope claims."""
    server.answer = lambda _: reply(status, success([]), Location="https://else.where/?key=1")
    error = failure(call, client, server)
    if 400 <= status < 500 and expected is not errors.ServiceFault:
        if call is CALLS["direct"]:
            expected = errors.DirectLinksRefused
        elif call in (CALLS["file"], CALLS["mirrors"]) and status == 404:
            expected = errors.RemoteFileMissing
        elif call is CALLS["upload"] and status == 413:
            expected = errors.UploadRefused
            assert error.final
    assert type(error) is expected
    if status < 400:
        assert "else.where" in str(error)
        assert "key" not in str(error)
    if isinstance(error, errors.ServiceError):
        assert error.answered


@every_call
def test_status_error(
    server: Server, client: MegamaxClient, call: Callable[[MegamaxClient, Server], object]
) -> None:
    """200 with an error in the envelope is a refusal that passes the message on."""
    server.answer = lambda _: reply(200, {"status": " Error ", "message": "no\x1b way"})
    error = failure(call, client, server)
    wanted = errors.DirectLinksRefused if call is CALLS["direct"] else errors.ServiceRefusal
    assert type(error) is wanted
    assert error.server_message == "no way"


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("message", [None, "", 5])
def test_no_message(server: Server, client: MegamaxClient, status: int, message: object) -> None:
    """A message that is none is none."""
    server.answer = lambda _: reply(status, {"status": "error", "message": message})
    error = failure(CALLS["file"], client, server)
    assert isinstance(error, errors.ServiceError)
    assert error.server_message is None


NONSENSE = {
    "empty": b"",
    "html": b"<html>Bad gateway</html>",
    "cut": b'{"status": "succ',
    "list": b"[]",
    "deep": b"[" * 100_000,
    "no status": b'{"result": []}',
    "odd status": b'{"status": "fine", "result": []}',
    "no result": b'{"status": "success", "result": 5}',
    "digits": b'{"status": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE.keys())
@every_call
def test_nonsense(
    server: Server,
    client: MegamaxClient,
    call: Callable[[MegamaxClient, Server], object],
    answer: bytes,
) -> None:
    """What is not the document's JSON is nonsense, and was an answer."""
    server.answer = lambda _: reply(200, answer)
    error = failure(call, client, server)
    assert type(error) is errors.ServiceNonsense
    assert error.answered


def test_packed(server: Server, client: MegamaxClient) -> None:
    """A packed answer is read though we ask for none; a broken one is nonsense."""
    packed = gzip.compress(b'\xef\xbb\xbf{"status": "success", "result": []}')
    server.answer = lambda _: reply(200, packed, Content_Encoding="gzip")
    assert client.files() == []
    server.answer = lambda _: reply(200, b"no gzip", Content_Encoding="gzip")
    with pytest.raises(errors.ServiceNonsense):
        client.files()
    assert server.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("packed", [True, False])
def test_too_long(server: Server, client: MegamaxClient, packed: bool) -> None:
    """An answer to an upload stops being read after 1 MiB, also one that unpacks to more."""
    bomb = b" " * (3 << 20)
    server.answer = lambda _: (
        reply(200, gzip.compress(bomb), Content_Encoding="gzip") if packed else reply(200, bomb)
    )
    with pytest.raises(errors.ServiceNonsense, match="longer"):
        client.upload(f"{server.url}/up", body())


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("9" * 400, 86400.0),
        ("nan", None),
        ("soon", None),
        ("Sat, 15 Apr 2023 03:16:21 GMT", 60.0),
        ("Sat, 15 Apr 2023 03:14:21 -0000", 0.0),
        ("Sat, 99 Apr 2023 03:14:21 GMT", None),
    ],
)
def test_retry_after(
    server: Server, client: MegamaxClient, value: str, seconds: float | None
) -> None:
    """Retry-After is read in both forms, against the answer's own Date, and kept within a day."""
    server.answer = lambda _: reply(
        503, b"", Retry_After=value, Date="Sat, 15 Apr 2023 03:15:21 GMT"
    )
    assert failure(CALLS["files"], client, server).retry_after == seconds


def test_clock_offset(server: Server) -> None:
    """The Date header tells how far the service's clock is from ours."""
    server.answer = lambda _: reply(200, success([]), Date="Sat, 15 Apr 2023 03:15:21 GMT")
    with MegamaxClient(server.url, LOGIN, KEY, now=lambda: 1681528500.0) as client:
        before = client.server_clock_offset
        assert before is None
        client.files()
        assert client.server_clock_offset == 21.0
        server.answer = lambda _: reply(200, success([]), Date="never")
        client.files()
        assert client.server_clock_offset == 21.0


def test_dead_kept_connection(server: Server, client: MegamaxClient) -> None:
    """A GET is repeated once when the connection that was kept for it turns out to be dead."""
    answers = iter([reply(200, success([])), b"", reply(200, success([FILE]))])

    def converse(conn: socket.socket) -> None:
        while read_head(conn) is not None:
            answer = next(answers)
            if not answer:
                return
            conn.sendall(answer)

    server.handler = converse
    assert client.files() == []
    assert len(client.files()) == 1
    assert server.connections == 2


@every_call
def test_no_answer(
    server: Server, client: MegamaxClient, call: Callable[[MegamaxClient, Server], object]
) -> None:
    """A connection that ends without an answer is unreachable, and nothing is repeated."""

    def converse(conn: socket.socket) -> None:
        read_head(conn)

    server.handler = converse
    error = failure(call, client, server)
    assert type(error) is errors.ServiceUnreachable
    assert not error.answered
    assert server.connections == 1


def test_cut_answer(server: Server, client: MegamaxClient) -> None:
    """An answer that is cut short is no answer."""

    def converse(conn: socket.socket) -> None:
        read_head(conn)
        conn.sendall(reply(200, success([FILE]))[:-5])

    server.handler = converse
    with pytest.raises(errors.ServiceUnreachable, match="RemoteProtocolError"):
        client.files()


def test_dripping_answer(
    server: Server, client: MegamaxClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that drips on and on is given up."""
    monkeypatch.setattr(answers, "_LONGEST_READ", 0.1)

    def converse(conn: socket.socket) -> None:
        read_head(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        pause = threading.Event()
        for _ in range(100):
            conn.sendall(b" ")
            pause.wait(0.02)

    server.handler = converse
    with pytest.raises(errors.ServiceUnreachable, match="did not end"):
        client.files()


@pytest.mark.parametrize(
    ("location", "target"), [("http://[", "nowhere"), ("/x?key=1", "itself"), ("//h/", "h")]
)
def test_redirects(server: Server, client: MegamaxClient, location: str, target: str) -> None:
    """A redirect is not followed; its host is told, and nothing else of it."""
    server.answer = lambda _: reply(301, b"", Location=location)
    with pytest.raises(errors.ServiceNonsense, match=f"to {target} .HTTP 301"):
        client.files()
    assert len(server.requests) == 1


def test_documented_example(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The example in the documentation of the client runs as it stands."""
    server.answer = lambda r: reply(
        200, success(f"{server.url}/up" if "generate" in r.path else {**UPLOADED, **FILE})
    )
    monkeypatch.chdir(tmp_path)
    Path("holiday.mp4").write_bytes(b"hello")
    code = textwrap.dedent(
        str(client_module.__doc__).partition("::\n")[2].partition("\n\nEvery")[0]
    )
    exec(code.replace("https://api.megamax.me", server.url), {})
    assert capsys.readouterr().out == "VKf converted\n"


def test_timeout(server: Server) -> None:
    """A service that says nothing is given up after the time-out."""

    def converse(conn: socket.socket) -> None:
        read_head(conn)
        conn.recv(1)

    server.handler = converse
    with (
        MegamaxClient(server.url, LOGIN, KEY, timeout=0.2) as client,
        pytest.raises(errors.ServiceUnreachable, match="ReadTimeout"),
    ):
        client.files()


def test_refused_connection() -> None:
    """Where nobody listens, nobody can be reached."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with (
        MegamaxClient(f"http://127.0.0.1:{port}", LOGIN, KEY) as client,
        pytest.raises(errors.ServiceUnreachable, match="ConnectError"),
    ):
        client.files()


@pytest.mark.parametrize("url", ["http://example.com/api", "http://10.0.0.1", "http://127.1.evil"])
def test_insecure(url: str, client: MegamaxClient) -> None:
    """Plain http is for this machine alone: our setting is wrong, or the service is."""
    with pytest.raises(errors.ConfigError, match=r"MEGAMAX_API_URL: .+ plain http"):
        MegamaxClient(url, LOGIN, KEY)
    with pytest.raises(errors.InsecureUrl) as caught:
        client.upload(url, body())
    # Nothing of the body was sent, so it says nothing about the file.
    assert (caught.value.blame, caught.value.answered) == (errors.Blame.SERVICE, False)


@pytest.mark.parametrize("url", ["", "example.com", "https://u@example.com", "https://e.com/?a=b"])
def test_bad_api_url(url: str) -> None:
    """An API URL that cannot be one is a fault of the configuration."""
    with pytest.raises(errors.ConfigError, match="MEGAMAX_API_URL"):
        MegamaxClient(url, LOGIN, KEY)


@pytest.mark.parametrize("url", ["http://localhost/", "http://[::1]:1/x", "http://127.8.9.1"])
def test_loopback(url: str) -> None:
    """Every name of this machine may be spoken to in the clear."""
    MegamaxClient(url, LOGIN, KEY).close()


def test_credentials_callable(server: Server) -> None:
    """Credentials are asked for anew with each request."""
    given_out = iter([("a", "1"), ("b", "\udc80")])
    server.answer = lambda _: reply(200, success([]))
    with MegamaxClient(server.url, credentials=lambda: next(given_out)) as client:
        client.files()
        client.files()
    assert [r.query["login"] for r in server.requests] == [["a"], ["b"]]


def test_trust(server_tls: ssl.SSLContext, certificate: Path) -> None:
    """TLS is checked, an own CA file is trusted, and only upload hosts can be let off."""
    with Server(
        lambda r: reply(200, success(UPLOADED if r.body else [])), tls=server_tls
    ) as server:
        with MegamaxClient(server.url, LOGIN, KEY, verify_upload_tls=False) as client:
            with pytest.raises(errors.ServiceUnreachable, match="certificate"):
                client.files()
            assert client.upload(server.url, body()).hashid == "9mO"
        with (
            MegamaxClient(server.url, LOGIN, KEY) as client,
            pytest.raises(errors.ServiceUnreachable, match="certificate"),
        ):
            client.upload(server.url, body())
        with MegamaxClient(server.url, LOGIN, KEY, ca_file=str(certificate)) as client:
            assert client.files() == []
            assert client.upload(server.url, body(b"x" * 3_000_000)).hashid == "9mO"
        with (
            MegamaxClient(server.url, LOGIN, KEY, ca_file="/nowhere") as client,
            pytest.raises(errors.ConfigError, match="MEGAMAX_CA_FILE"),
        ):
            client.files()


def refuse_early(status: int) -> Callable[[socket.socket], None]:
    def converse(conn: socket.socket) -> None:
        read_head(conn)
        conn.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")
        conn.recv(1 << 20)
        conn.sendall(reply(status, {"status": "error", "message": "too big"}))
        conn.recv(1)
        threading.Event().wait(0.2)

    return converse


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize(
    ("status", "expected"), [(413, errors.UploadRefused), (401, errors.CredentialsRejected)]
)
def test_early_answer(
    server_tls: ssl.SSLContext,
    certificate: Path,
    secure: bool,
    status: int,
    expected: type[MegamaxError],
) -> None:
    """A refusal in the middle of the body is heard, and the body is not sent to its end."""
    content = b"x" * (64 << 20)
    with (
        Server(handler=refuse_early(status), tls=server_tls if secure else None) as server,
        MegamaxClient(server.url, LOGIN, KEY, ca_file=str(certificate), timeout=10) as client,
    ):
        whole: list[bool] = []
        sent = body(content, on_body_sent=lambda: whole.append(True))
        with pytest.raises(expected, match="too big"):
            client.upload(server.url, sent)
        assert not whole
        assert sent.sent < len(content)


def test_early_success(server: Server, client: MegamaxClient) -> None:
    """A success before the whole file was sent is not believed."""

    def converse(conn: socket.socket) -> None:
        read_head(conn)
        conn.sendall(reply(200, success(UPLOADED)))
        conn.recv(1)
        threading.Event().wait(0.2)

    server.handler = converse
    with pytest.raises(errors.ServiceNonsense, match="did not have"):
        client.upload(server.url, body(b"x" * (64 << 20)))


@pytest.mark.parametrize("secure", [False, True])
def test_abort(server_tls: ssl.SSLContext, certificate: Path, secure: bool) -> None:
    """Abort ends a request that is stuck in sending, and the client goes on after it."""
    stuck = threading.Event()

    def converse(conn: socket.socket) -> None:
        request = read_head(conn)
        if request and request[0].method == "GET":
            conn.sendall(reply(200, success([])))
        else:
            stuck.set()
            threading.Event().wait(1)

    with (
        Server(handler=converse, tls=server_tls if secure else None) as server,
        MegamaxClient(server.url, LOGIN, KEY, ca_file=str(certificate)) as client,
    ):
        ended: list[BaseException] = []

        def upload() -> None:
            try:
                client.upload(server.url, body(b"x" * (64 << 20)))
            except MegamaxError as exc:
                ended.append(exc)

        thread = threading.Thread(target=upload)
        thread.start()
        assert stuck.wait(10)
        client.abort()
        thread.join(10)
        assert not thread.is_alive()
        assert [type(exc) for exc in ended] == [errors.ServiceUnreachable]
        assert client.files() == []


@pytest.mark.parametrize("hook", ["check", "throttle", "on_progress"])
def test_cancel(server: Server, client: MegamaxClient, hook: str) -> None:
    """What a hook raises ends the upload and reaches the caller as it is."""

    def cancel(*_: object) -> None:
        raise errors.UploadCancelled("stop")

    with pytest.raises(errors.UploadCancelled):
        client.upload(server.url, body(b"hello", **{hook: cancel}))
    assert server.requests == []


def test_stop_while_pacing(server: Server) -> None:
    """A stop ends the wait for a turn."""
    stop = threading.Event()
    pacer = api.Pacer(0.01, Clock())
    with MegamaxClient(server.url, LOGIN, KEY, pacer=pacer, stop=stop) as client:
        server.answer = lambda _: reply(200, success([]))
        client.files()
        stop.set()
        with pytest.raises(errors.UploadCancelled):
            client.files()


ECHOES = [
    lambda r: reply(500, {"message": f"{r.target} {LOGIN}:{KEY}"}),
    lambda r: reply(400, {"status": "error", "message": f"{r.target} {LOGIN.encode().hex()}"}),
    lambda r: reply(302, b"", Location=f"https://x.example{r.target}"),
    lambda r: reply(200, {"status": "error", "message": f"{r.body.decode()} {KEY}"}),
    lambda r: f"HTTP/1.1 {r.target} {KEY}\r\n\r\n".encode(),
    lambda r: b"HTTP/1.1 200 OK\r\n" + r.target.encode() + KEY.encode() + b"\r\n\r\n",
]


@pytest.mark.parametrize("echo", ECHOES)
@every_call
def test_secrets_stay_inside(
    server: Server,
    client: MegamaxClient,
    call: Callable[[MegamaxClient, Server], object],
    echo: Callable[[Request], bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A service that echoes all it was sent gets no secret into errors, tracebacks or logs."""
    # Below INFO, httpcore logs malformed answers as they are; the log room redacts those.
    caplog.set_level("INFO")
    server.answer = echo
    error = failure(call, client, server)
    told = [*traceback.format_exception(error), *map(str, vars(error).values()), caplog.text]
    told += [str(error), repr(error.__context__), repr(error.__cause__)]
    everything = "".join(told)
    # The tracebacks hold lines of this file's source, but none that spells a secret out.
    for secret in ("canary", "Canary", "9Zq", LOGIN.encode().hex(), "login="):
        assert secret not in everything


def test_scrubber() -> None:
    """Each form of a secret is taken out, whatever case its escapes have."""
    scrub = Scrubber('a"/+ß@b', "")
    forms = ['a"/+ß@b', "a%22%2F%2B%C3%9F%40b", "a%22%2f%2b%c3%9f%40b", 'a\\"/+\\u00df@b']
    forms += ['a"/+ß@b'.encode().hex().upper(), "a&quot;/+ß@b"]
    forms += [quote(quote('a"/+ß@b', safe="")), "a&#34;/&#x2b;ß@b"]
    for form in forms:
        assert scrub(f"x {form} y") == "x *** y"
    login, key = "you@example.com", "IUPMWsMjrAHzdjTBoRyHCdeZ4F0mVI7d"
    both = Scrubber(login, key)
    for text in (f"{login}:{key}", f"x{login}:{key}", f"?login={login}&key={key}"):
        told = both(f"no: {base64.b64encode(text.encode()).decode()}")
        for secret in (login, key):
            # Any four letters in a row tell of three bytes.
            for start in range(len(secret) - 5):
                piece = base64.b64encode(secret[start : start + 6].encode()).decode()
                assert piece not in told
    assert Scrubber("")("as  it\nis") == "as it is"
    assert len(Scrubber("k")("z" * 500)) == 300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([*RemoteFile.model_fields, "mirrors", "link", "0", "title"])
            | st.text(max_size=4),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[tuple[Server, MegamaxClient]]:
    with Server() as server, MegamaxClient(server.url, LOGIN, KEY, timeout=2) as client:
        yield server, client


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    data=st.one_of(
        JSON.map(success),
        JSON.map(lambda hit: success([{"hashid": "x", "mirrors": hit, "created_at": hit}])),
        JSON,
        st.binary(max_size=64),
    ),
    status=st.sampled_from([200, 200, 200, 204, 302, 404, 500]) | st.integers(200, 999),
    name=st.sampled_from(sorted(CALLS)),
)
def test_anything(
    fuzzed: tuple[Server, MegamaxClient], data: object, status: int, name: str
) -> None:
    """Whatever the service answers, only our own errors come out."""
    server, client = fuzzed
    server.answer = lambda _: reply(status, data)
    with contextlib.suppress(MegamaxError):
        CALLS[name](client, server)


@settings(max_examples=60, deadline=None)
@given(
    raw=st.binary(max_size=200) | st.binary(max_size=80).map(lambda b: b"HTTP/1.1 200 OK\r\n" + b)
)
def test_any_bytes(fuzzed: tuple[Server, MegamaxClient], raw: bytes) -> None:
    """Whatever bytes come back, only our own errors come out."""
    server, _ = fuzzed

    def converse(conn: socket.socket) -> None:
        read_head(conn)
        conn.sendall(raw)

    server.handler = converse
    try:
        # One of its own: a connection that was kept would still be answered as before.
        with (
            MegamaxClient(server.url, LOGIN, KEY, timeout=2) as client,
            pytest.raises(MegamaxError),
        ):
            client.files()
    finally:
        server.handler = None
