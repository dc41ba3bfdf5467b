"""The watched folders, as a scan needs them: each of them there."""

from __future__ import annotations

import os
import stat

from megamax_sync.config import Settings
from megamax_sync.errors import ConfigError


def watched_folders(settings: Settings) -> list[bytes]:
    """Return the watched folders, each of them there. Raises :class:`ConfigError`."""
    by_option = settings.sources.get("watch") == "command line"
    variable = "--watch" if by_option else "MEGAMAX_WATCH"
    faults = []
    for folder in settings.require_watch():
        try:
            kind = "" if stat.S_ISDIR(os.stat(folder).st_mode) else "it is no folder"
            kind = kind or ("" if os.access(folder, os.R_OK | os.X_OK) else "it cannot be read")
        except OSError as error:
            kind = error.strerror or "it cannot be read"
        if kind:
            faults.append(
                f"{variable}: '{folder}' cannot be scanned ({kind}); make the folder, or name "
                "another one with --watch or MEGAMAX_WATCH"
            )
    if faults:
        raise ConfigError(*faults)
    return [os.fsencode(folder) for folder in settings.watched]
