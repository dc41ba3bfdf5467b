"""What tests of every room share: an environment of their own, and programs they may need."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings
from lacking import lacking

pytest_plugins = ["canary"]

RequireProgram = Callable[[str], str]

# Slow machines are no finding, so there is no deadline; the time limit of a test stays. On CI a
# failure has to be reproducible from the log alone.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

#: What a developer's shell, a service manager or a proxy set-up may have put in the environment.
SCRUBBED_PREFIXES = ("MEGAMAX_", "XDG_")
SCRUBBED_NAMES = frozenset(
    {
        "ALL_PROXY",
        "CREDENTIALS_DIRECTORY",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NOTIFY_SOCKET",
        "NO_PROXY",
        "STATE_DIRECTORY",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
    }
)


@pytest.fixture(scope="session", autouse=True)
def _hermetic_environment() -> Iterator[None]:
    """Take out of the environment whatever would change what the program does."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(SCRUBBED_PREFIXES) or name.upper() in SCRUBBED_NAMES:
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def require_program() -> RequireProgram:
    """Return the path of a program, or skip the test; on CI a missing program is a failure."""

    def require(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            lacking(f"the program {name}, which .ci/run has to install")
        return path

    return require
