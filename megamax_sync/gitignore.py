"""Exclude patterns as git reads them, in the form in which pathspec has the same meaning."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

#: POSIX's classes as git has them: ASCII alone, no form feed among the spaces, and never the slash.
#: None begins with what means something at the beginning of a bracket expression.
_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": " \t",
    "cntrl": "\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": '"-.0-~!',
    "lower": "a-z",
    "print": " -.0-~",
    "punct": ':-@"-.[-`{-~!',
    "space": " \t\n\r",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
_CLASS = re.compile(r"\[:([^\]:]*):\]")
_STARS = re.compile(r"\*{3,}")


class UnknownClassError(ValueError):
    """A pattern names a class that there is not; to git it matches nothing."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def compiled(patterns: Sequence[str]) -> GitIgnoreSpec:
    """Compile patterns; the index of a match is the pattern's.

    Raises ValueError, :class:`UnknownClassError` for one, and ``re.error``.
    """
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(_translated(pattern) for pattern in patterns)


def _translated(pattern: str) -> str:
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        if pattern[at] == "\\":
            part, length = pattern[at : at + 2], 2
        elif pattern[at] == "[":
            part, length = _bracket(pattern, at)
        elif stars := _STARS.match(pattern, at):
            part, length = "**", stars.end() - at
        else:
            part, length = pattern[at], 1
        parts.append(part)
        at += length
    translated = "".join(parts)
    # To git, "foo/**" is all that foo holds and not foo itself; pathspec would have foo, too.
    return translated + "/*" if translated.endswith("/**") else translated


def _bracket(pattern: str, start: int) -> tuple[str, int]:
    """Return a bracket expression with its classes written out, and its length as it was."""
    parts = ["["]
    at = start + 1
    if pattern[at : at + 1] in {"!", "^"}:
        parts.append(pattern[at])
        at += 1
    first = at
    while at < len(pattern) and (pattern[at] != "]" or at == first):
        named = _CLASS.match(pattern, at)
        if named is None:
            parts.append(pattern[at])
            at += 1
            continue
        if named[1] not in _CLASSES:
            raise UnknownClassError(named[1])
        parts.append(_CLASSES[named[1]])
        at = named.end()
    if at == len(pattern):
        # It has no end: a bracket like any other character.
        return "[", 1
    return "".join([*parts, "]"]), at + 1 - start
