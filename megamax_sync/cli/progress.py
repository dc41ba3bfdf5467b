"""Live progress on a terminal: a bar for each upload, one for the whole, a line for each state."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from megamax_sync.cli.output import one_line
from megamax_sync.job import JobState
from megamax_sync.status import shown
from megamax_sync.units import human_size

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from megamax_sync.store import Store, Tally

#: Jobs in these states have nothing more to send.
_SENT = (JobState.PROCESSING, JobState.DONE, JobState.FAILED, JobState.SKIPPED)


class Display(Protocol):
    """Whoever shows how far it is."""

    on_terminal: bool

    def show(self, tally: Tally, live: dict[str, Any] | None, store: Store) -> None:
        """Show this. ``live`` is what the instance at work says of itself, if it answers."""


class NoDisplay:
    """Without a terminal, the log tells."""

    on_terminal = False

    def show(self, tally: Tally, live: dict[str, Any] | None, store: Store) -> None:
        """Show nothing."""


@contextlib.contextmanager
def display(*, as_json: bool) -> Iterator[Display]:
    """Show progress on stderr, or on stdout where only that is a terminal and free for it."""
    if not sys.stderr.isatty() and (as_json or not sys.stdout.isatty()):
        yield NoDisplay()
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=sys.stderr.isatty())
    if not console.is_terminal or console.is_dumb_terminal:
        yield NoDisplay()
        return
    with Live(
        console=console,
        refresh_per_second=8,
        redirect_stdout=not as_json and sys.stdout.isatty(),
        redirect_stderr=sys.stderr.isatty(),
    ) as live:
        yield Bars(live, console)


class Bars:
    """The display on a terminal."""

    on_terminal = True

    def __init__(self, live: Live, console: Console) -> None:
        from rich.progress import (
            BarColumn,
            Progress,
            TaskID,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.table import Column

        self._live = live
        self._progress = Progress(
            TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            BarColumn(bar_width=16),
            TextColumn("{task.percentage:>3.0f}%", markup=False),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            expand=True,
        )
        self._whole = self._progress.add_task("all files", total=None)
        self._tasks: dict[int, TaskID] = {}

    def show(self, tally: Tally, live: dict[str, Any] | None, store: Store) -> None:
        """Bring everything up to date."""
        uploads = {one["job"]: one for one in (live or {}).get("uploads", [])}
        for job, task in list(self._tasks.items()):
            if job not in uploads:
                self._progress.remove_task(task)
                del self._tasks[job]
        for job, one in uploads.items():
            if job not in self._tasks:
                row = store.jobs.get(job)
                name = shown(row.name) if row else f"job {job}"
                self._tasks[job] = self._progress.add_task(name, total=one["size"])
            self._progress.update(self._tasks[job], completed=one["sent"])
        sent = sum(tally.sizes[state] for state in _SENT) + sum(
            min(one["sent"], one["size"]) for one in uploads.values()
        )
        total = sum(tally.sizes.values())
        self._progress.update(self._whole, total=total or None, completed=min(sent, total))
        self._live.update(self._render(tally, live))

    def _render(self, tally: Tally, live: dict[str, Any] | None) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        lines: list[RenderableType] = [
            Text(f"{state:>10} {tally.counts[state]:>6}  {human_size(tally.sizes[state])}")
            for state in JobState
        ]
        if live and live.get("problem"):
            detail = one_line(str(live["problem_detail"]))
            lines.append(Text(f"{live['problem']}: {detail}", overflow="fold"))
        return Group(self._progress, *lines)
