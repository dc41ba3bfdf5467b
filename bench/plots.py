"""Draws what the bench has measured. Run by the bench's own environment, which has matplotlib.

python plots.py < figures.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).parent


def throughput(curves: dict[str, dict[str, float]]) -> None:
    """Draw speed against chunk size, relative to curl's."""
    figure, axes = plt.subplots(figsize=(7, 4))
    for name, points in curves.items():
        axes.plot([int(size) / 1024 for size in points], list(points.values()), "o-", label=name)
    axes.axhline(1.0, color="grey", linestyle="--", label="curl -F")
    axes.set_xscale("log", base=2)
    axes.set_xlabel("chunk, KiB")
    axes.set_ylabel("speed against curl -F")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.tight_layout()
    figure.savefig(HERE / "throughput.png", dpi=110)


def requests(points: dict[str, float]) -> None:
    """Draw the requests of one tick against the files in conversion."""
    figure, axes = plt.subplots(figsize=(7, 4))
    files = [int(count) for count in points]
    axes.plot(files, list(points.values()), "o-", label="megamax-sync")
    axes.plot(files, files, "--", color="grey", label="one request a file")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("files in conversion")
    axes.set_ylabel("requests of one tick")
    axes.legend()
    figure.tight_layout()
    figure.savefig(HERE / "requests.png", dpi=110)


if __name__ == "__main__":
    measured = json.load(sys.stdin)
    if "throughput" in measured:
        throughput(measured["throughput"])
    if "requests" in measured:
        requests(measured["requests"])
