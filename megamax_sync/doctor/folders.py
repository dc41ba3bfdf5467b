"""The watched folders: can they be read and written, does the kernel tell of changes in them?"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import threading
from collections.abc import Iterator

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers.inotify import InotifyObserver

from megamax_sync.config import Settings
from megamax_sync.doctor.finding import Finding, error, fine, warning
from megamax_sync.doctor.machine import space
from megamax_sync.filesystem import filesystem_type, is_remote
from megamax_sync.job import SIDECAR_SUFFIX
from megamax_sync.watch import canary
from megamax_sync.watch.probe import ignore_lease_breaks, lease
from megamax_sync.watch.settle import Writers

#: An event takes a fraction of a millisecond; a busy machine a little longer. In seconds.
_PATIENCE = 3.0
#: Whether a lease can be had depends on the files' owners: so many are tried.
_TRIED = 20
_SUFFIX = os.fsdecode(SIDECAR_SUFFIX)


class Tree:
    """One watched folder, counted."""

    def __init__(self, root: str) -> None:
        """``root`` is surrogate-escaped, as the settings have it."""
        self.root = root
        self.folders = 0
        #: Some of its files, to be tried.
        self.files: list[str] = []
        #: Why a folder below could not be read.
        self.unreadable: list[OSError] = []
        #: What has a sidecar's name, and is no file that a sidecar could replace.
        self.in_the_way: list[str] = []
        for folder, below, names in os.walk(root, onerror=self.unreadable.append):
            self.folders += 1
            named = [name for name in (*below, *names) if name.endswith(_SUFFIX)]
            paths = [os.path.join(folder, name) for name in named]
            self.in_the_way += [path for path in paths if _is_in_the_way(path)]
            below[:] = [name for name in below if not name.startswith(".")]
            if len(self.files) < _TRIED:
                self.files += [os.path.join(folder, name) for name in names if name[0] != "."]
        del self.files[_TRIED:]


def examine(tree: Tree, settings: Settings) -> Iterator[Finding]:
    """Look at one watched folder."""
    name = f"folder {tree.root}"
    if not os.path.isdir(tree.root):
        yield error(
            name, "is not there, or is no folder", "make it, mount it, or change MEGAMAX_WATCH"
        )
        return
    if tree.unreadable:
        first = tree.unreadable[0]
        yield error(
            name,
            f"{len(tree.unreadable)} folders cannot be read, such as {first.filename} "
            f"({first.strerror})",
            "give this user the right to read and enter them",
        )
    else:
        yield fine(name, f"can be read, {tree.folders} folders")
    if settings.sidecar_dir is None:
        yield _writable(name, tree.root)
        yield from _names_are_free(name, tree)
        yield space(name, tree.root)
    yield _events(name, tree.root, settings)
    yield _lease(name, tree.files)


def sidecar_folder(settings: Settings) -> Iterator[Finding]:
    """Look at the folder of the sidecars, where there is one."""
    path = settings.sidecar_dir
    if path is None:
        return
    name = "sidecar folder"
    above = path
    while not os.path.lexists(above) and above != "/":
        above = os.path.dirname(above)
    yield _writable(name, above)
    if above == path:
        yield from _names_are_free(name, Tree(path))
    yield space(name, above)


def _writable(name: str, folder: str) -> Finding:
    """Find out by writing, which alone tells of read-only mounts and access lists."""
    probe = os.path.join(os.fsencode(folder), canary.PREFIX + secrets.token_hex(8).encode())
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        os.unlink(probe)
    except OSError as failed:
        return error(
            name,
            f"sidecars cannot be written to {folder} ({failed.strerror})",
            "give this user the right to write there, or set MEGAMAX_SIDECAR_DIR",
        )
    return fine(name, f"sidecars can be written to {folder}")


def _is_in_the_way(path: str) -> bool:
    """Tell whether no sidecar can take this place: it replaces files and links, nothing else."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISLNK(mode))


def _names_are_free(name: str, tree: Tree) -> Iterator[Finding]:
    if tree.in_the_way:
        first, number = tree.in_the_way[0], len(tree.in_the_way)
        others = f", and {number - 1} more like it" if number > 1 else ""
        yield error(
            name,
            f"{first} has a sidecar's name and is no file{others}: that sidecar cannot be written",
            "move it away, or give it another name",
        )


class _Ear(FileSystemEventHandler):
    def __init__(self, wanted: bytes) -> None:
        self._wanted = os.fsdecode(wanted)
        self.heard = threading.Event()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called on watchdog's thread."""
        if os.fsdecode(event.src_path) == self._wanted:
            self.heard.set()


def _events(name: str, root: str, settings: Settings) -> Finding:
    """Make a file, and see whether its event arrives."""
    kind = filesystem_type(os.fsencode(root)) or "an unknown file system"
    if settings.observer == "polling":
        return fine(name, f"on {kind}, scanned every 10 s, as MEGAMAX_OBSERVER says")
    if settings.observer == "auto" and is_remote(os.fsencode(root)):
        return fine(
            name, f"on {kind}, which tells of no changes made elsewhere: scanned every 10 s"
        )
    remedy = "it is scanned every 10 s instead; MEGAMAX_OBSERVER=polling makes that your choice"
    real = os.path.realpath(os.fsencode(root))
    probe = os.path.join(real, canary.PREFIX + secrets.token_hex(8).encode())
    ear, observer = _Ear(probe), InotifyObserver()
    try:
        observer.schedule(ear, os.fsdecode(real), recursive=False)
        observer.start()
    except OSError as failed:
        return warning(name, f"on {kind}, cannot be watched ({failed.strerror})", remedy)
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        arrived = ear.heard.wait(_PATIENCE)
    except OSError:
        return fine(name, f"on {kind}; whether events arrive cannot be tried, it is read-only")
    finally:
        with contextlib.suppress(OSError):
            os.unlink(probe)
        observer.stop()
        observer.join(_PATIENCE)
    if not arrived:
        return warning(name, f"on {kind}, and no event arrived", remedy)
    return fine(name, f"on {kind}, events arrive")


def _lease(name: str, files: list[str]) -> Finding:
    """Try to learn from the kernel whether anybody writes to these files."""
    ignore_lease_breaks()
    asked = refused = 0
    for path in files:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
        asked += 1
        refused += lease(fd) is Writers.UNKNOWN
        os.close(fd)
    if not asked:
        return fine(name, "holds no file on which a write lease could be tried")
    if refused:
        return warning(
            name,
            f"no write lease on {refused} of {asked} files tried: whether another user's program "
            "still writes to one is judged by its quiet, its holes and its name alone",
            "run as the owner of the videos, or with CAP_LEASE (deploy/systemd, lease.conf)",
        )
    return fine(name, "the kernel tells whether anybody writes to a file (write lease)")
