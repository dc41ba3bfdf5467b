"""Uploads: what the form may look like, and what becomes of the bytes."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sandbox_caller import BOUNDARY, Caller, field_part, file_part, form, running, wait_until

from megamax_sync.sandbox import Sandbox
from megamax_sync.sandbox.account import Account
from megamax_sync.sandbox.uploads import BadFormError, FormReader, disposition

MIB = 1024 * 1024


def leftovers(sandbox: Sandbox, data: Path) -> list[Path]:
    """Files in the data folder that belong to no stored file."""
    known = {record.path for record in sandbox.files()}
    found = [*(data / "incoming").iterdir(), *(data / "files").iterdir()]
    return [path for path in found if path not in known]


def test_an_upload_answers_with_the_documents_fields() -> None:
    """All fields of the document's answer, with the extension in the name."""
    with running(Sandbox()) as caller:
        response = caller.upload(b"12345", "sample.mp4", folder="12")
        (record,) = caller.sandbox.files()
        assert record.path.read_bytes() == b"12345"
    answer = response.json()
    assert (response.status_code, answer["status"], answer["message"]) == (200, "success", "OK")
    assert answer["result"] == {
        "hashid": record.hashid,
        "folder": 12,
        "name": "sample.mp4",
        "ext": "mp4",
        "mimeType": "video/mp4",
        "size": 5,
        "status": "onqueue",
        "uploaded_at": answer["result"]["uploaded_at"],
    }
    assert answer["result"]["uploaded_at"].endswith(".000000Z")
    assert (record.name, record.ext, record.folder) == ("sample.mp4", "mp4", 12)
    assert (record.size, record.mime_type) == (5, "video/mp4")


@pytest.mark.parametrize("folder", ["3", "", "null"])
def test_the_documents_curl_command_works(
    folder: str, tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    """Word for word, with host and placeholders filled in; also with no folder."""
    curl = require_program("curl")
    video = tmp_path / "sample.mp4"
    video.write_bytes(os.urandom(3 * MIB))
    with running(Sandbox()) as caller:
        login, key = caller.sandbox.login, caller.sandbox.key
        command = [curl, "-k", "-F", f"file=@{video}", "-F", f"login={login}", "-F", f"key={key}"]
        command += ["-F", f"folder={folder}", caller.url()]
        done = subprocess.run(command, capture_output=True, check=True, timeout=30)
        (record,) = caller.sandbox.files()
        assert record.path.read_bytes() == video.read_bytes()
    assert b'"status":"success"' in done.stdout
    assert record.folder == (3 if folder == "3" else None)


def test_fields_may_come_after_the_file() -> None:
    """The order of the parts does not matter."""
    with running(Sandbox()) as caller:
        after = b"".join(field_part(name, value) for name, value in caller.credentials.items())
        response = caller.post(form(file_part(b"abc"), after, field_part("folder", "4")))
        assert response.json()["result"]["folder"] == 4


def test_a_chunked_body_works() -> None:
    """A body need not say how long it is, and may come byte by byte."""
    with running(Sandbox()) as caller:
        body = form(file_part(b"\r\n--" + BOUNDARY.encode()[:-1]), **caller.credentials)
        pieces = (body[at : at + 1] for at in range(len(body)))
        assert caller.post(pieces).status_code == 200
        (record,) = caller.sandbox.files()
        assert record.path.read_bytes() == b"\r\n--" + BOUNDARY.encode()[:-1]


def test_an_upload_url_works_once() -> None:
    """A second use is refused with 410, a made-up one too, and nothing is stored."""
    with running(Sandbox()) as caller:
        url = caller.url()
        body = form(file_part(b"abc"), **caller.credentials)
        first, second = caller.post(body, url), caller.post(body, url)
        made_up = caller.post(body, url[:-1])
        assert len(caller.sandbox.files()) == 1
    assert [each.status_code for each in (first, second, made_up)] == [200, 410, 410]
    assert second.json()["status"] == "error"


def test_an_upload_url_expires(tmp_path: Path) -> None:
    """Six hours later it is as if it had been used."""
    account = Account(tmp_path, step=1.0, link_ttl=1.0, mirror_delay=0.0, premium=True)
    try:
        account.catalogue.issue_url("late", 1000.0)
        account.catalogue.issue_url("timely", 1000.0)
        assert account.catalogue.claim_url("timely", 999.0)
        assert not account.catalogue.claim_url("late", 1000.0)
    finally:
        account.close()


def body_of(caller: Caller, case: str) -> bytes:
    """A form with one thing wrong."""
    good = caller.credentials
    part = file_part(b"abc")
    return {
        "no file": form(**good),
        "no file name": form(field_part("file", "abc"), **good),
        "empty file name": form(file_part(b"abc", ""), **good),
        "empty file": form(file_part(b""), **good),
        "two files": form(part, part, **good),
        "bad folder": form(part, **good, folder="x"),
        "long field": form(part, **good, folder="1" * 70_000),
        "cut": form(part, **good)[:-8],
        "no form": b"abc",
    }[case]


@pytest.mark.parametrize(
    "case",
    [
        "no file",
        "no file name",
        "empty file name",
        "empty file",
        "two files",
        "bad folder",
        "long field",
        "cut",
        "no form",
    ],
)
def test_a_bad_form_gets_422_and_leaves_nothing(case: str, tmp_path: Path) -> None:
    """Whatever is wrong with the form, it is said in the envelope, and no byte stays."""
    with running(Sandbox(tmp_path)) as caller:
        response = caller.post(body_of(caller, case))
        assert leftovers(caller.sandbox, tmp_path) == []
        assert caller.sandbox.files() == []
    assert (response.status_code, response.json()["status"]) == (422, "error")


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "multipart/form-data", f"multipart/form-data; boundary={'x' * 300}", ""],
)
def test_a_body_that_is_no_form_gets_422(content_type: str) -> None:
    """The content type has to be multipart/form-data with a usable boundary."""
    with running(Sandbox()) as caller:
        headers = {"content-type": content_type}
        response = caller.http.post(caller.url(), content=b"{}", headers=headers)
    assert response.status_code == 422


