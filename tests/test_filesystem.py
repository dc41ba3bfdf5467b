"""What kind of file system a path is on, by the kernel's list."""

from __future__ import annotations

from pathlib import Path

import pytest

from megamax_sync.filesystem import filesystem_type, is_remote

MOUNTS = rb"""21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
22 21 0:20 / /zz-a rw - nfs4 host:/x rw
23 21 0:21 / /zz-a/in rw master:2 - xfs /dev/sdb rw
24 21 0:22 / /zz-my\040films\011\134 rw - fuse.sshfs me@host: rw
25 21 0:23 / /zz-over rw - ext4 /dev/sdc rw
26 25 0:24 / /zz-over rw - cifs //host/x rw
27 21 0:25 / /zz-blk rw - fuseblk /dev/sdd rw
28 21 0:26 / /zz-\777 rw - tmpfs none rw
29 21 0:27 / /zz-odd rw
short - ext4
"""


@pytest.mark.parametrize(
    ("path", "kind", "remote"),
    [
        (b"/", "ext4", False),
        (b"/zz-a", "nfs4", True),
        (b"/zz-a/x/none/yet", "nfs4", True),
        (b"/zz-a/in/x", "xfs", False),
        (b"/zz-ab", "ext4", False),
        (b"/zz-my films\t\\/x", "fuse.sshfs", True),
        (b"/zz-over/x", "cifs", True),
        (b"/zz-blk/x", "fuseblk", False),
        (b"/zz-odd/x", "ext4", False),
    ],
)
def test_the_innermost_and_latest_mount_counts(
    tmp_path: Path, path: bytes, kind: str, remote: bool
) -> None:
    """Escapes are read, like-named neighbours are not confused, broken lines are passed over."""
    mounts = tmp_path / "mountinfo"
    mounts.write_bytes(MOUNTS)
    assert filesystem_type(path, mounts=str(mounts)) == kind
    assert is_remote(path, mounts=str(mounts)) is remote


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse", "fuse.rclone"])
def test_what_others_write_to_is_remote(tmp_path: Path, kind: str) -> None:
    """Network and user-space file systems, by their names."""
    mounts = tmp_path / "mountinfo"
    for name, remote in ((kind, True), (f"x{kind}", False)):
        mounts.write_text(f"1 0 0:1 / / rw - {name} none rw\n")
        assert is_remote(b"/", mounts=str(mounts)) is remote


def test_nobody_can_tell_without_the_list(tmp_path: Path) -> None:
    """Then it counts as local."""
    assert filesystem_type(b"/", mounts=str(tmp_path / "none")) == ""
    assert not is_remote(b"/", mounts=str(tmp_path / "none"))


def test_the_kernels_own_list_is_read() -> None:
    """/proc is where it always is."""
    assert filesystem_type(b"/proc/self") == "proc"
