"""Sizes and durations, as people read them: the same on a terminal, on the pages and in a log."""

from __future__ import annotations

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def human_size(nbytes: float) -> str:
    """Render bytes: ``812 B``, ``24.1 KiB``."""
    if nbytes < 1024:
        return f"{nbytes:.0f} B"
    power = 0
    while nbytes >= 1023.95 and power < len(_UNITS):
        nbytes /= 1024
        power += 1
    return f"{nbytes:.1f} {_UNITS[power - 1]}"


def human_seconds(seconds: float, *, coarse: bool = False) -> str:
    """Render a duration: ``45 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``.

    ``coarse`` leaves the seconds out from a minute on.
    """
    minutes, left = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    if minutes:
        return f"{minutes} min" if coarse else f"{minutes} min {left} s"
    return f"{left} s"
