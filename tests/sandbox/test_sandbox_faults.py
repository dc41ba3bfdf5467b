"""Each fault, as a client meets it."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from sandbox_caller import BOUNDARY, Caller, field_part, file_part, form, running, wait_until

from megamax_sync.sandbox import Fault, FaultScript, Sandbox

MIB = 1024 * 1024


def scripted(call: str, fault: Fault, nth: int | tuple[int, ...] | None = 1) -> FaultScript:
    """A script of one fault."""
    script = FaultScript()
    script.add(call, fault, nth)
    return script


def test_a_fault_happens_at_its_turn_only() -> None:
    """The second call fails, the first and the third do not; other calls are not counted."""
    with running(Sandbox(faults=scripted("files", Fault.status(503), 2))) as caller:
        statuses = []
        for _ in range(3):
            caller.url()
            statuses.append(caller.call("file/get").status_code)
    assert statuses == [200, 503, 200]


@pytest.mark.parametrize(
    ("nth", "expected"),
    [(1, [1, 0, 0, 0]), ((2, 4), [0, 1, 0, 1]), (None, [1, 1, 1, 1])],
)
def test_a_script_counts_from_when_the_fault_was_added(
    nth: int | tuple[int, ...] | None, expected: list[int]
) -> None:
    """One turn, several, or all; what was called before does not count."""
    script = FaultScript()
    assert script.take("file") is None
    script.add("file", Fault.reset(), nth)
    assert [script.take("file") is not None for _ in range(4)] == [bool(each) for each in expected]


def test_the_fault_that_was_added_first_wins() -> None:
    """Where two fit the same call the later one is passed over, until the script is cleared."""
    script = scripted("file", Fault.reset())
    script.add("file", Fault.delay(1), None)
    assert [script.take("file"), script.take("file")] == [Fault.reset(), Fault.delay(1)]
    script.clear()
    assert script.take("file") is None


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ("nothing", Fault.reset()),
        ("files", Fault.wrong_size(1)),
        ("generate", Fault.stall()),
        ("file", Fault.reset_after(1)),
        ("upload", Fault.hide_new(1)),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(call: str, fault: Fault) -> None:
    """Unknown calls, and faults that could never show at that call."""
    with pytest.raises(ValueError, match=call):
        FaultScript().add(call, fault)


def test_reset_breaks_the_connection_without_an_answer() -> None:
    """The client sees a TCP reset; the request is recorded without a status."""
    with running(Sandbox(faults=scripted("files", Fault.reset()))) as caller:
        with pytest.raises(httpx.ReadError, match="reset"):
            caller.call("file/get")
        assert caller.call("file/get").status_code == 200
        assert [each.status for each in caller.sandbox.requests] == [None, 200]


def test_reset_of_an_upload_reads_no_body_and_leaves_the_url() -> None:
    """The URL is not used up by a request that never got through."""
    with running(Sandbox(faults=scripted("upload", Fault.reset()))) as caller:
        url = caller.url()
        body = form(file_part(bytes(20 * MIB)), **caller.credentials)
        with pytest.raises(httpx.TransportError):
            caller.post(body, url)
        assert caller.sandbox.files() == []
        assert caller.post(body, url).status_code == 200


def test_status_answers_with_the_envelope_and_headers() -> None:
    """The message and the headers are those of the fault; nothing is stored."""
    fault = Fault.status(429, "Slow down", {"Retry-After": "7"})
    with running(Sandbox(faults=scripted("upload", fault))) as caller:
        response = caller.upload(bytes(3 * MIB))
        assert caller.sandbox.files() == []
    assert response.status_code == 429
    assert response.headers["retry-after"] == "7"
    assert response.json() == {"status": "error", "message": "Slow down", "result": None}


def begin_upload(caller: Caller) -> socket.socket:
    """An upload of which the first MiB of a hundred was sent."""
    url = urlsplit(caller.url())
    connection = socket.create_connection((url.hostname, url.port), timeout=10)
    connection.sendall(
        f"POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: {100 * MIB}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode()
        + b"".join(field_part(name, value) for name, value in caller.credentials.items())
        + file_part(bytes(MIB))[:-2]
    )
    return connection


def test_an_early_status_comes_before_the_body_was_sent() -> None:
    """The answer is there although 99 MiB are missing."""
    script = scripted("upload", Fault.status(413, early=True))
    with running(Sandbox(faults=script)) as caller, begin_upload(caller) as connection:
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_a_status_waits_for_the_body_by_default() -> None:
    """There is no answer while the body is incomplete."""
    script = scripted("upload", Fault.status(413))
    with running(Sandbox(faults=script)) as caller, begin_upload(caller) as connection:
        wait_until(lambda: caller.sandbox.requests[-1].call == "upload")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(12)


def test_raw_answers_with_exactly_that() -> None:
    """A proxy's page, in its own type."""
    fault = Fault.raw(502, b"<h1>Bad gateway</h1>", "text/html")
    with running(Sandbox(faults=scripted("mirrors", fault))) as caller:
        response = caller.call("mirror/get/x")
    assert response.status_code == 502
    assert response.headers["content-type"] == "text/html"
    assert response.content == b"<h1>Bad gateway</h1>"


def test_redirect_points_elsewhere() -> None:
    """The status and the place are those of the fault."""
    fault = Fault.redirect("http://127.0.0.1:9/elsewhere", 307)
    with running(Sandbox(faults=scripted("generate", fault))) as caller:
        response = caller.call("file/upload/generate")
    assert response.status_code == 307
    assert response.headers["location"] == "http://127.0.0.1:9/elsewhere"


