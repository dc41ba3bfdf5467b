"""The kernel's limits on inotify: what they are, and how they are raised."""

from __future__ import annotations

import ctypes
import os

_WATCHES = "/proc/sys/fs/inotify/max_user_watches"


def watches() -> str | None:
    """Return how many folders one user may watch, as the kernel writes it; None if unknown."""
    try:
        with open(_WATCHES, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def remedy(limit: str | None) -> str:
    """Say how to raise the limit on watches, which is ``limit`` now."""
    now = f" (now {limit})" if limit else ""
    return f"raise it with sysctl fs.inotify.max_user_watches=1048576{now}"


def of_instances(error: OSError) -> str:
    """Say why no further inotify instance can be had, and how to allow more."""
    return (
        f"{error.strerror}; more inotify instances are allowed by "
        "sysctl fs.inotify.max_user_instances=1024"
    )


def refusal(folder: bytes) -> OSError | None:
    """Try to watch a folder, on a descriptor of its own; return why the kernel refuses, or None.

    watchdog keeps that to itself for all folders but the first.
    """
    from watchdog.observers import inotify_c

    fd = inotify_c.inotify_init()
    if fd < 0:
        return _last_error()
    try:
        wd = inotify_c.inotify_add_watch(fd, folder, inotify_c.InotifyConstants.IN_CREATE)
        return None if wd >= 0 else _last_error()
    finally:
        os.close(fd)


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
