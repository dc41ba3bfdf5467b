"""What an installation writes, decided before anything is written."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from megamax_sync.errors import ConfigError
from megamax_sync.service import units

#: The credentials' files, as the settings look for them in a credentials folder.
LOGIN, KEY = "megamax_login", "megamax_key"
#: Those that a service may have besides.
FURTHER = ("megamax_http_token", "megamax_webhook_secret")
#: What the units let the service write, and make for it.
_OWN_FOLDERS = ("/var/lib/megamax-sync", "/run/megamax-sync")
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Places:
    """Where files go. ``root`` is put before every path, as with ``systemctl --root``."""

    units: str
    config: str
    root: str = ""
    user: bool = False

    @classmethod
    def system(cls, root: str = "") -> Places:
        """The machine's own."""
        return cls("/etc/systemd/system", "/etc/megamax-sync", root)

    @classmethod
    def of_user(cls, environ: Mapping[str, str], root: str = "") -> Places:
        """The user's own."""
        home = os.path.expanduser("~")
        config = environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
        return cls(
            os.path.join(config, "systemd/user"), os.path.join(config, "megamax-sync"), root, True
        )

    @property
    def manifest(self) -> str:
        """The list of what was written."""
        return os.path.join(self.config, "installed.json")

    @property
    def settings(self) -> str:
        """The env file."""
        return os.path.join(self.config, "config.env")

    @property
    def environment(self) -> dict[str, str]:
        """What the units say of the place of the queue, unless the settings do."""
        if self.user:
            return {"XDG_STATE_HOME": os.path.expanduser("~/.local/state")}
        return {"STATE_DIRECTORY": "/var/lib/megamax-sync"}

    def real(self, path: str) -> str:
        """Return where a path really is."""
        return self.root.rstrip("/") + path if self.root else path


@dataclass(frozen=True)
class File:
    """One file to be written."""

    path: str
    content: bytes
    mode: int = 0o644
    #: Not to be shown.
    secret: bool = False
    #: The user's own from the moment it is there: never overwritten, and left once changed.
    kept: bool = False


@dataclass(frozen=True)
class Plan:
    """All files, and the service's own user if it needs one."""

    files: tuple[File, ...]
    own_user: bool


def plan(
    places: Places,
    folders: tuple[str, ...],
    credentials: tuple[str | None, str | None],
    config: str,
    program: tuple[str, ...],
    *,
    written: Mapping[str, str] = _NOTHING,
    state_dir: str | None = None,
    further: Mapping[str, str] = _NOTHING,
) -> Plan:
    """Decide what to write. None as a credential: the file that is there stays.

    ``written`` are folders besides the watched ones that the settings have written, by the setting,
    ``state_dir`` is that of the queue if it is set, ``further`` the credentials in :data:`FURTHER`.
    Raises :class:`ConfigError` for folders that cannot stand in a unit, or are not there, and for a
    program that the service could not run.
    """
    units.folders_in(folders)
    start = units.command(program)
    loaded = {
        name: os.path.join(places.config, name)
        for name in FURTHER
        if name in further or os.path.lexists(places.real(os.path.join(places.config, name)))
    }
    drop_in = os.path.join(places.units, f"{units.UNIT}.d/media.conf")
    unit = os.path.join(places.units, units.UNIT)
    own_user = False
    if places.user:
        files = [
            _file(unit, units.user_unit(start)),
            _file(drop_in, units.user_media(folders, loaded)),
        ]
    else:
        _require_reach(program[0])
        others = {name: path for name, path in written.items() if not _is_own(path)}
        units.require_writable(others)
        also = tuple(dict.fromkeys(others.values()))
        user, group = _owner(folders)
        own_user = user is None
        extra = _group(folders) if own_user else None
        scan = os.path.join(places.units, "megamax-sync-scan.service")
        at_home = any(_is_at_home(path) for path in (program[0], *folders, *also))
        text = units.media(
            folders,
            user,
            group,
            extra,
            at_home=at_home,
            written=also,
            state_dir=None if state_dir is None or _is_own(state_dir) else state_dir,
            credentials=loaded,
        )
        files = [
            _file(unit, units.system_unit(start)),
            _file(drop_in, text),
            _file(scan, units.scan_unit(start)),
            _file(f"{scan}.d/media.conf", text),
            _file(
                os.path.join(places.units, "megamax-sync-scan.timer"),
                units.template("megamax-sync-scan.timer"),
            ),
        ]
        if own_user:
            files.append(_file("/etc/sysusers.d/megamax-sync.conf", units.sysusers()))
    for name, secret in zip((LOGIN, KEY), credentials, strict=True):
        if secret is not None:
            path = os.path.join(places.config, name)
            files.append(File(path, secret.encode() + b"\n", 0o600, secret=True))
    for name, secret in further.items():
        path = os.path.join(places.config, name)
        files.append(File(path, secret.encode() + b"\n", 0o600, secret=True))
    content = config.encode(errors="surrogateescape")
    files.append(File(places.settings, content, kept=True))
    return Plan(tuple(files), own_user)


def _file(path: str, text: str) -> File:
    return File(path, text.encode())


def _is_own(path: str) -> bool:
    """Tell whether the units let it be written in any case."""
    real = os.path.realpath(path)
    return any(os.path.commonpath([real, top]) == top for top in _OWN_FOLDERS)


def _is_at_home(path: str) -> bool:
    """Tell whether ProtectHome=yes would hide it."""
    real = os.path.realpath(path)
    return any(os.path.commonpath([real, top]) == top for top in ("/home", "/root", "/run/user"))


def _owner(folders: tuple[str, ...]) -> tuple[str | None, str | None]:
    """Return the user and group to whom all the folders belong; None for root and for several."""
    found = {(status.st_uid, status.st_gid) for status in map(os.stat, folders)}
    if len({uid for uid, _ in found}) != 1:
        return None, None
    uid, gid = min(found)
    try:
        return (pwd.getpwuid(uid).pw_name, grp.getgrgid(gid).gr_name) if uid else (None, None)
    except KeyError:
        return None, None


def _group(folders: tuple[str, ...]) -> str | None:
    """Return the group that may write in all the folders; None if there is no such one."""
    found = {status.st_gid for status in map(os.stat, folders) if status.st_mode & stat.S_IWGRP}
    gid = found.pop() if len(found) == 1 else 0
    try:
        return grp.getgrgid(gid).gr_name if gid else None
    except KeyError:
        return None


def _require_reach(program: str) -> None:
    """Refuse a program that only this user can reach: the service runs as another one."""
    path = os.path.realpath(program)
    if not os.stat(path).st_mode & stat.S_IXOTH:
        raise ConfigError(_out_of_reach(program, path))
    while path != "/":
        path = os.path.dirname(path)
        if not os.stat(path).st_mode & stat.S_IXOTH:
            raise ConfigError(_out_of_reach(program, path))


def _out_of_reach(program: str, path: str) -> str:
    return (
        f"install-service: {program} cannot be run by the service's user, who may not pass "
        f"{path}; install megamax-sync where everybody can read it, as in /opt/megamax-sync"
    )
