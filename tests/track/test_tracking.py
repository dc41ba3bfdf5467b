"""From a hashid to the links in the sidecar, and keeping them fresh."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import shutil
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest
from upload.pipeline import Rig, rig, wait_for

from megamax_sync.api.client import MegamaxClient
from megamax_sync.api.models import RemoteFile
from megamax_sync.clock import Clock
from megamax_sync.errors import ServiceUnreachable
from megamax_sync.job import REMOTE_UNFINISHED, FileStamp, Job, JobState
from megamax_sync.sandbox import Fault
from megamax_sync.store import NewJob, Store
from megamax_sync.track import tracker
from megamax_sync.track.cadence import Cadence
from megamax_sync.track.conversion import Conversion
from megamax_sync.track.usual import Usual

DONE, FAILED, PROCESSING = JobState.DONE, JobState.FAILED, JobState.PROCESSING


def uploaded(made: Rig, name: str = "a.mp4", **settings: str) -> str:
    """Start, send one file; return its hashid."""
    made.put(name)
    made.start(**settings)
    wait_for(lambda: made.state(name) in {PROCESSING, DONE})
    return made.the_job(name).hashid or ""


def shown(made: Rig, status: str) -> bool:
    """Tell whether both the queue and the sidecar of ``a.mp4`` say this status."""
    document = made.sidecar("a.mp4") or {}
    return made.the_job("a.mp4").remote_status == document.get("status") == status


def test_sidecars_do_not_wait_for_another_who_knocks_at_the_gate(tmp_path: Path) -> None:
    """Whether the service is well again one finds out, which may take long; the rest goes on."""
    with rig(tmp_path) as made:
        made.put("a.mp4")
        daemon = made.start(RETRY_SECONDS="60")
        made.wait_done("a.mp4")
        gate, patience = daemon.api_gate, threading.Event()
        with contextlib.suppress(ServiceUnreachable), gate.pass_(patience):
            raise ServiceUnreachable("gone")
        gate.retry_now()
        with gate.pass_(patience) as probe:
            assert probe
            for _ in range(3):
                (made.drop / "a.mp4.megamax.json").unlink()
                daemon.store.tracking.track(made.the_job("a.mp4"), sidecar_due=1)
                wait_for(lambda: made.sidecar("a.mp4"), 5)


def test_the_sidecar_follows_every_status(tmp_path: Path) -> None:
    """It is there from the first status on, valid each time, and complete at the end."""
    with rig(tmp_path, step=3600) as made:
        hashid = uploaded(made)
        for status in REMOTE_UNFINISHED:
            made.sandbox.set_status(hashid, status)
            wait_for(functools.partial(shown, made, status))
            document = made.sidecar("a.mp4")
            assert document is not None
            assert document["hashid"] == hashid
        made.sandbox.set_status(hashid, "converted")
        made.wait_done("a.mp4")
        document = made.sidecar("a.mp4")
        assert document is not None
        assert document["status"] == "converted"
        assert document["mirrors"]
        assert document["direct"]
        changes = made.said("remote.status_changed")
        assert [one["new"] for one in changes] == [*REMOTE_UNFINISHED[1:], "converted"]
        assert [one["old"] for one in changes] == [*REMOTE_UNFINISHED]


def test_an_unknown_status_is_kept_and_one_may_go_backwards(tmp_path: Path) -> None:
    """What is not in the document is shown as it is, and nothing is concluded from the order."""
    with rig(tmp_path, step=60) as made:
        hashid = uploaded(made)
        for status in ("converting", "reticulating", "onqueue"):
            made.sandbox.set_status(hashid, status)
            wait_for(functools.partial(shown, made, status))
        assert made.state("a.mp4") is PROCESSING
        made.sandbox.set_status(hashid, "converted")
        made.wait_done("a.mp4")


def test_a_failed_conversion_is_final_and_retry_uploads_anew(tmp_path: Path) -> None:
    """It says why, its sidecar too; retry gets another hashid, and the dead one is an orphan."""
    with rig(tmp_path, step=60) as made:
        hashid = uploaded(made)
        made.sandbox.set_status(hashid, "failed")
        job = made.wait_state("a.mp4", FAILED)
        assert hashid in (job.error or "")
        wait_for(lambda: (made.sidecar("a.mp4") or {})["status"] == "failed")
        requests = made.calls()
        assert not made.daemon.stopping.wait(0.4)
        assert made.calls() == requests
        assert made.daemon.store.orders.retry(job)
        made.wait_state("a.mp4", PROCESSING)
        fresh = made.the_job("a.mp4").hashid or ""
        assert fresh != hashid
        assert [one.hashid for one in made.daemon.store.journal.orphans()] == [hashid]
        made.sandbox.set_status(fresh, "converted")
        made.wait_done("a.mp4")
        wait_for(lambda: (made.sidecar("a.mp4") or {})["hashid"] == fresh)


def test_a_failed_upload_is_never_adopted_by_its_retry(tmp_path: Path) -> None:
    """A retry whose answer is lost takes its own copy, not the dead one."""
    with rig(tmp_path, step=60) as made:
        dead = uploaded(made)
        made.sandbox.set_status(dead, "failed")
        job = made.wait_state("a.mp4", FAILED)
        made.sandbox.set_status(dead, "onqueue")
        made.faults.add("upload", Fault.lost_answer(), 1)
        made.daemon.store.orders.retry(job)
        made.wait_state("a.mp4", PROCESSING)
        assert made.the_job("a.mp4").hashid != dead
        assert len(made.sandbox.files()) == 2


def test_a_hashid_that_vanishes_fails_after_repeated_denials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One denial is nothing; several in a row fail the job, and retry uploads anew."""
    monkeypatch.setattr("megamax_sync.track.cadence._DENIAL_GROWTH", 1.2)
    with rig(tmp_path, step=60) as made:
        hashid = uploaded(made)
        made.sandbox.delete(hashid)
        before = made.calls("file")
        job = made.wait_state("a.mp4", FAILED)
        assert made.calls("file") - before >= 4
        assert hashid in (job.error or "")
        wait_for(lambda: (made.sidecar("a.mp4") or {}).get("status") == "")
        made.daemon.store.orders.retry(job)
        made.wait_state("a.mp4", PROCESSING)
        assert made.the_job("a.mp4").hashid == made.sandbox.files()[0].hashid


