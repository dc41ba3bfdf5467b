"""The log: events with fields, one a line, on stderr, without secrets.

Rooms get their logger with ``structlog.get_logger()``; what the libraries say through
:mod:`logging` goes the same way. Whatever befalls the stream, logging never raises.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from types import TracebackType
from typing import Literal, TextIO

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from megamax_sync.log.redact import MASK, Redactor
from megamax_sync.log.tidy import Tidy, escape_json, readable

__all__ = ["Redactor", "configure", "readable"]

#: They tell of every byte and every event, httpx of whole URLs: nothing below a warning is for us.
_TALKATIVE = ("httpx", "httpcore", "watchdog", "asyncio", "python_multipart")


def configure(
    *,
    fmt: Literal["auto", "json", "console"],
    level: str,
    stream: TextIO | None = None,
    secrets: Redactor,
) -> None:
    """Set logging up for the whole process; called again, it replaces what it did before.

    ``fmt`` auto is console on a terminal, else JSON. ``level`` is a name of :mod:`logging`, in
    either case. ``stream`` is stderr unless given. ``secrets`` may get further secrets later.
    """
    stream = stream if stream is not None else sys.stderr
    lowest = logging.getLevelNamesMapping()[level.upper()]
    terminal = _is_terminal(stream)
    for_people = fmt == "console" or (fmt == "auto" and terminal)
    renderer: Processor = (
        _Console(secrets, colors=terminal and _wants_colors())
        if for_people
        else _Json(secrets, ascii_only=not _is_utf8(stream))
    )
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = _Handler(stream)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                ProcessorFormatter.remove_processors_meta,
                Tidy(secrets, for_people=for_people),
                renderer,
            ],
        )
    )
    structlog.configure(
        processors=[*shared, ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(lowest)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    # A log that cannot be written is no reason to write a traceback to the same place.
    logging.raiseExceptions = False
    logging.captureWarnings(True)
    sys.excepthook = _log_crash
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_thread_crash


class _Handler(logging.StreamHandler[TextIO]):
    """Writes what the stream's encoding can hold. Errors end in logging's own handleError."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        return line.encode(encoding, "backslashreplace").decode(encoding)


class _Json:
    """One object a line: ``timestamp``, ``level``, ``event``, then the event's fields."""

    def __init__(self, redactor: Redactor, *, ascii_only: bool) -> None:
        self._redactor = redactor
        self._ascii_only = ascii_only

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        first = {name: event.pop(name, None) for name in ("timestamp", "level", "event")}
        line = escape_json(json.dumps({**first, **event}, ensure_ascii=self._ascii_only))
        scrubbed = self._redactor.scrub(line)
        if scrubbed != line and not _is_json(scrubbed):
            # A secret that is spelt like a part of JSON took that with it.
            return json.dumps({**first, "event": MASK})
        return scrubbed


class _Console:
    """For people: aligned, and coloured where wanted."""

    def __init__(self, redactor: Redactor, *, colors: bool) -> None:
        self._redactor = redactor
        self._render = structlog.dev.ConsoleRenderer(
            colors=colors,
            sort_keys=False,
            # Tidy has made text of them already.
            exception_formatter=structlog.dev.plain_traceback,
        )

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> str:
        return self._redactor.scrub(str(self._render(logger, method, event)))


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        # No stream at all, or a closed one.
        return False


def _is_utf8(stream: TextIO) -> bool:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return encoding.lower().replace("_", "-") in {"utf-8", "utf8"}


def _wants_colors() -> bool:
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _log_crash(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    structlog.get_logger(__name__).critical("program.crashed", exc_info=error)


def _log_thread_crash(args: threading.ExceptHookArgs) -> None:
    if issubclass(args.exc_type, SystemExit):
        return
    thread = args.thread.name if args.thread else None
    logger = structlog.get_logger(__name__)
    logger.critical("thread.crashed", thread=thread, exc_info=args.exc_value)


def _log_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    logger = structlog.get_logger(__name__)
    logger.error("program.unraisable", where=unraisable.err_msg, exc_info=unraisable.exc_value)
