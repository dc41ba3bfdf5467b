"""The log: events with fields, one a line, on stderr, without secrets.

Rooms get their logger with ``structlog.get_logger()``; what the libraries say through
:mod:`logging` goes the same way. Whatever befalls the stream, logging never raises.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, TextIO

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import Processor

from megamax_sync.log.redact import Redactor
from megamax_sync.log.render import Console, Json
from megamax_sync.log.tidy import readable

__all__ = ["Gathered", "Redactor", "configure", "readable"]

#: They tell of every byte and every event, httpx of whole URLs: nothing below a warning is for us.
_TALKATIVE = ("httpx", "httpcore", "watchdog", "asyncio", "python_multipart")

#: watchdog calls it an error that an event was on its way when a watch was ended.
_NO_FAULT = ("watchdog.observers.inotify", "called when the thread is inactive")


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
        Console(secrets, colors=terminal and _wants_colors())
        if for_people
        else Json(secrets, ascii_only=not _is_utf8(stream))
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
            processors=[ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    structlog.configure(
        processors=shared,
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        logger_factory=_Output(handler, renderer, shared, lowest),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(lowest)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger(_NO_FAULT[0]).addFilter(_is_fault)
    # A log that cannot be written is no reason to write a traceback to the same place.
    logging.raiseExceptions = False
    logging.captureWarnings(True)
    sys.excepthook = _log_crash
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_thread_crash


class Gathered:
    """Events that are kept back until what they tell of is so, and then logged together.

    That takes about half of what one by one takes (40 µs a line), and gives way to other threads
    once instead of at each.
    """

    def __init__(self) -> None:
        self._events: list[tuple[str, dict[str, object]]] = []

    def info(self, event: str, **fields: object) -> None:
        """Keep an event."""
        self._events.append((event, fields))

    def say(self) -> None:
        """Log them all."""
        events, self._events = self._events, []
        config = structlog.get_config()
        output = config["logger_factory"]
        if isinstance(output, _Output) and config["processors"] == output.shared:
            output.write_each(events)
            return
        # Not configured, or somebody listens in, as tests do.
        logger = structlog.get_logger()
        for event, fields in events:
            logger.info(event, **fields)


def _is_fault(record: logging.LogRecord) -> bool:
    return _NO_FAULT[1] not in record.getMessage()


class _Handler(logging.StreamHandler[TextIO]):
    """Writes what the stream's encoding can hold. Errors end in logging's own handleError."""

    def format(self, record: logging.LogRecord) -> str:
        return self._encodable(super().format(record))

    def write(self, line: str) -> None:
        """Write a line that is made already. Raises what the stream raises."""
        with self.lock or contextlib.nullcontext():
            self.stream.write(self._encodable(line) + self.terminator)
            self.flush()

    def _encodable(self, line: str) -> str:
        if line.isascii():
            return line
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        return line.encode(encoding, "backslashreplace").decode(encoding)


class _Output:
    """Takes events of our own to the handler, and is structlog's factory of itself.

    Not by way of :mod:`logging`, whose records cost several times as much as the line: a hundred
    thousand files that come at once are as many events.
    """

    def __init__(
        self, handler: _Handler, render: Processor, shared: Sequence[Processor], lowest: int
    ) -> None:
        """``shared`` is what every event passes before it is rendered, ``lowest`` the level."""
        self._handler = handler
        self._render = render
        self.shared = list(shared)
        self._lowest = lowest

    def __call__(self, *_args: object) -> _Output:
        return self

    def _write(self, /, **event: object) -> None:
        # As in logging: neither the stream nor a value that cannot be shown ends the program.
        with contextlib.suppress(Exception):
            self._handler.write(str(self._render(None, "", event)))

    def write_each(self, events: Sequence[tuple[str, dict[str, object]]]) -> None:
        """Write what :class:`Gathered` has."""
        if self._lowest > logging.INFO:
            return
        common: Any = {}
        for processor in self.shared:
            common = processor(None, "info", common)
        lines = []
        for event, fields in events:
            with contextlib.suppress(Exception):
                whole = {**fields, "event": event}
                lines.append(str(self._render(None, "", whole | {**common, **whole})))
        if lines:
            with contextlib.suppress(Exception):
                self._handler.write("\n".join(lines))

    debug = info = warning = error = critical = _write


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
