"""Who has a file open for writing, or mapped: what ``/proc`` knows of that.

It shows the processes of the own user only, unless one runs as root: a fallback where there is no
lease, and a name where there is one.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Collection, Iterator

from megamax_sync.clock import Clock

#: One reading of ``/proc`` serves for so many seconds.
_FRESH = 1.0
#: A file's times are those of the kernel's last tick, and may be this much behind, in seconds.
_TICK = 0.1


class Openers:
    """Which processes may have which file open, by its inode's number.

    To read all of ``/proc`` takes long (10 ms as root, with 80 processes), and where there are no
    leases it is asked about each file. So one reading serves for a moment, but for files that have
    changed since it began. Whoever opens a file in that moment and has not written yet is not seen;
    what it then writes makes, as a rule, another version of the file, which all later looks notice.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._read_at = self._read_wall = float("-inf")
        self._pids: dict[int, set[str]] = {}

    def of(self, status: os.stat_result) -> Collection[str]:
        """Return the numbers of the processes that may have this file open for writing."""
        changed = max(status.st_mtime, status.st_ctime)
        stale = self._clock.monotonic() > self._read_at + _FRESH
        if stale or changed > self._read_wall - _TICK:
            self._read()
        return self._pids.get(status.st_ino, ())

    def _read(self) -> None:
        at, wall = self._clock.monotonic(), self._clock.wall()
        pids: dict[int, set[str]] = {}
        for pid in os.listdir("/proc"):
            if pid.isdigit():
                for inode in (*_opened(pid), *_mapped(pid)):
                    pids.setdefault(inode, set()).add(pid)
        self._read_at, self._read_wall, self._pids = at, wall, pids


_openers = Openers(Clock())


def find_writer(status: os.stat_result) -> str:
    """Look for a process that has this file open for writing, or mapped.

    Returns ``pid 4711, qbittorrent-nox``, or "" for none.
    """
    for pid in _openers.of(status):
        with contextlib.suppress(OSError):
            if _has_open(pid, status) or _has_mapped(pid, status):
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as comm:
                    return f"pid {pid}, {comm.read().strip()}"
    return ""


def _opened(pid: str) -> Iterator[int]:
    """Yield the inodes that a process has open for writing."""
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                # The link's own mode tells how the file was opened.
                if os.lstat(f"/proc/{pid}/fd/{fd}").st_mode & stat.S_IWUSR:
                    yield os.stat(f"/proc/{pid}/fd/{fd}").st_ino


def _mapped(pid: str) -> Iterator[int]:
    """Yield the inodes that a process has in memory, however it has opened them."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/maps", "rb") as maps:
        for line in maps:
            yield int(line.split(None, 5)[4])


def _has_open(pid: str, status: os.stat_result) -> bool:
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            there = os.stat(f"/proc/{pid}/fd/{fd}")
            if (there.st_dev, there.st_ino) != (status.st_dev, status.st_ino):
                continue
            # The link's own mode tells how the file was opened.
            if os.lstat(f"/proc/{pid}/fd/{fd}").st_mode & stat.S_IWUSR:
                return True
    return False


def _has_mapped(pid: str, status: os.stat_result) -> bool:
    """Tell whether a process that may have closed the file has it in memory, opened for writing."""
    with open(f"/proc/{pid}/maps", "rb") as maps:
        text = maps.read()
    # Of the many lines of most processes none has this number.
    if b" %d " % status.st_ino not in text:
        return False
    for line in text.splitlines():
        span, _, _, device, inode, *path = line.split(None, 5)
        if int(inode) == status.st_ino and path and _is_file(status, device, path[0]):
            # As the kernel's links are called: without leading zeros.
            start, end = (int(one, 16) for one in span.split(b"-"))
            with contextlib.suppress(OSError):
                how = os.lstat(f"/proc/{pid}/map_files/{start:x}-{end:x}").st_mode
                if how & stat.S_IWUSR:
                    return True
    return False


def _is_file(status: os.stat_result, device: bytes, path: bytes) -> bool:
    """Tell whether a map's device and path are a file's, whose inode number it has."""
    major, minor = (int(one, 16) for one in device.split(b":"))
    if os.makedev(major, minor) == status.st_dev:
        return True
    # btrfs has a device number for each subvolume, of which this list knows nothing.
    with contextlib.suppress(OSError):
        return os.path.samestat(os.stat(path), status)
    return False
