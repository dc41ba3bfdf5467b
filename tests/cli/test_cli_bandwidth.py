"""``bwlimit``: shown, and changed while it runs."""

from __future__ import annotations

from typing import Any

from cli.program import Program, wait_until


def running_limit(program: Program) -> Any:
    """What status says of the instance that runs."""
    return program.run("status", "--json").json()["daemon"]["bwlimit"]


def test_it_changes_what_runs_and_outlasts_a_restart(program: Program) -> None:
    """A crawling upload is done as soon as the limit is lifted; status shows what is in force."""
    configured = {"MEGAMAX_BWLIMIT": "10K"}
    program.video("a.mp4", 4_000_000)
    with program.running(env=configured, until="upload.started") as daemon:
        assert "bandwidth limit: 10.0 KiB/s" in program.run("status").out
        assert program.run("bwlimit", "5M").lines()[0] == "5.0 MiB/s"
        daemon.wait_for("upload.finished")
    with program.daemon(env=configured):
        shown = program.run("bwlimit").lines()
        assert shown[0] == "5.0 MiB/s"
        assert shown[1].startswith("set by bwlimit: 5M")
        assert program.run("bwlimit", "off").lines()[0] == "off"
        assert running_limit(program) == 0
        assert program.run("bwlimit", "config").lines() == ["10.0 KiB/s"]


def test_a_stop_does_not_wait_for_bandwidth(program: Program) -> None:
    """Nor is an upload that waits for its turn taken for a stuck one, or its job for a claimed."""
    program.video("a.mp4", 4_000_000)
    with program.running(env={"MEGAMAX_BWLIMIT": "1B"}, until="upload.started") as daemon:
        assert daemon.end() == 0
    assert program.counts() == {"queued": 1}


def test_forget_ends_an_upload_that_waits_for_bandwidth(program: Program) -> None:
    """Its worker is free again within seconds."""
    program.video("a.mp4", 4_000_000)
    with program.running(env={"MEGAMAX_BWLIMIT": "1K"}, until="upload.started"):
        assert program.run("forget", "1").status == 0
        wait_until(lambda: not program.run("status", "--json").json()["bytes"]["sent_per_second"])


def test_without_an_instance_it_is_for_the_next(stranger: Program) -> None:
    """A timetable may be given as one word or as several; nothing is made by asking."""
    configured = {"MEGAMAX_BWLIMIT": "3M"}
    assert stranger.run("bwlimit", env=configured).lines() == ["3.0 MiB/s"]
    assert not stranger.state.exists()
    said = stranger.run("bwlimit", "00:00,2M 12:00,2M", "18:00,2M").lines()
    assert said[0] == "2.0 MiB/s"
    assert "00:00,2M 12:00,2M 18:00,2M" in said[1]
    assert "no instance is running" in said[2]
    assert stranger.run("bwlimit", env=configured).lines()[0] == "2.0 MiB/s"


def test_what_is_no_rate_is_refused(stranger: Program) -> None:
    """With the remedy, and without a change."""
    said = stranger.run("bwlimit", "fast")
    assert said.status == 2
    assert "'fast', which is no rate" in said.faults()[0]
    assert not stranger.state.exists()
