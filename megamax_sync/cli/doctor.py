"""``check``: everything that has to be right, looked at one by one, each with its remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from megamax_sync.cli import output
from megamax_sync.cli.context import Root, quiet_log
from megamax_sync.errors import ConfigError

if TYPE_CHECKING:
    from megamax_sync.doctor import Finding


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check")(check)


def check(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Look whether all is well: settings, account, folders, limits, clock, disk.

    Each line is ok, a warning or an error, with its remedy. Writes nothing that stays: where it
    has to try whether it may write, it takes away what it made. Exit 1 for an error, 2 for wrong
    settings, 3 for credentials that the service rejects.
    """
    from megamax_sync.doctor import Finding, Level, examine

    root: Root = ctx.obj
    try:
        settings = root.settings()
    except ConfigError as error:
        findings = [Finding("settings", Level.ERROR, fault) for fault in error.faults]
        _say(findings, output.USAGE, as_json=as_json)
        raise typer.Exit(output.USAGE) from None
    quiet_log(settings)
    if root.sandbox:
        from megamax_sync.cli import embedded

        with embedded.reachable(settings) as reachable:
            findings = list(examine(reachable))
    else:
        findings = list(examine(settings))
    status = _status(findings)
    _say(findings, status, as_json=as_json)
    raise typer.Exit(status)


def _status(findings: list[Finding]) -> int:
    if any(finding.rejected for finding in findings):
        return output.REJECTED
    return output.FAILED if any(finding.level == "error" for finding in findings) else output.DONE


def _say(findings: list[Finding], status: int, *, as_json: bool) -> None:
    if as_json:
        rows = [
            {
                "check": finding.check,
                "level": str(finding.level),
                "text": finding.text,
                "remedy": finding.remedy,
            }
            for finding in findings
        ]
        counts = {
            level: sum(row["level"] == level for row in rows)
            for level in ("ok", "warning", "error")
        }
        output.say_json({"exit": status, "counts": counts, "checks": rows})
        return
    for finding in findings:
        output.say(f"{finding.level:<8} {finding.check}: {output.one_line(finding.text)}")
        if finding.remedy:
            output.say(f"{'':<8} {output.signs('→')} {output.one_line(finding.remedy)}")
