"""What ``install-service`` takes over of the settings that it was given."""

from __future__ import annotations

import os

from megamax_sync.cli import output
from megamax_sync.cli.context import Root
from megamax_sync.config import Settings, carried, load
from megamax_sync.config.render import env
from megamax_sync.config.settings import variable
from megamax_sync.errors import ConfigError
from megamax_sync.service import Places, units
from megamax_sync.service.plan import FURTHER


def settings_for(
    root: Root, watch: list[str] | None, places: Places
) -> tuple[Settings, Settings, str]:
    """Return the settings as given, as the service will have them, and a text for its config.env.

    Raises :class:`ConfigError`, with a line for each that the service would not have.
    """
    real = places.real(places.settings)
    there = real if os.path.lexists(real) else None
    config = root.config or there
    folders = tuple(watch or root.watch)
    given = Root(watch=folders, config=config).settings()
    texts, secrets = carried(given, config, os.environ)
    if there is None:
        if secrets:
            raise ConfigError(*(_is_secret(name, places.settings) for name in secrets))
        note = f"Here it has no effect: it stands in {units.UNIT}.d/media.conf (--watch)."
        return given, given, env(texts, {"watch": note})
    kept = load(there, {"watch": folders or given.watch}, places.environment)
    faults = [
        f"{variable(name)}: differs from what {places.settings} says, which is yours and is left "
        "as it is; change it there, or unset it here"
        for name in (*texts, *secrets)
        if getattr(given, name) != getattr(kept, name)
    ]
    if faults:
        raise ConfigError(*faults)
    _say_if_shadowed(load(there, {}, {}).watch, given.watch, places.settings)
    return given, kept, env()


def _is_secret(name: str, path: str) -> str:
    return (
        f"{variable(name)}: is a secret, and {path} is written for everybody to read; unset it "
        "here, and write it there afterwards, once others may not read that file"
    )


def _say_if_shadowed(said: tuple[str, ...], watch: tuple[str, ...], path: str) -> None:
    if said and said != watch:
        output.complain(
            f"MEGAMAX_WATCH in {path} has no effect: the service watches {':'.join(watch)}"
        )


def written(settings: Settings) -> dict[str, str]:
    """Name the folders, by their settings, that are written besides the watched ones."""
    found = {
        "MEGAMAX_SIDECAR_DIR": settings.sidecar_dir,
        "MEGAMAX_AFTER_DONE": settings.after_done.target,
        "MEGAMAX_HTTP": os.path.dirname(settings.http.path or "") if settings.http else None,
    }
    return {name: path for name, path in found.items() if path}


def further(settings: Settings) -> dict[str, str]:
    """Return the secrets besides login and key that have credential files."""
    found = {name: getattr(settings, name.removeprefix("megamax_")) for name in FURTHER}
    return {name: secret.get_secret_value() for name, secret in found.items() if secret}
