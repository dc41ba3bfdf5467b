"""``status``, ``show``, ``retry``, ``forget``, ``pause`` and ``resume``."""

from __future__ import annotations

import base64
import json
import os
import re
import sqlite3

from cli.program import Program, wait_until
from megamax_sync import sidecar
from megamax_sync.sandbox import Fault, FaultScript, Sandbox
from megamax_sync.units import human_size

ROW = {
    "id", "path", "path_b64", "state", "remote_status", "hashid", "folder", "size", "sent",
    "attempts", "next_attempt_at", "error", "created_at", "updated_at", "sidecar",
}  # fmt: skip


def test_status_without_a_queue_makes_none(stranger: Program) -> None:
    """All zeros, nothing written, no account needed."""
    document = stranger.run("status", "--json").json()
    assert set(document) == {"daemon", "counts", "bytes", "jobs"}
    assert document["daemon"] == {
        "running": False, "pid": None, "since": None, "paused": False, "problem": None,
        "problem_detail": None, "observer": None, "bwlimit": None,
    }  # fmt: skip
    assert set(document["counts"].values()) == {0}
    assert stranger.run("status").lines()[0] == "not running"
    assert not stranger.state.exists()


def test_status_shows_jobs_newest_change_first(program: Program) -> None:
    """Every key of the contract; --state and --limit choose, the counts stay those of all."""
    path = program.video(b"lat\xe9in \x1b[31m.mp4")
    program.run("--scan")
    program.video("b.mp4")
    program.run("--scan")
    document = program.run("status", "--json").json()
    assert [set(row) for row in document["jobs"]] == [ROW, ROW]
    assert [row["id"] for row in document["jobs"]] == [2, 1]
    assert base64.b64decode(document["jobs"][1]["path_b64"]) == path
    assert len(program.run("status", "--json", "--limit", "1").json()["jobs"]) == 1
    failed = program.run("status", "--json", "--state", "failed").json()
    assert (failed["jobs"], failed["counts"]["done"]) == ([], 2)
    text = program.run("status").out
    assert r"lat\udce9in \x1b[31m.mp4" in text
    assert "\x1b" not in text
    assert program.run("status", "--state", "nonsense").status == 2
    assert sorted(os.listdir(program.state)) == ["lock", "queue.db", "queue.made"]


def test_status_tells_progress_and_rest(program: Program, faults: FaultScript) -> None:
    """While something is sent: the bytes that are left, and how far the upload is."""
    faults.add("upload", Fault.stall(), nth=None)
    program.video("a.mp4", 30_000_000)
    with program.running(until="upload.started"):
        document = program.run("status", "--json").json()
        assert document["bytes"]["uploading"] == 30_000_000
        assert document["jobs"][0]["state"] == "uploading"

        def tells_what_is_left() -> bool:
            sent = program.run("status", "--json").json()["jobs"][0]["sent"] or 0
            left = f"{human_size(30_000_000 - sent)} to send"
            return any(left in line for line in program.run("status").lines())

        # The kernel takes some of it, until it has no room left.
        wait_until(tells_what_is_left)
        lines = program.run("status").lines()
        assert lines[0].startswith("running as process ")
        assert any("uploading " in line and "%" in line for line in lines)


def test_show_tells_a_jobs_life(program: Program) -> None:
    """By path, hashid and id; for people and as JSON; its links among it."""
    path = program.video("a.mp4")
    program.run("--scan")
    job = program.job(path)
    assert ROW | {"history", "original", "duplicates", "mirrors", "direct", "direct_error"} == set(
        job
    )
    assert [step["state"] for step in job["history"]][:3] == ["queued", "uploading", "processing"]
    assert job["history"][-1]["state"] == "done"
    assert job["attempts"][0]["outcome"] == "arrived"
    assert program.job(job["hashid"]) == program.job(1) == job
    text = program.run("show", "1").out
    for part in (path.decode(), job["hashid"], "history", "mirrors", job["sidecar"], "until"):
        assert part in text


def test_show_of_nothing_known_is_an_error(stranger: Program) -> None:
    """Exit 1 and a clear line; without a name it is wrong usage."""
    result = stranger.run("show", "no\nsuch")
    assert result.status == 1
    assert r"'no\nsuch' is no job" in result.faults()[0]
    assert stranger.run("show").status == 2


def test_show_schema_is_the_sidecars(stranger: Program) -> None:
    """The published JSON Schema, as one document."""
    assert stranger.run("show", "--schema").json() == sidecar.schema()


def test_show_tells_why_a_job_failed(program: Program, faults: FaultScript) -> None:
    """The error, the attempt, and a refusal of direct links."""
    faults.add("upload", Fault.status(415, "no video"))
    program.video("a.mp4")
    assert program.run("--scan").status == 1
    text = program.run("show", "1").out
    assert "error: " in text
    assert "attempts" in text
    assert "failed: " in text
    assert program.run("status").out.count("no video") == 1


def test_retry_puts_failed_jobs_back(program: Program, faults: FaultScript) -> None:
    """By id or all; one that has not failed, or is unknown, is told with exit 1."""
    faults.add("upload", Fault.status(415, "no video"), nth=(1, 2))
    program.video("a.mp4")
    program.video("b.mp4")
    program.run("--scan")
    first = program.run("retry", "1")
    assert (first.status, first.lines()[0].startswith("job 1 is uploaded again: ")) == (0, True)
    assert "no instance is running" in first.lines()[1]
    again = program.run("retry", "1", "4711")
    assert again.status == 1
    assert "job 1 has not failed, it is queued" in again.err
    assert "'4711' is no job's id" in again.err
    assert program.run("retry", "--failed").lines()[0].startswith("job 2 ")
    assert program.run("--scan").status == 0
    assert program.counts() == {"done": 2}
    assert program.run("retry", "--failed").lines() == ["no job has failed"]


