"""Writes the manual page from the commands' own help and the settings, as the references are.

``python -m megamax_sync.cli.man`` prints ``deploy/man/megamax-sync.1``.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import typer

from megamax_sync import __version__
from megamax_sync.cli.app import build
from megamax_sync.cli.render import STATUSES
from megamax_sync.config.render import sections

_DESCRIPTION = """\
megamax-sync watches folders and uploads every finished video to Megamax, exactly once. It follows
it until it is converted, and leaves its mirror and direct links in a small JSON file beside it.

Login and key are never taken from the command line. They come from the environment, from files
that it names, from systemd's credentials or from Docker's secrets.
"""
_FILES = (
    ("NAME.megamax.json", "The sidecar of the video NAME: hashid, status, mirrors, direct links."),
    ("~/.local/state/megamax-sync/queue.db", "The queue, unless MEGAMAX_STATE_DIR says otherwise."),
    ("queue.db.before-N", "Its copy from before an upgrade to schema N; the newest three stay."),
    ("/etc/megamax-sync/config.env", "The settings of the service."),
    ("/etc/systemd/system/megamax-sync.service", "The service, as install-service writes it."),
)


def page() -> str:
    """Return the page, in man(7)'s macros."""
    lines = [
        ".\\\" Written by `python -m megamax_sync.cli.man`. Change the commands' help instead.",
        f'.TH MEGAMAX\\-SYNC 1 "" "megamax\\-sync {__version__}" "User Commands"',
        ".SH NAME",
        "megamax\\-sync \\- upload every finished video to Megamax, exactly once",
        ".SH SYNOPSIS",
    ]
    root: Any = typer.main.get_command(build())
    top = typer.Context(root, info_name="megamax-sync")
    lines += [".B megamax\\-sync", "[\\fIOPTIONS\\fR] [\\fICOMMAND\\fR [\\fIARGUMENTS\\fR]]"]
    lines += [".SH DESCRIPTION", *_prose(_DESCRIPTION), ".PP", *_prose(root.help or "")]
    lines += [".SH OPTIONS", *_options(root, top)]
    lines.append(".SH COMMANDS")
    for name, command in root.commands.items():
        inside = typer.Context(command, info_name=name, parent=top)
        usage = " ".join(command.collect_usage_pieces(inside))
        lines += [f".SS {_plain(name)} {_plain(usage)}", *_prose(command.help or "")]
        lines += _options(command, inside)
    lines.append(".SH EXIT STATUS")
    for status, meaning in STATUSES.items():
        lines += [".TP", f".B {status}", *_prose(meaning.replace("`", ""))]
    lines += [".SH ENVIRONMENT", *_prose("The same names can stand in the file of \\-\\-config.")]
    for title, entries in sections():
        lines.append(f".SS {_plain(title)}")
        for entry in entries:
            # So that a long list can be broken.
            default = entry.default.replace(",", ", ")
            default = f" Default: {default}." if default else ""
            lines += [".TP", f".B {_plain(entry.name)}", *_prose(entry.description + default)]
    lines.append(".SH FILES")
    for path, what in _FILES:
        lines += [".TP", f".I {_plain(path)}", *_prose(what)]
    lines += [".SH SEE ALSO", ".BR systemctl (1),", ".BR systemd.exec (5)"]
    return "\n".join(lines) + "\n"


def _options(command: Any, context: typer.Context) -> Iterator[str]:
    for param in command.get_params(context):
        record = param.get_help_record(context)
        if record is not None:
            names, text = record
            yield from (".TP", f".B {_plain(names)}", *_prose(text or "See above."))


def _prose(text: str) -> Iterator[str]:
    """Yield a text's lines, its paragraphs apart."""
    for number, paragraph in enumerate(text.strip().split("\n\n")):
        if number:
            yield ".PP"
        for line in textwrap.wrap(paragraph, 76, break_on_hyphens=False, break_long_words=False):
            yield _plain(line)


def _plain(text: str) -> str:
    """Keep roff from obeying what is meant to be read."""
    text = text.replace("\\-", "-").replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text.startswith((".", "'")) else text


if __name__ == "__main__":
    sys.stdout.write(page())
