"""Makes the values of an event plain: readable, harmless to terminals, free of secrets."""

from __future__ import annotations

import math
import os
import re
import sys
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import TypeAlias

from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, WrappedLogger

from megamax_sync.log.redact import MASK, SECRET_NAMES, Redactor

_ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]

#: Longer texts are cut: a page of HTML in an error message says nothing more in its second half.
MAX_TEXT = 8192
# Far more than that is looked through, so that no half of a secret is left at the cut.
_MAX_SCRUBBED = 8 * MAX_TEXT
# Deep enough for groups of exceptions; ends what contains itself.
_MAX_DEPTH = 10

# C0 and C1 controls, and those that break lines or turn the writing direction around.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}

# Without the locals, which hold the secrets of all who were on the way.
_as_dicts = ExceptionDictTransformer(show_locals=False, use_rich=False)


def readable(text: str | bytes) -> str:
    """Text that every encoding of Unicode can hold; bytes that are no UTF-8 become ``\\xff``."""
    if isinstance(text, bytes):
        return text.decode(errors="backslashreplace")
    try:
        return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace").decode()


def escape(text: str) -> str:
    """On one line, and nothing that a terminal would obey."""
    return _UNPRINTABLE.sub(_escaped, text)


def escape_json(line: str) -> str:
    """The same for a line of JSON, which stays JSON."""
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", line)


def _escaped(match: re.Match[str]) -> str:
    char = match[0]
    code = ord(char)
    return _SHORT.get(char) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


class Tidy:
    """The processor before the renderer.

    Exceptions become data (or, for people, a traceback), then everything becomes plain values,
    and only then secrets are masked, so that none comes in after it. ``for_people`` also escapes
    control characters, which JSON does by itself.
    """

    def __init__(self, redactor: Redactor, *, for_people: bool) -> None:
        self._redactor = redactor
        self._for_people = for_people

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        exc_info = _exc_info(event.pop("exc_info", None))
        exception: object = None
        if exc_info:
            event.setdefault("error", exc_info[1])
            exception = self._exception(exc_info)
        tidied: EventDict = {
            self._text(str(name)): self._named(name, value) for name, value in event.items()
        }
        if exception is not None:
            tidied["exception"] = exception
        return tidied

    def _exception(self, exc_info: _ExcInfo) -> object:
        if not self._for_people:
            return self._plain(_as_dicts(exc_info), 0)
        # Each line by itself, and indented: what a message holds can pass for no event.
        lines = "".join(traceback.format_exception(*exc_info)).rstrip("\n").split("\n")
        scrubbed = self._redactor.scrub("\n".join(lines)).split("\n")
        return "\n".join(f"    {self._text(line)}" for line in scrubbed)

    def _named(self, name: object, value: object, depth: int = 0) -> object:
        if isinstance(value, (str, bytes)) and str(name).lower() in SECRET_NAMES:
            return MASK
        return self._plain(value, depth)

    def _plain(self, value: object, depth: int) -> object:
        if value is None or isinstance(value, (bool, int)):
            return value
        if isinstance(value, float) and math.isfinite(value):
            return value
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        elif isinstance(value, BaseException):
            value = str(value) or type(value).__name__
        if depth < _MAX_DEPTH:
            if isinstance(value, Mapping):
                return {
                    self._text(str(name)): self._named(name, item, depth + 1)
                    for name, item in value.items()
                }
            if isinstance(value, (list, tuple, set, frozenset)):
                return [self._plain(item, depth + 1) for item in value]
        return self._text(value if isinstance(value, bytes) else str(value))

    def _text(self, text: str | bytes) -> str:
        scrubbed = self._redactor.scrub(readable(text[:_MAX_SCRUBBED]))
        if len(scrubbed) > MAX_TEXT:
            scrubbed = scrubbed[:MAX_TEXT] + "…"
        return escape(scrubbed) if self._for_people else scrubbed


def _exc_info(given: object) -> _ExcInfo | None:
    """What ``exc_info=`` means: an exception, a triple, or true for the one being handled."""
    if isinstance(given, tuple):
        given = given[1]
    elif given and not isinstance(given, BaseException):
        given = sys.exc_info()[1]
    if not isinstance(given, BaseException):
        return None
    return type(given), given, given.__traceback__
