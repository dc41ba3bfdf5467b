"""How the text of one variable becomes a value: the parts that every kind of value shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydantic_core import core_schema

#: The largest size that SQLite, and so the queue, can hold.
MAX_SIZE = 2**63 - 1

_SHOWN = 160


class InvalidValueError(ValueError):
    """A value that will not do: ``VALUE PROBLEM; REMEDY``, without the variable's name.

    ``shown`` is false where the value is, or may hold, a secret; the message leaves it out then.
    """

    def __init__(self, value: object, problem: str, remedy: str, *, shown: bool = True) -> None:
        super().__init__(f"{quoted(value) if shown else 'the value'} {problem}; {remedy}")


@dataclass(frozen=True, slots=True)
class Form:
    """One form that values take; stands in a field's annotation and is its pydantic validator.

    ``parse`` receives the text (or, from the command line, a native value) and raises
    :class:`InvalidValueError`. ``what`` says in a few words what may be written, with unit and
    range. The plain validator keeps pydantic's own string type away from the text: that one refuses
    surrogates, and so every path that is not UTF-8.
    """

    parse: Callable[[object], object]
    what: str

    def __get_pydantic_core_schema__(
        self, _source: object, _handler: object
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.parse)


def optional(form: Form) -> Form:
    """The same form, with nothing at all as None."""

    def parse(value: object) -> object:
        return None if value is None or value == "" else form.parse(value)

    return Form(parse, form.what)


def quoted(value: object) -> str:
    """A value as a fault shows it: quoted, escaped, on one line, and not for ever."""
    shown = repr(value if isinstance(value, str) else str(value))
    return shown if len(shown) <= _SHOWN else shown[: _SHOWN - 2] + "…" + shown[0]


def text_of(value: object) -> str:
    """The text of a scalar, without the space around it."""
    return str(value).strip()


def has_control(text: str) -> bool:
    """Whether it holds NUL, a line break, ESC or any of their kind."""
    return any(char < " " or "\x7f" <= char < "\xa0" for char in text)


def items(value: object, separator: str | None) -> list[str]:
    """The items of a list: a string's parts (None: split at white space), or a native sequence."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return [str(item) for item in value if item != ""]
    return [part.strip() for part in str(value).split(separator) if part.strip()]
