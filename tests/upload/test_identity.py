"""The same content under two names is sent once, and what is moved is not sent again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from megamax_sync.clock import Clock
from megamax_sync.errors import FileError, SidecarUnwritable
from megamax_sync.job import FileStamp, Job, JobState
from megamax_sync.sandbox import Fault
from megamax_sync.sidecar import Placement, Sidecar
from megamax_sync.state import StateFolder
from megamax_sync.store import Store
from upload.pipeline import Rig, rig, wait_for

DONE, FAILED, QUEUED, SKIPPED = JobState.DONE, JobState.FAILED, JobState.QUEUED, JobState.SKIPPED
UPLOADING, PROCESSING = JobState.UPLOADING, JobState.PROCESSING
ARRIVED = "upload.finished"


def assert_once(made: Rig, data: bytes, *names: str) -> None:
    """The content is in the account once, and the sidecars beside these files name it."""
    (copy,) = made.remote(data)
    for name in names:
        wait_for(partial(_names, made, name, copy.hashid), what=f"{name}'s sidecar")
        document = made.sidecar(name)
        assert document is not None
        assert document["source"]["name"] == os.path.basename(name)
        assert (made.drop / name).read_bytes() == data


def _names(made: Rig, name: str, hashid: str) -> bool:
    document = made.sidecar(name)
    return (
        document is not None
        and document["hashid"] == hashid
        and document["status"] == "converted"
        and document["source"]["name"] == os.path.basename(name)
    )


def assert_duplicate(made: Rig, name: str, original: str) -> Job:
    """A file ended as a duplicate of another."""
    job = made.wait_state(name, SKIPPED)
    assert job.error == f"duplicate of {made.drop / original}"
    return job


def sidecars(made: Rig) -> set[str]:
    """The sidecars that lie in the watched folder."""
    return {
        str(path.relative_to(made.drop)).removesuffix(".megamax.json")
        for path in made.drop.rglob("*.megamax.json")
    }


def hold(made: Rig) -> None:
    """Have the next daemon start with uploads paused."""
    folder = StateFolder(made.settings().state_dir)
    folder.make()
    with Store(folder.queue, Clock()) as store:
        store.settings.paused = True


# -- the same content ------------------------------------------------------------------------


def test_of_two_that_come_together_one_is_sent(tmp_path: Path) -> None:
    """The second waits, and gets the first one's links; one of equal size does not wait."""
    with rig(tmp_path) as made:
        data, other = made.put("a.mp4"), made.put("c.mp4")
        made.put("b.mkv", data)
        os.link(made.drop / "a.mp4", made.drop / "d.mp4")
        made.start(FOLDERS="deep=12")
        made.wait_done("a.mp4", "c.mp4")
        job = assert_duplicate(made, "b.mkv", "a.mp4")
        assert_duplicate(made, "d.mp4", "a.mp4")
        assert_once(made, data, "a.mp4", "b.mkv", "d.mp4")
        assert_once(made, other, "c.mp4")
        said = [one for one in made.said("file.skipped") if one["job"] == job.id]
        assert [(one["path"], one["reason"]) for one in said] == [(job.path, job.error)]
        # One that comes later, and would go to another folder of the account.
        made.put("deep/e.mp4", data)
        assert_duplicate(made, "deep/e.mp4", "a.mp4")
        # And a copy of a duplicate.
        shutil.copy(made.drop / "b.mkv", made.drop / "f.mp4")
        assert_duplicate(made, "f.mp4", "a.mp4")
        assert_once(made, data, "a.mp4", "b.mkv", "d.mp4", "deep/e.mp4", "f.mp4")
        assert len(made.sandbox.files()) == 2


def test_without_dedupe_everything_is_sent(tmp_path: Path) -> None:
    """MEGAMAX_DEDUPE=false sends the same content twice."""
    with rig(tmp_path) as made:
        data = made.put("a.mp4")
        made.put("b.mp4", data)
        made.start(DEDUPE="false")
        made.wait_done("a.mp4", "b.mp4")
        assert len(made.remote(data)) == 2


