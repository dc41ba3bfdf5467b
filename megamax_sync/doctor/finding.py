"""What an examination finds."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(enum.StrEnum):
    """How bad it is. Only an error keeps files from being uploaded."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. ``remedy`` is empty where there is nothing to be done."""

    check: str
    level: Level
    text: str
    remedy: str = ""
    #: The service rejects the login or key.
    rejected: bool = False


def fine(check: str, text: str) -> Finding:
    """All is well with it."""
    return Finding(check, Level.OK, text)


def warning(check: str, text: str, remedy: str) -> Finding:
    """It works, less well than it could."""
    return Finding(check, Level.WARNING, text, remedy)


def error(check: str, text: str, remedy: str) -> Finding:
    """It keeps files from being uploaded."""
    return Finding(check, Level.ERROR, text, remedy)
