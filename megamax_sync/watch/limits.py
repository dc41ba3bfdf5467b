"""The kernel's limits on inotify: what they are, and how they are raised."""

from __future__ import annotations

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