def test_what_waits_is_sent_when_dedupe_is_switched_off(tmp_path: Path) -> None:
    """Nothing waits for another any more."""
    with rig(tmp_path) as made:
        data = made.put("a.mp4")
        made.put("b.mp4", data)
        made.faults.add("upload", Fault.status(500), None)
        made.start()
        wait_for(lambda: made.job("b.mp4") is not None and made.the_job("b.mp4").original)
        made.stop()
        made.faults.clear()
        made.start(DEDUPE="false")
        made.wait_done("a.mp4", "b.mp4")
        assert made.the_job("b.mp4").original is None


def test_a_duplicate_is_sent_itself_when_the_first_fails(tmp_path: Path) -> None:
    """A conversion that fails is the first one's end; retried, the first is the duplicate."""
    with rig(tmp_path, step=30.0) as made:
        data = made.put("a.mp4")
        made.start()
        first = made.wait_state("a.mp4", PROCESSING)
        made.put("b.mp4", data)
        wait_for(lambda: made.job("b.mp4") is not None and made.the_job("b.mp4").original)
        assert made.state("b.mp4") is QUEUED
        assert made.sidecar("b.mp4") is None
        assert first.hashid is not None
        made.sandbox.set_status(first.hashid, "failed")
        made.wait_state("a.mp4", FAILED)
        second = made.wait_state("b.mp4", PROCESSING)
        assert second.hashid is not None
        assert second.hashid != first.hashid
        made.sandbox.set_status(second.hashid, "converted")
        made.wait_done("b.mp4")
        assert made.daemon.store.orders.retry(made.the_job("a.mp4"))
        assert_duplicate(made, "a.mp4", "b.mp4")
        wait_for(lambda: _names(made, "a.mp4", second.hashid or ""))
        assert len(made.sandbox.files()) == 2


@pytest.mark.parametrize("how", ["vanishes", "is forgotten", "changes"])
def test_a_duplicate_is_sent_itself_when_the_first_comes_to_nothing(
    tmp_path: Path, how: str
) -> None:
    """Whatever keeps the first from being sent, the second is."""
    with rig(tmp_path) as made:
        data = made.put("a.mp4")
        made.put("b.mp4", data)
        hold(made)
        made.start()
        wait_for(lambda: made.job("b.mp4") is not None and made.the_job("b.mp4").original)
        if how == "vanishes":
            (made.drop / "a.mp4").unlink()
        elif how == "is forgotten":
            assert made.daemon.store.orders.forget(made.the_job("a.mp4"))
        else:
            before = made.the_job("a.mp4").fingerprint
            made.put("a.mp4", size=2000)
            wait_for(lambda: made.the_job("a.mp4").fingerprint != before)
        made.daemon.store.settings.paused = False
        made.wait_done("b.mp4")
        assert len(made.remote(data)) == 1


def test_the_sidecar_of_a_duplicate_is_kept_in_step(tmp_path: Path) -> None:
    """Links that are renewed come into both, also when the original's file is gone."""
    with rig(tmp_path, link_ttl=2.0) as made:
        data = made.put("a.mp4")
        made.put("b.mp4", data)
        made.start()
        made.wait_done("a.mp4")
        assert_duplicate(made, "b.mp4", "a.mp4")
        (made.drop / "a.mp4").unlink()
        before = made.sidecar("b.mp4")
        assert before is not None
        wait_for(lambda: (made.sidecar("b.mp4") or {})["direct"] != before["direct"])
        # Another content later is a job of its own.
        new = made.put("b.mp4", size=3000)
        made.wait_done("b.mp4")
        assert_once(made, new, "b.mp4")
        assert len(made.sandbox.files()) == 2


def test_a_duplicate_takes_over_from_an_original_that_is_forgotten(tmp_path: Path) -> None:
    """The service's copy stays known by the files that still have its content."""
    with rig(tmp_path) as made:
        data = made.put("a.mp4")
        made.put("b.mp4", data)
        made.put("c.mp4", data)
        made.start()
        made.wait_done("a.mp4")
        assert_duplicate(made, "b.mp4", "a.mp4")
        assert_duplicate(made, "c.mp4", "a.mp4")
        assert made.daemon.store.orders.forget(made.the_job("a.mp4"))
        made.wait_done("b.mp4")
        assert_duplicate(made, "c.mp4", "b.mp4")
        made.put("d.mp4", data)
        assert_duplicate(made, "d.mp4", "b.mp4")
        assert_once(made, data, "b.mp4", "c.mp4", "d.mp4")