def test_a_conversion_that_never_ends_is_said_once_and_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warning with its status, and it is done when the service comes to its end after all."""
    monkeypatch.setattr("megamax_sync.track.conversion._LONG", 0.3)
    with rig(tmp_path, step=60) as made:
        hashid = uploaded(made)
        wait_for(lambda: made.said("remote.overdue"))
        looks = made.calls("file")
        wait_for(lambda: made.calls("file") > looks + 3)
        (said,) = made.said("remote.overdue")
        assert (said["log_level"], said["hashid"], said["status"]) == ("warning", hashid, "onqueue")
        assert made.state("a.mp4") is PROCESSING
        made.sandbox.set_status(hashid, "converted")
        made.wait_done("a.mp4")


def test_a_status_that_goes_to_and_fro_is_no_loop(tmp_path: Path) -> None:
    """Going back is followed and said, and does not make the next look come any sooner."""
    with rig(tmp_path, step=60) as made:
        hashid = uploaded(made)
        made.sandbox.set_status(hashid, "converting")
        wait_for(functools.partial(shown, made, "converting"))
        wait_for(lambda: made.the_job("a.mp4").checks > 2)
        checks = made.the_job("a.mp4").checks
        made.sandbox.set_status(hashid, "onqueue")
        wait_for(functools.partial(shown, made, "onqueue"))
        assert made.the_job("a.mp4").checks >= checks
        assert made.said("remote.status_changed")[-1]["old"] == "converting"


def test_a_call_for_links_that_has_no_answer_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mirrors and direct links are reset for ever; others are sent, and all are done without."""
    monkeypatch.setattr(tracker, "MIRRORS_DUE", 0.5)
    with rig(tmp_path) as made:
        for call in ("mirrors", "direct"):
            made.faults.add(call, Fault.reset(), None)
        uploaded(made)
        made.put("b.mp4")
        made.wait_done("a.mp4", "b.mp4")
        assert made.said("service.paused") == []
        assert "no answer" in (made.the_job("a.mp4").direct_error or "")


def test_denials_that_stop_are_forgotten(tmp_path: Path) -> None:
    """A service that forgets a file for a moment costs nothing."""
    with rig(tmp_path) as made:
        made.faults.add("file", Fault.status(404), (1, 2, 3))
        uploaded(made)
        made.wait_done("a.mp4")


