"""``explain PATH``: the rule that decides whether a file is uploaded, by name and value."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from megamax_sync.cli import output
from megamax_sync.cli.context import Root, quiet_log, reading
from megamax_sync.state import StateFolder


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain")(explain)


def explain(
    ctx: typer.Context, path: Annotated[str, typer.Argument(metavar="PATH", help="A file.")]
) -> None:
    """Say why a file is, or is not, going to be uploaded: the rule that decides."""
    # Here and not above: --help asks no rules, which with pydantic take 0.3 s to import.
    from megamax_sync.cli.explanation import Explanation

    root: Root = ctx.obj
    settings = root.settings()
    quiet_log(settings)
    raw = os.fsencode(os.path.abspath(os.path.expanduser(path)))
    with reading(StateFolder(settings.state_dir)) as store:
        reason = Explanation(settings, store).of(raw)
    if reason is None:
        raise output.BadUsage(
            f"explain: there is no '{path}', and no job of it; give a file's path"
        )
    output.say(output.one_line(reason))