def test_a_duplicate_whose_sidecar_has_no_place_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As any file does, with the remedy."""
    with rig(tmp_path) as made:
        data = made.put("a.mp4")
        made.start()
        made.wait_done("a.mp4")

        def refuse(job: Job) -> None:
            raise FileError("let this user write there")

        comparer = next(loop for loop in made.daemon.loops if loop.name == "comparer")
        monkeypatch.setattr(comparer, "_preflight", refuse)
        made.put("b.mp4", data)
        job = made.wait_state("b.mp4", FAILED)
        assert (job.error, job.attempts) == ("let this user write there", 3)
        assert len(made.said("upload.retry_scheduled")) == 2


def test_a_duplicate_whose_sidecar_has_no_place_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That costs an attempt, and it is still not sent."""
    with rig(tmp_path) as made:
        data = made.put("a.mp4")
        made.start()
        made.wait_done("a.mp4")
        comparer = next(loop for loop in made.daemon.loops if loop.name == "comparer")
        whole, asked = comparer._preflight, []  # type: ignore[attr-defined]  # of all loops only the comparer, which was picked by name, has it

        def refuse_once(job: Job) -> None:
            asked.append(job.id)
            if len(asked) == 1:
                raise SidecarUnwritable("let this user write there")
            whole(job)

        monkeypatch.setattr(comparer, "_preflight", refuse_once)
        made.put("b.mp4", data)
        assert assert_duplicate(made, "b.mp4", "a.mp4").attempts == 1
        assert_once(made, data, "a.mp4", "b.mp4")
        (said,) = made.said("upload.retry_scheduled")
        assert (said["error"], said["attempts"]) == ("let this user write there", 1)


# -- moved -----------------------------------------------------------------------------------


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than the tests'."""
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    folder = shm / f"megamax-identity-{os.getpid()}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("running", [True, False])
def test_moved_videos_are_not_sent_again(tmp_path: Path, running: bool) -> None:
    """Renamed, moved with their tree, swapped, moved over another: sidecars follow contents."""
    with rig(tmp_path) as made:
        names = ["a.mp4", "tree/deep/b.mkv", "tree/c.mkv", "x.mp4", "y.mp4", "old.mp4", "new.mp4"]
        contents = {name: made.put(name) for name in names}
        made.put("tree/copy.mkv", contents["a.mp4"])
        made.start()
        made.wait_done(*names)
        assert_duplicate(made, "tree/copy.mkv", "a.mp4")
        ids = {name: made.the_job(name).id for name in names}
        if not running:
            made.stop()
        drop = made.drop
        (drop / "a.mp4").rename(drop / "tree/renamed.mp4")
        (drop / "tree").rename(drop / "moved")
        (drop / "x.mp4").rename(drop / "tmp.mp4")
        (drop / "y.mp4").rename(drop / "x.mp4")
        (drop / "tmp.mp4").rename(drop / "y.mp4")
        (drop / "new.mp4").rename(drop / "old.mp4")
        if not running:
            made.start()
        places = {
            "a.mp4": "moved/renamed.mp4",
            "tree/deep/b.mkv": "moved/deep/b.mkv",
            "tree/c.mkv": "moved/c.mkv",
            "x.mp4": "y.mp4",
            "y.mp4": "x.mp4",
            "new.mp4": "old.mp4",
        }
        for old, new in places.items():
            assert_once(made, contents[old], new)
            assert made.the_job(new).id == ids[old]
        assert_once(made, contents["a.mp4"], "moved/copy.mkv")
        assert_duplicate(made, "moved/copy.mkv", "moved/renamed.mp4")
        wait_for(lambda: sidecars(made) == {*places.values(), "moved/copy.mkv"})
        assert len(made.sandbox.files()) == len(names)
        moves = {
            (os.path.relpath(os.fsdecode(one["old_path"]), drop), one["path"], one["job"])
            for one in made.said("file.moved")
        }
        assert ("y.mp4", os.fsencode(drop / "x.mp4"), ids["y.mp4"]) in moves
        assert not made.said("job.failed")


