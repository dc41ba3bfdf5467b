"""The bandwidth limit by time of day, in rclone's syntax."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from megamax_sync.config.form import Form, InvalidValueError, text_of
from megamax_sync.config.numbers import read_size

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LONG_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAY = 24 * 60
_SLOT = re.compile(
    r"(?:(?P<day>[a-z]+)-)?(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2}),(?P<rate>.+)", re.IGNORECASE
)
_TIME = re.compile(r"[0-9]{1,2}:[0-9]{2}")
_REMEDY = "set a rate (10M), off, or a timetable (08:00,2M 23:00,off or Mon-08:00,2M Sat-00:00,off)"


@dataclass(frozen=True, slots=True)
class BandwidthTimetable:
    """How fast it may go when.

    ``slots`` are pairs of a minute of the week (0 is Monday 00:00) and the limit from then on, in
    bytes a second, None for no limit; in order, never empty. Before the week's first slot, its
    last one still holds.
    """

    slots: tuple[tuple[int, float | None], ...]

    def at(self, moment: datetime) -> float | None:
        """The limit at a local time, in bytes a second; None for no limit."""
        minute = moment.weekday() * _DAY + moment.hour * 60 + moment.minute
        limit = self.slots[-1][1]
        for start, rate in self.slots:
            if start > minute:
                break
            limit = rate
        return limit


def read_timetable(text: str) -> BandwidthTimetable:
    """Read ``10M``, ``off``, ``08:00,2M 23:00,off`` or ``Mon-00:00,512 Fri-23:59,10M``.

    As with rclone, a number without a unit is KiB a second, 0 is no limit, times are local, a time
    without a weekday holds for every day, and a rate may be a pair for both ways, ``10M:1M``, of
    which the first is that of uploads. Raises :class:`InvalidValueError`.
    """
    entries = text.replace(";", " ").split()
    if len(entries) == 1 and "," not in entries[0]:
        return BandwidthTimetable(((0, _rate(entries[0], text)),))
    slots: dict[int, float | None] = {}
    for entry in entries:
        for start, rate in _slots(entry, text):
            if start in slots:
                raise InvalidValueError(
                    text, "names the same time twice", "leave one of the two out"
                )
            slots[start] = rate
    if not slots:
        raise InvalidValueError(text, "is empty", _REMEDY)
    return BandwidthTimetable(tuple(sorted(slots.items())))


def _slots(entry: str, text: str) -> list[tuple[int, float | None]]:
    match = _SLOT.fullmatch(entry)
    if not match:
        raise InvalidValueError(text, f"has {entry!r}, which is no TIME,RATE", _REMEDY)
    minute = int(match["hour"]) * 60 + int(match["minute"])
    if int(match["hour"]) > 23 or int(match["minute"]) > 59:
        raise InvalidValueError(
            text, f"has {entry!r}, which is no time of day", "write 00:00 to 23:59"
        )
    rate = _rate(match["rate"], text)
    if match["day"] is None:
        return [(day * _DAY + minute, rate) for day in range(7)]
    named = match["day"].lower()
    for names in (_DAYS, _LONG_DAYS):
        if named in names:
            return [(names.index(named) * _DAY + minute, rate)]
    raise InvalidValueError(text, f"has {entry!r}, which names no weekday", "write Mon to Sun")


def _rate(word: str, text: str) -> float | None:
    # Nobody means 8 KiB a second by "08:00", though rclone would take it for that.
    if _TIME.fullmatch(word):
        raise InvalidValueError(text, f"has {word!r}, a time without a rate", _REMEDY)
    # Of a pair, which is upload and download with rclone, the first counts: nothing is downloaded.
    word, *down = word.split(":", 1)
    if down and down[0].lower() != "off" and read_size(down[0], bare="K") is None:
        raise InvalidValueError(text, f"has {down[0]!r}, which is no rate", _REMEDY)
    if word.lower() == "off":
        return None
    rate = read_size(word, bare="K")
    if rate is None:
        raise InvalidValueError(text, f"has {word!r}, which is no rate", _REMEDY)
    return float(rate) or None


def timetable() -> Form:
    """A bandwidth limit: a rate, ``off``, or a timetable of them."""
    return Form(
        lambda value: read_timetable(text_of(value)),
        "bytes a second with K, M or G (without a letter: KiB, as rclone's), off, or a timetable",
    )
