"""From the folder to the service: sent once, whatever goes wrong on the way."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from pathlib import Path

import pytest

from megamax_sync.errors import StoreFull
from megamax_sync.job import JobState
from megamax_sync.sandbox import Fault
from megamax_sync.store.journal import Journal
from upload.pipeline import Rig, rig, sha, wait_for

DONE, FAILED, QUEUED = JobState.DONE, JobState.FAILED, JobState.QUEUED

#: What an answer can be instead of the document's.
FAULTS = {
    "reset": Fault.reset(),
    "500": Fault.status(500),
    "429": Fault.status(429, headers={"Retry-After": "0"}),
    "html": Fault.raw(200, b"<html>gateway</html>"),
    "error": Fault.raw(200, b'{"status": "error", "message": "no", "result": null}'),
    "cut": Fault.cut_body(5),
    "lost": Fault.lost_answer(),
    "redirect": Fault.redirect("http://127.0.0.1:9/"),
}
#: The calls on the way to a hashid, and those after it.
CALLS = {"sending": ("generate", "upload"), "tracking": ("file", "mirrors", "direct")}


def assert_once(made: Rig, contents: dict[str, bytes]) -> None:
    """Each content is in the account once, and its sidecar names that copy."""
    for name, data in contents.items():
        copies = made.remote(data)
        assert len(copies) == 1, f"{name}: {len(copies)} copies"
        document = made.sidecar(name)
        assert document is not None
        assert document["hashid"] == copies[0].hashid
        assert document["status"] == "converted"
        assert document["source"]["size"] == len(data)
        assert document["converted_at"]


def test_every_file_arrives_once_with_its_links(tmp_path: Path) -> None:
    """Files of several folders are sent once, byte for byte, and get complete sidecars."""
    with rig(tmp_path) as made:
        names = ["a.mp4", "anime/b.mkv", "anime/deep/c.webm", "other/d.mp4"]
        contents = {name: made.put(name, size=300_000) for name in names}
        made.start(FOLDER="5", FOLDERS="anime=12,anime/deep=15")
        made.wait_done(*names)
        assert_once(made, contents)
        assert len(made.sandbox.files()) == 4
        counts = made.call_counts()
        # A fresh URL for each upload, and none for anything else.
        assert counts["generate"] == counts["upload"] == 4
        folders = {one.name: one.folder for one in made.sandbox.files()}
        assert folders == {"a.mp4": 5, "b.mkv": 12, "c.webm": 15, "d.mp4": 5}
        document = made.sidecar("anime/b.mkv")
        assert document is not None
        assert document["folder"] == 12
        assert document["mirrors"][0]["mirrors"]
        assert document["direct"][0]["stream"].startswith(made.sandbox.api_url.split("/api")[0])
        assert document["direct_error"] is None
        assert [step.state for step in made.history("a.mp4")][:3] == [
            "queued",
            "uploading",
            "processing",
        ]


def test_a_file_that_comes_later_is_sent_too(tmp_path: Path) -> None:
    """A daemon at rest notices a new file and sends it."""
    with rig(tmp_path) as made:
        made.start()
        wait_for(made.daemon.watcher.scanned.is_set)
        late = made.put("late.mp4")
        made.wait_done("late.mp4")
        assert_once(made, {"late.mp4": late})


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("calls", CALLS)
def test_a_fault_costs_no_file_and_makes_no_second_copy(
    tmp_path: Path, calls: str, fault: str
) -> None:
    """Whatever calls answer at the first, second and fourth time: each file is there once."""
    with rig(tmp_path, step=0.0) as made:
        for call in CALLS[calls]:
            made.faults.add(call, FAULTS[fault], (1, 2, 4))
        contents = {name: made.put(name) for name in ("a.mp4", "b.mp4")}
        made.start()
        made.wait_done(*contents)
        assert_once(made, contents)


def test_a_list_that_fails_is_asked_again_before_the_file_is_sent_again(tmp_path: Path) -> None:
    """The look-up of a lost upload meets faults itself, and still there is one copy."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.lost_answer(), 1)
        for n, fault in enumerate(FAULTS.values(), start=1):
            made.faults.add("files", fault, n)
        data = made.put("a.mp4")
        made.start()
        made.wait_done("a.mp4")
        assert_once(made, {"a.mp4": data})
        assert made.said("upload.reconciled")


