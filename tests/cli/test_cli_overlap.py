"""One folder under several names: everything counts once, and every command agrees on the name."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

import pytest
from lacking import lacking

from cli.program import Program
from megamax_sync.sandbox import Sandbox


def explained(program: Program, path: str) -> str:
    """What explain says of a path."""
    return program.run("explain", path).out.strip()


@pytest.mark.parametrize("names", ["{link}:{watch}", "{watch}:{link}", "{link}:{link}/"])
def test_a_folder_and_a_link_to_it_count_once(
    program: Program, sandbox: Sandbox, names: str
) -> None:
    """By the name that comes first; said once in the log."""
    link = program.home / "link"
    link.symlink_to(program.watch)
    program.env["MEGAMAX_WATCH"] = names.format(link=link, watch=program.watch)
    program.env["MEGAMAX_SETTLE_SECONDS"] = "0"
    first = program.env["MEGAMAX_WATCH"].split(":")[0]
    program.video("a.mkv")
    assert program.run("--scan", "--dry-run").lines() == [
        f"upload {first}/a.mkv (2.0 KiB → folder none)"
    ]
    for folder in (link, program.watch):
        assert explained(program, f"{folder}/a.mkv").startswith("will be uploaded")
    with program.running("--scan") as scan:
        scan.process.wait(30)
        said = [one for one in scan.events() if one["event"] == "config.overlapping"]
        assert scan.process.returncode == 0
    second = next((n for n in program.env["MEGAMAX_WATCH"].split(":") if n != first), "")
    expected = [] if second.rstrip("/") == first else [(second, first)]
    assert [(one["path"], one["counted_as"]) for one in said] == expected
    assert len(sandbox.files()) == 1
    assert program.counts() == {"done": 1}
    for folder in (link, program.watch):
        assert explained(program, f"{folder}/a.mkv").startswith("done as ")
        assert "is done already" in program.run("upload", f"{folder}/a.mkv").out


def test_a_folder_that_lies_in_another_by_a_link_is_the_innermost(
    program: Program, sandbox: Sandbox
) -> None:
    """Its patterns and subfolders count from it on, whatever it is called."""
    link = program.home / "link"
    inner = program.watch / "lib" / "inner"
    program.video("old/a.mkv", folder=inner)
    program.video("b.mkv")
    link.symlink_to(inner)
    program.env |= {
        "MEGAMAX_WATCH": f"{link}:{program.watch}",
        "MEGAMAX_FOLDERS": "old=7",
        "MEGAMAX_EXCLUDE": "/lib/",
        "MEGAMAX_SETTLE_SECONDS": "0",
    }
    lines = program.run("--scan", "--dry-run").lines()
    assert sorted(line for line in lines if line.startswith("upload ")) == [
        f"upload {program.watch}/b.mkv (2.0 KiB → folder none)",
        f"upload {inner}/old/a.mkv (2.0 KiB → folder 7)",
    ]
    assert "folder 7" in explained(program, f"{link}/old/a.mkv")
    assert "folder 7" in explained(program, f"{inner}/old/a.mkv")
    assert program.run("--scan").status == 0
    assert {one.name: one.folder for one in sandbox.files()} == {"a.mkv": 7, "b.mkv": None}
    assert program.counts() == {"done": 2}


def test_two_mounts_of_one_folder_count_once(
    program: Program, require_program: Callable[[str], str]
) -> None:
    """Only device and inode tell that they are one."""
    if os.getuid() != 0:
        lacking("the right to mount one folder at two places: run the tests as root")
    other = program.home / "other"
    other.mkdir()
    mount = [require_program("mount"), "--bind", str(program.watch), str(other)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        lacking("the right to mount, which this sandbox or container keeps even from root")
    try:
        program.env["MEGAMAX_WATCH"] = f"{program.watch}:{other}"
        program.env["MEGAMAX_SETTLE_SECONDS"] = "0"
        program.video("a.mkv")
        assert program.run("--scan", "--dry-run").lines() == [
            f"upload {program.watch}/a.mkv (2.0 KiB → folder none)"
        ]
        assert explained(program, f"{other}/a.mkv").startswith("will be uploaded")
        queued = program.run("upload", f"{other}/a.mkv").lines()[0]
        assert queued == f"job 1 queued: {program.watch}/a.mkv"
    finally:
        subprocess.run([require_program("umount"), str(other)], check=True)
