"""What kind of file system a path is on, and whether it can be relied on.

Network and user-space file systems report no events for what others write, have no shared memory
for SQLite's WAL, and grant no leases. The kernel's own list of mounts tells which they are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

#: File systems that another machine or program can change behind the kernel's back.
_REMOTE = re.compile(
    rb"^(nfs\d*|cifs|smb\w*|9p|afs|ceph|glusterfs|lustre|gpfs|ocfs2|gfs2|beegfs|davfs|ncpfs"
    rb"|virtiofs|vboxsf|prl_fs|vmhgfs|fuse(?!blk|ctl)(\..*)?)$"
)
#: Mount point, the kernel's number of this very mount, type, device.
Mount = tuple[bytes, bytes, bytes, int]

_ESCAPE = re.compile(rb"\\([0-3][0-7]{2})")


def filesystem_type(path: bytes, *, mounts: str = "/proc/self/mountinfo") -> str:
    """Name the type of the file system that holds ``path`` (``ext4``, ``nfs4``, ``fuse.sshfs``).

    A path that does not exist yet counts as its nearest parent. Empty when nobody can tell.
    """
    holder = holder_of(path, mount_points(mounts=mounts))
    return "" if holder is None else holder[2].decode("ascii", "replace")


def holder_of(path: bytes, mounts: Sequence[Mount]) -> Mount | None:
    """Return which of these mounts holds ``path``; None when nobody can tell."""
    path = os.path.realpath(path)
    holding = [m for m in mounts if path == m[0] or path.startswith(m[0].rstrip(b"/") + b"/")]
    # Of one mount point, what was mounted last lies on top.
    return max(reversed(holding), key=lambda mount: len(mount[0]), default=None)


def mount_points(*, mounts: str = "/proc/self/mountinfo") -> list[Mount]:
    """Return what is mounted where, in the kernel's order; nothing when nobody can tell."""
    found: list[Mount] = []
    try:
        with open(mounts, "rb") as lines:
            for line in lines:
                head, _, tail = line.partition(b" - ")
                fields = head.split()
                if len(fields) >= 5 and tail:
                    point = _ESCAPE.sub(lambda m: bytes([int(m[1], 8)]), fields[4])
                    major, _, minor = fields[2].partition(b":")
                    device = os.makedev(int(major), int(minor))
                    found.append((point, fields[0], tail.split()[0], device))
    except OSError:
        return []
    return found


def is_remote(path: bytes, *, mounts: str = "/proc/self/mountinfo") -> bool:
    """Tell whether events, leases and shared memory cannot be relied on below ``path``."""
    return _REMOTE.match(filesystem_type(path, mounts=mounts).encode()) is not None