def test_a_lost_answer_is_found_in_the_list(tmp_path: Path) -> None:
    """An upload whose answer is lost is adopted, fingerprint and all, and not sent again."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.lost_answer(), 1)
        data = made.put("a.mp4")
        made.start()
        made.wait_done("a.mp4")
        assert_once(made, {"a.mp4": data})
        assert made.calls("upload") == 1
        (event,) = made.said("upload.reconciled")
        job = made.the_job("a.mp4")
        assert event["hashid"] == job.hashid
        assert job.fingerprint is not None
        assert job.attempts == 0


def test_a_service_that_lists_late_is_waited_for(tmp_path: Path) -> None:
    """Not listed at first is no proof: there is still one copy."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.lost_answer(), 1)
        made.faults.add("files", Fault.hide_new(3600), 1)
        data = made.put("a.mp4")
        made.start(RETRY_SECONDS="2")
        made.wait_done("a.mp4")
        assert_once(made, {"a.mp4": data})
        assert made.calls("files") >= 2
        assert made.said("upload.reconciled")


def test_what_is_never_listed_is_sent_again(tmp_path: Path) -> None:
    """After three looks in vain the file is sent again."""
    with rig(tmp_path) as made:
        # The body goes out whole, and the service keeps nothing of it.
        made.faults.add("upload", Fault.status(504), 1)
        data = made.put("a.mp4")
        made.start()
        made.wait_done("a.mp4")
        assert_once(made, {"a.mp4": data})
        assert made.calls("files") >= 3
        assert made.calls("upload") == 2


def test_twins_with_lost_answers_keep_their_own_uploads(tmp_path: Path) -> None:
    """Two files of one name and size, both answers lost: two copies, each with its owner."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.lost_answer(), (1, 2))
        contents = {"one/ep.mp4": made.put("one/ep.mp4"), "two/ep.mp4": made.put("two/ep.mp4")}
        made.start()
        made.wait_done(*contents)
        assert_once(made, contents)
        assert len(made.sandbox.files()) == 2
        assert len(made.said("upload.reconciled")) == 2


def test_a_file_uploaded_by_hand_before_is_not_taken_for_ours(tmp_path: Path) -> None:
    """A file of our name and size that was there before the attempt belongs to somebody else."""
    with rig(tmp_path) as made:
        made.sandbox.add_file("a.mp4", b"x" * 2000, created_at=time.time() - 60)
        made.faults.add("upload", Fault.lost_answer(), 1)
        data = made.put("a.mp4")
        made.start()
        made.wait_done("a.mp4")
        assert_once(made, {"a.mp4": data})


@pytest.mark.parametrize("how", ["written", "written, its times put back", "renamed over"])
def test_a_file_replaced_while_it_is_sent_is_sent_anew(tmp_path: Path, how: str) -> None:
    """The old content is set aside as an orphan, costs no attempt, and the new one follows."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.hold(), 1)
        old = made.put("a.mp4")
        made.start()
        made.wait_sent("a.mp4")
        new = os.urandom(2000)
        if how == "renamed over":
            made.put("a.mp4", new)
        else:
            path = made.drop / "a.mp4"
            times = path.stat()
            path.write_bytes(new)
            if how != "written":
                os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        made.faults.release()
        wait_for(lambda: made.said("upload.discarded"))
        wait_for(lambda: made.remote(new))
        made.wait_done("a.mp4")
        assert_once(made, {"a.mp4": new})
        (orphan,) = made.daemon.store.journal.orphans()
        assert orphan.hashid == made.remote(old)[0].hashid
        assert made.the_job("a.mp4").attempts == 0


def test_a_body_waits_for_leave_where_that_is_asked_for(tmp_path: Path) -> None:
    """Until the host says 100 Continue nothing is sent; and then everything."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.hold(), 1)
        data = made.put("a.mp4", size=2 << 20)
        made.start(CONTINUE_SECONDS="60")
        wait_for(lambda: made.calls("upload") == 1)
        assert not made.daemon.stopping.wait(0.2)
        assert [one["sent"] for one in made.daemon.live()["uploads"]] == [0]
        made.faults.release()
        made.wait_done("a.mp4", seconds=20)
        assert_once(made, {"a.mp4": data})


@pytest.mark.parametrize("how", ["touched", "renamed over"])
def test_a_file_only_touched_while_it_is_sent_is_done(tmp_path: Path, how: str) -> None:
    """New times on the same content are no change."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.hold(), 1)
        data = made.put("a.mp4")
        made.start()
        made.wait_sent("a.mp4")
        if how == "touched":
            os.utime(made.drop / "a.mp4")
        else:
            made.put("a.mp4", data)
        made.faults.release()
        made.wait_done("a.mp4")
        assert_once(made, {"a.mp4": data})
        assert not made.said("upload.discarded")
        assert made.calls("upload") == 1


