"""What the kernel tells about one file."""

from __future__ import annotations

import errno
import mmap
import os
import random
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lacking import lacking

from megamax_sync.clock import Clock
from megamax_sync.watch.probe import has_holes, is_whole, look
from megamax_sync.watch.settle import Signs, Writers
from megamax_sync.watch.writers import Openers, find_writer

from .field import until, writer

NOBODY = 65534


def signs(path: Path) -> Signs:
    return look(os.fsencode(path))


def as_nobody(code: str, *args: Path) -> str:
    """Run Python as a user who owns nothing, and return what it prints."""
    if os.getuid() != 0:
        lacking("the right to become another user: run the tests as root")
    # The import comes first: the other user may not be allowed to read the package.
    setup = (
        "import ctypes, os, sys\n"
        "from megamax_sync.watch.probe import look\n"
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", setup + code, *args],
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture
def open_to_all(tmp_path: Path) -> Path:
    """A file of ours that everybody may read, in folders that everybody may enter."""
    folder = tmp_path
    while not folder.stat().st_mode & stat.S_IXOTH:
        folder.chmod(0o755)
        folder = folder.parent
    path = tmp_path / "a.mkv"
    path.write_bytes(b"x")
    path.chmod(0o644)
    return path


def test_a_file_that_nobody_writes(tmp_path: Path) -> None:
    """The lease is granted, and nothing speaks against the file."""
    path = tmp_path / "a.mkv"
    path.write_bytes(b"x")
    assert signs(path) == Signs(Writers.NONE)


def test_a_writer_is_seen_and_named(tmp_path: Path) -> None:
    """Another process has it open for writing: which one is part of the answer."""
    path = tmp_path / "a.mkv"
    with writer(path) as process:
        seen = signs(path)
        assert seen.writers is Writers.SOME
        assert seen.writer.startswith(f"pid {process.pid}, ")
    assert signs(path).writers is Writers.NONE


def test_a_writer_through_another_name_is_seen(tmp_path: Path) -> None:
    """Cross-seeding writes through a hard link."""
    path, link = tmp_path / "a.mkv", tmp_path / "b.mkv"
    path.write_bytes(b"x")
    link.hardlink_to(path)
    with writer(link):
        assert signs(path).writers is Writers.SOME


def test_a_map_for_writing_is_seen(tmp_path: Path) -> None:
    """Some torrent clients write through maps, which move no times."""
    path = tmp_path / "a.mkv"
    path.write_bytes(b"x" * 4096)
    with path.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 4096)
    assert signs(path).writers is Writers.SOME
    mapped.close()
    assert signs(path).writers is Writers.NONE


#: Opens a file, maps it and closes it again: what is left is the map.
MAPPER = (
    "import ctypes, os, sys\n"
    "libc = ctypes.CDLL(None)\n"
    "libc.mmap.restype = ctypes.c_void_p\n"
    "how, rights, kind = map(int, sys.argv[2:5])\n"
    "fd = os.open(sys.argv[1], how)\n"
    "length, start = ctypes.c_size_t(4096), ctypes.c_long(0)\n"
    "assert libc.mmap(None, length, rights, kind, fd, start) not in {None, 2**64 - 1}\n"
    "os.close(fd)\n"
)
READ, WRITE, SHARED, PRIVATE = mmap.PROT_READ, mmap.PROT_WRITE, mmap.MAP_SHARED, mmap.MAP_PRIVATE


