"""The sandbox as an object: starting, closing, lasting, being looked at."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sandbox_caller import file_part, form, running

from megamax_sync.sandbox import Fault, FaultScript, Sandbox, serve
from megamax_sync.sandbox.catalogue import StoredFile

MIB = 1024 * 1024


def test_importing_the_sandbox_is_cheap() -> None:
    """The web framework is not imported before a sandbox starts."""
    program = (
        "import sys; from megamax_sync.sandbox import Sandbox; Sandbox();"
        "sys.exit(bool({'starlette', 'uvicorn', 'python_multipart', 'anyio'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_it_serves_once_it_is_started() -> None:
    """The API's base is on loopback, with a port that answers."""
    with running(Sandbox()) as caller:
        assert caller.sandbox.api_url.startswith("http://127.0.0.1:")
        assert caller.sandbox.api_url.endswith("/api")
        assert caller.result("file/get") == []


def test_it_starts_from_any_thread_and_leaves_signals_alone() -> None:
    """A worker thread may run it; the handlers are those from before."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    found: list[Any] = []

    def work() -> None:
        with running(Sandbox()) as caller:
            found.append(caller.result("file/get"))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [[]]
    with running(Sandbox()):
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_localhost_is_loopback() -> None:
    """The own machine's usual name works."""
    with running(Sandbox(host="localhost")) as caller:
        assert caller.result("file/get") == []