def test_mirrors_may_come_late(tmp_path: Path) -> None:
    """The job is done with the first mirrors, not before."""
    with rig(tmp_path, mirror_delay=3600.0) as made:
        uploaded(made)
        wait_for(lambda: (made.sidecar("a.mp4") or {}).get("status") == "converted")
        assert made.state("a.mp4") is PROCESSING
        made.sandbox._running().mirror_delay = 0.0
        made.wait_done("a.mp4")
        document = made.sidecar("a.mp4")
        assert document is not None
        assert document["mirrors"]


def test_a_file_without_mirrors_is_done_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time for mirrors it is done without, and later ones are added all the same."""
    monkeypatch.setattr(tracker, "MIRRORS_DUE", 0.4)
    monkeypatch.setattr("megamax_sync.track.cadence._FIRST_MIRRORS", 0.2)
    with rig(tmp_path, mirror_delay=3600.0) as made:
        uploaded(made)
        made.wait_done("a.mp4")
        document = made.sidecar("a.mp4")
        assert document is not None
        assert document["mirrors"] == []
        made.sandbox._running().mirror_delay = 0.0
        wait_for(lambda: (made.sidecar("a.mp4") or {})["mirrors"])
        assert made.state("a.mp4") is DONE


def test_without_premium_there_are_no_direct_links_and_nothing_fails(tmp_path: Path) -> None:
    """The refusal's words stand in the sidecar, the list is empty, the job is done."""
    with rig(tmp_path, premium=False) as made:
        uploaded(made)
        made.wait_done("a.mp4")
        document = made.sidecar("a.mp4")
        assert document is not None
        assert document["direct"] == []
        assert "premium" in document["direct_error"]
        assert made.daemon.problem() is None


def test_direct_links_that_fail_for_ever_hold_up_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 5xx of the direct call is waited out for a while; then the job is done without."""
    monkeypatch.setattr(tracker, "MIRRORS_DUE", 0.6)
    with rig(tmp_path) as made:
        made.faults.add("direct", Fault.status(500, "broken"), None)
        uploaded(made)
        wait_for(lambda: made.the_job("a.mp4").direct_error)
        assert made.daemon.problem() is None
        made.wait_done("a.mp4")
        document = made.sidecar("a.mp4")
        assert document is not None
        assert document["direct"] == []
        assert "500" in document["direct_error"]
        assert document["mirrors"]


def test_links_are_renewed_before_they_expire(tmp_path: Path) -> None:
    """The sidecar's direct links work at any time, and the renewal is said."""
    with rig(tmp_path, link_ttl=4) as made:
        uploaded(made)
        made.wait_done("a.mp4")
        first = (made.sidecar("a.mp4") or {})["direct"][0]
        wait_for(lambda: (made.sidecar("a.mp4") or {})["direct"][0] != first, 6)
        expires = datetime.fromisoformat(first["expires_at"]).timestamp()
        assert time.time() < expires + 1
        assert made.said("links.refreshed")
        assert made.state("a.mp4") is DONE


@pytest.mark.parametrize("fault", [Fault.status(409, "busy"), Fault.status(503)])
def test_a_refused_renewal_takes_no_links_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    """Of a file that was converted long ago: those that are good stay, and it is asked again."""
    monkeypatch.setattr("megamax_sync.track.cadence._FIRST_MIRRORS", 0.2)
    with rig(tmp_path, link_ttl=20) as made:
        made.put("a.mp4")
        made.start()
        made.wait_done("a.mp4")
        links = made.the_job("a.mp4").direct
        made.faults.add("direct", fault, 1)
        job = made.the_job("a.mp4")
        made.daemon.store.tracking.track(
            job, converted_at=made.daemon.clock.now() - 8 * 86400, check_at=1.0
        )
        wait_for(lambda: made.the_job("a.mp4").direct_error)
        assert made.the_job("a.mp4").direct == links
        wait_for(lambda: made.the_job("a.mp4").direct_error is None)
        assert made.the_job("a.mp4").direct != links


