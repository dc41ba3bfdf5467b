"""The configuration: all settings, from all their sources, with errors that name the variable."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType

from pydantic import ValidationError

from megamax_sync.config.addresses import HttpAddress
from megamax_sync.config.carry import carried
from megamax_sync.config.paths import AfterDone, default_state_dir
from megamax_sync.config.settings import Settings, variable
from megamax_sync.config.sources import gather
from megamax_sync.config.timetable import BandwidthTimetable, read_timetable
from megamax_sync.errors import ConfigError

__all__ = [
    "AfterDone",
    "BandwidthTimetable",
    "ConfigError",
    "HttpAddress",
    "Settings",
    "carried",
    "load",
    "read_timetable",
]

_NOTHING: Mapping[str, object] = MappingProxyType({})


def load(
    config_file: str | None = None,
    overrides: Mapping[str, object] = _NOTHING,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Read the settings from all sources.

    ``overrides`` come from the command line, by field name, as text or as native values; None and
    empty ones count as not given. Reads files; called again, it reads them again.

    Raises :class:`ConfigError` with one line for each fault, all at once.
    """
    found = gather(config_file, overrides, environ)
    found.values.setdefault("state_dir", default_state_dir(environ))
    faults = list(found.faults)
    try:
        settings = Settings.gathered(found.values, found.sources)
    except ValidationError as error:
        for item in error.errors(include_url=False, include_input=False):
            name = str(item["loc"][0])
            fault = item.get("ctx", {}).get("error", item["msg"])
            faults.append(f"{variable(name)}: {fault}{_origin(found.sources.get(name))}")
    if faults:
        # Outside of the except block: pydantic's error, as a context, would show the values.
        raise ConfigError(*faults)
    return settings


def _origin(source: str | None) -> str:
    """Where to look for a wrong value, unless it is where everybody looks first."""
    return "" if source in {None, "environment", "command line"} else f" (from the {source})"
