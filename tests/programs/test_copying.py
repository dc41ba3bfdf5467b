"""Programs that copy, move, link and unpack into the watched folder."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from subprocess import PIPE

import pytest
from conftest import RequireProgram

from .place import Place, until

OPEN = "open for writing"


def tree(top: Path, files: int = 6, size: int = 50_000) -> dict[Path, bytes]:
    """Make a tree of videos, some folders deep; return what is in it by relative path."""
    made = {}
    for number in range(files):
        path = Path(f"season {number % 3}", "disc", f"ep {number}.mkv")
        made[path] = os.urandom(size + number)
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_bytes(made[path])
    return made


def below(top: Path, files: dict[Path, bytes]) -> dict[Path, bytes]:
    """The same files, by where they lie now."""
    return {top / path: content for path, content in files.items()}


def test_cp_of_a_file_that_comes_slowly(place: Place, require_program: RequireProgram) -> None:
    """While cp has it open the copy waits, and the daemon names cp."""
    content = os.urandom(3_000_000)
    target = place.drop / "slow.mp4"
    with place.running(require_program("cp"), "/dev/stdin", target, stdin=PIPE) as cp:
        cp.input.write(content[:1_000_000])
        place.wait_reason(target, f"{OPEN} (pid {cp.process.pid}, cp)")
        cp.input.write(content[1_000_000:])
        cp.finish()
    place.check({target: content})


def test_cp_of_a_tree(place: Place, require_program: RequireProgram) -> None:
    """Every file in every new folder is found, also beside one that is still being copied."""
    source = place.aside / "show"
    files = tree(source)
    slow = Path("season 1", "disc", "ep 99.mkv")
    os.mkfifo(source / slow)
    content = os.urandom(400_000)
    cp = require_program("cp")
    with (
        place.running(cp, "-r", "--copy-contents", source, place.drop) as copying,
        open(source / slow, "wb", buffering=0) as pipe,
    ):
        pipe.write(content[:200_000])
        place.wait_reason(place.drop / "show" / slow, OPEN)
        pipe.write(content[200_000:])
        pipe.close()
        copying.finish()
    place.check(below(place.drop / "show", {**files, slow: content}))


def test_mv_of_a_tree_on_the_same_file_system(
    place: Place, require_program: RequireProgram
) -> None:
    """One rename brings many files at once: all of them are found."""
    files = tree(place.aside / "show")
    place.run(require_program("mv"), place.aside / "show", place.drop / "moved")
    place.check(below(place.drop / "moved", files))


def test_mv_from_another_file_system(
    place: Place, elsewhere: Path, require_program: RequireProgram
) -> None:
    """It is a copy then, and is not taken while mv stands still in the middle of it."""
    content = os.urandom(24_000_000)
    source, target = elsewhere / "film.mkv", place.drop / "film.mkv"
    source.write_bytes(content)
    # It keeps the old times: the copy looks as if nobody had written to it for years.
    os.utime(source, (1e9, 1e9))
    with place.running(require_program("mv"), source, target) as mv:
        place.wait_written(target)
        with mv.standing_still():
            # A very fast machine is through by now, and there is nothing to wait for.
            if target.stat().st_size < len(content):
                place.wait_reason(target, OPEN)
        mv.finish()
    place.check({target: content})


def test_mv_of_a_tree_from_another_file_system(
    place: Place, elsewhere: Path, require_program: RequireProgram
) -> None:
    """New folders and files that appear in them one by one are all found."""
    files = tree(elsewhere / "show", files=12)
    place.run(require_program("mv"), elsewhere / "show", place.drop / "show")
    place.check(below(place.drop / "show", files))


def test_rsync_writes_under_a_hidden_name(place: Place, require_program: RequireProgram) -> None:
    """Its temporary file is nobody's business; each file is taken once it has its own name."""
    files = tree(place.aside / "show", size=300_000)
    place.run(
        require_program("rsync"), "-a", "--bwlimit=2m", f"{place.aside}/show/", place.drop / "show"
    )
    place.check(below(place.drop / "show", files))


def test_rsync_in_place_over_an_older_version(
    place: Place, require_program: RequireProgram
) -> None:
    """What lay there is sent as it was, and what rsync makes of it, slowly, as it is in the end."""
    old, new = os.urandom(1_200_000), os.urandom(1_500_000)
    target = place.drop / "film.mkv"
    target.write_bytes(old)
    place.wait_done(target)
    before = target.stat().st_mtime_ns
    (place.aside / "film.mkv").write_bytes(new)
    rsync = require_program("rsync")
    with place.running(
        rsync, "--inplace", "--bwlimit=1500k", place.aside / "film.mkv", target
    ) as writing:
        until(lambda: target.stat().st_mtime_ns != before, "rsync has not begun")
        with writing.standing_still():
            place.wait_reason(target, OPEN)
        writing.finish()
    until(lambda: len(place.rig.remote(new)) == 1, "the new version has not come")
    place.wait_done(target)
    place.check_arrived([old, new])


