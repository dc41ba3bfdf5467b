"""Sizes, durations and moments, as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

from megamax_sync.clock import iso
from megamax_sync.http.html import Html, tag
from megamax_sync.units import human_seconds, human_size


def size(nbytes: float) -> str:
    """Render bytes: ``812 B``, ``24.1 KiB``."""
    return human_size(nbytes)


def rate(per_second: float) -> str:
    """Render bytes a second."""
    return f"{size(per_second)}/s"


def duration(seconds: float) -> str:
    """Render a duration: ``45 s``, ``3 min``, ``2 h 5 min``, ``3 d 4 h``."""
    return human_seconds(seconds, coarse=True)


def count(number: int) -> str:
    """Render a number with its thousands apart."""
    return f"{number:,}".replace(",", "\u202f")


def moment(unix: float) -> Html:
    """Render Unix time in the machine's own zone, to the second."""
    shown = datetime.fromtimestamp(unix, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return tag("time", shown, datetime=iso(unix))


def ago(unix: float, now: float) -> Html:
    """Render how long ago a moment was, with the moment itself to be had by pointing at it."""
    shown = datetime.fromtimestamp(unix, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    past = now - unix
    text = "just now" if abs(past) < 5 else f"{duration(past)} ago"
    if past <= -5:
        text = f"in {duration(-past)}"
    return tag("time", text, datetime=iso(unix), title=shown)


def said(text: str | None) -> str:
    """Render what a file system, the service or an error says: nothing in it moves other text."""
    if text is None or text.isprintable():
        return text or ""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
