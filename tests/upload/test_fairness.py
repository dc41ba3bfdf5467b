"""No file holds up the others, and no outcome is guessed."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from megamax_sync.api.client import MegamaxClient
from megamax_sync.api.multipart import MultipartFile
from megamax_sync.errors import ServiceFault, ServiceRefusal, StoreFull
from megamax_sync.job import JobState
from megamax_sync.sandbox import Fault
from megamax_sync.store.jobs import Jobs
from upload.pipeline import rig, wait_for


def test_a_file_that_always_fails_does_not_hold_up_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probe after a failure is another file, so the others are sent, and it is charged."""
    upload = MegamaxClient.upload

    def choosy(client: MegamaxClient, url: str, body: MultipartFile, **more: Any) -> Any:
        if body.name == "0.mp4":
            raise ServiceFault("HTTP 500", answered=True)
        return upload(client, url, body, **more)

    monkeypatch.setattr(MegamaxClient, "upload", choosy)
    with rig(tmp_path) as made:
        names = [f"{number}.mp4" for number in range(4)]
        for name in names:
            made.put(name)
        made.start(RETRY_SECONDS="0.4", RETRY_MAX_SECONDS="0.4", WORKERS="2")
        made.wait_done(*names[1:])
        # Each later success shows that it is this file.
        for number in range(4, 8):
            made.put(f"{number}.mp4")
            made.wait_done(f"{number}.mp4")
            if made.state("0.mp4") is JobState.FAILED:
                break
        assert made.wait_state("0.mp4", JobState.FAILED).attempts == 3


def test_a_folder_that_the_service_no_longer_has_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused list of one folder is asked without it, and closes no gate."""
    files = MegamaxClient.files

    def refusing(client: MegamaxClient, *, folder: int | None = None, **more: Any) -> Any:
        if folder is not None:
            raise ServiceRefusal("HTTP 404: no such folder", answered=True)
        return files(client, folder=folder, **more)

    monkeypatch.setattr(MegamaxClient, "files", refusing)
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.lost_answer())
        data = made.put("gone/a.mp4")
        made.put("b.mp4")
        made.start(FOLDERS="gone=99", WORKERS="1")
        made.wait_done("gone/a.mp4", "b.mp4")
        assert len(made.remote(data)) == 1
        assert len(made.said("upload.reconciled")) == 1


def test_an_upload_that_arrived_is_never_called_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue cannot be written, and the program is stopped: the next start finds the copy."""
    tried = threading.Event()

    def full(*_: object, **__: object) -> bool:
        tried.set()
        raise StoreFull("no space left for the queue")

    with rig(tmp_path) as made:
        data = made.put("a.mp4")
        with monkeypatch.context() as patch:
            patch.setattr(Jobs, "arrived", full)
            made.start()
            assert tried.wait(10)
            assert made.stop()
        made.start()
        made.wait_done("a.mp4")
        assert len(made.remote(data)) == 1
        assert [one["job"] for one in made.said("upload.reconciled")] == [1]


def test_a_lost_upload_is_looked_for_before_its_file_is_called_vanished(tmp_path: Path) -> None:
    """The answer is lost and the file moves: the copy is found, and its twin is not blocked."""
    with rig(tmp_path) as made:
        made.faults.add("files", Fault.hide_new(1.0), nth=None)
        made.faults.add("upload", Fault.lost_answer())
        data = made.put("one/a.mp4")
        made.start()
        wait_for(lambda: made.calls("files") > 0)
        os.utime(made.drop / "one/a.mp4")
        (made.drop / "two").mkdir()
        (made.drop / "one/a.mp4").rename(made.drop / "two/a.mp4")
        made.daemon.watcher.mark(os.fsencode(made.drop), True)
        made.wait_done("two/a.mp4", seconds=30)
        wait_for(lambda: made.state("one/a.mp4") in {JobState.DONE, JobState.SKIPPED}, 30)
        assert made.remote(data)


def test_no_claim_outlives_its_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody foresaw gives the job back, and the next try sends it."""
    upload_url = MegamaxClient.upload_url
    broken = [RuntimeError("unforeseen"), RuntimeError("again")]

    def unforeseen(client: MegamaxClient) -> str:
        if broken:
            raise broken.pop()
        return upload_url(client)

    monkeypatch.setattr(MegamaxClient, "upload_url", unforeseen)
    with rig(tmp_path) as made:
        data = made.put("a.mp4")
        made.start(WORKERS="1")
        made.wait_done("a.mp4", seconds=30)
        assert len(made.remote(data)) == 1