def test_who_asks_for_time_gets_it_for_all_files(tmp_path: Path) -> None:
    """A renewal that is answered with Retry-After is made for no other file meanwhile."""
    with rig(tmp_path) as made:
        names = ["a.mp4", "b.mp4", "c.mp4"]
        for name in names:
            made.put(name)
        made.start()
        made.wait_done(*names)
        made.faults.add("direct", Fault.status(429, headers={"retry-after": "3600"}), None)
        before = made.calls("direct")
        for name in names:
            made.daemon.store.tracking.track(made.the_job(name), check_at=1.0)
        wait_for(lambda: all((made.the_job(name).check_at or 0) > 1.0 for name in names))
        assert made.calls("direct") == before + 1
        now = made.daemon.clock.now()
        assert all((made.the_job(name).check_at or 0) > now + 3000 for name in names)


def test_a_file_without_an_answer_holds_up_neither_others_nor_uploads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call for one hashid that the service chokes on is not the service's end."""
    asked = MegamaxClient.file
    mute: list[str | None] = []

    def file(self: MegamaxClient, hashid: str) -> RemoteFile:
        if hashid in mute:
            raise ServiceUnreachable("no answer from it (ReadTimeout)")
        return asked(self, hashid)

    monkeypatch.setattr(MegamaxClient, "file", file)
    with rig(tmp_path, step=3600) as made:
        names = ["a.mp4", "b.mp4", "c.mp4"]
        for name in names:
            made.put(name)
        made.start()
        for name in names:
            made.wait_state(name, PROCESSING)
        mute.append(made.the_job("a.mp4").hashid)
        for name in names:
            made.sandbox.set_status(made.the_job(name).hashid or "", "converted")
        made.wait_done("b.mp4", "c.mp4")
        made.put("d.mp4")
        made.wait_state("d.mp4", PROCESSING)
        mute.clear()
        made.wait_done("a.mp4")


def test_behind_a_closed_gate_somebody_knocks_though_nothing_is_due(tmp_path: Path) -> None:
    """The end of an outage is seen, also where the next look at a done file is days away."""
    with rig(tmp_path) as made:
        made.put("a.mp4")
        made.start()
        made.wait_done("a.mp4")
        job = made.the_job("a.mp4")
        made.faults.add("mirrors", Fault.status(503), None)
        made.faults.add("direct", Fault.status(503), None)
        made.faults.add("file", Fault.status(503), None)
        made.daemon.store.tracking.track(job, check_at=1.0)
        wait_for(lambda: made.said("service.paused"))
        made.daemon.store.tracking.track(job, check_at=made.daemon.clock.now() + 3600)
        made.faults.clear()
        wait_for(lambda: made.said("service.resumed"))


def test_a_file_that_moves_on_is_asked_about_soon_again(tmp_path: Path) -> None:
    """However rarely it was before; and of one that was dropped meanwhile nothing is noted."""
    clock = Clock()
    with Store(str(tmp_path / "queue.db"), clock) as store:
        number = store.jobs.add(
            b"/v/a.mkv", FileStamp(1, 1, 1, 1, 1), root=b"/v", folder=None, ready=True, reason="x"
        )
        job = store.jobs.claim("me")
        assert job is not None
        store.jobs.arrived(
            job, hashid="h", status="onqueue", name="a", size=1, uploaded_at=clock.now() - 10_000,
            fingerprint=None, stamp=job.stamp, reason="x",
        )  # fmt: skip
        conversion = Conversion(store, Cadence(15.0), Usual(store.settings), clock)
        job = store.jobs.get(number)
        assert job is not None
        store.tracking.track(job, checks=60)
        old = store.jobs.get(number)
        assert old is not None
        assert not conversion.heard(old, RemoteFile(hashid="h", name="a", status="converting"))
        moved = store.jobs.get(number)
        assert moved is not None
        assert moved.check_at is not None
        assert moved.check_at - clock.now() < 200
        assert store.orders.forget(moved)
        assert not conversion.heard(moved, RemoteFile(hashid="h", name="a", status="converted"))


def test_links_are_left_alone_if_so_configured(tmp_path: Path) -> None:
    """Without renewal nothing is asked for before the next look for mirrors."""
    with rig(tmp_path, link_ttl=2) as made:
        uploaded(made, REFRESH_LINKS="false")
        made.wait_done("a.mp4")
        asked = made.calls("direct")
        assert not made.daemon.stopping.wait(2.2)
        assert made.calls("direct") == asked