def test_delay_answers_late_and_properly() -> None:
    """The answer is the usual one, after the time."""
    with running(Sandbox(faults=scripted("files", Fault.delay(0.3)))) as caller:
        start = time.monotonic()
        assert caller.result("file/get") == []
        assert time.monotonic() - start >= 0.3


@pytest.mark.parametrize("end", ["release", "clear"])
def test_hold_answers_once_it_is_released(end: str) -> None:
    """Not before; and the answer is the usual one."""
    script = scripted("files", Fault.hold())
    with running(Sandbox(faults=script)) as caller, ThreadPoolExecutor() as pool:
        answer = pool.submit(caller.result, "file/get")
        wait_until(lambda: bool(caller.sandbox.requests))
        assert wait([answer], 0.2).not_done
        getattr(script, end)()
        assert answer.result(5) == []


@pytest.mark.parametrize("nbytes", [0, 10, 10_000])
def test_cut_body_promises_more_than_arrives(nbytes: int) -> None:
    """The connection ends before the announced length, whatever the length would have been."""
    with running(Sandbox(faults=scripted("files", Fault.cut_body(nbytes)))) as caller:
        caller.sandbox.add_file("a.mp4", b"x")
        got = bytearray()
        headers = httpx.Headers()

        def read() -> None:
            url = f"{caller.sandbox.api_url}/file/get"
            with caller.http.stream("GET", url, params=caller.credentials) as response:
                headers.update(response.headers)
                for chunk in response.iter_raw():
                    got.extend(chunk)

        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
            read()
        whole = caller.call("file/get").content
    assert got == whole[:nbytes]
    assert int(headers["content-length"]) > len(got)


def test_cut_body_cuts_a_stream() -> None:
    """Bytes that are served break off too."""
    with running(Sandbox(faults=scripted("stream", Fault.cut_body(3)))) as caller:
        record = caller.sandbox.add_file("a.mp4", b"0123456789")
        stream = caller.result(f"file/get/{record.hashid}/direct")[0]["stream"]
        with pytest.raises(httpx.RemoteProtocolError):
            caller.http.get(stream)
        assert caller.http.get(stream).content == b"0123456789"


def test_a_lost_answer_stores_the_upload() -> None:
    """The client sees a reset, the account has the file."""
    with running(Sandbox(faults=scripted("upload", Fault.lost_answer()))) as caller:
        with pytest.raises(httpx.ReadError, match="reset"):
            caller.upload(b"abc")
        (record,) = caller.sandbox.files()
        assert record.path.read_bytes() == b"abc"
        assert caller.sandbox.requests[-1].status is None


def test_reset_after_stores_nothing(tmp_path: Path) -> None:
    """The connection breaks in the middle of the body."""
    with running(Sandbox(tmp_path, faults=scripted("upload", Fault.reset_after(MIB)))) as caller:
        with pytest.raises(httpx.TransportError):
            caller.upload(bytes(50 * MIB))
        assert caller.sandbox.files() == []
        assert list((tmp_path / "incoming").iterdir()) == []


def test_reset_after_more_than_there_is_resets_at_the_end() -> None:
    """A body shorter than that is read whole, and still not answered."""
    with running(Sandbox(faults=scripted("upload", Fault.reset_after(MIB)))) as caller:
        with pytest.raises(httpx.ReadError):
            caller.upload(b"abc")
        assert caller.sandbox.files() == []


def test_stall_never_reads_until_the_sandbox_closes() -> None:
    """The client is stuck in sending; closing the sandbox frees it."""
    ended = threading.Event()
    with running(Sandbox(faults=scripted("upload", Fault.stall()))) as caller:
        connection = begin_upload(caller)

        def send() -> None:
            with connection:
                try:
                    for _ in range(99):
                        connection.sendall(bytes(MIB))
                except OSError:
                    ended.set()

        connection.settimeout(20)
        thread = threading.Thread(target=send)
        thread.start()
        wait_until(lambda: caller.sandbox.requests[-1].call == "upload")
        assert not ended.wait(0.3)
        caller.sandbox.close()
        assert ended.wait(3)
        thread.join()


@pytest.mark.parametrize("delta", [-2, 1000])
def test_wrong_size_is_told_everywhere(delta: int) -> None:
    """The answer and the list agree on a size that is not the one received."""
    with running(Sandbox(faults=scripted("upload", Fault.wrong_size(delta)))) as caller:
        assert caller.upload(b"0123456789").json()["result"]["size"] == 10 + delta
        assert caller.result("file/get")[0]["size"] == 10 + delta


def test_hide_new_leaves_young_files_out_of_the_list() -> None:
    """The list lags behind, the file itself is known."""
    with running(Sandbox(faults=scripted("files", Fault.hide_new(60), None))) as caller:
        caller.sandbox.add_file("old.mp4", b"x", created_at=time.time() - 61)
        fresh = caller.upload().json()["result"]
        assert [each["name"] for each in caller.result("file/get")] == ["old"]
        assert caller.result(f"file/get/{fresh['hashid']}")["name"] == "a"


def test_faults_cannot_be_caused_over_the_network() -> None:
    """No call's parameters reach the script."""
    with running(Sandbox()) as caller:
        fault = json.dumps({"call": "files", "kind": "reset"})
        assert caller.call("file/get", fault=fault, faults=fault).status_code == 200
        assert caller.call("file/get").status_code == 200
