"""``health``: does the instance on this state folder make progress?"""

from __future__ import annotations

import typer

from megamax_sync.cli import output
from megamax_sync.cli.context import Root
from megamax_sync.control import ask
from megamax_sync.health import verdict


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("health")(health)


def health(ctx: typer.Context) -> None:
    """Tell whether the daemon makes progress: exit 0, or 1 when it is stuck or does not run.

    Names the part that is stuck. For Docker's HEALTHCHECK and other watchdogs. A service in
    trouble, a pause and a full disk are no ill health: a restart would mend none of them.
    """
    root: Root = ctx.obj
    folder = root.folder()
    # Asked for the parts alone, which it tells even while its queue is held up.
    said = verdict(ask(folder.socket, "parts") if folder.in_use() else None)
    output.say(said.reason)
    raise typer.Exit(output.DONE if said.healthy else output.FAILED)
