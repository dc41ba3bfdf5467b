"""Env files: what systemd's ``EnvironmentFile=`` and Docker's ``--env-file`` both understand."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ESCAPED = re.compile(r'\\(["\\$`])')


class UnreadableLineError(ValueError):
    """``LINE NUMBER: PROBLEM; REMEDY``. The line itself is not shown: it may hold a secret."""

    def __init__(self, number: int, problem: str, remedy: str) -> None:
        super().__init__(f"line {number} {problem}; {remedy}")


def parse(text: str) -> tuple[dict[str, str], list[UnreadableLineError]]:
    """Read ``NAME=value`` lines, and what is wrong with the others. The last of a name wins.

    A line that is empty or begins with ``#`` or ``;`` says nothing; ``export`` before a name is
    ignored. A value may stand in single quotes (taken as it is) or in double quotes (a backslash
    before ``"``, ``\\``, ``$`` or a backtick is dropped); without quotes a ``#`` is part of it.
    Nothing is interpolated, and no value goes on over a line's end.
    """
    values: dict[str, str] = {}
    faults: list[UnreadableLineError] = []
    # Not splitlines(): form feeds and Unicode's separators may be part of a path.
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        line = raw.strip(" \t\r")
        if not line or line[0] in "#;":
            continue
        name, separator, value = line.partition("=")
        name = re.sub(r"^export[ \t]+", "", name).strip(" \t")
        if not separator or not _NAME.fullmatch(name):
            faults.append(UnreadableLineError(number, "is no assignment", "write NAME=value"))
            continue
        try:
            values[name] = _value(number, value.strip(" \t"))
        except UnreadableLineError as fault:
            faults.append(fault)
    return values, faults


def written(text: str) -> str:
    """Write a value so that :func:`parse` reads it. Raises ValueError for one of several lines."""
    if "\n" in text:
        raise ValueError("a value cannot go on over the end of its line")
    plain = text == text.strip(" \t\r") and text[:1] not in {"'", '"'} and text[-1:] != "\\"
    return text if plain else '"' + re.sub(r'(["\\$`])', r"\\\1", text) + '"'


def _value(number: int, text: str) -> str:
    if text[:1] not in {"'", '"'}:
        if text.endswith("\\"):
            problem = "ends with a backslash"
            raise UnreadableLineError(
                number, problem, "write the whole value on one line, or quote it"
            )
        return text
    quote = text[0]
    inner = r"[^']*" if quote == "'" else r'(?:[^"\\]|\\.)*'
    match = re.fullmatch(f"{quote}({inner}){quote}", text)
    if not match:
        problem = "has a quote that does not end where the line ends"
        raise UnreadableLineError(number, problem, "quote the whole value, or nothing of it")
    return match[1] if quote == "'" else _ESCAPED.sub(r"\1", match[1])
