"""The settings, the state folder, and the kernel's limits."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator

from megamax_sync.clock import Clock
from megamax_sync.config import Settings
from megamax_sync.doctor.finding import Finding, error, fine, warning
from megamax_sync.errors import ConfigError, MegamaxError, StoreEmpty
from megamax_sync.filesystem import filesystem_type, is_remote
from megamax_sync.state import StateFolder
from megamax_sync.store import Store
from megamax_sync.watch import limits

#: Bytes of free space below which a queue soon cannot be written, and with which it is in doubt.
_TOO_LITTLE, _LITTLE = 16 << 20, 256 << 20


def settings_read(settings: Settings) -> Iterator[Finding]:
    """Say which settings are set, and where each came from; no values, some are secret."""
    came = ", ".join(f"{name} ({source})" for name, source in sorted(settings.sources.items()))
    yield fine("settings", f"read as {_user()}: {came or 'all defaults'}")
    try:
        settings.require_watch()
    except ConfigError as missing:
        yield error("watched folders", *_parted(str(missing)))


def state(settings: Settings) -> Iterator[Finding]:
    """Look at the state folder: usable, in use, with space, and with a whole queue?"""
    folder = StateFolder(settings.state_dir)
    there = _nearest(folder.path)
    if not os.access(there, os.W_OK | os.X_OK) or not os.path.isdir(there):
        yield error(
            "state folder",
            f"{folder.path} cannot be written by {_user()}",
            "set MEGAMAX_STATE_DIR to a folder of this user, or check as the user of the service",
        )
        return
    if is_remote(os.fsencode(there)):
        kind = filesystem_type(os.fsencode(there))
        yield warning(
            "state folder",
            f"{folder.path} is on {kind}, where locks and power cuts are less safe",
            "put MEGAMAX_STATE_DIR on a local disk",
        )
    else:
        yield fine("state folder", folder.path)
    yield space("free space", there)
    if folder.in_use():
        yield fine("instance", f"one works on it, as process {folder.owner() or 'unknown'}")
    else:
        yield fine("instance", "none runs on this state folder")
    yield from _queue(folder)


def _queue(folder: StateFolder) -> Iterator[Finding]:
    if not os.path.lexists(folder.queue):
        yield fine("queue", "none yet; the first start makes it")
        return
    try:
        with Store(folder.queue, Clock(), writable=False) as store:
            counts = store.views.counts()
    except StoreEmpty:
        yield fine("queue", "empty yet")
    except MegamaxError as broken:
        yield error(
            "queue",
            str(broken),
            "docs/operations.md says how to restore a copy (queue.db.before-…, or your backups)",
        )
    else:
        said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        yield fine("queue", said or "empty")


def space(check: str, path: str) -> Finding:
    """Judge the free space that this user has on a path's file system."""
    try:
        status = os.statvfs(path)
    except OSError as failed:
        return warning(check, f"unknown for {path} ({failed.strerror})", "look with df")
    free = status.f_bavail * status.f_frsize
    said = f"{free / (1 << 20):.0f} MiB on the file system of {path}"
    if free < _TOO_LITTLE:
        return error(check, said, "make room: without it the queue cannot be written")
    if free < _LITTLE:
        return warning(check, said, "make room soon")
    return fine(check, said)


def watches(settings: Settings, folders: int) -> Iterator[Finding]:
    """Compare the folders with how many this user may watch."""
    if settings.observer == "polling":
        yield fine("inotify limits", "not needed, MEGAMAX_OBSERVER=polling")
        return
    limit = limits.watches()
    if limit is None or not limit.isdecimal():
        yield warning(
            "inotify limits", "cannot be read here", "folders beyond the limit are polled"
        )
    elif folders > int(limit):
        yield warning(
            "inotify limits",
            f"{folders} folders, and {limit} may be watched: the rest is scanned every 10 s",
            limits.remedy(limit),
        )
    elif folders * 2 > int(limit):
        # Other programs of this user share it.
        yield warning(
            "inotify limits", f"{folders} folders of {limit} that may be watched",
            limits.remedy(limit),
        )  # fmt: skip
    else:
        yield fine("inotify limits", f"{folders} folders of {limit} that may be watched")


def _nearest(path: str) -> str:
    """Return the path, or the nearest folder above it that exists."""
    while not os.path.lexists(path) and path != "/":
        path = os.path.dirname(path)
    return path


def _user() -> str:
    try:
        return f"user {pwd.getpwuid(os.geteuid()).pw_name}"
    except KeyError:
        return f"user {os.geteuid()}"


def _parted(fault: str) -> tuple[str, str]:
    """Part a fault into what is wrong, and the remedy."""
    text, _, remedy = fault.partition("; ")
    return text, remedy