@contextmanager
def mapper(path: Path, how: int = os.O_RDWR, kind: int = SHARED) -> Iterator[int]:
    """Have another process map a file; yield its number."""
    path.write_bytes(b"x" * 4096)
    rights = READ if how == os.O_RDONLY else READ | WRITE
    code = f"{MAPPER}print('mapped', flush=True)\nsys.stdin.read()\n"
    with subprocess.Popen(
        [sys.executable, "-S", "-c", code, path, str(how), str(rights), str(kind)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"mapped\n"
        yield process.pid
        process.communicate(b"")


def test_who_writes_through_a_map_alone_is_named(tmp_path: Path) -> None:
    """The file is closed again; the kernel's list of maps still tells who has it."""
    path, link = tmp_path / "a b.mkv", tmp_path / "b.mkv"
    with mapper(path) as pid:
        seen = signs(path)
        assert seen.writers is Writers.SOME
        assert seen.writer.startswith(f"pid {pid}, ")
        link.hardlink_to(path)
        path.unlink()
        assert signs(link).writer == seen.writer
    assert signs(link) == Signs(Writers.NONE)


def test_who_maps_a_file_is_found_by_its_name_where_numbers_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """btrfs calls the device of a subvolume otherwise in its list of maps than in a stat."""
    path = tmp_path / "a b.mkv"
    monkeypatch.setattr(os, "makedev", lambda *_: 0)
    with mapper(path) as pid:
        assert signs(path).writer.startswith(f"pid {pid}, ")


def test_a_map_counts_as_the_file_was_opened(tmp_path: Path) -> None:
    """As for the lease: one that changes nothing in the file keeps it open all the same."""
    path = tmp_path / "a.mkv"
    with mapper(path, kind=PRIVATE) as pid:
        assert signs(path).writer.startswith(f"pid {pid}, ")
    for kind in (SHARED, PRIVATE):
        with mapper(path, os.O_RDONLY, kind):
            assert signs(path) == Signs(Writers.NONE)
            assert find_writer(path.stat()) == ""


def test_a_map_of_a_foreign_file_is_looked_up_in_proc(open_to_all: Path) -> None:
    """Where there is no lease, nothing else tells of one."""
    open_to_all.write_bytes(b"x" * 4096)
    open_to_all.chmod(0o666)
    code = f"sys.argv += ['{os.O_RDWR}', '3', '{SHARED}']\n{MAPPER}"
    found = as_nobody(code + "print(look(os.fsencode(sys.argv[1])))", open_to_all)
    assert found.startswith("Signs(writers=<Writers.SOME: 'some'>, writer='pid ")


def test_a_reader_is_no_writer(tmp_path: Path) -> None:
    """A player, or another upload, reads it: that is no reason to wait."""
    path = tmp_path / "a.mkv"
    path.write_bytes(b"x")
    with path.open("rb"):
        assert signs(path).writers is Writers.NONE
        assert find_writer(path.stat()) == ""


def test_the_next_writer_is_not_held_up(tmp_path: Path) -> None:
    """The lease is given back at once: an open for writing that may not wait succeeds."""
    path = tmp_path / "a.mkv"
    path.write_bytes(b"x")
    signs(path)
    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))


def test_a_foreign_file_is_looked_up_in_proc(open_to_all: Path) -> None:
    """Who does not own a file gets no lease; a writer of the same user is found all the same."""
    open_to_all.chmod(0o666)
    code = "print(look(os.fsencode(sys.argv[1])).writers.name)"
    assert as_nobody(code, open_to_all) == "UNKNOWN"
    assert as_nobody("held = open(sys.argv[1], 'ab')\n" + code, open_to_all) == "SOME"


