"""Where settings come from, and which of several wins.

The command line, the environment, the ``--config`` file, the credentials folder (systemd's, then
Docker's), in this order. Within the environment and the file, an inline value beats a ``_FILE``.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from megamax_sync.config import envfile
from megamax_sync.config.form import has_control, quoted
from megamax_sync.config.paths import absolute
from megamax_sync.config.settings import PREFIX, SECRETS, Settings, variable

#: Where Docker puts the secrets of a service.
DOCKER_SECRETS = "/run/secrets"

#: What hooks receive: a program started by a hook may well be a megamax-sync.
_HOOK_VARIABLES = frozenset(
    PREFIX + name for name in ("EVENT", "PATH", "HASHID", "SIDECAR", "ERROR")
)
_BY_VARIABLE = {variable(name): name for name in Settings.model_fields}
_FILE_VARIABLES = {f"{variable(name)}_FILE": name for name in SECRETS}

# Far more than any secret or file of settings; /dev/zero named by mistake must not fill memory.
_MAX_SECRET = 64 * 1024
_MAX_CONFIG = 1024 * 1024


@dataclass
class Gathered:
    """Texts (or native values) by field name, where each came from, and what went wrong."""

    values: dict[str, object] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def take(self, name: str, value: object, source: str) -> None:
        """Keep a value, unless an earlier source has given one."""
        if name not in self.sources:
            self.values[name] = value
            self.sources[name] = source


def gather(
    config_file: str | None, overrides: Mapping[str, object], environ: Mapping[str, str]
) -> Gathered:
    """Collect every value that is set, from the strongest source to the weakest."""
    found = Gathered()
    for name, value in overrides.items():
        if value is not None and value not in ("", [], ()):
            found.take(name, value, "command line")
    _take_variables(found, environ, "environment")
    if config_file is not None:
        _take_variables(found, _read_config(found, config_file), f"config file {config_file}")
    for folder in _credential_folders(environ):
        _take_credentials(found, folder)
    return found


def _take_variables(found: Gathered, variables: Mapping[str, str], source: str) -> None:
    known = {name: text for name, text in variables.items() if name.upper().startswith(PREFIX)}
    origin = "" if source == "environment" else f" (in the {source})"
    for name in known:
        if name not in _BY_VARIABLE and name not in _FILE_VARIABLES and name not in _HOOK_VARIABLES:
            found.faults.append(f"{name}: is no setting{origin}; {_suggestion(name)}")
    for name, text in known.items():
        if name in _BY_VARIABLE and text.strip():
            found.take(_BY_VARIABLE[name], text, source)
    for name, text in known.items():
        if name in _FILE_VARIABLES and text.strip():
            _take_secret(found, _FILE_VARIABLES[name], name, text)


def _suggestion(name: str) -> str:
    names = [*_BY_VARIABLE, *_FILE_VARIABLES]
    near = difflib.get_close_matches(name.upper(), names, n=1, cutoff=0.0)
    return f"did you mean {near[0]}?"


def _take_secret(found: Gathered, field_name: str, named_by: str, text: str) -> None:
    if field_name in found.sources:
        return
    try:
        found.take(field_name, _read_secret(text), "secret file")
    except _UnusableFileError as error:
        found.faults.append(f"{named_by}: {quoted(text)} {error}")
        # A weaker source must not step in for one that was meant and is broken.
        found.sources[field_name] = "secret file"


def _credential_folders(environ: Mapping[str, str]) -> Iterator[str]:
    given = environ.get("CREDENTIALS_DIRECTORY", "")
    if given:
        yield given
    yield DOCKER_SECRETS


def _take_credentials(found: Gathered, folder: str) -> None:
    for field_name in SECRETS:
        path = os.path.join(folder, f"megamax_{field_name}")
        if field_name in found.sources or not os.path.lexists(path):
            continue
        try:
            found.take(field_name, _read_secret(path), "credentials folder")
        except _UnusableFileError as error:
            found.faults.append(f"{variable(field_name)}: {quoted(path)} {error}")
            found.sources[field_name] = "credentials folder"


class _UnusableFileError(Exception):
    """A file that was named, and does not hold what it should: ``PROBLEM; REMEDY``."""


def _read(path: str, limit: int) -> bytes:
    try:
        with open(absolute(path), "rb") as file:
            content = file.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise _UnusableFileError(f"cannot be read ({reason}); name a readable file") from None
    if len(content) > limit:
        raise _UnusableFileError("is far too large; name the right file")
    return content


def _read_secret(path: str) -> str:
    try:
        text = _read(path, _MAX_SECRET).decode().strip()
    except UnicodeDecodeError:
        raise _UnusableFileError("is not UTF-8; write the secret alone into it") from None
    if not text:
        raise _UnusableFileError("is empty; write the secret into it")
    if has_control(text):
        raise _UnusableFileError("holds control characters; write the secret alone, on one line")
    return text


def _read_config(found: Gathered, config_file: str) -> dict[str, str]:
    try:
        # Surrogates keep paths whole that are not UTF-8.
        text = _read(config_file, _MAX_CONFIG).decode(errors="surrogateescape")
    except _UnusableFileError as error:
        found.faults.append(f"--config: {quoted(config_file)} {error}")
        return {}
    variables, wrong = envfile.parse(text)
    found.faults += [f"--config: {quoted(config_file)} {fault}" for fault in wrong]
    return variables
