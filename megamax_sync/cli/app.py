"""The command line's shape: the root's options, the sub-commands, and what errors become."""

from __future__ import annotations

import gc
import math
import os
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from megamax_sync.cli import completion, output
from megamax_sync.cli.context import Root
from megamax_sync.errors import MegamaxError

#: Set by the shell whose completion calls us.
_COMPLETING = "_MEGAMAX_SYNC_COMPLETE"

#: The modules of this package that have commands, in the order of the help, and their commands.
COMMANDS = {
    "status": ("status",),
    "show": ("show",),
    "explain": ("explain",),
    "enqueue": ("upload",),
    "jobs": ("retry", "forget", "pause", "resume"),
    "bandwidth": ("bwlimit",),
    "account": ("ls", "links"),
    "doctor": ("check",),
    "health": ("health",),
    "backup": ("backup",),
    "installing": ("install-service",),
    "sandbox": ("sandbox",),
}


def build(words: Sequence[str] = ("--help",)) -> typer.Typer:
    """Make the command line, as far as these words of it can tell what is needed.

    Half of a quick command's time is spent on imports, so those of other commands are left out.
    """
    app = typer.Typer(
        name="megamax-sync",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=False,
    )
    app.callback(invoke_without_command=True)(root)
    needed = [module for module, names in COMMANDS.items() if not {*names}.isdisjoint(words)]
    # Help names all, and so does what is said to a word that is none. Without any word there is
    # none to be found.
    unclear = not needed and "--scan" not in words and not all(w.startswith("-") for w in words)
    # A shell that completes names its words in the environment.
    everything = "--help" in words or unclear or _COMPLETING in os.environ
    for module in COMMANDS if everything else needed:
        import_module(f"megamax_sync.cli.{module}").register(app)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        output.say_version()
        raise typer.Exit


def root(
    ctx: typer.Context,
    *,
    scan: Annotated[
        bool,
        typer.Option(
            "--scan", help="Upload what is in the watched folders now, wait until done, exit."
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="With --scan: only say what would be uploaded, and why."),
    ] = False,
    use_sandbox: Annotated[
        bool,
        typer.Option(
            "--sandbox", help="Work on the embedded Megamax, apart from the real one; no account."
        ),
    ] = False,
    watch: Annotated[
        list[str] | None,
        typer.Option(
            "--watch", metavar="DIR", help="A folder to watch; repeatable, replaces MEGAMAX_WATCH."
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option("--config", metavar="FILE", help="An env file, as config.example.env is."),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout", metavar="SECONDS", help="With --scan: give up after this long, exit 75."
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="With --scan: print JSON, a summary or, with --dry-run, each file."
        ),
    ] = False,
    _shown: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Watch folders, and upload every finished video to Megamax, exactly once.

    Without a sub-command it runs in the foreground until SIGTERM or SIGINT; SIGHUP makes it read
    the credentials and the settings again. These options come before a sub-command. Settings come
    from the environment (MEGAMAX_...) or from --config FILE; see docs/configuration.md.
    """
    options = Root(scan, dry_run, use_sandbox, tuple(watch or ()), config, timeout, as_json)
    _check(ctx.invoked_subcommand, options)
    ctx.obj = options
    if ctx.invoked_subcommand is None:
        raise typer.Exit(_work(options))


def _check(command: str | None, options: Root) -> None:
    faults = [
        f"{name} goes with --scan; add it, or leave {name} out"
        for name, given in (
            ("--dry-run", options.dry_run),
            ("--timeout", options.timeout is not None),
            ("--json", options.json),
        )
        if given and not options.scan and command is None
    ]
    if command is not None:
        faults = [
            f"{name} goes with no sub-command; leave it out, or put it behind '{command}' "
            "where that has it"
            for name, given in (
                ("--scan", options.scan),
                ("--dry-run", options.dry_run),
                ("--timeout", options.timeout is not None),
                ("--json", options.json),
            )
            if given
        ]
    if options.timeout is not None and not (math.isfinite(options.timeout) and options.timeout > 0):
        faults.append(f"--timeout: {options.timeout:g} is no duration; give seconds, more than 0")
    if faults:
        raise output.BadUsage(*faults)


def _work(options: Root) -> int:
    if options.dry_run:
        from megamax_sync.cli.preview import preview

        return preview(options)
    if options.scan:
        from megamax_sync.cli.scan import run_scan

        return run_scan(options)
    from megamax_sync.cli.run import run_daemon

    return run_daemon(options)


def run(words: Sequence[str]) -> int:
    """Run the command line; return the exit status. Nothing but a bug gets out as an exception."""
    app = build(words)
    completion.mend(words)
    gc.freeze()
    gc.enable()
    try:
        status = app(args=list(words), prog_name="megamax-sync", standalone_mode=False)
    except typer.TyperException as error:
        output.complain(f"{error.format_message()} (see megamax-sync --help)")
        return output.USAGE
    except (KeyboardInterrupt, typer.Abort):
        return output.INTERRUPTED
    except MegamaxError as error:
        return output.complain_of(error)
    except OSError as error:
        return output.cannot_write(error)
    except SystemExit:
        # Help that nobody reads to its end.
        return output.DONE
    return status if isinstance(status, int) else output.DONE
