"""When a file that was found is one that is known under another path."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from track.test_statuses import job as any_job

from megamax_sync.identity import Lies, has_crossed, has_moved, lies
from megamax_sync.job import FileStamp, Job


def there(_root: bytes) -> bool:
    return False


def lost(_root: bytes) -> bool:
    return True


@pytest.fixture
def found(tmp_path: Path) -> tuple[Job, FileStamp]:
    """A job whose file was renamed, and how the file is now."""
    old, new = tmp_path / "a.mp4", tmp_path / "b.mp4"
    old.write_bytes(b"video")
    stamp = FileStamp.of(old.stat())
    old.rename(new)
    job = replace(any_job(1), path=os.fsencode(old), root=os.fsencode(tmp_path), stamp=stamp)
    return job, FileStamp.of(new.stat())


def test_a_file_that_left_its_path_has_moved(found: tuple[Job, FileStamp], tmp_path: Path) -> None:
    """Also when another file lies there now; not when it is still there, as a hard link."""
    job, stamp = found
    assert lies(job.path, stamp) is Lies.NOTHING
    assert has_moved(job, stamp, there)
    Path(os.fsdecode(job.path)).write_bytes(b"other")
    assert lies(job.path, stamp) is Lies.ANOTHER
    assert has_moved(job, stamp, there)
    os.unlink(job.path)
    os.link(tmp_path / "b.mp4", job.path)
    assert lies(job.path, stamp) is Lies.THE_SAME
    assert not has_moved(job, stamp, there)
    # What cannot be looked at proves nothing.
    long = replace(job, path=job.path + b"x" * 300)
    assert lies(long.path, stamp) is Lies.UNKNOWN
    assert not has_moved(long, stamp, there)


def test_an_inode_alone_is_no_proof(found: tuple[Job, FileStamp]) -> None:
    """Inodes are used again: size and time have to be the same."""
    job, stamp = found
    for other in (stamp._replace(size=9), stamp._replace(mtime_ns=9), stamp._replace(ino=9)):
        assert not has_moved(job, other, there)


def test_nothing_is_concluded_from_what_is_missing(
    found: tuple[Job, FileStamp], tmp_path: Path
) -> None:
    """Neither from a watched folder, nor from the folder of a file that was handed in."""
    job, stamp = found
    assert not has_moved(job, stamp, lost)
    assert not has_crossed(job, stamp, lost)
    handed_in = replace(job, root=None)
    assert has_moved(handed_in, stamp, lost)
    assert not has_moved(replace(handed_in, path=os.fsencode(tmp_path / "no/a")), stamp, lost)


def test_devices_are_numbered_anew(found: tuple[Job, FileStamp], tmp_path: Path) -> None:
    """It is the same one if the watched folder lies on it now."""
    job, stamp = found
    before = replace(job, stamp=job.stamp._replace(dev=99))
    assert has_moved(before, stamp, there)
    assert not has_moved(before, stamp._replace(dev=98), there)
    assert not has_moved(replace(before, root=None), stamp, there)
    assert not has_moved(replace(before, root=os.fsencode(tmp_path / "no")), stamp, there)


def test_a_copy_has_crossed_when_nothing_is_left(found: tuple[Job, FileStamp]) -> None:
    """It has kept size and time; the caller has compared the content."""
    job, stamp = found
    copy = stamp._replace(dev=7, ino=7)
    assert has_crossed(job, copy, there)
    assert not has_crossed(job, copy._replace(mtime_ns=7), there)
    Path(os.fsdecode(job.path)).write_bytes(b"video")
    assert not has_crossed(job, copy, there)
