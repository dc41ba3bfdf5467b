"""Interim answers (1xx): they may come while a body is sent, and do not end that."""

from __future__ import annotations

_INTERIM = (b"HTTP/1.1 1", b"HTTP/1.0 1")
_CONTINUE = (b"HTTP/1.1 100", b"HTTP/1.0 100")


def split_interim(data: bytes) -> tuple[bytes, bool]:
    """Drop whole interim answers; return what is left, and whether a 100 Continue was dropped."""
    leave = False
    while data.startswith(_INTERIM) and b"\r\n\r\n" in data:
        leave = leave or data.startswith(_CONTINUE)
        data = data.partition(b"\r\n\r\n")[2]
    return data, leave


def is_final(data: bytes) -> bool:
    """Whether ``data`` begins an answer that is no interim one, as far as can be told yet."""
    return bool(data) and not any(data.startswith(start[: len(data)]) for start in _INTERIM)