def test_a_done_file_keeps_its_links_while_the_service_is_in_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in the sidecar is not taken away by an error."""
    monkeypatch.setattr("megamax_sync.track.cadence._FIRST_MIRRORS", 0.2)
    with rig(tmp_path, link_ttl=3) as made:
        uploaded(made)
        made.wait_done("a.mp4")
        before = (made.sidecar("a.mp4") or {})["direct"]
        made.faults.add("direct", Fault.status(500), None)
        made.faults.add("mirrors", Fault.status(404), None)
        wait_for(lambda: (made.sidecar("a.mp4") or {})["direct_error"], 5)
        document = made.sidecar("a.mp4") or {}
        assert document["direct"] == before
        assert document["mirrors"]
        made.faults.clear()
        wait_for(lambda: (made.sidecar("a.mp4") or {})["direct"] != before, 5)
        assert (made.sidecar("a.mp4") or {})["direct_error"] is None


def test_many_files_in_conversion_cost_few_calls(tmp_path: Path) -> None:
    """More than four are asked about by list, not one by one."""
    with rig(tmp_path, step=60) as made:
        names = [f"{n}.mp4" for n in range(12)]
        for name in names:
            made.put(name)
        made.start(WORKERS="4")
        for name in names:
            made.wait_state(name, PROCESSING)
        before = made.call_counts()
        wait_for(lambda: made.calls("files") >= before["files"] + 12)
        counts = made.call_counts()
        assert counts["file"] - before["file"] <= 12
        for one in made.sandbox.files():
            made.sandbox.set_status(one.hashid, "converted")
        made.wait_done(*names)


def test_one_file_that_always_fails_holds_up_no_other(tmp_path: Path) -> None:
    """An error about one of several files is that file's matter."""
    with rig(tmp_path, step=60) as made:
        names = ["a.mp4", "b.mp4", "c.mp4"]
        for name in names:
            made.put(name)
        made.start()
        for name in names:
            made.wait_state(name, PROCESSING)
        made.faults.add("mirrors", Fault.status(500), 1)
        made.faults.add("mirrors", Fault.status(500), 2)
        made.faults.add("mirrors", Fault.status(500), 3)
        for one in made.sandbox.files():
            made.sandbox.set_status(one.hashid, "converted")
        made.wait_done(*names)
        assert not made.said("service.paused")


def test_an_unreachable_api_is_said_and_recovered_from(tmp_path: Path) -> None:
    """While nothing answers the gate is closed; tracking resumes by itself."""
    with rig(tmp_path, step=60) as made:
        hashid = uploaded(made)
        made.faults.add("file", Fault.reset(), None)
        wait_for(lambda: made.daemon.problem() is not None)
        problem = made.daemon.problem()
        assert problem is not None
        assert problem.word == "unreachable"
        before, began = made.calls("file"), time.monotonic()
        wait_for(lambda: made.calls("file") >= before + 4)
        assert (made.calls("file") - before) / (time.monotonic() - began) < 40
        made.sandbox.set_status(hashid, "converted")
        made.faults.clear()
        made.wait_done("a.mp4")
        assert made.daemon.problem() is None


def test_a_folder_removed_during_processing_is_said_and_the_job_ends(tmp_path: Path) -> None:
    """Nobody is left to read a sidecar there: that is said, and the job is done."""
    with rig(tmp_path, step=0.3) as made:
        made.put("season/a.mp4")
        made.start()
        made.wait_state("season/a.mp4", PROCESSING)
        wait_for(lambda: made.said("sidecar.written"))
        shutil.rmtree(made.drop / "season")
        made.wait_done("season/a.mp4")
        assert made.said("sidecar.left_out")
        assert not (made.drop / "season").exists()


def test_a_sidecar_that_cannot_be_written_is_owed(tmp_path: Path) -> None:
    """Said once, tried again; the job is done once its links are in the sidecar."""
    with rig(tmp_path, step=0.2) as made:
        made.put("a.mp4")
        made.start(SIDECAR_DIR=str(tmp_path / "links"))
        made.wait_state("a.mp4", PROCESSING)
        wait_for(lambda: made.said("sidecar.written"))
        shutil.rmtree(tmp_path / "links")
        (tmp_path / "links").write_text("in the way")
        wait_for(lambda: made.said("sidecar.failed"))
        wait_for(lambda: made.the_job("a.mp4").mirrors not in {None, "[]"})
        wait_for(lambda: made.the_job("a.mp4").check_at is None)
        asked = made.calls()
        assert not made.daemon.stopping.wait(0.6)
        assert made.state("a.mp4") is PROCESSING
        assert len(made.said("sidecar.failed")) == 1
        (tmp_path / "links").unlink()
        made.wait_done("a.mp4")
        assert (tmp_path / "links" / "a.mp4.megamax.json").exists()
        assert made.calls() == asked, "its links were known already"
        assert made.the_job("a.mp4").check_at is not None, "they are renewed all the same"


