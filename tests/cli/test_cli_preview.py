"""``--scan --dry-run``: one line a file, and nothing done."""

from __future__ import annotations

import base64
import json
import os
import subprocess

from cli.program import Program
from megamax_sync.sandbox import Fault, FaultScript, Sandbox


def test_each_file_has_its_line(stranger: Program) -> None:
    """What would be uploaded, and why the rest would not; no account, no trace."""
    wanted = stranger.video("a.mp4", 24_700)
    stranger.video("anime/b.mkv", 10)
    stranger.video("notes.txt")
    stranger.video("empty.mp4", 0)
    opened = stranger.video(b"open\xff\n.mp4")
    os.symlink(wanted, stranger.watch / "link.mp4")
    with open(opened, "ab"):
        result = stranger.run("--scan", "--dry-run", env={"MEGAMAX_FOLDERS": "anime=12"})
    assert (result.status, result.err) == (0, "")
    top = f"{stranger.watch}/"
    lines = {line.removeprefix("skip ").removeprefix("upload ") for line in result.lines()}
    assert f"upload {top}a.mp4 (24.1 KiB → folder none)" in result.lines()
    assert f"upload {top}anime/b.mkv (10 B → folder 12)" in result.lines()
    assert any(line.startswith(f"{top}notes.txt: ") for line in lines)
    assert f"skip {top}empty.mp4: empty file" in result.lines()
    assert any("symbolic link" in line for line in lines)
    (waits,) = (line for line in result.lines() if "waits: " in line)
    assert waits.startswith(rf"skip {top}open\udcff\n.mp4: waits: open for writing (pid ")
    assert len(result.lines()) == 6
    assert not stranger.state.exists()


def test_each_link_and_each_folder_that_is_left_out_has_its_line(stranger: Program) -> None:
    """For its own reason, and nothing of what is below."""
    stranger.video("in/a.mkv")
    stranger.video("old/b.mkv")
    stranger.video(".hidden/c.mkv")
    (stranger.watch / "folder").symlink_to(stranger.home)
    (stranger.watch / "note.txt").symlink_to("in/a.mkv")
    env = {"MEGAMAX_EXCLUDE": "old/", "MEGAMAX_SETTLE_SECONDS": "0"}
    result = stranger.run("--scan", "--dry-run", env=env)
    top = f"{stranger.watch}/"
    assert sorted(line.replace(top, "") for line in result.lines()) == [
        "skip .hidden/: hidden name .hidden",
        "skip folder: a symbolic link, which is not followed",
        "skip note.txt: a symbolic link, which is not followed",
        "skip old/: excluded by MEGAMAX_EXCLUDE pattern 'old/'",
        "upload in/a.mkv (2.0 KiB → folder none)",
    ]


def test_what_lies_in_one_folder_is_in_one_order(stranger: Program) -> None:
    """Wanted or not, and numbers count as numbers; each video waits for its own reason."""
    for name in ("ep 10.mkv", "ep 9.mkv", "ep 9.mkv.megamax.json", "1.mkv", "ep 2.mkv", "x.txt"):
        stranger.video(name, 5)
    (stranger.watch / "ep 2.mkv.part").touch()
    (stranger.watch / "ep 1").mkdir()
    with open(stranger.watch / "ep 3.mkv", "wb") as sparse:
        sparse.truncate(100_000)
    result = stranger.run("--scan", "--dry-run", env={"MEGAMAX_SETTLE_SECONDS": "0"})
    lines = [line.replace(f"{stranger.watch}/", "") for line in result.lines()]
    holes = "skip ep 3.mkv: waits: has unwritten holes, as an unfinished download has"
    assert lines[3].startswith(holes)
    assert [*lines[:3], *lines[4:]] == [
        "upload 1.mkv (5 B → folder none)",
        "skip ep 2.mkv: waits: companion ep 2.mkv.part",
        "skip ep 2.mkv.part: the name of an unfinished download (.part)",
        "upload ep 9.mkv (5 B → folder none)",
        "skip ep 9.mkv.megamax.json: a sidecar of ours",
        "upload ep 10.mkv (5 B → folder none)",
        "skip x.txt: extension txt is not in MEGAMAX_EXTENSIONS",
    ]
    env = {"MEGAMAX_SETTLE_SECONDS": "900", "MEGAMAX_ALLOW_SPARSE": "true"}
    young = [line for line in stranger.run("--scan", "--dry-run", env=env).lines() if "ep" in line]
    assert sum("s of quiet left" in line for line in young) == 4


def test_what_the_queue_knows_is_said(
    program: Program, sandbox: Sandbox, faults: FaultScript
) -> None:
    """Done, failed, forgotten, touched and replaced files; the state folder stays as it is."""
    faults.add("upload", Fault.status(415, "no video"), nth=2)
    names = ["a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4"]
    paths = {}
    for name in names:
        paths[name] = program.video(name)
        program.run("--scan")
    program.run("forget", os.fsdecode(paths["c.mp4"]))
    os.utime(paths["d.mp4"])
    program.video("e.mp4", 3000)
    queued = program.video("outside.mp4")
    program.run("upload", queued)
    before = {entry.name: entry.stat().st_mtime_ns for entry in os.scandir(program.state)}
    calls = len(sandbox.requests)
    result = program.run("--scan", "--dry-run", env={"MEGAMAX_SETTLE_SECONDS": "0"})
    lines = [
        line.removeprefix(f"{line.split()[0]} {program.watch}/")
        for line in result.lines()
        if not line.endswith("a sidecar of ours")
    ]
    hashid = program.job(paths["a.mp4"])["hashid"]
    assert lines[0] == f"a.mp4: done as {hashid}"
    assert lines[1].startswith("b.mp4: failed: ")
    assert lines[1].endswith("megamax-sync retry 2 tries again")
    assert lines[2].startswith("c.mp4: forgotten")
    assert lines[3].startswith("d.mp4: done as ")
    assert lines[4] == "e.mp4 (2.9 KiB → folder none)"
    assert lines[5] == "outside.mp4 (2.0 KiB → folder none)"
    assert len(sandbox.requests) == calls
    after = {entry.name: entry.stat().st_mtime_ns for entry in os.scandir(program.state)}
    assert after == before


