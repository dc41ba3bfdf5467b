"""Interim answers (1xx): they may come while a body is sent, and do not end that."""

from __future__ import annotations

_INTERIM = (b"HTTP/1.1 1", b"HTTP/1.0 1")


def without_interim(data: bytes) -> bytes:
    """Drop whole interim answers (1xx), which do not end the sending of a body."""
    while data.startswith(_INTERIM) and b"\r\n\r\n" in data:
        data = data.partition(b"\r\n\r\n")[2]
    return data


def is_final(data: bytes) -> bool:
    """Whether ``data`` begins an answer that is no interim one, as far as can be told yet."""
    return bool(data) and not any(data.startswith(start[: len(data)]) for start in _INTERIM)