def test_a_file_that_shrinks_while_it_is_sent_is_discarded(tmp_path: Path) -> None:
    """Another size is another content."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.hold(), 1)
        made.put("a.mp4")
        made.start()
        made.wait_sent("a.mp4")
        (made.drop / "a.mp4").write_bytes(b"shorter")
        made.faults.release()
        wait_for(lambda: made.remote(b"shorter"))
        made.wait_done("a.mp4")
        assert len(made.daemon.store.journal.orphans()) == 1


def test_a_file_removed_while_it_is_sent_is_done(tmp_path: Path) -> None:
    """It was sent as it was; that it is gone now undoes nothing."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.hold(), 1)
        data = made.put("a.mp4")
        made.start()
        made.wait_sent("a.mp4")
        (made.drop / "a.mp4").unlink()
        made.faults.release()
        made.wait_done("a.mp4")
        assert_once(made, {"a.mp4": data})


def test_a_file_replaced_before_its_look_up_is_sent_anew(tmp_path: Path) -> None:
    """A lost upload that is found, but is an older version, becomes an orphan."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.lost_answer(), 1)
        made.faults.add("files", Fault.hide_new(1.5), None)
        made.put("a.mp4")
        made.start(RETRY_SECONDS="0.5")
        wait_for(lambda: made.calls("upload") == 1)
        new = made.put("a.mp4")
        wait_for(lambda: made.remote(new))
        made.wait_done("a.mp4")
        assert_once(made, {"a.mp4": new})
        assert made.said("upload.discarded")
        assert len(made.daemon.store.journal.orphans()) == 1


def test_a_file_touched_before_its_look_up_is_adopted(tmp_path: Path) -> None:
    """New times on the same content do not make a lost upload another file's."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.lost_answer(), 1)
        made.faults.add("files", Fault.hold(), 1)
        data = made.put("a.mp4")
        made.start(SETTLE_SECONDS="2")
        wait_for(lambda: made.calls("files") == 1, 15)
        os.utime(made.drop / "a.mp4")
        made.faults.release()
        made.wait_done("a.mp4")
        assert_once(made, {"a.mp4": data})
        assert made.calls("upload") == 1


@pytest.mark.parametrize("how", ["touched", "another inode", "renamed"])
def test_a_file_that_only_seems_another_before_it_is_listed_is_sent_once(
    tmp_path: Path, how: str
) -> None:
    """The watch has taken it anew by then; the service knows it by the name that was sent."""
    with rig(tmp_path) as made:
        # From this one is learnt that the service keeps names.
        made.put("x.mp4", size=4000)
        made.start(RETRY_SECONDS="2")
        made.wait_done("x.mp4")
        # Late for longer than the second look takes to be due, for as long as it takes to see it.
        made.faults.add("upload", Fault.lost_answer(), 1)
        made.faults.add("files", Fault.hide_new(3600), None)
        data = made.put("a.mp4")
        wait_for(lambda: made.calls("upload") == 2)
        wait_for(lambda: made.said("upload.retry_scheduled"))
        old, name = made.the_job("a.mp4"), "a.mp4"
        path = made.drop / name
        if how == "touched":
            os.utime(path)
        elif how == "another inode":
            shutil.copy2(path, made.drop / ".a")
            (made.drop / ".a").rename(path)
        else:
            name = "b.mp4"
            path.rename(made.drop / name)
        wait_for(lambda: (made.job(name) or old).stamp != old.stamp or made.job(name) != old)
        wait_for(lambda: made.job(name) is not None and made.the_job(name).ready)
        made.faults.clear()
        made.wait_done(name)
        assert made.calls("upload") == 2
        assert_once(made, {name: data})
        assert made.daemon.store.journal.orphans() == []


