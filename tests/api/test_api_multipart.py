"""The body of an upload."""

from __future__ import annotations

import io
import os

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from python_multipart.multipart import MultipartParser, parse_options_header

from megamax_sync import errors
from megamax_sync.api.multipart import MultipartFile
from megamax_sync.api.names import content_type, storable_name

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def split(raw: bytes, kind: str) -> list[tuple[dict[bytes, bytes], bytes]]:
    """Parse a form with python-multipart: the options of each part, and its content."""
    parts: list[tuple[dict[bytes, bytes], bytearray]] = []
    name, value = bytearray(), bytearray()

    def ended() -> None:
        if name.lower() == b"content-disposition":
            parts[-1][0].update(parse_options_header(bytes(value))[1])
        name.clear()
        value.clear()

    boundary = parse_options_header(kind)[1][b"boundary"]
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": lambda: parts.append(({}, bytearray())),
            "on_part_data": lambda data, start, end: parts[-1][1].extend(data[start:end]),
            "on_header_field": lambda data, start, end: name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: value.extend(data[start:end]),
            "on_header_end": ended,
        },
    )
    parser.write(raw)
    parser.finalize()
    return [(options, bytes(content)) for options, content in parts]


@given(content=st.binary(max_size=300), name=TEXT, login=TEXT, chunk=st.integers(1, 64))
def test_round_trip(content: bytes, name: str, login: str, chunk: int) -> None:
    """Another parser reads back the same bytes, fields and name; twice, with the same length."""
    body = MultipartFile(
        io.BytesIO(content), name=name, size=len(content), fields={"folder": "1"}, chunk_size=chunk
    )
    encoded = body.encode({"login": login})
    raw = b"".join(encoded)
    assert b"".join(encoded) == raw
    assert len(raw) == encoded.content_length
    (_, first), (_, folder), (options, last) = split(raw, encoded.content_type)
    assert (first, folder, last) == (login.encode(), b"1", content)
    assert options[b"filename"] == storable_name(name).replace('"', "%22").encode()
    assert body.sent == len(content)
    if content:
        assert body.fingerprint == f"xxh3-128:{xxhash.xxh3_128_hexdigest(content)}"


def test_boundaries_differ() -> None:
    """No two bodies share a boundary."""
    body = MultipartFile(io.BytesIO(b""), name="a", size=0)
    assert body.encode({}).content_type != body.encode({}).content_type


def test_file_that_shrank() -> None:
    """A file that ends early has changed, and the body was never whole."""
    body = MultipartFile(io.BytesIO(b"abc"), name="a", size=5)
    with pytest.raises(errors.FileChanged, match="3 of 5"):
        list(body.encode({}))
    assert body.fingerprint is None


def test_file_that_grew() -> None:
    """A file that goes on has changed, and its last bytes are not sent."""
    body = MultipartFile(io.BytesIO(b"abcdef"), name="a", size=5, chunk_size=2)
    with pytest.raises(errors.FileChanged, match="grown"):
        list(body.encode({}))
    assert body.sent == 4


class Broken(io.BytesIO):
    """A file on a disk that fails."""

    def read(self, _: int | None = -1, /) -> bytes:
        raise OSError(5, "Input/output error")


def test_unreadable_file() -> None:
    """A file that cannot be read is the file's fault, by the name of its error."""
    with pytest.raises(errors.FileError, match="Input/output error"):
        list(MultipartFile(Broken(), name="a", size=5).encode({}))
    reader, writer = os.pipe()
    os.close(writer)
    with open(reader, "rb", buffering=0) as pipe, pytest.raises(errors.FileError, match="seek"):
        list(MultipartFile(pipe, name="a", size=5).encode({}))


@given(name=st.text(max_size=400) | st.binary(max_size=400) | st.text("\udc80\ud800/.\\\x00é"))
def test_any_name_is_storable(name: str | bytes) -> None:
    """No name raises, is empty, is too long or holds what a server could stumble over."""
    stored = storable_name(name)
    assert 0 < len(stored.encode()) <= 255
    assert not set(stored) & set("/\\\x00\r\n\x7f")
    assert storable_name(stored) == stored


def test_names() -> None:
    """Bytes and their surrogate-escaped form give the same name; long ones keep the extension."""
    assert storable_name(b"a\xff\xe2\x82.mp4") == storable_name(os.fsdecode(b"a\xff\xe2\x82.mp4"))
    assert storable_name("\ud800.mp4") == "\ufffd.mp4"
    assert storable_name(" . ") == "video"
    assert storable_name("dir/a\\b\n.mp4") == "dir_a_b_.mp4"
    assert storable_name("é" * 200 + ".mkv") == "é" * 125 + ".mkv"
    assert storable_name("a." + "x" * 300) == "a." + "x" * 253


def test_content_types() -> None:
    """Video types by extension, whatever its case; the rest are bytes."""
    assert content_type("A.MKV") == "video/x-matroska"
    assert content_type("a.exe") == "application/octet-stream"
    assert content_type("mp4") == "application/octet-stream"