@pytest.mark.parametrize("fields", [{}, {"login": "x"}, {"login": "x", "key": "y"}])
def test_wrong_or_missing_credentials_get_401(fields: dict[str, str], tmp_path: Path) -> None:
    """Also when all the rest is right; and nothing stays."""
    with running(Sandbox(tmp_path)) as caller:
        before = caller.post(form(file_part(b"abc"), **fields))
        after = b"".join(field_part(name, value) for name, value in fields.items())
        late = caller.post(form(file_part(b"abc"), after))
        assert leftovers(caller.sandbox, tmp_path) == []
    assert (before.status_code, late.status_code) == (401, 401)


def open_upload(caller: Caller, length: int, expect: str = "") -> socket.socket:
    """A connection on which the headers of an upload were sent."""
    url = urlsplit(caller.url())
    connection = socket.create_connection((url.hostname, url.port), timeout=10)
    connection.sendall(
        f"POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: {length}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n{expect}\r\n".encode()
    )
    return connection


def test_wrong_credentials_before_the_file_are_answered_at_once() -> None:
    """The answer comes while most of the body is still to be sent."""
    with running(Sandbox()) as caller, open_upload(caller, 100 * MIB) as connection:
        connection.sendall(field_part("login", "x") + field_part("key", "y") + file_part(b"abc"))
        assert connection.recv(12) == b"HTTP/1.1 401"


def test_expect_100_continue_is_honoured() -> None:
    """The go-ahead comes before the body, the answer after it."""
    with running(Sandbox()) as caller:
        body = form(file_part(b"abc"), **caller.credentials)
        with open_upload(caller, len(body), "Expect: 100-continue\r\n") as connection:
            assert connection.recv(12) == b"HTTP/1.1 100"
            connection.sendall(body)
            wait_until(lambda: len(caller.sandbox.files()) == 1)


def test_an_aborted_upload_leaves_nothing(tmp_path: Path) -> None:
    """When the client goes away in the middle, the part that arrived is removed."""
    with running(Sandbox(tmp_path)) as caller:
        with open_upload(caller, 100 * MIB) as connection:
            connection.sendall(file_part(bytes(3 * MIB))[:-2])
            wait_until(lambda: any(path.stat().st_size for path in tmp_path.glob("incoming/*")))
        wait_until(lambda: leftovers(caller.sandbox, tmp_path) == [])
        assert caller.sandbox.files() == []
        assert caller.sandbox.requests[-1].status is None


