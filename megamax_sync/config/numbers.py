"""Numbers, sizes, durations, truth and choices."""

from __future__ import annotations

import re

from megamax_sync.config.form import MAX_SIZE, Form, InvalidValueError, text_of

_WHOLE = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)")
_SIZE = re.compile(
    r"(?P<number>[0-9]+\.?[0-9]*|\.[0-9]+) ?(?:(?P<power>[KMGTP])(?:iB?|B)?|B)?", re.IGNORECASE
)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}
_TRUTH = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip


def whole(low: int, high: int | None, thing: str) -> Form:
    """A whole number from ``low`` to ``high`` (None: to the largest that the queue can hold).

    ``thing`` names it in faults and texts: "a number of uploads".
    """
    span = f"{low} or more" if high is None else f"{low} to {high}"
    limit = MAX_SIZE if high is None else high

    def parse(value: object) -> int:
        text = text_of(value)
        # The length is looked at first: int() of a very long text is an error of its own.
        if not _WHOLE.fullmatch(text) or len(text) > 20:
            raise InvalidValueError(value, "is not a whole number", f"set {thing}, {span}")
        number = int(text)
        if not low <= number <= limit:
            problem = f"is not between {low} and {limit}"
            raise InvalidValueError(value, problem, f"set {thing} in that range")
        return number

    return Form(parse, f"{thing}, {span}")


def decimal(low: float, high: float, thing: str, *, zero: str | None = None) -> Form:
    """A number that may have a fraction. ``zero`` says what 0 means where it is allowed below
    ``low``."""
    span = f"{low:g} to {high:g}" + (f", or 0 {zero}" if zero else "")

    def parse(value: object) -> float:
        text = text_of(value)
        if not _DECIMAL.fullmatch(text):
            raise InvalidValueError(
                value, "is not a plain number", f"set {thing} without a unit, {span}"
            )
        number = float(text)
        if zero and number == 0:
            return 0.0
        if not low <= number <= high:
            raise InvalidValueError(
                value, f"is not between {low:g} and {high:g}", f"set {thing}, {span}"
            )
        return number

    return Form(parse, f"{thing}, {span}")


def seconds(low: float, high: float, *, zero: str | None = None) -> Form:
    """A duration in seconds."""
    return decimal(low, high, "seconds", zero=zero)


def read_size(text: str, *, bare: str = "") -> int | None:
    """Bytes from ``10M``, ``1.5G``, ``10MiB``, ``512B`` or ``4096``; None if it is no size.

    The letters are powers of 1024 in either case. ``bare`` is the letter that a number without
    any unit gets.
    """
    match = _SIZE.fullmatch(text)
    if not match:
        return None
    has_unit = not text[-1].isdigit() and text[-1] != "."
    power = (match["power"] or "").upper() if has_unit else bare
    number = match["number"]
    amount = float(number) * 1024 ** _POWERS[power]
    if amount > MAX_SIZE:
        return None
    return int(number) * 1024 ** _POWERS[power] if number.isdigit() else int(amount)


def size(thing: str, *, zero: str | None = None) -> Form:
    """A number of bytes. ``zero`` says what 0 means."""
    what = f"{thing}, with K, M, G or T for powers of 1024" + (f"; 0 {zero}" if zero else "")

    def parse(value: object) -> int:
        amount = read_size(text_of(value))
        if amount is None:
            raise InvalidValueError(
                value, "is not a size", f"set {thing} as 4096, 512K, 10M or 1.5G"
            )
        return amount

    return Form(parse, what)


def truth() -> Form:
    """True or false."""

    def parse(value: object) -> bool:
        found = _TRUTH.get(text_of(value).lower())
        if found is None:
            raise InvalidValueError(value, "is neither true nor false", "set true or false")
        return found

    return Form(parse, "true or false")


def choice(*names: str) -> Form:
    """One of some words, in either case."""
    known = f"{', '.join(names[:-1])} or {names[-1]}"

    def parse(value: object) -> str:
        name = text_of(value).lower()
        if name not in names:
            raise InvalidValueError(value, f"is not one of {', '.join(names)}", f"set {known}")
        return name

    return Form(parse, known)