def test_ipv6_loopback_works() -> None:
    """The address stands in brackets in the URL."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as exc:
        pytest.skip(f"this machine has no IPv6 loopback: {exc}")
    with running(Sandbox(host="::1")) as caller:
        assert caller.sandbox.api_url.startswith("http://[::1]:")
        assert caller.result("file/get") == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"host": "0.0.0.0"}, "host"),
        ({"host": "example.org"}, "host"),
        ({"port": -1}, "port"),
        ({"port": 65536}, "port"),
        ({"step": -1.0}, "step"),
        ({"step": float("nan")}, "step"),
        ({"link_ttl": 0.0}, "link_ttl"),
        ({"link_ttl": float("inf")}, "link_ttl"),
        ({"mirror_delay": -0.1}, "mirror_delay"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments: dict[str, Any], word: str) -> None:
    """A ValueError names the argument."""
    with pytest.raises(ValueError, match=word):
        Sandbox(**arguments)


def test_what_needs_a_running_sandbox_says_so() -> None:
    """Before the start and after the end; the requests stay readable."""
    sandbox = Sandbox()
    with pytest.raises(RuntimeError, match="not running"):
        _ = sandbox.api_url
    with running(sandbox) as caller:
        caller.call("file/get")
        with pytest.raises(RuntimeError, match="already"):
            sandbox.start()
    with pytest.raises(RuntimeError, match="not running"):
        sandbox.files()
    assert len(sandbox.requests) == 1
    sandbox.close()


def test_everything_lasts_in_a_data_folder(tmp_path: Path) -> None:
    """Credentials, port, files, statuses, upload URLs and links survive a restart."""
    with running(Sandbox(tmp_path, step=1000)) as caller:
        first = (caller.sandbox.api_url, caller.credentials)
        caller.upload(b"abc", folder="5")
        caller.sandbox.set_status(caller.sandbox.files()[0].hashid, "converted")
        (record,) = caller.sandbox.files()
        stream = caller.result(f"file/get/{record.hashid}/direct")[0]["stream"]
        url = caller.url()
    with running(Sandbox(tmp_path, step=1000)) as caller:
        assert (caller.sandbox.api_url, caller.credentials) == first
        assert caller.sandbox.files() == [record]
        assert caller.http.get(stream).content == b"abc"
        body = form(file_part(b"def"), **caller.credentials)
        assert caller.post(body, url).status_code == 200


def test_statuses_go_on_across_a_restart(tmp_path: Path) -> None:
    """Time passes for a file while the sandbox is down."""
    with running(Sandbox(tmp_path, step=1000)) as caller:
        caller.sandbox.add_file("a.mp4", b"x", status=None, created_at=time.time() - 2500)
        assert caller.sandbox.files()[0].status == "processing"
    with running(Sandbox(tmp_path, step=100)) as caller:
        assert caller.sandbox.files()[0].status == "converted"


def test_given_credentials_replace_the_kept_ones(tmp_path: Path) -> None:
    """And are kept from then on."""
    with running(Sandbox(tmp_path, login="me", key="one")) as caller:
        assert caller.result("file/get") == []
    with running(Sandbox(tmp_path, key="two")) as caller:
        assert caller.credentials == {"login": "me", "key": "two"}
    with running(Sandbox(tmp_path)) as caller:
        assert caller.credentials == {"login": "me", "key": "two"}


def test_a_temporary_folder_is_removed() -> None:
    """Without a data folder nothing is left."""
    with running(Sandbox()) as caller:
        path = caller.sandbox.add_file("a.mp4", b"x").path
        assert path.exists()
    assert not path.parents[1].exists()


def test_a_taken_port_is_an_error_if_it_was_asked_for(tmp_path: Path) -> None:
    """The last port is only a wish: another is taken then."""
    with running(Sandbox(tmp_path)) as caller:
        port = int(caller.sandbox.api_url.split(":")[2].split("/")[0])
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(OSError, match="in use"):
            Sandbox(tmp_path, port=port).start()
        with running(Sandbox(tmp_path)) as caller:
            assert f":{port}/" not in caller.sandbox.api_url
            assert caller.result("file/get") == []


def test_a_data_folder_has_one_sandbox(tmp_path: Path) -> None:
    """A second one is refused, and can start when the first is through."""
    with running(Sandbox(tmp_path)), pytest.raises(OSError, match="another sandbox"):
        Sandbox(tmp_path).start()
    with running(Sandbox(tmp_path)) as caller:
        assert caller.result("file/get") == []


def test_leftovers_of_a_kill_are_removed_at_the_start(tmp_path: Path) -> None:
    """Half an upload, and bytes that the catalogue does not know."""
    with running(Sandbox(tmp_path)) as caller:
        kept = caller.sandbox.add_file("a.mp4", b"x")
    (tmp_path / "incoming" / "half.part").write_bytes(b"x")
    (tmp_path / "files" / "stray").write_bytes(b"x")
    with running(Sandbox(tmp_path)) as caller:
        assert [path.name for path in (tmp_path / "files").iterdir()] == [kept.hashid]
        assert list((tmp_path / "incoming").iterdir()) == []


def test_an_answered_upload_survives_a_kill(tmp_path: Path) -> None:
    """After kill -9 right behind the answer the file is there."""
    program = (
        "import sys; from megamax_sync.sandbox import Sandbox\n"
        f"with Sandbox({str(tmp_path)!r}, login='l', key='k') as sandbox:\n"
        "    print(sandbox.api_url, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        api_url = process.stdout.readline().strip()
        who = {"login": "l", "key": "k"}
        with httpx.Client(trust_env=False) as http:
            url = http.get(f"{api_url}/file/upload/generate", params=who).json()["result"]
            answer = http.post(url, data=who, files={"file": ("a.mp4", b"abc")})
        process.kill()
    with running(Sandbox(tmp_path)) as caller:
        (record,) = caller.sandbox.files()
        assert record.hashid == answer.json()["result"]["hashid"]
        assert record.path.read_bytes() == b"abc"


def test_close_is_quick_with_uploads_and_delays_in_flight(tmp_path: Path) -> None:
    """Within three seconds, leaving nothing behind, though a client keeps sending."""
    script = FaultScript()
    script.add("files", Fault.delay(60))
    failed: list[httpx.TransportError] = []

    def attempt(call: Any) -> None:
        try:
            call()
        except httpx.TransportError as exc:
            failed.append(exc)

    with running(Sandbox(tmp_path, faults=script)) as caller:
        url = caller.url()
        paused = threading.Event()
        head = form(file_part(bytes(2 * MIB)), **caller.credentials)[:-60]

        def body() -> Any:
            yield head
            paused.wait()
            yield head

        calls = (lambda: caller.post(body(), url), lambda: caller.call("file/get"))
        threads = [threading.Thread(target=attempt, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        while not any(path.stat().st_size for path in tmp_path.glob("incoming/*")):
            assert not paused.wait(0.01)
        while "files" not in [each.call for each in caller.sandbox.requests]:
            assert not paused.wait(0.01)
        start = time.monotonic()
        caller.sandbox.close()
        assert time.monotonic() - start < 3
        assert list((tmp_path / "incoming").iterdir()) == []
        paused.set()
        for thread in threads:
            thread.join()
    assert len(failed) == 2


def test_requests_are_recorded_in_order_without_queries() -> None:
    """Call, method, path, status and time of each request; nothing secret."""
    with running(Sandbox()) as caller:
        before = time.time()
        assert caller.sandbox.requests == []
        caller.call("file/get")
        caller.upload()
        caller.call("mirror/get/x")
        caller.call("nothing")
        requests = caller.sandbox.requests
        key = caller.sandbox.key
    assert [(each.call, each.method, each.status) for each in requests] == [
        ("files", "GET", 200),
        ("generate", "GET", 200),
        ("upload", "POST", 200),
        ("mirrors", "GET", 404),
        ("unknown", "GET", 404),
    ]
    assert requests[0].path == "/api/file/get"
    assert key not in repr(requests)
    assert [each.at for each in requests] == sorted(each.at for each in requests)
    assert before <= requests[0].at <= time.time()


def test_added_files_look_like_uploaded_ones() -> None:
    """By hand, with any name, folder, status and age; oldest first in the list of records."""
    with running(Sandbox()) as caller:
        late = caller.sandbox.add_file("late\udcff.mkv", b"12", folder=3, created_at=200.0)
        early = caller.sandbox.add_file("early.mp4", b"1", status="weird", created_at=100.0)
        assert caller.sandbox.files() == [early, late]
        assert caller.result(f"file/get/{early.hashid}")["status"] == "weird"
    assert (late.name, late.folder, late.size, late.status) == ("late?.mkv", 3, 2, "converted")


def test_tls_is_served_with_the_given_certificate(
    tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    """With a certificate the URLs are https; one that cannot be read is the caller's error."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [require_program("openssl"), "req", "-x509", "-newkey", "ec", "-nodes"]
    command += ["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=127.0.0.1"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    script = FaultScript()
    script.add("files", Fault.reset())
    with running(Sandbox(tls=(str(certificate), str(key)), faults=script)) as caller:
        assert caller.url().startswith("https://127.0.0.1:")
        assert caller.upload().status_code == 200
        with pytest.raises(httpx.TransportError):
            caller.call("file/get")
    certificate.write_text("nonsense")
    with pytest.raises(ssl.SSLError):
        Sandbox(tls=(str(certificate), str(key))).start()


def test_serve_announces_and_runs_until_it_is_stopped(tmp_path: Path) -> None:
    """What the command line calls: it answers in between, and nobody does afterwards."""
    stop = threading.Event()
    statuses: list[int] = []
    urls: list[str] = []

    def announce(sandbox: Sandbox) -> None:
        urls.append(sandbox.api_url)
        statuses.append(httpx.get(f"{sandbox.api_url}/file/get", trust_env=False).status_code)
        stop.set()

    serve(
        port=0, data=tmp_path, step=1.0, link_ttl=10.0, premium=True, announce=announce, stop=stop
    )
    assert statuses == [401]
    with pytest.raises(httpx.ConnectError):
        httpx.get(urls[0], trust_env=False)


@pytest.mark.parametrize(
    ("age", "step", "status"),
    [
        (-5.0, 1.0, "onqueue"),
        (0.0, 1.0, "onqueue"),
        (0.0, 0.0, "converted"),
        (3.999, 1.0, "converting"),
        (4.0, 1.0, "converted"),
        (1e9, 5e-324, "converted"),
    ],
)
def test_the_status_follows_from_the_age(age: float, step: float, status: str) -> None:
    """Four steps to the conversion, also for ages and steps at the edge."""
    stored = StoredFile("h", "a.mp4", "video/mp4", 1, None, "p.jpg", created_at=1e9)
    assert stored.status(1e9 + age, step) == status


def test_a_client_that_speaks_no_http_gets_400() -> None:
    """Nonsense on the socket harms nobody."""
    with running(Sandbox()) as caller:
        port = int(caller.sandbox.api_url.split(":")[2].split("/")[0])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(os.urandom(8) + b"\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 400"
        assert caller.result("file/get") == []