def test_a_job_forgotten_while_it_is_looked_for_leaves_an_orphan(tmp_path: Path) -> None:
    """What the list shows of a dropped job is noted as left behind."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.lost_answer(), 1)
        made.faults.add("files", Fault.hold(), 1)
        data = made.put("a.mp4")
        made.start()
        wait_for(lambda: made.calls("files") == 1)
        assert made.daemon.store.orders.forget(made.the_job("a.mp4"))
        made.faults.release()
        wait_for(lambda: any(one.hashid for one in made.daemon.store.journal.orphans()))
        (orphan,) = made.daemon.store.journal.orphans()
        assert orphan.hashid == made.remote(data)[0].hashid
        assert not made.said("upload.reconciled")
        assert made.job("a.mp4") is None


def test_a_long_upload_goes_on_while_its_lease_cannot_be_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is renewed on the way; a queue that cannot be written ends no upload."""
    monkeypatch.setattr("megamax_sync.upload.sending._ASK_SECONDS", 0.0)
    monkeypatch.setattr("megamax_sync.upload.worker._RENEW_SECONDS", 0.0)
    renewed: list[bool] = []

    def full(*_: object) -> bool:
        renewed.append(True)
        raise StoreFull("no space left")

    monkeypatch.setattr("megamax_sync.store.jobs.Jobs.renew", full)
    with rig(tmp_path) as made:
        data = made.put("a.mp4", size=4 << 20)
        made.start()
        made.wait_done("a.mp4")
        assert renewed
        assert_once(made, {"a.mp4": data})
        assert made.calls("upload") == 1


def test_a_file_gone_before_it_is_sent_is_skipped(tmp_path: Path) -> None:
    """A queued file that vanished ends skipped, and costs nothing."""
    with rig(tmp_path) as made:
        made.faults.add("generate", Fault.status(503), None)
        made.put("a.mp4")
        made.start()
        wait_for(lambda: made.daemon.problem() is not None)
        (made.drop / "a.mp4").unlink()
        made.faults.clear()
        job = made.wait_state("a.mp4", JobState.SKIPPED)
        assert job.error == "vanished"
        assert not made.sandbox.files()
        # Nothing was sent, and nothing is left behind that somebody should know of.
        assert not made.said("upload.discarded")
        (event,) = made.said("upload.called_off")
        assert event["reason"] == "the file is not there any more"
        assert event["log_level"] == "info"


@pytest.mark.parametrize("status", [413, 415, 422])
@pytest.mark.parametrize("early", [False, True])
def test_a_definite_refusal_is_final(tmp_path: Path, status: int, early: bool) -> None:
    """One upload, one refusal, no second attempt; other files go on."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.status(status, "not this one", early=early), 1)
        made.put("a.mp4", size=3_000_000)
        made.start(WORKERS="1")
        job = made.wait_state("a.mp4", FAILED)
        assert f"HTTP {status}: not this one" in (job.error or "")
        other = made.put("b.mp4")
        made.wait_done("b.mp4")
        assert_once(made, {"b.mp4": other})
        assert made.calls("upload") == 2


@pytest.mark.parametrize("early", [False, True])
def test_an_error_for_one_file_only_is_that_files_fault(tmp_path: Path, early: bool) -> None:
    """A 5xx to a body counts as the file's once another upload has succeeded since its last."""
    bad = Fault.status(500, "bad", {"connection": "close"} if early else None, early=early)
    with rig(tmp_path) as made:
        made.faults.add("upload", bad, None)
        made.put("0.mp4", size=30 << 20 if early else 2000)
        made.start(MAX_ATTEMPTS="1", RETRY_SECONDS="0.3")
        wait_for(lambda: made.state("0.mp4") is QUEUED and made.the_job("0.mp4").suspect_at)
        # The file was refused, and is held back while another one succeeds.
        made.daemon.store.settings.paused = True
        wait_for(lambda: not made.daemon.live()["uploads"])
        wait_for(lambda: made.state("0.mp4") is QUEUED)
        assert made.the_job("0.mp4").attempts == 0
        held = "UPDATE job SET next_attempt_at = next_attempt_at + ? WHERE id = ?"
        number = made.the_job("0.mp4").id
        made.daemon.store.database.write(held, 1000, number)
        made.faults.clear()
        made.daemon.store.settings.paused = False
        other = made.put("1.mp4")
        made.wait_done("1.mp4")
        made.faults.add("upload", bad, None)
        made.daemon.store.database.write(held, -1000, number)
        job = made.wait_state("0.mp4", FAILED)
        assert job.attempts == 1
        assert "HTTP 500: bad" in (job.error or "")
        assert_once(made, {"1.mp4": other})


