"""Writes the command reference from the commands' own help, so that it cannot drift.

``python -m megamax_sync.cli.render`` prints ``docs/cli.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import typer

from megamax_sync.cli.app import build

_WIDTH = 90

_HEAD = """\
# Command line

<!-- Written by `python -m megamax_sync.cli.render`. Change the commands' help instead. -->

Options of the root command come before a sub-command: `megamax-sync --sandbox status`. Login and
key are never taken from the command line; see [configuration](configuration.md).

What people asked for goes to stdout, the log and what went wrong to stderr. With `--json` stdout
holds one JSON document and nothing else. On a terminal `--scan` shows its progress in place of the
log's less important lines; `MEGAMAX_LOG_LEVEL` brings them back.

## Exit status

{statuses}

A reader that closes the pipe early (`megamax-sync ls | head`) is no error. A second SIGTERM or
SIGINT ends the program at once; the next start picks up what that left.

## Beside a running instance

`--scan` and `upload` only put files into the queue while an instance runs on the same state
folder; that one does the work, and they wait for it. If it ends meanwhile, `--scan` takes over.
`upload` takes all the files it was given, or, if one of them cannot be taken, none. A file that
was dropped by `forget` is taken again; one that is done and unchanged makes no new job; one that
failed is left to `retry`.

`pause` lets the uploads that are under way end, and begins no others.

`--scan --json` prints `done`, `failed` (also those of earlier runs that are still there),
`skipped`, `queued` (left for the next run), `waiting` (files that are still being written:
`path`, `path_b64`, `reason`), `jobs` (as in `status --json`), `seconds` and `exit`.
`show --json` prints the job as `status --json` does, with `attempts` as a list, and `history`,
`mirrors`, `direct` and `direct_error`. `ls --json` prints a list. `check --json` prints `exit`,
`counts` by level, and `checks`: `check`, `level` (`ok`, `warning`, `error`), `text`, `remedy`.

## Beside an instance of another version

A queue of an earlier version is brought up to date by the next start, which keeps a copy of it
first. Until then `status` and the like read it as it is, and orders (`pause`, `retry`, …) end with
75 while an instance of that earlier version still runs.
"""

STATUSES = {
    0: "done; for the daemon, and for `sandbox`, a clean stop",
    1: "a file failed, now or earlier, and is still there; an order named a job that does not "
    "exist or that it does not fit; the queue cannot be used; `health`: it does not make progress; "
    "`check`: an error",
    2: "wrong usage or configuration, said in one line a fault on stderr; also a queue that a "
    "later version has written",
    3: "the service rejects the login or key (`--scan`, `upload --wait`, `ls`, `links`, `check`)",
    75: "try later: another instance owns the state folder, `--timeout` is over, uploads are "
    "paused, or (`ls`, `links`) the service does not answer",
    130: "interrupted by SIGINT, or `--scan` by SIGTERM; what is left stays queued",
}


def commands() -> Iterator[tuple[str, str]]:
    """Yield each command's full name and its help."""
    root = typer.main.get_command(build())
    top = typer.Context(root, info_name="megamax-sync", terminal_width=_WIDTH)
    yield "megamax-sync", root.get_help(top)
    for name, command in getattr(root, "commands", {}).items():
        inside = typer.Context(command, info_name=name, parent=top, terminal_width=_WIDTH)
        yield f"megamax-sync {name}", command.get_help(inside)


def markdown() -> str:
    """Return the text of ``docs/cli.md``."""
    rows = [f"| {status} | {meaning} |" for status, meaning in STATUSES.items()]
    parts = [_HEAD.replace("{statuses}", "\n".join(["| status | meaning |", "|---|---|", *rows]))]
    for name, text in commands():
        lines = "\n".join(line.rstrip() for line in text.strip().splitlines())
        parts.append(f"## {name}\n\n```text\n{lines}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(markdown())
