"""From an event to its line: JSON for machines, aligned text for people."""

from __future__ import annotations

import json
import re

import structlog
from structlog.typing import EventDict, WrappedLogger

from megamax_sync.log.redact import MASK, SECRET_NAMES, Redactor
from megamax_sync.log.tidy import MAX_TEXT, Tidy, escape_json

#: Keys that come first, in this order.
_FIRST = ("timestamp", "level", "event")

_PLAIN = {str, bytes, int, bool, float, type(None)}

# What stands otherwise in a line of JSON than in its values, or may not stand there at all.
_ODD = re.compile("[\\\\\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class Json:
    """One object a line: ``timestamp``, ``level``, ``event``, then the event's fields."""

    def __init__(self, redactor: Redactor, *, ascii_only: bool) -> None:
        self._redactor = redactor
        self._tidy = Tidy(redactor, for_people=False)
        # Made once: json.dumps makes one at each call.
        self._encode = json.JSONEncoder(
            ensure_ascii=ascii_only, allow_nan=False, default=bytes.decode
        ).encode

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        return self._simple(event) or self._careful(self._tidy(logger, method, event))

    def _simple(self, event: EventDict) -> str | None:
        """Render an event of plain values, at a fraction of the cost; None when it is not one.

        Where each text stands in the line as it is, a secret in a value is a secret in the line.
        So if none is found there, :class:`Tidy` would not have found any, either.
        """
        values: EventDict = {name: event.get(name) for name in _FIRST}
        for name, value in event.items():
            if type(value) not in _PLAIN or name.lower() in SECRET_NAMES or name == "exc_info":
                return None
            values[name] = value
        try:
            line = self._encode(values)
        except ValueError:
            return None
        if len(line) > MAX_TEXT or _ODD.search(line) or self._redactor.scrub(line) != line:
            return None
        return line

    def _careful(self, event: EventDict) -> str:
        first = {name: event.pop(name, None) for name in _FIRST}
        line = escape_json(self._encode({**first, **event}))
        scrubbed = self._redactor.scrub(line)
        if scrubbed != line and not _is_json(scrubbed):
            # A secret that is spelt like a part of JSON took that with it.
            return json.dumps({**first, "event": MASK})
        return scrubbed


class Console:
    """For people: aligned, and coloured where wanted."""

    def __init__(self, redactor: Redactor, *, colors: bool) -> None:
        self._redactor = redactor
        self._tidy = Tidy(redactor, for_people=True)
        self._render = structlog.dev.ConsoleRenderer(
            colors=colors,
            sort_keys=False,
            # Tidy has made text of them already.
            exception_formatter=structlog.dev.plain_traceback,
        )

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        tidied = self._tidy(logger, method, event)
        return self._redactor.scrub(str(self._render(logger, method, tidied)))


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
