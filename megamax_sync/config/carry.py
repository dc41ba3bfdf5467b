"""The settings that are set somewhere, as lines for the env file of a service."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import SecretStr

from megamax_sync.config import envfile
from megamax_sync.config.settings import SECRETS, Settings, variable
from megamax_sync.config.sources import gather
from megamax_sync.errors import ConfigError


def carried(
    settings: Settings, config_file: str | None, environ: Mapping[str, str]
) -> tuple[dict[str, str], list[str]]:
    """Return, by field, what an env file says for those that the environment or a file sets.

    ``settings`` are what was made of these sources. Paths are absolute, as the service works in
    another folder. MEGAMAX_WATCH is left out, and so are the secrets that have files of their own;
    the names of the other secrets are returned besides.
    Raises :class:`ConfigError` for what no such line can say.
    """
    texts, secrets, faults = {}, [], []
    for name, value in gather(config_file, {}, environ).values.items():
        if name == "watch" or name in SECRETS:
            continue
        if _is_secret(getattr(settings, name)):
            secrets.append(name)
            continue
        try:
            texts[name] = envfile.written(_absolute(settings, name) or str(value))
        except ValueError:
            faults.append(f"{variable(name)}: goes on over a line's end; write it on one line")
    if faults:
        raise ConfigError(*faults)
    return texts, secrets


def _is_secret(value: object) -> bool:
    """Tell whether a setting's value is one, or holds some."""
    return any(
        isinstance(one, SecretStr) for one in (value if isinstance(value, tuple) else (value,))
    )


def _absolute(settings: Settings, name: str) -> str | None:
    """Say a setting that names a path so that it does not depend on where it is read."""
    if name == "after_done" and settings.after_done.target is not None:
        return f"move:{settings.after_done.target}"
    if name == "http" and settings.http is not None and settings.http.path is not None:
        return f"unix:{settings.http.path}"
    if name in {"sidecar_dir", "state_dir", "ca_file"}:
        return str(getattr(settings, name))
    return None
