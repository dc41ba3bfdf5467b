"""``explain``: the deciding rule, by name and value."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from lacking import lacking

from cli.program import Program


def explained(program: Program, path: str | bytes | Path, *options: str) -> str:
    """What explain says of a path; it exits 0 and says one line."""
    result = program.run(*options, "explain", os.fsdecode(path))
    assert (result.status, len(result.lines())) == (0, 1), result.err
    return result.lines()[0]


def test_each_rule_is_named_with_its_value(program: Program) -> None:
    """Names, patterns, sizes, links and places: which rule it is, and what would be done."""
    program.env["MEGAMAX_EXCLUDE"] = "*.sample.*,old/"
    program.env["MEGAMAX_MIN_SIZE"] = "1K"
    program.env["MEGAMAX_FOLDERS"] = "anime=12"
    (program.watch / "old").mkdir()
    os.symlink(program.video("real.mkv"), program.watch / "link.mkv")
    cases: dict[bytes | Path, str] = {
        program.video("a.sample.mkv"): "excluded by MEGAMAX_EXCLUDE pattern '*.sample.*'",
        program.video("old/a.mkv"): "excluded by MEGAMAX_EXCLUDE pattern 'old/'",
        program.video(".a.mkv"): "hidden",
        program.video("a.mkv.part"): "unfinished download",
        program.video("a.f137.mp4"): "yt-dlp",
        program.video("a.txt"): "MEGAMAX_EXTENSIONS",
        program.video("tiny.mkv", 10): "MEGAMAX_MIN_SIZE",
        program.video("empty.mkv", 0): "empty",
        program.watch / "link.mkv": "symbolic link",
        program.video("out.mkv", folder=program.home): "outside the watched folders",
        program.watch / "old": "a folder",
    }
    for path, words in cases.items():
        assert words in explained(program, path), path
    wanted = program.video("anime/a.mkv", 2048)
    os.utime(wanted, (1, 1))
    said = explained(program, wanted)
    # The file has just been made: its ctime says so, whatever its mtime does.
    assert said.startswith(("waits: ", "will be uploaded (2.0 KiB → folder 12)"))
    result = program.run("explain", str(program.watch / "nothing.mkv"))
    assert (result.status, "there is no" in result.faults()[0]) == (2, True)


def test_what_a_file_waits_for_is_said(program: Program) -> None:
    """Quiet, a writer with its name, holes, a companion."""
    quiet = program.video("quiet.mkv")
    program.env["MEGAMAX_SETTLE_SECONDS"] = "3600"
    assert "s of quiet left" in explained(program, quiet)
    program.env["MEGAMAX_SETTLE_SECONDS"] = "0"
    program.video("a.mkv.aria2")
    assert explained(program, program.video("a.mkv")) == "waits: companion a.mkv.aria2"
    program.video(".b.mkv.Ab3dE9")
    assert explained(program, program.video("b.mkv")) == "waits: companion .b.mkv.Ab3dE9"
    holes = program.video("holes.mkv", 0)
    os.truncate(holes, 1 << 20)
    assert "unwritten holes" in explained(program, holes)
    writer = "import sys; f = open(sys.argv[1], 'ab'); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-S", "-c", writer, quiet], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        said = explained(program, quiet)
        process.communicate(b"")
    assert said.startswith(f"waits: open for writing (pid {process.pid}, ")


def test_what_the_queue_knows_is_said(program: Program) -> None:
    """Done, queued, paused, forgotten, gone, and handed in from elsewhere."""
    path = program.video("a.mkv")
    assert program.run("--scan").status == 0
    assert explained(program, path).startswith("done as ")
    os.unlink(path)
    assert explained(program, path).startswith("done as ")
    assert "not there" in explained(program, path)
    program.run("pause")
    late = program.video("late.mkv")
    program.env["MEGAMAX_SETTLE_SECONDS"] = "0"
    assert "uploads are paused" in explained(program, late)
    elsewhere = program.video("b.mkv", folder=program.home)
    assert program.run("upload", os.fsdecode(elsewhere)).status == 0
    program.run("resume")
    program.env["MEGAMAX_FOLDER"] = "12"
    said = explained(program, elsewhere)
    assert said.startswith("queued as job 2: waits for a worker")
    assert "folder 12" in said
    program.run("forget", "2")
    assert "outside the watched folders" in explained(program, elsewhere)


def test_a_rule_decides_about_what_has_taken_the_place_of_a_known_file(program: Program) -> None:
    """What is done stays done whatever the rules say now; its successor is held to them."""
    names = ["small.mkv", "empty.mkv", "excluded.mkv", "link.mkv", "same.mkv"]
    small, empty, excluded, link, same = (program.video(name) for name in names)
    outside = program.video("outside.mkv", folder=program.home)
    assert program.run("--scan").status == 0
    assert program.run("upload", outside, "--wait").status == 0
    program.env |= {
        "MEGAMAX_EXCLUDE": "excluded.*,same.*",
        "MEGAMAX_MIN_SIZE": "1000",
        "MEGAMAX_SETTLE_SECONDS": "0",
    }
    program.video("small.mkv", 500)
    program.video("empty.mkv", 0)
    program.video("excluded.mkv", 3000)
    program.video("outside.mkv", 3000, folder=program.home)
    os.unlink(link)
    os.symlink(same, link)
    assert "MEGAMAX_MIN_SIZE 1000" in explained(program, small)
    assert explained(program, empty) == "empty file"
    assert "MEGAMAX_EXCLUDE pattern 'excluded.*'" in explained(program, excluded)
    assert explained(program, link) == "a symbolic link, which is not followed"
    assert explained(program, same).startswith("done as ")
    assert explained(program, outside).startswith("outside the watched folders")


def test_a_file_that_is_queued_is_held_to_its_size_alone(program: Program) -> None:
    """It goes whatever it is called; what the watch will skip is said."""
    named, shrunk = program.video("named.mkv", 500), program.video("shrunk.mkv")
    program.env["MEGAMAX_MIN_SIZE"] = "1000"
    program.env["MEGAMAX_SETTLE_SECONDS"] = "0"
    program.run("upload", named, shrunk)
    program.env["MEGAMAX_EXCLUDE"] = "*"
    assert explained(program, named).startswith("queued as job 1")
    program.video("shrunk.mkv", 0)
    assert explained(program, shrunk) == "empty file"


def test_what_lies_below_a_link_is_not_taken_for_wanted(program: Program) -> None:
    """The scan does not follow links to folders, and explain says so, naming the link."""
    elsewhere = program.home / "elsewhere"
    program.video("in/x.mkv", folder=elsewhere)
    link = program.watch / "sub" / "dirlink"
    link.parent.mkdir()
    link.symlink_to(elsewhere)
    expected = f"below the symbolic link {link}, which is not followed"
    assert explained(program, link / "in/x.mkv") == expected
    os.symlink(elsewhere / "in/x.mkv", program.watch / "note.txt")
    assert explained(program, program.watch / "note.txt") == (
        "a symbolic link, which is not followed"
    )


def test_where_nobody_knows_whether_somebody_writes_it_is_said(
    program: Program, require_program: Callable[[str], str]
) -> None:
    """Of a file of somebody else's, without the right to ask the kernel."""
    if os.getuid() != 0:
        lacking("the right to give a file to another user: run the tests as root")
    path = program.video("a.mkv")
    program.env["MEGAMAX_SETTLE_SECONDS"] = "0"
    assert "unknown" not in explained(program, path)
    os.chown(path, 12345, -1)
    os.chmod(path, 0o644)
    asked = subprocess.run(
        [
            *(require_program("setpriv"), "--bounding-set", "-lease"),
            *(sys.executable, "-m", "megamax_sync", "explain", path),
        ],
        env={**os.environ, **program.env},
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout.startswith("will be uploaded (2.0 KiB → folder none); unknown whether")
    assert "CAP_LEASE" in asked.stdout
