"""Duplicates and moved files, as the commands tell of them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from cli.program import Program
from megamax_sync.sandbox import Fault, FaultScript, Sandbox


def links(path: Path | bytes) -> dict[str, object]:
    """What the sidecar of a video says."""
    document: dict[str, object] = json.loads(Path(f"{os.fsdecode(path)}.megamax.json").read_text())
    return document


def test_scan_waits_for_an_original_that_lies_elsewhere(
    program: Program, sandbox: Sandbox, faults: FaultScript
) -> None:
    """A duplicate's sidecar is complete at the end, so its original is followed, too."""
    other = program.home / "other"
    first = program.video("a.mp4", folder=other)
    for call in ("file", "files"):
        faults.add(call, Fault.status(500), None)
    result = program.run("--watch", str(other), "--timeout", "3", "--scan")
    assert result.status == 75
    assert program.counts() == {"processing": 1}
    faults.clear()
    copy = program.watch / "b.mp4"
    shutil.copy(os.fsdecode(first), copy)
    linked = program.watch / "c.mp4"
    os.link(copy, linked)
    program.video("d.mp4", 3000)
    result = program.run("--scan", "--json")
    assert result.status == 0, result.err
    assert [(job["state"], job["error"]) for job in result.json()["jobs"]] == [
        ("skipped", f"duplicate of {os.fsdecode(first)}"),
        ("skipped", f"duplicate of {os.fsdecode(first)}"),
        ("done", None),
    ]
    assert len(sandbox.files()) == 2
    assert links(copy)["mirrors"] == links(linked)["mirrors"] == links(first)["mirrors"]
    assert links(copy)["status"] == "converted"
    # The original is found by the hashid that all share, and names its duplicates.
    original = program.job(str(links(copy)["hashid"]))
    assert original["path"] == os.fsdecode(first)
    assert [one["path"] for one in original["duplicates"]] == [str(copy), str(linked)]
    shown = program.run("show", str(copy)).lines()
    assert f"  original: {os.fsdecode(first)} (job 1, done)" in shown
    assert "mirrors" in shown


def test_what_is_moved_between_two_runs_is_known(program: Program, sandbox: Sandbox) -> None:
    """--dry-run says so without reading, and at the end of --scan the sidecars have followed."""
    first, second = Path(os.fsdecode(program.video("a.mp4"))), program.watch / "tree/b.mp4"
    program.video("tree/b.mp4", 3000)
    assert program.run("--scan").status == 0
    hashids = {path.name: str(links(path)["hashid"]) for path in (first, second)}
    first.rename(program.watch / "c.mp4")
    (program.watch / "tree").rename(program.watch / "moved")
    os.link(program.watch / "c.mp4", program.watch / "d.mp4")
    new = program.video("e.mp4", 3500)
    os.link(new, program.watch / "f.mp4")
    known = program.watch / "moved/b.mp4"
    os.link(known, program.watch / "g.mp4")
    result = program.run("--scan", "--dry-run")
    lines = set(result.lines())
    assert f"skip {known}: done as {hashids['b.mp4']} (moved from {second})" in lines
    assert f"skip {program.watch / 'f.mp4'}: duplicate of {os.fsdecode(new)}" in lines
    assert len([line for line in lines if line.startswith("upload ")]) == 1
    result = program.run("--scan")
    assert result.status == 0
    assert len(sandbox.files()) == 3
    assert links(known)["hashid"] == links(program.watch / "g.mp4")["hashid"] == hashids["b.mp4"]
    assert not (program.watch / "a.mp4.megamax.json").exists()
    assert {links(program.watch / name)["hashid"] for name in ("c.mp4", "d.mp4")} == {
        hashids["a.mp4"]
    }
    said = program.run("--scan", "--dry-run").out
    assert said.count("duplicate of ") == 3


def test_without_dedupe_a_hard_link_is_a_file_as_any_other(program: Program) -> None:
    """MEGAMAX_DEDUPE=false is kept to by --dry-run, too."""
    os.link(program.video("a.mp4"), program.watch / "b.mp4")
    result = program.run("--scan", "--dry-run", env={"MEGAMAX_DEDUPE": "false"})
    assert [line.split()[0] for line in result.lines()] == ["upload", "upload"]


def test_what_waits_is_told_of_while_uploads_are_paused(program: Program) -> None:
    """It is compared all the same; --scan then ends as paused."""
    first = program.video("a.mp4")
    copy = program.watch / "b.mp4"
    shutil.copy(os.fsdecode(first), copy)
    failed = program.video("c.mp4", 3000)
    program.run("upload", os.fsdecode(failed))
    program.run("pause")
    assert program.run("--scan").status == 75
    assert program.run("explain", str(copy)).out == f"duplicate of {os.fsdecode(first)}\n"
    moved = program.watch / "d.mp4"
    os.rename(failed, moved)
    assert "upload" in program.run("explain", str(moved)).out