def test_beside_a_daemon_it_reads_its_queue(program: Program, faults: FaultScript) -> None:
    """A file that is being sent is skipped for that reason; one that needs quiet waits."""
    faults.add("upload", Fault.stall(), nth=None)
    program.video("a.mp4", 30_000_000)
    with program.running(env={"MEGAMAX_WORKERS": "1"}, until="upload.started"):
        program.video("fresh.mp4")
        result = program.run("--scan", "--dry-run", env={"MEGAMAX_SETTLE_SECONDS": "900"})
    first, second = result.lines()
    assert first.endswith("a.mp4: uploading already")
    assert "waits: " in second
    assert "quiet left" in second


def test_as_json_it_is_one_document(stranger: Program) -> None:
    """With the same verdicts, sums, and names that no encoding can hold."""
    stranger.video("a.mp4", 24_700)
    stranger.video("anime/b.mkv", 10)
    odd = stranger.video(b"odd\xff.mp4", 5)
    stranger.video("notes.txt")
    env = {"MEGAMAX_FOLDERS": "anime=12", "MEGAMAX_SETTLE_SECONDS": "0"}
    document = stranger.run("--scan", "--dry-run", "--json", env=env).json()
    assert document["counts"] == {"upload": 3, "skip": 1}
    assert document["bytes"] == 24_715
    files = {os.path.basename(one["path"]): one for one in document["files"]}
    assert files["a.mp4"]["action"] == "upload"
    assert (files["b.mkv"]["folder"], files["b.mkv"]["size"]) == (12, 10)
    assert base64.b64decode(files["odd\N{REPLACEMENT CHARACTER}.mp4"]["path_b64"]) == odd
    assert files["notes.txt"]["action"] == "skip"
    assert "extension" in files["notes.txt"]["reason"]
    (stranger.watch / "none").mkdir()
    nothing = stranger.run(
        "--watch", os.fspath(stranger.watch / "none"), "--scan", "--dry-run", "--json", env=env
    )
    assert nothing.json() == {"files": [], "counts": {"upload": 0, "skip": 0}, "bytes": 0}


def test_a_writer_that_breaks_its_lease_does_not_kill_it(stranger: Program) -> None:
    """One that comes in the very moment of the look: its signal kills whoever does not ignore it.

    One file under many names, so that there are many such moments.
    """
    path = stranger.video("0.mkv")
    for number in range(1, 1000):
        os.link(path, stranger.watch / f"{number}.mkv")
    env = {"MEGAMAX_SETTLE_SECONDS": "0", "MEGAMAX_DEDUPE": "false"}
    with stranger.popen(
        "--scan", "--dry-run", env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            os.close(os.open(path, os.O_WRONLY))
    assert process.returncode == 0


def test_a_time_limit_ends_it(stranger: Program) -> None:
    """With what was looked at by then, and exit status 75."""
    stranger.video("a/a.mp4")
    stranger.video("b/b.mp4")
    result = stranger.run("--timeout", "0.000001", "--scan", "--dry-run", "--json")
    assert result.status == 75
    assert "not every file" in result.err
    assert "files" in json.loads(result.out)


def test_a_missing_folder_is_a_fault(stranger: Program) -> None:
    """Exit 2, as for a real run."""
    assert stranger.run("--watch", "gone", "--scan", "--dry-run").status == 2


def test_options_that_need_scan(stranger: Program) -> None:
    """--dry-run, --timeout and --json alone, or before a sub-command, are wrong usage."""
    for options in (["--dry-run"], ["--json"], ["--timeout", "3"]):
        alone = stranger.run(*options)
        assert (alone.status, "goes with --scan" in alone.faults()[0]) == (2, True)
        before = stranger.run(*options, "status")
        assert (before.status, "goes with no sub-command" in before.faults()[0]) == (2, True)
    for seconds in ("0", "-1", "nan", "soon"):
        assert stranger.run("--scan", "--timeout", seconds).status == 2
    assert stranger.run("--scan", "status").status == 2


def test_wrong_usage_is_one_line(stranger: Program) -> None:
    """Unknown options, commands and variables; no call, no traceback, exit 2."""
    for arguments in (
        ["--nonsense"],
        ["nonsense"],
        ["links"],
        ["upload"],
        ["status", "--limit=-1"],
    ):
        result = stranger.run(*arguments)
        assert (result.status, result.out, len(result.err.splitlines())) == (2, "", 1), arguments
    result = stranger.run(env={"MEGAMAX_WORKERS": "many", "MEGAMAX_FOLDRE": "1"})
    assert (result.status, len(result.faults())) == (2, 2)
    assert stranger.run("--config", "gone.env", "status").status == 2


def test_version_and_help(stranger: Program) -> None:
    """Both on stdout, whatever the configuration is like."""
    env = {"MEGAMAX_WORKERS": "many"}
    assert stranger.run("--version", env=env).out.startswith("megamax-sync 0.")
    assert "--dry-run" in stranger.run("--help", env=env).out
    assert "HASHID" in stranger.run("links", "--help", env=env).out
