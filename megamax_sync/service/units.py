"""The texts of the unit files, from the templates beside this module.

``python -m megamax_sync.service.units DIR`` writes the examples in ``deploy/systemd/``.
"""

from __future__ import annotations

from importlib import resources

from megamax_sync.errors import ConfigError

UNIT = "megamax-sync.service"
#: Where the examples, which no installation has made, look for the program.
_PROGRAM = "/usr/local/bin/megamax-sync"


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
    """Quote for a unit file: one word, in which nothing is expanded."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def folders_in(folders: tuple[str, ...]) -> tuple[str, ...]:
    """Return folders that a unit file can name.

    Raises :class:`ConfigError` for those that it cannot.
    """
    faults = [
        f"--watch: {folder!a} cannot stand in a unit file (it has a ':', a control character, or "
        "is no UTF-8); rename the folder, or watch the one above it"
        for folder in folders
        if ":" in folder or not folder.isprintable()
    ]
    if faults:
        raise ConfigError(*faults)
    return folders


def media(
    folders: tuple[str, ...],
    user: str | None,
    group: str | None,
    extra_group: str | None,
    *,
    at_home: bool,
) -> str:
    """Return the drop-in of the system's service: the folders, and as whom they are read.

    ``at_home``: folders or the program lie below /home, /root or /run/user.
    """
    names = " ".join(quoted(folder) for folder in folders)
    lines = [
        "# Written by megamax-sync install-service, which writes it anew when it is called again.",
        "",
        "[Unit]",
        "# Start after the disks are there, and never look into an empty mount point.",
        f"RequiresMountsFor={names}",
        "",
        "[Service]",
        f"Environment={quoted('MEGAMAX_WATCH=' + ':'.join(folders))}",
        "# The sidecars lie beside the videos.",
        f"ReadWritePaths={names}",
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


def user_media(folders: tuple[str, ...]) -> str:
    """Return the drop-in of a user's own service."""
    return (
        "# Written by megamax-sync install-service, which writes it anew when it is called again.\n"
        f"\n[Service]\nEnvironment={quoted('MEGAMAX_WATCH=' + ':'.join(folders))}\n"
    )


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