def test_a_name_that_is_taken_meanwhile_is_said_in_the_job(tmp_path: Path) -> None:
    """Nobody has to guess why it is still converting; once it is free, the job is done."""
    with rig(tmp_path, step=0.2) as made:
        made.put("a.mp4")
        made.start()
        wait_for(lambda: made.said("sidecar.written"))
        taken = made.drop / "a.mp4.megamax.json"
        taken.unlink()
        taken.mkdir()
        wait_for(lambda: made.the_job("a.mp4").check_at is None)
        wait_for(lambda: "Is a directory" in (made.the_job("a.mp4").error or ""))
        assert made.state("a.mp4") is PROCESSING
        assert "move away" in made.said("sidecar.failed")[0]["error"]
        taken.rmdir()
        made.wait_done("a.mp4")
        assert made.the_job("a.mp4").error is None


def test_a_name_that_is_taken_before_costs_no_upload(tmp_path: Path) -> None:
    """It is found out before a byte is sent."""
    with rig(tmp_path, step=0.2) as made:
        (made.drop / "a.mp4.megamax.json").mkdir(parents=True)
        made.put("a.mp4")
        made.start(MAX_ATTEMPTS="1")
        made.wait_state("a.mp4", FAILED)
        assert "move away" in (made.the_job("a.mp4").error or "")
        assert made.sandbox.files() == []


def test_a_restart_finishes_what_only_lacked_its_sidecar(tmp_path: Path) -> None:
    """That nothing more is to be asked is known to the queue, not only to the process."""
    with rig(tmp_path, step=0.2) as made:
        made.put("a.mp4")
        made.start(SIDECAR_DIR=str(tmp_path / "links"))
        wait_for(lambda: made.said("sidecar.written"))
        shutil.rmtree(tmp_path / "links")
        (tmp_path / "links").write_text("in the way")
        wait_for(lambda: made.the_job("a.mp4").mirrors not in {None, "[]"})
        wait_for(lambda: made.the_job("a.mp4").check_at is None)
        assert made.stop()
        (tmp_path / "links").unlink()
        asked = made.calls()
        made.start(SIDECAR_DIR=str(tmp_path / "links"))
        made.wait_done("a.mp4")
        assert made.calls() == asked


def test_a_new_sidecar_does_not_wait_for_a_long_round_of_calls(tmp_path: Path) -> None:
    """While many files are asked about at a low rate, another's first sidecar is written."""
    with rig(tmp_path, step=60) as made:
        names = [f"{n}.mp4" for n in range(4)]
        for name in names:
            made.put(name)
        made.start(WORKERS="4")
        for name in names:
            made.wait_state(name, PROCESSING)
        wait_for(lambda: len(made.said("sidecar.written")) >= 4)
        # From now on a round is four answers of two seconds each.
        made.faults.add("file", Fault.delay(2.0), None)
        before = made.calls("file")
        wait_for(lambda: made.calls("file") > before)
        made.put("z.mp4")
        hashid = made.wait_state("z.mp4", PROCESSING).hashid
        began = time.monotonic()
        wait_for(lambda: (made.sidecar("z.mp4") or {}).get("hashid") == hashid)
        assert time.monotonic() - began < 4


def test_a_job_dropped_while_its_sidecar_is_owed_leaves_the_loop_at_rest(tmp_path: Path) -> None:
    """What is owed to nobody is not tried again."""
    with rig(tmp_path, step=60) as made:
        made.put("a.mp4")
        made.start(SIDECAR_DIR=str(tmp_path / "links"))
        hashid = made.wait_state("a.mp4", PROCESSING).hashid or ""
        wait_for(lambda: made.said("sidecar.written"))
        shutil.rmtree(tmp_path / "links")
        (tmp_path / "links").write_text("in the way")
        made.sandbox.set_status(hashid, "converting")
        wait_for(lambda: made.said("sidecar.failed"))
        made.daemon.store.orders.forget(made.the_job("a.mp4"))
        wait_for(lambda: not made.daemon.tracker._writer._failed, 3)


