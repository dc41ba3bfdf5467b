"""Figures: what was measured, what it is held against, and how it is written down."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from megamax_sync import __version__

_PARTS = ("watchdog", "httpx", "pydantic-settings", "structlog", "pathspec", "xxhash")

_HEAD = """\
# Figures

Made by `make bench`, from outside: the installed program, each time a process of its own, against
the embedded Megamax, or a receiver in C, on the same machine. Nothing here is a promise for another
machine; ratios travel better than seconds.

| | |
|---|---|
"""

_TAIL = """
![speed against chunk size](throughput.png)

![requests against files in conversion](requests.png)

## How to repeat

`make bench` measures everything and writes this file and both plots anew. It needs about 8 GB of
free space in the temporary folder, a limit on inotify watches (`fs.inotify.max_user_watches`) above
21,000, root's rights for one part (it lowers `fs.inotify.max_queued_events` for a while), and of
Debian `find`, `curl`, `openssl`, `gcc` and `libssl-dev`: what curl is measured against sends to a
receiver in C (`sink.c`). The program is measured as a user installs it: as a wheel, in an
environment of its own (`bench/.product`), with what `requirements.lock` names and nothing else, so
that no development tool is imported along. Only the queue is measured in the development
environment, where its code is the same. Other queues and matplotlib are installed into a third
(`requirements.txt`). `make bench BENCH_ARGS='--only scan'` measures
one part and prints it, no more; `--size`, `--files` and `--entries` measure less. The page cache is
warm in all of it, and MEGAMAX_API_RATE is 0.
"""


#: What keeps a part from its bars, as far as it was found out: said where it falls short.
_LIMITS = {
    "start": (
        "nearly all of it is the import of Typer and pydantic-settings, which is measured beside it"
    ),
    "one file": (
        "by `perf record`, three quarters of the processor time are the kernel's, which copies "
        "the body out of the page cache and into the socket; 13 % are Python's, 7 % the hash's. "
        "The receiver copies it on the other core, so the runs vary as nothing else here does. "
        "`sendfile` would be faster, and send what is on the disk then, not what was hashed; "
        "and plain HTTP is for this machine alone"
    ),
    "four at once over TLS": (
        "both cores are busy all the time, so it is the processor time. Pieces that fit into a "
        "core's cache (64 KiB) took half as much again and more, as each is a few times of "
        "handing on Python's lock; pieces of 1 MiB were no better than those of 256 KiB"
    ),
    "small files": (
        "about 22 ms of processor time a file, most of it in Python, which runs on one core at "
        "a time, while curl's processes have both: 13 ms of an uploader, with a TLS handshake "
        "and four commits, 8 ms of the tracker, with two sidecars that are on the disk and four "
        "commits. A thread of its own for the links' calls gained 8 %, and was not worth its "
        "weight"
    ),
    "scan": (
        "each file that is not known is opened, asked for its holes, leased and closed, which "
        "takes 12 to 15 µs by itself; `find` looks at its inode alone"
    ),
    "stopped": (
        "each file is looked at with a lease, and has a row with its indexes, a step of its "
        "history and a line in the log"
    ),
    "million": ("as for `scan`"),
    "queues": (
        "a claim and its end are eleven statements (a job's row with its indexes, its attempt, "
        "its history, the counts) and take 1.8 ms of processor time, most of it in SQLite, "
        "besides two waits for the disk; the others change one row twice"
    ),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured thing: a median, and the least and greatest of the runs it is the median of.

    ``below`` is the bar that it has to stay under, ``above`` the one that it has to reach; None
    where there is none.
    """

    name: str
    unit: str
    median: float
    least: float
    greatest: float
    runs: int
    below: float | None
    above: float | None = None

    @property
    def falls_short(self) -> bool:
        """The bar is not met."""
        return (self.below is not None and self.median >= self.below) or (
            self.above is not None and self.median < self.above
        )


@dataclass
class Figures:
    """All figures of one run, by the part that measured them."""

    parts: dict[str, list[Figure]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def begin(self, part: str, note: str) -> None:
        """Begin a part; ``note`` says in a sentence or two what it does."""
        self.parts[part], self.notes[part] = [], note
        print(f"{part}: {note}", flush=True)

    def add(
        self,
        name: str,
        values: float | Sequence[float],
        unit: str,
        *,
        below: float | None = None,
        above: float | None = None,
    ) -> None:
        """Add a figure to the part that was begun last, and print it."""
        runs = [float(values)] if isinstance(values, int | float) else list(values)
        figure = Figure(
            name, unit, statistics.median(runs), min(runs), max(runs), len(runs), below, above
        )
        next(reversed(self.parts.values())).append(figure)
        bar = f"   (bar: {_bar(figure)})" if _bar(figure) else ""
        print(f"  {name:<62} {_number(figure.median):>10} {unit}{bar}", flush=True)

    def write(self, path: Path) -> None:
        """Write all as Markdown."""
        lines = [_HEAD + "".join(f"| {key} | {value} |\n" for key, value in _machine().items())]
        short = [(part, f) for part, all_ in self.parts.items() for f in all_ if f.falls_short]
        lines.append("## What falls short\n")
        if short:
            lines += [
                f"- {part}, {f.name}: {_measured(f)}, the bar is {_bar(f)}" for part, f in short
            ]
            lines += ["\nWhat keeps them from it:\n", *_limits([part for part, _ in short])]
        else:
            lines.append("Nothing: every figure that has a bar meets it.")
        for part, figures in self.parts.items():
            lines.append(f"\n## {part}\n\n{self.notes[part]}\n")
            lines.append("| figure | median | range | runs | bar |\n|---|---|---|---|---|")
            lines += [
                f"| {f.name} | {_measured(f)} | {_range(f)} | {f.runs} | {_bar(f)} |"
                for f in figures
            ]
        path.write_text("\n".join(lines) + "\n" + _TAIL, encoding="utf-8")


def _limits(parts: Iterable[str]) -> list[str]:
    return [f"- {part}: {_LIMITS[part]}." for part in dict.fromkeys(parts) if part in _LIMITS]


def _measured(figure: Figure) -> str:
    return f"{_number(figure.median)} {figure.unit}".rstrip()


def _range(figure: Figure) -> str:
    if figure.runs == 1:
        return ""
    return f"{_number(figure.least)} to {_number(figure.greatest)}"


def _bar(figure: Figure) -> str:
    if figure.above is not None:
        return f"{_number(figure.above)} {figure.unit} or more"
    return "" if figure.below is None else f"under {_number(figure.below)} {figure.unit}".rstrip()


def _number(value: float) -> str:
    if value == int(value):
        return f"{value:,.0f}"
    return f"{value:,.3f}" if abs(value) < 1 else f"{value:,.2f}"


def _machine() -> dict[str, str]:
    """What the figures depend on, without anything that names the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "megamax-sync": __version__,
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "SQLite": sqlite3.sqlite_version,
        "parts": ", ".join(f"{name} {metadata.version(name)}" for name in _PARTS),
        "kernel": f"{platform.system()} {platform.release().split('-')[0]}, {platform.machine()}",
        "machine": f"{os.cpu_count()} cores, {memory:.0f} GiB of memory",
    }
