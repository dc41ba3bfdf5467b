"""The document of ``status --json``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from megamax_sync.clock import Clock
from megamax_sync.job import FileStamp, JobState
from megamax_sync.status import job_row, shown, status, to_send
from megamax_sync.store import Store

DAEMON = {
    "running",
    "pid",
    "since",
    "paused",
    "problem",
    "problem_detail",
    "observer",
    "bwlimit",
}
BYTES = {"queued", "uploading", "sent_per_second", "eta_seconds"}
JOB = {
    "id",
    "path",
    "path_b64",
    "state",
    "remote_status",
    "hashid",
    "folder",
    "size",
    "sent",
    "attempts",
    "next_attempt_at",
    "error",
    "created_at",
    "updated_at",
    "sidecar",
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A queue with a job that is being sent and one that waits."""
    with Store(str(tmp_path / "q"), Clock()) as opened:
        for name, size in ((b"/v/\xff.mp4", 1000), (b"/v/b.mp4", 500)):
            stamp = FileStamp(size, 1, 1, 1, 1)
            opened.jobs.add(name, stamp, root=None, folder=3, ready=True, reason="found")
        assert opened.jobs.claim("me") is not None
        yield opened


def keys(document: dict[str, Any]) -> None:
    """Check that every key of the contract is there, and no other."""
    assert set(document) == {"daemon", "counts", "bytes", "jobs"}
    assert set(document["daemon"]) == DAEMON
    assert set(document["counts"]) == {state.value for state in JobState}
    assert set(document["bytes"]) == BYTES
    assert all(set(job) == JOB for job in document["jobs"])


def test_every_key_is_there_without_queue_and_daemon() -> None:
    """Null where nothing is known."""
    document = status(None, None, now=0)
    keys(document)
    assert document["daemon"]["running"] is False
    assert document["daemon"]["paused"] is False
    assert document["jobs"] == []
    assert document["bytes"] == {
        "queued": 0,
        "uploading": 0,
        "sent_per_second": None,
        "eta_seconds": None,
    }


def test_a_running_instance_adds_what_only_it_knows(store: Store) -> None:
    """Progress, rate and the time that is left."""
    store.settings.paused = True
    live = {
        "pid": 7,
        "since": "x",
        "problem": "watch",
        "problem_detail": "y",
        "observer": "inotify",
        "bwlimit": None,
        "uploads": [{"job": 1, "sent": 400, "size": 1000, "rate": 110.0}],
    }
    document = status(store, live, now=0)
    keys(document)
    assert document["daemon"] == {"running": True, "paused": True} | {
        name: live[name] for name in DAEMON - {"running", "paused"}
    }
    assert document["bytes"] == {
        "queued": 500,
        "uploading": 1000,
        "sent_per_second": 110,
        "eta_seconds": 10,
    }
    assert [(job["id"], job["sent"]) for job in document["jobs"]] == [(1, 400), (2, None)]


def test_what_is_left_to_send_is_less_than_the_files_under_way() -> None:
    """By what has gone out of them; never below nothing, as both are not read at one moment."""
    volume = {"queued": 500, "uploading": 1000}
    assert to_send(volume, []) == 1500
    assert to_send(volume, [{"sent": 400}, {"sent": 100}]) == 1000
    assert to_send(volume, [{"sent": 4000}]) == 500


def test_jobs_are_filtered_and_counts_are_not(store: Store) -> None:
    """The filter and the limit are for the list alone."""
    document = status(store, None, now=0, state=JobState.QUEUED)
    keys(document)
    assert [job["path"] for job in document["jobs"]] == ["/v/b.mp4"]
    assert document["counts"]["uploading"] == 1
    assert len(status(store, {}, now=0, limit=1)["jobs"]) == 1


def test_paths_that_are_no_utf8_are_shown_and_given_as_bytes(store: Store) -> None:
    """U+FFFD for people, base64 for programs."""
    job = store.jobs.get(1)
    assert job is not None
    row = job_row(job, now=0)
    assert (row["path"], row["path_b64"]) == ("/v/\ufffd.mp4", "L3Yv/y5tcDQ=")
    other = store.jobs.get(2)
    assert other is not None
    assert job_row(other, now=0)["path_b64"] is None


def test_the_next_attempt_and_the_arrival_are_told(store: Store) -> None:
    """When it waits for a moment, which; once the service has it, all of it is sent."""
    job = store.jobs.get(1)
    assert job is not None
    store.jobs.release(job, "x", not_before=1681528521.0)
    job = store.jobs.get(1)
    assert job is not None
    assert job_row(job, now=1681528520.0)["next_attempt_at"] == "2023-04-15T03:15:21Z"
    assert job_row(job, now=1681528521.0)["next_attempt_at"] is None, "it is due"
    assert status(store, None, now=1681528522.0)["jobs"][0]["next_attempt_at"] is None
    store.jobs.arrived(
        job,
        hashid="H",
        status="onqueue",
        name="",
        size=None,
        uploaded_at=None,
        fingerprint=None,
        stamp=job.stamp,
        reason="found",
    )
    job = store.jobs.get(1)
    assert job is not None
    store.tracking.sidecar_written(job, b"/v/s\xff")
    job = store.jobs.get(1)
    assert job is not None
    row = job_row(job, now=0)
    assert (row["sent"], row["next_attempt_at"], row["sidecar"]) == (1000, None, "/v/s\ufffd")


def test_a_terminal_is_shown_no_controls() -> None:
    """One line, valid UTF-8, whatever the name holds."""
    assert shown(b"/v/a\n\x1b[31m\xff") == "/v/a\\n\\x1b[31m\\udcff"