def peak_kib() -> int:
    """The highest resident size of this process."""
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(line)


def test_memory_stays_flat_over_a_large_upload() -> None:
    """200 MB pass with less than 30 MB more at the peak, and arrive as they were sent."""
    block = os.urandom(MIB)
    digest = hashlib.sha256()

    def body(caller: Caller) -> Iterator[bytes]:
        head, tail = form(file_part(b"<>"), **caller.credentials).split(b"<>")
        yield head
        for _ in range(200):
            digest.update(block)
            yield block
        yield tail

    with running(Sandbox()) as caller:
        caller.upload(block)
        # Forgets the peak so far, which other tests may have driven up.
        Path("/proc/self/clear_refs").write_text("5")
        before = peak_kib()
        assert caller.post(body(caller)).json()["result"]["size"] == 200 * MIB
        grown = peak_kib() - before
        with caller.sandbox.files()[-1].path.open("rb") as stored:
            assert hashlib.file_digest(stored, "sha256").digest() == digest.digest()
    assert grown < 30 * 1024


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (b'form-data; name="file"; filename="a.mp4"', "a.mp4"),
        (b'form-data; name="file"; filename="a%22b.mp4"', "a%22b.mp4"),
        (b'form-data; name="file"; filename="a\\"b.mp4"', 'a"b.mp4'),
        (b'form-data; name="file"; filename="a;b=c.mp4"', "a;b=c.mp4"),
        (b'form-data; name="file"; filename="C:\\films\\a.mp4"', "a.mp4"),
        (b'form-data; name="file"; filename="films/a.mp4"', "a.mp4"),
        (b'form-data; filename=a.mp4; name="file"', "a.mp4"),
        ('form-data; name="file"; filename="Ä 映.mkv"'.encode(), "Ä 映.mkv"),
        (b'form-data; name="file"; filename="a\xff.mp4"', "a�.mp4"),
        (b'form-data; name="file"; filename=""', ""),
        (b'form-data; name="file"', None),
    ],
)
def test_file_names_are_read_as_php_reads_them(header: bytes, name: str | None) -> None:
    """Percent signs stay, folders go, bytes that are no UTF-8 are replaced."""
    assert disposition(header) == ("file", name)


@pytest.mark.parametrize(
    ("name", "announced", "stored"),
    [
        ("a.mkv", "application/octet-stream", "video/x-matroska"),
        ("a.webm", "application/octet-stream", "video/webm"),
        ("a.mp4", "video/special", "video/special"),
        ("noext", "text/plain", "application/octet-stream"),
    ],
)
def test_the_type_is_the_announced_video_type_or_guessed(
    name: str, announced: str, stored: str
) -> None:
    """curl announces nothing useful, so the extension decides."""
    with running(Sandbox()) as caller:
        body = form(file_part(b"abc", name, announced), **caller.credentials)
        result = caller.post(body).json()["result"]
    assert result["mimeType"] == stored
    assert result["ext"] == (name.rpartition(".")[2] if "." in name else "")


TRICKY = st.lists(
    st.sampled_from([b"\r", b"\n", b"-", b"--", b"\r\n--", BOUNDARY.encode()[:-3], b"x", b"\0"]),
    min_size=1,
).map(b"".join)


@given(data=TRICKY, cuts=st.lists(st.integers(1, 60), max_size=40))
def test_the_bytes_are_the_same_however_the_body_is_cut(data: bytes, cuts: list[int]) -> None:
    """Content that resembles the boundary, cut anywhere, arrives as it is."""
    body = form(file_part(data), folder="1")
    reader = FormReader(f"multipart/form-data; boundary={BOUNDARY}")
    arrived = b""
    for cut in [*cuts, len(body)]:
        reader.feed(body[:cut])
        body = body[cut:]
        arrived += b"".join(reader.take())
    upload = reader.finish()
    assert arrived == data
    assert (upload.size, upload.name, upload.fields) == (len(data), "a.mp4", {"folder": "1"})


@given(junk=st.binary())
def test_junk_is_a_bad_form(junk: bytes) -> None:
    """No body makes the reader fail in any other way."""
    reader = FormReader("multipart/form-data; boundary=b")

    def read() -> None:
        reader.feed(junk)
        reader.finish()

    with pytest.raises(BadFormError):
        read()
