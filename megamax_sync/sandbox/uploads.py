"""Receives an upload: multipart/form-data, streamed to disk as it arrives."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

#: Bytes gathered before a thread writes them; the next ones arrive meanwhile.
WRITE_SIZE = 1024 * 1024
FIELD_LIMIT = 64 * 1024

# PHP's reading: \" is the one escape that does not end a value.
_PARAMETER = re.compile(rb';\s*([\w*-]+)\s*=\s*(?:"((?:\\"|[^"])*)"|([^;\s]*))')


class BadFormError(Exception):
    """The body is not the form that it should be. ``str()`` says why."""


class WrongCredentialsError(Exception):
    """Login and key are not the account's."""


@dataclass(frozen=True)
class Upload:
    """A complete form. ``name`` is as PHP would see it; the bytes are in the target file."""

    fields: dict[str, str]
    name: str
    content_type: str
    size: int


def disposition(header: bytes) -> tuple[str, str | None]:
    """Field name and file name of a Content-Disposition, read as PHP reads it.

    ``%22`` stays, ``\\"`` and ``\\\\`` are unescaped, everything up to the last (back)slash goes,
    bytes that are no UTF-8 become U+FFFD. Without ``filename`` the second is ``None``.
    """
    found: dict[str, str] = {}
    for match in _PARAMETER.finditer(header):
        quoted, bare = match[2], match[3]
        value = re.sub(rb'\\([\\"])', rb"\1", quoted) if quoted is not None else bare
        found.setdefault(match[1].decode("ascii").lower(), value.decode(errors="replace"))
    name = found.get("filename")
    return found.get("name", ""), None if name is None else re.split(r"[\\/]", name)[-1]


class FormReader:
    """Push parser for one form: feed it the body, take the file's bytes.

    Raises:
        BadFormError: from :meth:`feed` and :meth:`finish`.
    """

    def __init__(self, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            raise BadFormError("The body must be multipart/form-data.")
        self.fields: dict[str, str] = {}
        self.name: str | None = None
        self.content_type = ""
        self.size = 0
        #: Bytes of the file that nobody has taken yet, and how many.
        self.waiting: list[memoryview] = []
        self.waiting_size = 0
        self._complete = False
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._field: str | None = None
        self._value = bytearray()
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begin,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_text,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_part_data": self._part_data,
                    "on_part_end": self._part_end,
                    "on_end": self._end,
                },
            )
        except FormParserError as exc:
            raise BadFormError("The boundary is not usable.") from exc

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body."""
        try:
            self._parser.write(data)
        except FormParserError as exc:
            raise BadFormError("The body is not well-formed.") from exc

    def take(self) -> list[memoryview]:
        """The file's bytes since the last time."""
        taken, self.waiting, self.waiting_size = self.waiting, [], 0
        return taken

    def finish(self) -> Upload:
        """The form, once the whole body was fed."""
        if not self._complete:
            raise BadFormError("The body ends too early.")
        if not self.name:
            raise BadFormError("The file field is required.")
        if self.size == 0:
            raise BadFormError("The file is empty.")
        return Upload(self.fields, self.name, self.content_type, self.size)

    def _part_begin(self) -> None:
        self._headers = {}
        self._value = bytearray()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _header_text(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _header_end(self) -> None:
        self._headers[bytes(self._header_name).lower()] = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _headers_finished(self) -> None:
        field, name = disposition(self._headers.get(b"content-disposition", b""))
        if name is None or field != "file":
            self._field = field
            return
        if self.name is not None:
            raise BadFormError("There is more than one file.")
        self._field = None
        self.name = name
        self.content_type = self._headers.get(b"content-type", b"").decode(errors="replace")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            self.waiting.append(memoryview(data)[start:end])
            self.waiting_size += end - start
            self.size += end - start
            return
        self._value += data[start:end]
        if len(self._value) > FIELD_LIMIT:
            raise BadFormError("A field is too long.")

    def _part_end(self) -> None:
        if self._field is not None:
            self.fields[self._field] = self._value.decode(errors="replace")

    def _end(self) -> None:
        self._complete = True


async def receive(
    body: AsyncIterator[bytes],
    content_type: str,
    target: Path,
    *,
    knows: Callable[[str, str], bool],
    pool: Executor,
) -> Upload:
    """Read a form to its end and write its file to ``target``; memory stays flat.

    Credentials that come before the file and are wrong end it at once.

    Raises:
        BadFormError: no file, an empty one, or no proper form.
        WrongCredentialsError: login or key are missing or wrong.
    """
    reader = FormReader(content_type)
    checked = False
    with target.open("xb", buffering=0) as file:
        writer = _Writer(file, pool)
        try:
            async for chunk in body:
                reader.feed(chunk)
                if not checked and {"login", "key"} <= reader.fields.keys():
                    if not knows(reader.fields["login"], reader.fields["key"]):
                        raise WrongCredentialsError
                    checked = True
                if reader.waiting_size >= WRITE_SIZE:
                    await writer.write(reader.take())
            await writer.write(reader.take())
        finally:
            await writer.settle()
    if not checked:
        raise WrongCredentialsError
    return reader.finish()


class _Writer:
    """Writes in a thread, one batch at a time, while the next one arrives."""

    def __init__(self, file: RawIOBase, pool: Executor) -> None:
        self._file = file
        self._pool = pool
        self._writing: asyncio.Future[None] | None = None

    async def write(self, pieces: list[memoryview]) -> None:
        """Start writing, once the batch before is written."""
        await self.settle()
        loop = asyncio.get_running_loop()
        self._writing = loop.run_in_executor(self._pool, self._write, pieces)

    async def settle(self) -> None:
        """Wait until all is written."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            await writing

    def _write(self, pieces: list[memoryview]) -> None:
        for piece in pieces:
            rest = piece
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