def test_a_video_that_is_moved_while_it_waits_goes_on(tmp_path: Path) -> None:
    """Queued, it is sent from where it is then; it is never called vanished."""
    with rig(tmp_path) as made:
        data = made.put("a.mp4")
        hold(made)
        made.start()
        job = made.wait_state("a.mp4", QUEUED)
        (made.drop / "a.mp4").rename(made.drop / "b.mp4")
        # The worker may come to the old place before the watch comes to the new one.
        made.daemon.store.settings.paused = False
        made.wait_done("b.mp4")
        assert made.the_job("b.mp4").id == job.id
        assert_once(made, data, "b.mp4")
        assert not made.said("file.skipped")
        assert made.job("a.mp4") is None


def test_a_video_that_is_moved_while_it_is_sent_is_sent_once(tmp_path: Path) -> None:
    """The upload goes on, also when another file takes its place; and so does the tracking."""
    with rig(tmp_path, step=0.3) as made:
        made.faults.add("upload", Fault.hold(), 1)
        data = made.put("a.mp4")
        made.start()
        made.wait_sent("a.mp4")
        job = made.the_job("a.mp4")
        (made.drop / "a.mp4").rename(made.drop / "b.mp4")
        other = made.put("a.mp4", size=2500)
        wait_for(lambda: made.job("b.mp4"))
        made.faults.release()
        made.wait_state("b.mp4", PROCESSING)
        finished = {"job": job.id, "path": os.fsencode(made.drop / "b.mp4")}
        wait_for(lambda: any(one.items() >= finished.items() for one in made.said(ARRIVED)))
        (made.drop / "b.mp4").rename(made.drop / "c.mp4")
        made.wait_done("c.mp4", "a.mp4")
        assert_once(made, data, "c.mp4")
        assert_once(made, other, "a.mp4")
        assert not made.said("upload.discarded")
        wait_for(lambda: sidecars(made) == {"a.mp4", "c.mp4"})