@pytest.mark.parametrize("name", ["film.mkv", "f" * 247 + ".mkv", "f\u00e9" * 82 + ".mkv"])
def test_rsync_of_a_newer_version(place: Place, require_program: RequireProgram, name: str) -> None:
    """While its temporary file lies beside it, what lies there already is not taken: it is about
    to be replaced.
    """
    old, new = os.urandom(1_200_000), os.urandom(1_500_000)
    target = place.drop / name
    (place.aside / "film.mkv").write_bytes(new)
    rsync = require_program("rsync")
    with place.running(
        rsync, "--whole-file", "--bwlimit=1500k", place.aside / "film.mkv", target
    ) as writing:
        until(lambda: list(place.drop.glob(".f*.??????")), "rsync has not begun")
        with writing.standing_still():
            target.write_bytes(old)
            (temporary,) = place.drop.glob(".f*.??????")
            place.wait_reason(target, f"companion {temporary.name}")
        writing.finish()
    place.check({target: new})


def test_rsync_that_is_interrupted_and_run_again(
    place: Place, require_program: RequireProgram
) -> None:
    """What it keeps for the next time lies in a hidden folder, and waits there for ever."""
    content = os.urandom(1_500_000)
    (place.aside / "film.mkv").write_bytes(content)
    target = place.drop / "film.mkv"
    command = (require_program("rsync"), "--partial-dir=.rsync-partial", "--bwlimit=1500k")
    with place.running(*command, place.aside / "film.mkv", target) as first:
        until(lambda: any(place.drop.glob(".film.mkv.*")), "rsync has not begun")
        first.interrupt()
    assert (place.drop / ".rsync-partial" / "film.mkv").exists()
    later = place.overtake()
    place.check_arrived(later.values())
    place.run(*command, place.aside / "film.mkv", target)
    place.check({target: content, **later})


def test_tar_that_unpacks_slowly(place: Place, require_program: RequireProgram) -> None:
    """The member that is being written waits, those before it don't, and their old times fool us
    not.
    """
    files = tree(place.aside / "show", files=4, size=200_000)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", bufsize=512) as packing:
        for path in files:
            info = packing.gettarinfo(place.aside / "show" / path, str(path))
            info.mtime = 1_000_000_000
            with open(place.aside / "show" / path, "rb") as file:
                packing.addfile(info, file)
    stream = archive.getvalue()
    *before, last = files
    middle = len(stream) - 150_000
    tar = require_program("tar")
    with place.running(tar, "-x", "-C", place.drop, stdin=PIPE) as unpacking:
        unpacking.input.write(stream[:middle])
        place.wait_reason(place.drop / last, OPEN)
        place.wait_done(*(place.drop / path for path in before))
        unpacking.input.write(stream[middle:])
        unpacking.finish()
    place.check(below(place.drop, files))


def test_ln_of_a_finished_file(place: Place, require_program: RequireProgram) -> None:
    """A hard link, as made for cross-seeding, is a file that has arrived."""
    content = os.urandom(100_000)
    source = place.aside / "seeded.mkv"
    source.write_bytes(content)
    target = place.drop / "other tracker" / "film.mkv"
    target.parent.mkdir()
    place.run(require_program("ln"), source, target)
    place.check({target: content})


def test_ln_of_a_file_that_is_still_written(place: Place, require_program: RequireProgram) -> None:
    """Who writes it does so under a name we don't watch, and is seen through the link."""
    content = os.urandom(2_000_000)
    source, target = place.aside / "growing.mkv", place.drop / "linked.mkv"
    with place.running(require_program("cp"), "/dev/stdin", source, stdin=PIPE) as cp:
        cp.input.write(content[:1_000_000])
        until(lambda: source.exists() and source.stat().st_size, "cp has not begun")
        place.run(require_program("ln"), source, target)
        place.wait_reason(target, f"{OPEN} (pid {cp.process.pid}, cp)")
        cp.input.write(content[1_000_000:])
        cp.finish()
    place.check({target: content})


def test_sftp_puts_slowly(place: Place, require_program: RequireProgram) -> None:
    """The server has the final name open for writing, and it waits for that."""
    content = os.urandom(2_000_000)
    (place.aside / "film.mkv").write_bytes(content)
    target = place.drop / "film.mkv"
    server = require_program("/usr/lib/openssh/sftp-server")
    (place.aside / "batch").write_text(f"put film.mkv {target}\n")
    with place.running(
        require_program("sftp"), "-l", "10000", "-D", server, "-b", place.aside / "batch"
    ) as sftp:
        place.wait_written(target)
        with sftp.standing_still():
            place.wait_reason(target, OPEN)
        sftp.finish()
    place.check({target: content})
