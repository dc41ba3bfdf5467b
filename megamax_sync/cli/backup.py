"""``backup``: a copy of the queue, while the daemon runs."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from megamax_sync.cli import output
from megamax_sync.cli.context import Root, reading
from megamax_sync.units import human_size


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("backup")(backup)


def backup(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where the copy goes.")],
    force: Annotated[
        bool, typer.Option("--force", help="Take the place of what is there.")
    ] = False,
) -> None:
    """Copy the queue to a file, consistently, while the daemon runs or not.

    The copy appears whole or not at all, and only this user can read it. To restore, stop the
    daemon and put it in the place of queue.db; see docs/operations.md.
    """
    root: Root = ctx.obj
    folder = root.folder()
    path = os.path.abspath(os.path.expanduser(file))
    if os.path.isdir(path):
        raise output.BadUsage(f"backup: '{path}' is a folder; name a file in it")
    if os.path.realpath(os.path.dirname(path)) == os.path.realpath(folder.path) and (
        os.path.basename(path).startswith("queue.db")
    ):
        raise output.BadUsage(f"backup: '{path}' is the queue's own; name another file")
    if os.path.lexists(path) and not force:
        raise output.BadUsage(f"backup: '{path}' exists; name another file, or add --force")
    with reading(folder) as store:
        if store is None:
            output.complain(f"there is no queue in {folder.path} yet")
            raise typer.Exit(output.FAILED)
        store.database.copy_to(path, replace=force)
    output.say(f"{human_size(os.stat(path).st_size)} copied to {path}")