def test_a_video_replaced_while_it_is_sent_is_still_set_aside(tmp_path: Path) -> None:
    """Moved out of the watched folder, it is not what lies there now."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.hold(), 1)
        made.put("a.mp4")
        made.start()
        made.wait_sent("a.mp4")
        (made.drop / "a.mp4").rename(tmp_path / "away.mp4")
        data = made.put("a.mp4")
        made.faults.release()
        made.wait_done("a.mp4")
        assert len(made.said("upload.discarded")) == 1
        assert_once(made, data, "a.mp4")


def test_failed_and_forgotten_files_stay_so_where_they_are_moved(tmp_path: Path) -> None:
    """A rename is no reason to try again what a person has to decide."""
    with rig(tmp_path) as made:
        made.faults.add("upload", Fault.status(415), None)
        made.put("a.mp4")
        made.put("b.mp4", size=2500)
        made.start()
        failed = made.wait_state("a.mp4", FAILED)
        assert made.daemon.store.orders.forget(made.wait_state("b.mp4", FAILED))
        made.faults.clear()
        (made.drop / "a.mp4").rename(made.drop / "c.mp4")
        (made.drop / "b.mp4").rename(made.drop / "d.mp4")
        last = made.put("last.mp4", size=3000)
        made.wait_state("c.mp4", FAILED)
        assert made.the_job("c.mp4").id == failed.id
        made.wait_done("last.mp4")
        assert_once(made, last, "last.mp4")
        assert made.job("d.mp4") is None
        made.stop()
        made.start()
        wait_for(made.daemon.watcher.scanned.is_set)
        wait_for(made.daemon.watcher.settled)
        assert made.job("d.mp4") is None
        assert len(made.sandbox.files()) == 1


def test_a_video_moved_across_file_systems_is_known_by_its_content(
    tmp_path: Path, far: Path
) -> None:
    """A move that is a copy keeps size and time; nothing is left where it was."""
    with rig(tmp_path) as made:
        data = made.put("a.mp4")
        kept = made.put("kept.mp4", size=2500)
        watch = f"{made.drop}:{far}"
        made.start(WATCH=watch)
        made.wait_done("a.mp4", "kept.mp4")
        job = made.the_job("a.mp4")
        shutil.move(made.drop / "a.mp4", far / "b.mp4")
        # A copy is not a move.
        shutil.copy2(made.drop / "kept.mp4", far / "kept.mp4")
        store = made.daemon.store

        def there(name: str) -> Job | None:
            return store.jobs.latest(os.fsencode(far / name))

        wait_for(lambda: (found := there("b.mp4")) is not None and found.id == job.id)
        moved = there("b.mp4")
        assert moved is not None
        assert moved.root == os.fsencode(far)
        assert moved.stamp == FileStamp.of((far / "b.mp4").stat())
        wait_for((far / "b.mp4.megamax.json").exists)
        wait_for(lambda: not (made.drop / "a.mp4.megamax.json").exists())
        wait_for(lambda: (there("kept.mp4") or job).state is SKIPPED)
        assert (made.drop / "kept.mp4.megamax.json").exists()
        assert len(made.remote(data)) == len(made.remote(kept)) == 1


def test_sidecars_in_a_folder_of_their_own_follow_too(tmp_path: Path) -> None:
    """With MEGAMAX_SIDECAR_DIR the folders that are empty then are taken away."""
    with rig(tmp_path) as made:
        made.put("tree/deep/a.mp4")
        made.start(SIDECAR_DIR=str(tmp_path / "links"))
        made.wait_done("tree/deep/a.mp4")
        (made.drop / "tree").rename(made.drop / "moved")
        wait_for((tmp_path / "links/moved/deep/a.mp4.megamax.json").exists)
        wait_for(lambda: not (tmp_path / "links/tree").exists())


def test_a_sidecar_that_is_written_during_a_move_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is taken away again where the file is no longer."""
    whole = Placement.write

    def move_amid(placement: Placement, job: Job, document: Sidecar) -> bytes:
        if job.name == b"a.mp4" and (made.drop / "a.mp4").exists():
            (made.drop / "a.mp4").rename(made.drop / "b.mp4")
            wait_for(lambda: made.job("b.mp4"))
        return whole(placement, job, document)

    monkeypatch.setattr(Placement, "write", move_amid)
    with rig(tmp_path) as made:
        made.put("a.mp4")
        made.start()
        made.wait_done("b.mp4")
        wait_for(lambda: sidecars(made) == {"b.mp4"})


def test_a_sidecar_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    """Only what names the same upload of the same account is taken away from the old place."""
    with rig(tmp_path) as made:
        made.put("a.mp4")
        made.start()
        made.wait_done("a.mp4")
        old = made.drop / "a.mp4.megamax.json"
        old.write_text(old.read_text().replace('"account": "', '"account": "x'))
        (made.drop / "a.mp4").rename(made.drop / "b.mp4")
        wait_for(lambda: made.sidecar("b.mp4"))
        wait_for(lambda: made.the_job("b.mp4").moved_from is None)
        assert old.exists()


def test_nothing_is_concluded_from_a_folder_that_is_missing(tmp_path: Path) -> None:
    """The file is perhaps still there: what has its content is a duplicate."""
    with rig(tmp_path) as made:
        other = tmp_path / "other"
        other.mkdir()
        watch = f"{made.drop}:{other}"
        (other / "a.mp4").write_bytes(os.urandom(2000))
        made.start(WATCH=watch)
        store = made.daemon.store
        path = os.fsencode(other / "a.mp4")
        wait_for(lambda: (job := store.jobs.latest(path)) is not None and job.state is DONE)
        os.link(other / "a.mp4", tmp_path / "kept")
        made.stop()
        shutil.rmtree(other)
        (tmp_path / "kept").rename(made.drop / "b.mp4")
        made.start(WATCH=watch)
        job = made.wait_state("b.mp4", SKIPPED)
        assert job.error == f"duplicate of {other / 'a.mp4'}"
        assert not made.said("file.moved")
