"""``bwlimit``: the bandwidth limit, shown and changed while an instance runs."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from megamax_sync.cli import output
from megamax_sync.cli.context import Root, reading, say_if_nobody_works, writing
from megamax_sync.control import ask
from megamax_sync.units import human_size


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bwlimit")(bwlimit)


def bwlimit(
    ctx: typer.Context,
    rate: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RATE",
            help="5M, off, a timetable as 08:00,2M 23:00,off, or config for the configured limit.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show the bandwidth limit, or change it.

    A change holds at once, also for uploads that are under way, and outlasts a restart, until
    config goes back to MEGAMAX_BWLIMIT. As there, a number without a letter is KiB a second.
    """
    # Here and not above: the log that it writes takes 0.15 s to import, for --help, too.
    from megamax_sync.bwlimit import local_time, timetable_of
    from megamax_sync.config.timetable import read_timetable

    root: Root = ctx.obj
    settings, folder = root.settings(), root.folder()
    if rate:
        text = " ".join(rate)
        wanted = None if text.strip().lower() == "config" else text
        if wanted is not None:
            try:
                read_timetable(wanted)
            except ValueError as error:
                raise output.BadUsage(f"bwlimit: {error}; or config") from None
        with writing(folder) as store:
            store.settings.bwlimit = wanted
    with reading(folder) as store:
        written = store.settings.bwlimit if store else None
    limit = timetable_of(written, settings.bwlimit).at(local_time(time.time()))
    live = ask(folder.socket, "live") if folder.in_use() else None
    if live is not None:
        # It knows what it was configured with; this process may have another environment.
        limit = live["bwlimit"]
    output.say(f"{human_size(limit)}/s" if limit else "off")
    if written is not None:
        output.say(f"set by bwlimit: {written}; config goes back to MEGAMAX_BWLIMIT")
    if rate:
        say_if_nobody_works(folder)
