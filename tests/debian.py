"""A Debian of the tests' own, and the wheels to install there: what the scripts in ``systemd/`` and
``container/`` stand on.

Both are kept in ``$XDG_CACHE_HOME/megamax-sync-tests`` (else ``~/.cache/…``), outside of the work
tree. Packages come from where this machine's own apt and pip have them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: What the roots hold besides a minimal Debian.
PACKAGES = (
    "systemd", "systemd-sysv", "libpam-systemd", "dbus", "dbus-user-session", "python3",
    "python3-venv", "python3-pip", "ca-certificates", "procps", "bindfs", "fuse3",
)  # fmt: skip


class Unavailable(Exception):
    """This machine cannot do it; the text says why."""


class Table:
    """What was looked at, and what was seen; printed as it grows."""

    def __init__(self) -> None:
        self.failures = 0

    def say(self, what: str, seen: str, *, fine: bool = True) -> None:
        """Add a line."""
        self.failures += not fine
        sys.stdout.write(f"| {what:<58} | {'ok' if fine else 'FAILED':<6} | {seen}\n")
        sys.stdout.flush()


def require(*programs: str) -> None:
    """Raise :class:`Unavailable` without root or one of these programs."""
    if os.geteuid() != 0:
        raise Unavailable("it takes root")
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise Unavailable(f"not installed: {', '.join(missing)}")


def cache() -> Path:
    """The folder that outlasts a run."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(base) / "megamax-sync-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def debian() -> Path:
    """Return the root of a Debian of this machine's release, made by the first call."""
    suite = _suite()
    root = cache() / f"debian-{suite}"
    mark = "\n".join(PACKAGES)
    stamp = root / "etc/megamax-sync-tests"
    if stamp.exists() and stamp.read_text() == mark:
        return root
    shutil.rmtree(root, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    subprocess.run([*command, suite, str(root)], check=True, stdout=subprocess.DEVNULL)
    stamp.write_text(mark)
    return root


def _suite() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        name, _, value = line.partition("=")
        if name == "VERSION_CODENAME":
            return value.strip('"')
    raise Unavailable("the name of this machine's release is unknown")


def python_of(root: Path) -> str:
    """Return the version of a root's Python, as 3.11."""
    names = [path.name for path in (root / "usr/bin").glob("python3.*") if path.name[8:].isdigit()]
    return max(names).removeprefix("python")


def wheels(version: str, *locks: str) -> Path:
    """Return a folder with the wheels of these locks for this Python, hashes checked."""
    folder = cache() / f"wheels-{version}"
    folder.mkdir(exist_ok=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    options = ["--only-binary", ":all:", "--python-version", version, "--require-hashes"]
    for lock in locks:
        command = [*pip, "download", *options, "-r", str(ROOT / lock), "-d", str(folder)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return folder


def own_wheel(folder: Path) -> Path:
    """Build this tree's wheel into ``folder``."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "wheel"]
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder)]
    subprocess.run([*pip, *options, str(ROOT)], check=True)
    (wheel,) = folder.glob("megamax_sync-*.whl")
    return wheel


@contextmanager
def layered(root: Path, work: Path) -> Iterator[Path]:
    """Mount a root that can be written, over one that stays as it is."""
    upper, scratch, merged = (work / name for name in ("upper", "scratch", "root"))
    for folder in (upper, scratch, merged):
        folder.mkdir()
    layers = f"lowerdir={root},upperdir={upper},workdir={scratch}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, str(merged)], check=True)
    try:
        yield merged
    finally:
        subprocess.run(["umount", "--lazy", str(merged)], check=False)


def wait_until(condition: Callable[[], bool], seconds: float, pause: float = 0.2) -> float | None:
    """Wait for a condition; return the seconds that it took, None when it did not come."""
    began, rest = time.monotonic(), threading.Event()
    while time.monotonic() - began < seconds:
        if condition():
            return time.monotonic() - began
        rest.wait(pause)
    return None


def main(run: Callable[[Table], None]) -> None:
    """Run a script; exit 0 when all was fine, 1 else, 77 when this machine cannot do it."""
    table = Table()
    # So that whoever ends it finds nothing mounted afterwards.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(130))
    try:
        run(table)
    except Unavailable as error:
        sys.stdout.write(f"skipped: {error}\n")
        raise SystemExit(77) from None
    raise SystemExit(1 if table.failures else 0)
