"""Writes the example env file and the reference from the settings, so that neither can drift.

``python -m megamax_sync.config.render env`` prints ``config.example.env``, and ``… markdown``
prints ``docs/configuration.md``.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from megamax_sync.config.form import Form
from megamax_sync.config.settings import SECRETS, SECTIONS, Settings, variable

_WIDTH = 98
_NOTHING: Mapping[str, str] = MappingProxyType({})

_ENV_HEAD = """\
Settings of megamax-sync, each with its default. Take the # away from a line to set it.

One NAME=value a line. A # begins a comment at the beginning of a line only. Quotes around a whole
value are optional, nothing is interpolated, and an empty value is as good as none. Seconds may be
fractions. K, M, G and T are powers of 1024. The file suits systemd's EnvironmentFile=, Docker's
--env-file (which takes quotes as part of the value) and megamax-sync --config.
"""

_MARKDOWN_HEAD = """\
# Configuration

<!-- Written by `python -m megamax_sync.config.render markdown`. Change the settings instead. -->

Every setting is an environment variable. The same names can stand in an env file
(`megamax-sync --config FILE`); [`config.example.env`](../config.example.env) has them all.

## Which value wins

1. the command line
2. the environment
3. the `--config` file
4. for secrets, the credentials folder: `$CREDENTIALS_DIRECTORY/megamax_key` (systemd's
   `LoadCredential=`), then `/run/secrets/megamax_key` (Docker), and `megamax_login`,
   `megamax_http_token`, `megamax_webhook_secret` likewise
5. the default

A secret can also be in a file of its own: `MEGAMAX_KEY_FILE=/path`. Within one source the value
itself beats the file. Space around a secret is dropped. A file that is named but cannot be read,
or is empty, is an error; no weaker source steps in for it.

## How values are written

- An empty value is as good as none.
- Sizes and rates take `K`, `M`, `G` and `T`, in either case: powers of 1024. Fractions (`1.5G`)
  and the longer `KB` and `KiB` are accepted. A number without a letter is bytes, but for
  `MEGAMAX_BWLIMIT`, which follows rclone: there it is KiB a second, and `512B` is bytes.
- Durations are seconds, without a unit, and may be fractions.
- Relative paths are resolved when the program starts, and `~` is expanded. Symlinks in them stay.
- Lists are separated by commas, folders by `:`. So an item of a comma-separated list cannot hold
  a comma, and a watched folder whose name holds a `:` has to be given with `--watch`.
- In a timetable a time without a weekday holds for every day. Before the first time of the week
  the last one's rate holds. Times are local.

In an env file each line is `NAME=value`; `export` before it is ignored. A line that begins with
`#` or `;` is a comment; a `#` further on is part of the value. A value may stand in single quotes
(taken as it is) or in double quotes (a backslash before `"`, `\\`, `$` or a backtick is dropped).
Nothing is interpolated, and a value cannot go on over the end of its line. Names that do not
begin with `MEGAMAX_` are ignored.

A wrong value, and a name beginning with `MEGAMAX_` that is no setting, ends the program with exit
status 2 and one line for each fault. The variables that hooks receive (`MEGAMAX_EVENT`,
`MEGAMAX_PATH`, `MEGAMAX_HASHID`, `MEGAMAX_SIDECAR`, `MEGAMAX_ERROR`) are known and ignored.
"""


@dataclass(frozen=True)
class Entry:
    """One variable as the texts show it. ``default`` is empty for none."""

    name: str
    default: str
    what: str
    description: str


def sections() -> Iterator[tuple[str, list[Entry]]]:
    """All variables by section, in the order of the settings; a secret's ``_FILE`` follows it."""
    entries: list[Entry] = []
    title = ""
    for field, info in Settings.model_fields.items():
        if field in SECTIONS:
            if entries:
                yield title, entries
            title, entries = SECTIONS[field], []
        form = next(item for item in info.metadata if isinstance(item, Form))
        name = variable(field)
        entries.append(Entry(name, str(info.default), form.what, info.description or ""))
        if field in SECRETS:
            description = f"A file that holds {name}."
            entries.append(Entry(f"{name}_FILE", "", "a file", description))
    yield title, entries


def env(given: Mapping[str, str] = _NOTHING, notes: Mapping[str, str] = _NOTHING) -> str:
    """The text of ``config.example.env``.

    ``given`` says what to set, ``notes`` what else to say of a setting, both by field.
    """
    values = {variable(field): text for field, text in given.items()}
    more = {variable(field): text for field, text in notes.items()}
    lines = [f"# {line}".rstrip() for line in _ENV_HEAD.splitlines()]
    for title, entries in sections():
        lines += ["", f"# --- {title} ---"]
        for entry in entries:
            lines += ["", *_comment(entry.description)]
            lines += _comment(f"Value: {entry.what}. Default: {_short(entry.default)}.")
            lines += _comment(more.get(entry.name, ""))
            value = values.get(entry.name)
            lines.append(
                f"#{entry.name}={entry.default}" if value is None else f"{entry.name}={value}"
            )
    return "\n".join(lines) + "\n"


def markdown() -> str:
    """The text of ``docs/configuration.md``."""
    lines = [_MARKDOWN_HEAD.rstrip()]
    for title, entries in sections():
        lines += ["", f"## {title}", "", "| variable | default | value | meaning |"]
        lines.append("|---|---|---|---|")
        for entry in entries:
            default = f"`{entry.default}`" if entry.default else "none"
            cells = (f"`{entry.name}`", default, entry.what, entry.description)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _comment(prose: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(prose, _WIDTH - 2, break_on_hyphens=False)]


def _short(default: str) -> str:
    if not default:
        return "none"
    return default if len(default) < 60 else "as below"


if __name__ == "__main__":
    sys.stdout.write({"env": env, "markdown": markdown}[sys.argv[1]]())
