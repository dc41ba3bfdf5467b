"""The body of an upload: multipart/form-data with one file, streamed.

The file is never held in memory, is hashed on the way (XXH3-128, 48 GB/s: it costs nothing), and
can be sent again from the start. Chunks are plain ``bytes`` of 1 MiB from an unbuffered file:
that is faster than curl, while buffers that are read into are joined again further down.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import xxhash

from megamax_sync.api.names import content_type, storable_name
from megamax_sync.errors import FileChanged, FileError

__all__ = ["EncodedBody", "MultipartFile", "RawFile", "storable_name"]

#: How much is read, hashed and sent at a time, in bytes.
CHUNK_SIZE = 1 << 20


class RawFile(Protocol):
    """What is needed of a file: ``open(path, "rb", buffering=0)`` has it."""

    def read(self, size: int, /) -> bytes | None: ...

    def seek(self, offset: int, /) -> int: ...


def _quoted(text: str) -> str:
    """Encode a name for a Content-Disposition as browsers do (WHATWG, multipart/form-data)."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


class MultipartFile:
    """One file to be uploaded.

    ``file`` is a raw binary file; sending begins at its offset 0. ``size`` is what is announced:
    no more is ever read for the body, and a file that ends early or goes on is a
    :class:`~megamax_sync.errors.FileChanged`, found before the last bytes are sent, so that
    the service never has a whole body of it.
    ``name`` goes through :func:`storable_name`. ``fields`` are further form fields; login and
    key are not among them: the client adds them when it sends, and this object never has them.

    The hooks run in the sending thread, and what they raise ends the upload and reaches its caller:

    - ``check()`` before each chunk is read.
    - ``throttle(most)`` before a chunk is read; it may wait, and says how much may be sent then, at
      least one byte and not more than ``most``.
    - ``on_progress(sent)`` after a chunk was handed over, with all that was sent so far.
    - ``on_body_sent()`` once, when the last byte was handed to the kernel and before the answer is
      waited for.
    """

    def __init__(
        self,
        file: RawFile,
        *,
        name: bytes | str,
        size: int,
        fields: Mapping[str, str] | None = None,
        on_progress: Callable[[int], None] | None = None,
        on_body_sent: Callable[[], None] | None = None,
        check: Callable[[], None] | None = None,
        throttle: Callable[[int], int] | None = None,
        chunk_size: int = CHUNK_SIZE,
    ) -> None:
        self.name = storable_name(name)
        self.size = size
        self.fields = dict(fields or {})
        self.chunk_size = chunk_size
        #: Bytes of the file's content that were handed over in this round.
        self.sent = 0
        #: ``xxh3-128:`` and 32 hexadecimal digits, once the whole content has been read.
        self.fingerprint: str | None = None
        self._file = file
        self._on_progress = on_progress
        self._on_body_sent = on_body_sent
        self._check = check
        self._throttle = throttle

    def encode(self, fields: Mapping[str, str]) -> EncodedBody:
        """The body with ``fields`` before its own; each call has a boundary of its own."""
        boundary = secrets.token_hex(16)
        head = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(key)}"'
            f"\r\n\r\n{value}\r\n"
            for key, value in {**fields, **self.fields}.items()
        )
        head += (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; '
            f'filename="{_quoted(self.name)}"\r\nContent-Type: {content_type(self.name)}\r\n\r\n'
        )
        return EncodedBody(self, boundary, head.encode("utf-8", "replace"))

    def chunks(self, head: bytes, tail: bytes) -> Iterator[bytes]:
        """Yield ``head``, the content and ``tail``; what is short travels in one piece."""
        self.sent = 0
        self.fingerprint = None
        hasher = xxhash.xxh3_128()
        self._rewind()
        before = head
        left = self.size
        while left:
            if self._check:
                self._check()
            most = min(self.chunk_size, left)
            chunk = self._read(self._throttle(most) if self._throttle else most)
            if not chunk:
                raise FileChanged(f"the file ended after {self.size - left} of {self.size} bytes")
            left -= len(chunk)
            hasher.update(chunk)
            if not left:
                self._expect_end()
                self.fingerprint = f"xxh3-128:{hasher.hexdigest()}"
            yield before + chunk if before else chunk
            before = b""
            self.sent = self.size - left
            if self._on_progress:
                self._on_progress(self.sent)
        yield before + tail
        # The transport asks for more only after it has written what it had.
        if self._on_body_sent:
            self._on_body_sent()

    def _rewind(self) -> None:
        try:
            self._file.seek(0)
        except OSError as exc:
            raise FileError(f"the file cannot be read: {exc.strerror or exc}") from exc

    def _read(self, size: int) -> bytes:
        try:
            return self._file.read(size) or b""
        except OSError as exc:
            raise FileError(f"the file cannot be read: {exc.strerror or exc}") from exc

    def _expect_end(self) -> None:
        if self._read(1):
            raise FileChanged(f"the file has grown beyond {self.size} bytes")


class EncodedBody:
    """A body with all of its fields; iterable again and again."""

    def __init__(self, file: MultipartFile, boundary: str, head: bytes) -> None:
        self._file = file
        self._head = head
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self.content_length = len(head) + file.size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        return self._file.chunks(self._head, self._tail)