def test_an_outage_uses_no_attempts_and_few_requests(tmp_path: Path) -> None:
    """While all uploads get 503 the gate is closed; it opens by itself, and all are done."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.status(503), None)
        contents = {f"{n}.mp4": made.put(f"{n}.mp4") for n in range(4)}
        made.start(RETRY_SECONDS="0.2", RETRY_MAX_SECONDS="0.4")
        wait_for(lambda: made.daemon.problem() is not None)
        problem = made.daemon.problem()
        assert problem is not None
        assert problem.word == "unreachable"
        assert made.daemon.live()["problem"] == "unreachable"
        before = made.calls("upload")
        assert not made.daemon.stopping.wait(1.5)
        # One probe at a time, each after a wait.
        assert 1 <= made.calls("upload") - before <= 20
        assert len(made.said("service.paused")) <= 2
        made.faults.clear()
        made.wait_done(*contents)
        assert_once(made, contents)
        assert all(made.the_job(name).attempts == 0 for name in contents)
        wait_for(lambda: made.daemon.problem() is None)
        assert made.said("service.resumed")


@pytest.mark.parametrize("call", ["generate", "upload"])
def test_wrong_credentials_pause_everything_until_they_are_renewed(
    tmp_path: Path, call: str
) -> None:
    """401 is said as such, costs no attempt, and new credentials are tried at once."""
    with rig(tmp_path) as made:
        data = made.put("a.mp4")
        if call == "upload":
            made.faults.add("upload", Fault.status(401), 1)
            made.start()
        else:
            made.start(KEY="wrong")
        wait_for(lambda: made.daemon.problem() is not None)
        problem = made.daemon.problem()
        assert problem is not None
        assert problem.word == "credentials"
        uploads = made.calls(call)
        assert not made.daemon.stopping.wait(0.3)
        assert made.calls(call) == uploads
        made.daemon.renew_credentials(made.sandbox.login, made.sandbox.key)
        if call == "upload":
            # They were the right ones: only asking again can tell.
            made.daemon.upload_gate.retry_now()
        made.wait_done("a.mp4")
        assert_once(made, {"a.mp4": data})
        assert made.daemon.problem() is None
        assert made.the_job("a.mp4").attempts == 0


def test_a_wrong_size_is_not_done(tmp_path: Path) -> None:
    """An answer that speaks of another size sets the upload aside; the file is sent again."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.wrong_size(-7), 1)
        data = made.put("a.mp4")
        made.start()
        made.wait_done("a.mp4")
        (event,) = made.said("upload.discarded")
        (orphan,) = made.daemon.store.journal.orphans()
        assert event["hashid"] == orphan.hashid
        job = made.the_job("a.mp4")
        assert job.hashid != orphan.hashid
        assert {one.hashid for one in made.remote(data)} == {job.hashid, orphan.hashid}


def test_a_sidecar_without_a_place_fails_the_file_before_it_is_sent(tmp_path: Path) -> None:
    """Where the links could not be written nothing is sent, and the error says the remedy."""
    with rig(tmp_path) as made:
        (tmp_path / "links").write_text("a file where the folder should be")
        made.put("a.mp4")
        made.start(SIDECAR_DIR=str(tmp_path / "links"))
        job = made.wait_state("a.mp4", FAILED)
        assert "MEGAMAX_SIDECAR_DIR" in (job.error or "")
        assert made.calls("generate") == made.calls("upload") == 0
        assert made.said("upload.retry_scheduled")
        (tmp_path / "links").unlink()
        made.daemon.store.orders.retry(job)
        made.wait_done("a.mp4")


def test_paused_nothing_is_sent_but_tracking_goes_on(tmp_path: Path) -> None:
    """Pausing holds uploads, across a restart too; what was sent is followed to its links."""
    with rig(tmp_path, step=0.2) as made:
        first = made.put("a.mp4")
        made.start()
        made.wait_state("a.mp4", JobState.PROCESSING)
        made.daemon.store.settings.paused = True
        made.put("b.mp4")
        made.wait_done("a.mp4")
        wait_for(lambda: made.state("b.mp4") is QUEUED)
        made.stop()
        made.start()
        wait_for(made.daemon.watcher.scanned.is_set)
        assert not made.daemon.stopping.wait(0.3)
        assert made.state("b.mp4") is QUEUED
        assert made.calls("upload") == 1
        made.daemon.store.settings.paused = False
        made.wait_done("b.mp4")
        assert len(made.remote(first)) == 1


def test_a_pause_holds_those_who_already_wait_for_the_service(tmp_path: Path) -> None:
    """A worker that waits at a closed gate sends nothing once it opens, if it is paused then."""
    with rig(tmp_path) as made:
        made.faults.add("generate", Fault.status(503), None)
        made.put("a.mp4")
        made.start(WORKERS="1", RETRY_SECONDS="0.5")
        wait_for(lambda: made.daemon.problem() is not None and made.state("a.mp4") is QUEUED)
        made.daemon.store.settings.paused = True
        seen = made.calls("generate")
        made.faults.clear()
        assert not made.daemon.stopping.wait(1.0)
        assert made.calls("generate") == seen
        made.daemon.store.settings.paused = False
        made.wait_done("a.mp4")