def test_only_the_newest_upload_of_a_path_writes_its_sidecar(tmp_path: Path) -> None:
    """An older version that is still in conversion does not overwrite the newer one's."""
    with rig(tmp_path, step=60) as made:
        old = uploaded(made)
        made.put("a.mp4", size=3000)
        wait_for(lambda: len(made.sandbox.files()) == 2)
        wait_for(lambda: (made.sidecar("a.mp4") or {}).get("hashid") not in {None, old})
        new = made.the_job("a.mp4").hashid
        made.sandbox.set_status(old, "converted")
        older = made.daemon.store.views.find(old)
        assert older is not None
        wait_for(lambda: (made.daemon.store.jobs.get(older.id) or older).state is DONE)
        assert (made.sidecar("a.mp4") or {})["hashid"] == new
        made.sandbox.set_status(new or "", "converted")
        made.wait_done("a.mp4")
        document = made.sidecar("a.mp4") or {}
        assert (document["hashid"], document["size"]) == (new, 3000)


def test_a_deleted_watch_folder_keeps_the_sidecar_owed(tmp_path: Path) -> None:
    """A whole watched folder that is missing is a disk that went away: the links wait for it."""
    with rig(tmp_path, step=0.3) as made:
        made.put("a.mp4")
        made.start()
        made.wait_state("a.mp4", PROCESSING)
        wait_for(lambda: made.said("sidecar.written"))
        made.drop.rename(tmp_path / "away")
        wait_for(lambda: made.said("sidecar.failed"))
        wait_for(lambda: made.the_job("a.mp4").mirrors not in {None, "[]"})
        assert made.state("a.mp4") is PROCESSING
        os.rename(tmp_path / "away", made.drop)
        made.wait_done("a.mp4")
        assert (made.sidecar("a.mp4") or {})["mirrors"]


def test_a_shorter_interval_counts_from_the_next_start_on(tmp_path: Path) -> None:
    """What an earlier run has put off for an hour is asked about within the present interval."""
    with rig(tmp_path, step=60) as made:
        hashid = uploaded(made, POLL_SECONDS="3600")
        wait_for(lambda: (made.the_job("a.mp4").check_at or 0.0) > time.time() + 1800)
        made.stop()
        made.start(POLL_SECONDS="0.5")
        due = made.the_job("a.mp4").check_at
        assert due is not None
        made.sandbox.set_status(hashid, "converted")
        made.wait_done("a.mp4")


def test_what_is_brought_forward_is_spread(tmp_path: Path) -> None:
    """Over one interval; what is in conversion for long, and so seldom asked about, stays."""
    clock = Clock()
    with Store(str(tmp_path / "queue.db"), clock) as store:
        now = clock.now()
        for number in range(200):
            make_processing(store, number, check_at=now + 3600.0, checks=1)
        old = make_processing(store, 1000, check_at=now + 300.0, checks=60)
        cadence = Cadence(15.0, rng=random.Random(1))
        due, now = now + 300.0, clock.now()
        Conversion(store, cadence, Usual(store.settings), clock).bring_forward()
        dues = sorted((job.check_at or 0.0) - now for job in store.views.jobs() if job.id != old.id)
        assert -0.1 <= dues[0] < 1.0
        assert 14.0 < dues[-1] <= 16.0
        assert 6.0 < dues[100] < 9.0
        assert fetched(store, old).check_at == due


def make_processing(store: Store, number: int, **columns: object) -> Job:
    """Have a file that is in conversion."""
    path = b"/w/%d.mp4" % number
    stamp = FileStamp(1, number, 100, 1, 1)
    (job,) = store.jobs.add_each([NewJob(path, stamp, b"/w", None, "test")], ready=True)
    claimed = store.jobs.claim("owner", [path])
    assert claimed is not None
    store.jobs.arrived(
        claimed,
        hashid=f"hash{number}",
        status="onqueue",
        name="name",
        size=100,
        uploaded_at=None,
        fingerprint=None,
        stamp=stamp,
        reason="test",
    )
    made = store.jobs.get(job)
    assert made is not None
    assert store.tracking.track(made, **columns)
    return made


def fetched(store: Store, job: Job) -> Job:
    """The job as it is now."""
    fresh = store.jobs.get(job.id)
    assert fresh is not None
    return fresh