def test_retry_follows_what_the_service_holds(program: Program, sandbox: Sandbox) -> None:
    """One whose conversion failed is uploaded anew; what is left of it is an orphan."""
    program.video("a.mp4")
    with program.daemon() as daemon:
        daemon.wait_for("upload.finished")
        old = sandbox.files()[0].hashid
        sandbox.set_status(old, "failed")
        daemon.wait_for("job.failed")
        orphans = program.run("ls", "--orphans", "--json").json()
        assert [one["hashid"] for one in orphans] == [old]
        assert program.run("retry", old).status == 0
        daemon.wait_for("job.done")
        assert [one["hashid"] for one in program.run("ls", "--orphans", "--json").json()] == [old]
        assert old in program.run("ls", "--orphans").out
    assert len(sandbox.files()) == 2


def test_wrong_usage_of_orders(stranger: Program) -> None:
    """Exit 2 for nothing named or too much; exit 1 where there is no queue, and none is made."""
    for arguments in (["retry"], ["forget"], ["retry", "--failed", "1"]):
        assert stranger.run(*arguments).status == 2, arguments
    for arguments in (["retry", "1"], ["retry", "--failed"], ["forget", "1"]):
        result = stranger.run(*arguments)
        assert (result.status, "there is no queue" in result.faults()[0]) == (1, True)
    assert not stranger.state.exists()


def test_forget_cancels_the_upload(program: Program, faults: FaultScript) -> None:
    """The job goes, the file stays, and no scan brings it back."""
    faults.add("upload", Fault.hold(), nth=None)
    path = program.video("a.mp4")
    with program.running(until="upload.started") as daemon:
        result = program.run("forget", "1")
        assert (result.status, result.lines()) == (0, [f"job 1 is dropped: {path.decode()}"])
        assert daemon.end() == 0
    assert os.path.exists(path)
    assert program.run("--scan", "--json").json()["jobs"] == []
    assert program.run("forget", "1").status == 1


def test_pause_holds_uploads_over_restarts(program: Program, sandbox: Sandbox) -> None:
    """Nothing is sent until resume, which the running daemon hears at once."""
    assert program.run("pause").lines() == ["uploads are paused"]
    program.video("a.mp4")
    with program.daemon() as daemon:
        daemon.wait_for("file.queued")
        document = program.run("status", "--json").json()
        assert document["daemon"]["paused"] is True
        assert "paused" in program.run("status").out
        assert sandbox.requests == []
        assert program.run("resume").lines() == ["uploads go on"]
        daemon.wait_for("job.done")


def test_a_queue_of_a_later_version_is_left_alone(program: Program) -> None:
    """Exit 2, and the version is told."""
    program.run("pause")
    with sqlite3.connect(program.state / "queue.db") as database:
        database.execute("PRAGMA user_version = 999")
    database.close()
    for arguments in ([], ["--scan"], ["status"]):
        result = program.run(*arguments)
        assert (result.status, "schema 999" in result.faults()[0]) == (2, True)


def test_a_queue_that_is_being_made_is_waited_for(program: Program) -> None:
    """status asked while the daemon starts is no error."""
    with program.running() as daemon:
        while not daemon.saw("daemon.started"):
            result = program.run("status", "--json")
            assert (result.status, result.err) == (0, "")
    wait_until(lambda: daemon.process.poll() is not None)


def test_a_reader_that_stops_reading_is_no_error(program: Program) -> None:
    """megamax-sync show --schema | head -1 ends quietly."""
    for arguments in (["show", "--schema"], ["--help"], ["status", "--json"]):
        read, write = os.pipe()
        os.close(read)
        with program.popen(*arguments, stdout=write) as process:
            os.close(write)
            _, err = process.communicate()
        assert (process.returncode, err) == (0, b""), arguments


def test_a_full_disk_under_the_output_is_told(program: Program) -> None:
    """Exit 1 and one line."""
    with open("/dev/full", "wb") as full, program.popen("status", stdout=full) as process:
        _, err = process.communicate()
    assert (process.returncode, err.count(b"\n")) == (1, 1)
    assert b"cannot be written" in err


def test_any_locale_takes_any_name(program: Program) -> None:
    """Names that the locale cannot write are escaped, never a UnicodeEncodeError."""
    program.video("日本 ✓.mp4")
    env = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    assert program.run("--scan", env=env).status == 0
    assert r"\u65e5\u672c" in program.run("status", env=env).out
    assert json.loads(program.run("status", "--json", env=env).out)["counts"]["done"] == 1


def test_any_locale_shows_our_own_signs(program: Program) -> None:
    """As a terminal without UTF-8 can: an arrow is no escape to be puzzled out."""
    program.video("a.mp4")
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    assert "(2.0 KiB -> folder none)" in program.run("--scan", "--dry-run", env=plain).out
    assert program.run("--scan", env=plain).status == 0
    assert re.search(r"onqueue -> \w+", program.run("show", "1", env=plain).out)
    assert re.search(r"onqueue → \w+", program.run("show", "1", env={"PYTHONUTF8": "1"}).out)
    remedies = program.run("check", env={**plain, "MEGAMAX_WATCH": "/nowhere"}).out
    assert re.search(r"^ +-> make it", remedies, re.MULTILINE)