def test_one_reading_of_proc_serves_many_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But none that has changed since, and not for long."""
    readings = 0
    listdir = os.listdir

    def counted(path: str) -> list[str]:
        nonlocal readings
        readings += path == "/proc"
        return listdir(path)

    class Still(Clock):
        time = 100.0

        def monotonic(self) -> float:
            return self.time

    monkeypatch.setattr(os, "listdir", counted)
    clock = Still()
    openers = Openers(clock)
    first, second = tmp_path / "a.mkv", tmp_path / "b.mkv"
    second.write_bytes(b"x")
    with writer(first) as process:
        until(lambda: time.time() > max(one.stat().st_ctime for one in (first, second)) + 0.2)
        assert openers.of(first.stat()) == {str(process.pid)}
        assert not openers.of(second.stat())
        assert readings == 1
        first.touch()
        assert openers.of(first.stat()) == {str(process.pid)}
        assert readings == 2
        clock.time += 2
        openers.of(second.stat())
        assert readings == 3


def test_a_file_that_may_not_be_read_does_not_wait_for_that(open_to_all: Path) -> None:
    """Whether anybody writes it is not known, and the upload says that it cannot be read."""
    open_to_all.chmod(0o600)
    code = "print(look(os.fsencode(sys.argv[1])))"
    assert as_nobody(code, open_to_all) == str(Signs(Writers.UNKNOWN))


def test_what_is_gone_is_an_error(tmp_path: Path) -> None:
    """Only the caller knows what a file means that is not there."""
    with pytest.raises(FileNotFoundError):
        signs(tmp_path / "a.mkv")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A link that took the file's place is not opened."""
    (tmp_path / "real.mkv").write_bytes(b"x")
    (tmp_path / "a.mkv").symlink_to(tmp_path / "real.mkv")
    with pytest.raises(OSError) as caught:
        signs(tmp_path / "a.mkv")
    assert caught.value.errno == errno.ELOOP


def test_holes_are_seen_until_the_last_is_filled(tmp_path: Path) -> None:
    """A preallocated file that is filled in random order has holes to the end."""
    path, block = tmp_path / "a.mkv", 65536
    order = list(range(16))
    random.Random(7).shuffle(order)
    with path.open("wb") as file:
        file.truncate(16 * block)
    for place in order:
        assert signs(path).holes
        with path.open("r+b") as file:
            file.seek(place * block)
            file.write(os.urandom(block))
    assert not signs(path).holes


def test_a_whole_file_is_told_by_one_short_look(tmp_path: Path) -> None:
    """Only if it is old enough, nobody writes it, and nothing in it is unwritten."""
    path, sparse = tmp_path / "a.mkv", tmp_path / "b.mkv"
    path.write_bytes(b"x")
    with open(sparse, "wb") as file:
        file.truncate(100_000)
    later = max(path.stat().st_ctime, sparse.stat().st_ctime) + 1

    def whole(one: Path, before: float = later, allow_sparse: bool = False) -> bool:
        return is_whole(os.fsencode(one), before, allow_sparse=allow_sparse)

    assert whole(path)
    assert not whole(path, path.stat().st_ctime)
    assert (whole(sparse), whole(sparse, allow_sparse=True)) == (False, True)
    with writer(path):
        assert not whole(path)
    # Its own lease is given back: the next writer does not wait.
    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    assert whole(path)


def test_what_is_no_file_is_not_whole(tmp_path: Path) -> None:
    """A folder, a link, a pipe that nobody writes, and what is gone."""
    target = tmp_path / "a.mkv"
    target.write_bytes(b"x")
    (tmp_path / "link").symlink_to(target)
    os.mkfifo(tmp_path / "pipe")
    for name in ("", "link", "pipe", "gone"):
        one = os.fsencode(tmp_path / name)
        assert not is_whole(one, target.stat().st_ctime + 1e6, allow_sparse=True)


def test_where_holes_cannot_be_asked_for_there_are_none() -> None:
    """A descriptor that cannot seek says nothing about holes."""
    reading, writing = os.pipe()
    try:
        assert not has_holes(reading, 10)
    finally:
        os.close(reading)
        os.close(writing)


def test_a_broken_lease_does_not_kill(tmp_path: Path) -> None:
    """A writer that comes while the lease is held breaks it; SIGIO is ignored."""
    path = tmp_path / "a.mkv"
    path.write_bytes(b"x")
    code = (
        "import fcntl, os, sys, subprocess\n"
        "from megamax_sync.watch.probe import ignore_lease_breaks\n"
        "ignore_lease_breaks()\n"
        "fd = os.open(sys.argv[1], os.O_RDONLY)\n"
        "fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)\n"
        "try: os.open(sys.argv[1], os.O_WRONLY | os.O_NONBLOCK)\n"
        "except BlockingIOError: print('broken')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"broken\n")
