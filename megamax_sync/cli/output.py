"""Writing to people and pipes: times, odd names, and streams that break."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, TextIO

from megamax_sync import __version__
from megamax_sync.errors import (
    ConfigError,
    CredentialsRejected,
    MegamaxError,
    RemoteFileMissing,
    ServiceError,
    StateFolderInUse,
    StoreBusy,
    StoreDamaged,
    StoreTooNew,
    StoreTooOld,
)

DONE, FAILED, USAGE, REJECTED, TRY_LATER, INTERRUPTED = 0, 1, 2, 3, 75, 130


_ENCODER = json.JSONEncoder(ensure_ascii=False)
_SURROGATE = re.compile("[\ud800-\udfff]")


class BadUsage(ConfigError):
    """The command line itself is wrong; exit status 2, as for a wrong setting."""


def prepare() -> None:
    """Let both streams take any name, whatever the locale's encoding."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def finish(status: int) -> int:
    """Flush; return the exit status, which is 1 when what was said could not be written."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout)
    except OSError as error:
        return status or cannot_write(error)
    return status


def cannot_write(error: OSError) -> int:
    """Say that stdout takes no more; return the exit status."""
    _discard(sys.stdout)
    complain(f"the output cannot be written: {error.strerror or error}")
    return FAILED


def say(text: str = "", *, end: str = "\n") -> None:
    """Write one line to stdout. Whoever has closed the pipe has read enough."""
    try:
        sys.stdout.write(text + end)
    except BrokenPipeError:
        _discard(sys.stdout)


def say_version() -> None:
    """Write which version this is."""
    say(f"megamax-sync {__version__}")


def say_json(document: Any) -> None:
    """Write one JSON document to stdout."""
    say(json_text(document, indent=2))


def json_text(document: Any, *, indent: int | None = None) -> str:
    """Render JSON that any encoding can hold which knows the names in it."""
    # To make an encoder each time takes as long as a small document does.
    encoder = _ENCODER if indent is None else json.JSONEncoder(ensure_ascii=False, indent=indent)
    text = encoder.encode(document)
    # Lone surrogates can stand in JSON as escapes, and in no encoding.
    return text if text.isascii() else _SURROGATE.sub(_escaped, text)


def _escaped(surrogate: re.Match[str]) -> str:
    return f"\\u{ord(surrogate[0]):04x}"


def say_now(text: str) -> None:
    """Write one line to stdout, and flush: somebody waits for it."""
    say(text)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout)


def say_columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write aligned columns; the last one is as long as it is."""
    for line in columns(head, rows):
        say(line)


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Render what :func:`say_columns` writes."""
    table = [head, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(head) - 1)]
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield "  ".join([*cells, row[-1]])


def complain(text: str) -> None:
    """Write one line to stderr, under the program's name."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"megamax-sync: {one_line(text)}\n")


def complain_of(error: MegamaxError) -> int:
    """Say what is wrong, one line a fault; return the exit status for it."""
    for fault in error.faults if isinstance(error, ConfigError) else (str(error),):
        complain(fault + _remedy(error))
    return status_of(error)


def _remedy(error: MegamaxError) -> str:
    if isinstance(error, StoreDamaged):
        return "; the next start of the daemon, or --scan, makes it again from what is left"
    if isinstance(error, CredentialsRejected):
        return "; see MEGAMAX_LOGIN and MEGAMAX_KEY"
    return ""


def status_of(error: MegamaxError) -> int:
    """Return the exit status for an error that ended a command."""
    if isinstance(error, ConfigError | StoreTooNew):
        return USAGE
    if isinstance(error, CredentialsRejected):
        return REJECTED
    if isinstance(error, RemoteFileMissing):
        return FAILED
    if isinstance(error, StateFolderInUse | StoreBusy | StoreTooOld | ServiceError):
        return TRY_LATER
    return FAILED


def one_line(text: str) -> str:
    """Escape what would break the line, or what a terminal obeys."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


def signs(text: str) -> str:
    """Render the signs in a text of our own as stdout can hold them: arrows, and dots.

    Not for names, nor for what may be read by a program: there an escape is right.
    """
    if _holds_signs(sys.stdout.encoding or "ascii"):
        return text
    return text.replace("→", "->").replace("…", "...")


@cache
def _holds_signs(encoding: str) -> bool:
    try:
        "→…".encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def moment(unix: float) -> str:
    """Render Unix time for people, in their own zone: ``2023-04-15 03:15:21``."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(unix, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _discard(stream: TextIO) -> None:
    """Point a broken stream at nothing, so that later writes and the last flush are quiet."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nothing = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)
