"""The last hour's throughput, as a picture of a few hundred bytes."""

from __future__ import annotations

from collections.abc import Sequence

from megamax_sync.http import words
from megamax_sync.http.html import Html, tag
from megamax_sync.http.throughput import SAMPLES

_WIDTH, _HEIGHT = 600, 120


def chart(rates: Sequence[float], now: float) -> Html:
    """Draw bytes a second over the last hour, the newest at the right; ``now`` is the rate now."""
    shown = [*rates, now][-SAMPLES:]
    peak = max(shown)
    left = SAMPLES - len(shown)
    step, top = _WIDTH / (SAMPLES - 1), peak or 1.0
    points = [
        (round((left + number) * step, 1), round(_HEIGHT - rate / top * (_HEIGHT - 8) - 1, 1))
        for number, rate in enumerate(shown)
    ]
    line = " ".join(f"{x:g},{y:g}" for x, y in points)
    area = f"{points[0][0]:g},{_HEIGHT} {line} {points[-1][0]:g},{_HEIGHT}"
    told = f"Throughput over the last hour: {words.rate(now)} now, {words.rate(peak)} at the most"
    grid = [
        tag(
            "line",
            class_="grid",
            x1=0,
            x2=_WIDTH,
            y1=round(_HEIGHT * part),
            y2=round(_HEIGHT * part),
        )
        for part in (0.25, 0.5, 0.75)
    ]
    return tag(
        "figure",
        tag(
            "svg",
            grid,
            tag("polygon", points=area),
            tag("polyline", points=line),
            viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
            preserveAspectRatio="none",
            role="img",
            aria_label=told,
        ),
        tag(
            "figcaption",
            tag("span", "an hour ago"),
            tag("span", f"peak {words.rate(peak)}"),
            tag("span", "now"),
        ),
        class_="chart",
    )
