"""The environment of child processes: what they need, and nothing that is secret or ours alone."""

from __future__ import annotations

from collections.abc import Mapping

#: What a service manager gives to this process and to no other.
_OURS = frozenset({"CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"})


def child_environment(environ: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` without any ``MEGAMAX_`` variable and what is this process's own.

    ``extra`` comes on top.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if not name.upper().startswith("MEGAMAX_") and name not in _OURS
    }
    return {**kept, **extra}