def test_forgetting_a_job_cancels_its_upload(tmp_path: Path) -> None:
    """Within two seconds nothing is sent any more, and nothing is left in the queue."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.stall(), 1)
        made.put("a.mp4", size=64 << 20)
        made.start(TIMEOUT_SECONDS="1")
        job = made.wait_state("a.mp4", JobState.UPLOADING)
        wait_for(lambda: made.calls("upload") == 1)
        assert made.daemon.store.orders.forget(job)
        wait_for(lambda: not made.daemon.live()["uploads"], 3)
        wait_for(lambda: made.job("a.mp4") is None)
        assert not made.daemon.stopping.wait(0.3)
        assert made.job("a.mp4") is None
        assert not made.sandbox.files()


def test_a_job_forgotten_while_the_answer_is_awaited_leaves_an_orphan(tmp_path: Path) -> None:
    """What arrived for a dropped job is listed as an orphan, not as an upload."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.hold(), 1)
        data = made.put("a.mp4")
        made.start()
        made.wait_sent("a.mp4")
        assert made.daemon.store.orders.forget(made.the_job("a.mp4"))
        made.faults.release()
        wait_for(lambda: made.said("upload.discarded"))
        (orphan,) = [one for one in made.daemon.store.journal.orphans() if one.hashid]
        assert orphan.hashid == made.remote(data)[0].hashid
        assert not made.said("upload.finished")
        assert made.job("a.mp4") is None


def test_a_file_that_cannot_be_read_fails_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this user may not read uses its attempts, and says what to do."""
    opened = os.open

    def refusing(path: bytes, flags: int, mode: int = 0o777) -> int:
        if path == os.fsencode(tmp_path / "drop/a.mp4"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return opened(path, flags, mode)

    monkeypatch.setattr("megamax_sync.upload.sending.os.open", refusing)
    with rig(tmp_path) as made:
        made.put("a.mp4")
        made.start()
        job = made.wait_state("a.mp4", FAILED)
        assert job.attempts == 3
        assert "Permission denied" in (job.error or "")
        assert "let this user read it" in (job.error or "")
        assert made.calls("upload") == 0


def test_a_link_in_the_files_place_is_not_followed(tmp_path: Path) -> None:
    """It is no version of the file: nothing is sent, and the file is gone."""
    with rig(tmp_path) as made:
        made.put("a.mp4")
        made.faults.add("generate", Fault.status(503), None)
        made.start(RESCAN_SECONDS="0")
        wait_for(lambda: made.daemon.problem() is not None)
        path = made.drop / "a.mp4"
        path.unlink()
        path.symlink_to("/dev/null")
        made.faults.clear()
        assert made.wait_state("a.mp4", JobState.SKIPPED).error == "vanished"
        assert made.calls("upload") == 0


def test_a_queue_that_is_full_before_the_first_byte_leaves_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try opens the file anew, so each has to close it."""
    whole, tries = Journal.sending, []

    def full(journal: Journal, attempt: int, service_time: float) -> None:
        tries.append(attempt)
        if len(tries) <= 3:
            raise StoreFull("no space left for the queue")
        whole(journal, attempt, service_time)

    monkeypatch.setattr(Journal, "sending", full)
    with rig(tmp_path) as made:
        made.put("a.mp4")
        made.start(WORKERS="1")
        made.wait_done("a.mp4")
        assert len(tries) == 4
        wait_for(lambda: str(made.drop / "a.mp4") not in open_files(), 2)


def open_files() -> set[str]:
    """The paths of all that this process has open."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/self/fd/{fd}"))
    return found


def test_contents_are_told_by_their_digest() -> None:
    """The helper by which these tests compare contents can tell two apart."""
    assert sha(b"a") != sha(b"b")


def test_a_file_removed_before_its_look_up_is_adopted(tmp_path: Path) -> None:
    """It was sent as it was: the lost upload is found, though the file is gone."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.lost_answer(), 1)
        made.faults.add("files", Fault.hold(), 1)
        data = made.put("a.mp4")
        made.start()
        wait_for(lambda: made.calls("files") == 1)
        (made.drop / "a.mp4").unlink()
        made.faults.release()
        made.wait_done("a.mp4")
        assert_once(made, {"a.mp4": data})
