"""The environment of the programs that are run for the user: his own, without what is ours."""

from __future__ import annotations

from collections.abc import Mapping

#: What holds a secret, or says where one lies. Addresses of notifications, webhooks and proxies
#: carry tokens and passwords.
SECRET = frozenset(
    f"MEGAMAX_{name}{suffix}"
    for name in ("LOGIN", "KEY", "HTTP_TOKEN", "WEBHOOK_SECRET", "WEBHOOK", "NOTIFY", "PROXY")
    for suffix in ("", "_FILE")
) | {"CREDENTIALS_DIRECTORY"}

#: What a service manager gave to this process alone: a child that spoke for us would confuse it.
_OURS = frozenset(
    {"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"}
)

#: Shorter values would take every other variable with them.
_LEAST = 4


def child_environment(environ: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """Return what a child process gets: ``environ`` without our settings, then ``extra``.

    A variable of any name that repeats one of the secrets (an ``.env`` file that was exported
    twice, a whole command line) goes as well. ``extra`` is ours, and given as it is.
    """
    values = {
        value
        for name, value in environ.items()
        if name.upper() in SECRET and not name.upper().endswith(("_FILE", "_DIRECTORY"))
    }
    telling = [value for value in values if len(value) >= _LEAST]
    kept = {
        name: value
        for name, value in environ.items()
        if not name.upper().startswith("MEGAMAX_")
        and name.upper() not in SECRET | _OURS
        and not any(one in value for one in telling)
    }
    return {**kept, **extra}
