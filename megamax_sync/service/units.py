"""The texts of the unit files, from the templates beside this module.

``python -m megamax_sync.service DIR`` writes the examples in ``deploy/systemd/``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import resources
from types import MappingProxyType

from megamax_sync.errors import ConfigError

UNIT = "megamax-sync.service"
#: Where the examples, which no installation has made, look for the program.
_PROGRAM = "/usr/local/bin/megamax-sync"
_NOTHING: Mapping[str, str] = MappingProxyType({})


def template(name: str) -> str:
    """Return a template as it is."""
    return (resources.files("megamax_sync.service") / "units" / name).read_text("utf-8")


def system_unit(program: str) -> str:
    """Return the unit of the system's service; ``program`` as ExecStart takes it."""
    return template(UNIT).replace("@PROGRAM@", program)


def user_unit(program: str) -> str:
    """Return the unit of a user's own service."""
    return template(f"user-{UNIT}").replace("@PROGRAM@", program)


def scan_unit(program: str) -> str:
    """Return the unit of the backfill, protected as the service is."""
    whole = template(UNIT)
    protection = whole[whole.index("User=") : whole.index("[Install]")].rstrip()
    text = template("megamax-sync-scan.service").replace("@PROTECTION@", protection)
    return text.replace("@PROGRAM@", program)


def quoted(text: str) -> str:
    """Quote for a unit file: one word, in which nothing is expanded but variables of a command."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def command(words: Sequence[str]) -> str:
    """Quote a command for ExecStart, which expands variables in all its words but the first."""
    program, *arguments = words
    return " ".join([quoted(program), *(quoted(one).replace("$", "$$") for one in arguments)])


def folders_in(folders: tuple[str, ...]) -> tuple[str, ...]:
    """Return folders that a unit file can name.

    Raises :class:`ConfigError` for those that it cannot.
    """
    faults = [
        f"--watch: {folder!a} cannot stand in a unit file (it has a ':', a control character, or "
        "is no UTF-8); rename the folder, or watch the one above it"
        for folder in folders
        if ":" in folder or not _can_stand(folder)
    ]
    if faults:
        raise ConfigError(*faults)
    return folders


def _can_stand(path: str) -> bool:
    """Tell whether a unit file can name a path: in UTF-8, and without control characters."""
    return not any(one < " " or one == "\x7f" or "\ud800" <= one <= "\udfff" for one in path)


def require_writable(places: Mapping[str, str]) -> None:
    """Refuse folders that are to be written and that a unit cannot let be written.

    ``places`` names them by what asks for them. Raises :class:`ConfigError`.
    """
    faults = [
        f"{name}: {path!a} cannot stand in a unit file (it has a control character, or is no "
        "UTF-8); rename it"
        for name, path in places.items()
        if not _can_stand(path)
    ]
    faults += [
        f"{name}: '{path}' is no folder, and the service may only write where there is one; make "
        "it first, for the service's user"
        for name, path in places.items()
        if _can_stand(path) and not os.path.isdir(path)
    ]
    if faults:
        raise ConfigError(*faults)


def media(
    folders: tuple[str, ...],
    user: str | None,
    group: str | None,
    extra_group: str | None,
    *,
    at_home: bool,
    written: tuple[str, ...] = (),
    state_dir: str | None = None,
    credentials: Mapping[str, str] = _NOTHING,
) -> str:
    """Return the drop-in of the system's service: the folders, and as whom they are read.

    ``at_home``: folders or the program lie below /home, /root or /run/user. ``written`` are
    further folders that the settings have written, ``state_dir`` that of the queue where it is not
    the unit's own, ``credentials`` further ones, name → file.
    """
    # The program makes it if it can; without it there is a message that says more than systemd's.
    state = f" {quoted('-' + state_dir)}" if state_dir else ""
    names = " ".join(quoted(folder) for folder in (*folders, *written))
    lines = [
        "# Written by megamax-sync install-service, which writes it anew when it is called again.",
        "",
        "[Unit]",
        "# Start after the disks are there, and never look into an empty mount point.",
        f"RequiresMountsFor={names}",
        "",
        "[Service]",
        *_watch(folders),
        "# The sidecars lie beside the videos; and what else the settings want to be written. All",
        "# other folders are read-only: when MEGAMAX_SIDECAR_DIR, MEGAMAX_AFTER_DONE, a socket in",
        "# MEGAMAX_HTTP or MEGAMAX_STATE_DIR changes in config.env, call install-service again.",
        f"ReadWritePaths={names}{state}",
        *_further(credentials),
    ]
    if at_home:
        lines += ["# Some of this lies below /home.", "ProtectHome=read-only"]
    if user is not None:
        lines += [
            "# The owner of the videos: it may read them, write beside them, and ask the kernel",
            "# whether anybody still writes to one.",
            f"User={user}",
            f"Group={group}",
        ]
    if extra_group is not None:
        lines += [
            "# The group of the videos, whose folders have to be group-writable for the sidecars.",
            f"SupplementaryGroups={extra_group}",
        ]
    return "\n".join(lines) + "\n"


def user_media(folders: tuple[str, ...], credentials: Mapping[str, str] = _NOTHING) -> str:
    """Return the drop-in of a user's own service; ``credentials`` as in :func:`media`."""
    lines = [
        "# Written by megamax-sync install-service, which writes it anew when it is called again.",
        "",
        "[Service]",
        *_watch(folders),
        *_further(credentials),
    ]
    return "\n".join(lines) + "\n"


def _watch(folders: tuple[str, ...]) -> list[str]:
    return [
        "# A MEGAMAX_WATCH in config.env has no effect beside this one. To watch other folders,",
        "# call install-service with them: they have to stand in this file in more than one place.",
        f"Environment={quoted('MEGAMAX_WATCH=' + ':'.join(folders))}",
    ]


def _further(credentials: Mapping[str, str]) -> list[str]:
    # All behind the first colon is the path, quotes included.
    return [
        f"LoadCredential={name}:{path.replace('%', '%%')}" for name, path in credentials.items()
    ]


def sysusers() -> str:
    """Return systemd-sysusers' line for the service's own user."""
    return 'u megamax-sync - "Uploads videos to Megamax" /var/lib/megamax-sync /usr/sbin/nologin\n'


def examples() -> dict[str, str]:
    """Return what ``deploy/systemd/`` holds: name → text."""
    return {
        UNIT: system_unit(_PROGRAM),
        f"{UNIT}.d/media.conf": template("media.conf"),
        f"{UNIT}.d/lease.conf.example": template("lease.conf"),
        "megamax-sync-scan.service": scan_unit(_PROGRAM),
        "megamax-sync-scan.timer": template("megamax-sync-scan.timer"),
        "megamax-sync.sysusers": sysusers(),
        f"user/{UNIT}": user_unit("%h/.local/bin/megamax-sync"),
    }
