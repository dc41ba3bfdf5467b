"""What the store does about loss: proofs, salvage, copies, and the sidecars there should be."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from megamax_sync.clock import Clock
from megamax_sync.errors import StoreDamaged, StoreFull, StoreUnwritable
from megamax_sync.job import FileStamp, JobState
from megamax_sync.store import NewJob, Proof, Store, database
from megamax_sync.store.database import Database, migrations
from megamax_sync.store.salvage import Salvage, replant, salvage

from .conftest import Add, TurnedClock, fetch, fill

PROOF = Proof(
    hashid="H1",
    status="converted",
    name="a",
    size=10,
    poster=None,
    uploaded_at=5.0,
    converted_at=6.0,
    mirrors="[]",
    direct="[]",
    direct_error=None,
    fingerprint="xxh3-128:0",
    sidecar=b"/v/a.mp4.megamax.json",
    outdated=False,
    look_in=60.0,
    complete=True,
)


@pytest.mark.parametrize(
    ("changes", "state", "due"),
    [
        ({}, JobState.DONE, 60.0),
        ({"complete": False}, JobState.PROCESSING, 0.0),
        ({"status": "converting", "converted_at": None}, JobState.PROCESSING, 0.0),
        ({"status": "failed", "converted_at": None}, JobState.FAILED, None),
    ],
)
def test_a_proof_makes_a_job_of_its_status(
    store: Store, clock: TurnedClock, changes: dict[str, object], state: JobState, due: float | None
) -> None:
    """Its hashid is the job's from the first moment, and nobody else's."""
    proof = replace(PROOF, **changes)  # type: ignore[arg-type]  # one dict for fields of several types; the queue checks them
    new = NewJob(b"/v/a.mp4", FileStamp(10, 1, 2, 3, 4), b"/v", 7, "found", proof=proof)
    (number,) = store.jobs.add_each([new], ready=True)
    job = fetch(store, number)
    assert (job.state, job.hashid, job.sidecar) == (state, "H1", PROOF.sidecar)
    assert not job.own_upload
    assert job.check_at == (None if due is None else clock.time + due)
    assert store.journal.owned(["H1"]) == {"H1"}
    assert store.jobs.claim("me") is None
    assert store.views.history(job)[-1].state == state.value
    # A success of long ago says nothing about the service.
    assert not store.journal.another_arrived_since(clock.time - 1000.0)


def test_a_failed_one_can_be_tried_again(store: Store) -> None:
    """retry uploads it anew, and the dead hashid is left behind."""
    proof = replace(PROOF, status="failed")
    new = NewJob(b"/v/a.mp4", FileStamp(10, 1, 2, 3, 4), b"/v", 7, "found", proof=proof)
    job = fetch(store, store.jobs.add_each([new], ready=True)[0])
    assert store.journal.orphans() == []
    assert store.orders.retry(job)
    assert [one.hashid for one in store.journal.orphans()] == ["H1"]


def test_a_proof_of_a_job_that_is_not_queued_changes_nothing(store: Store, add: Add) -> None:
    """It was claimed meanwhile: the upload goes on."""
    job = add()
    assert store.jobs.claim("me") is not None
    store.jobs.prove(job.id, PROOF, "its sidecar")
    assert fetch(store, job).hashid is None
    assert store.journal.owned(["H1"]) == set()


def test_what_is_to_be_looked_up_can_be_left_alone(store: Store, add: Add) -> None:
    """Until all is found; one that has been tried before is not looked up."""
    tried, new = add(b"/v/tried.mp4"), add(b"/v/new.mp4", size=11)
    store.journal.begin(tried)
    store.jobs.to_look_up()
    assert store.jobs.rests_of_lookups() == 0
    store.jobs.to_look_up([tried.id, new.id])
    assert not fetch(store, tried).lookup
    assert store.jobs.rests_of_lookups() == 1
    claimed = store.jobs.claim("me", lookups=False)
    assert claimed is not None
    assert claimed.id == tried.id
    assert store.jobs.claim("me", lookups=False) is None
    assert store.jobs.next_claim(lookups=False) is None
    assert store.jobs.next_claim() is not None
    found = store.jobs.claim("me")
    assert found is not None
    assert found.lookup
    store.jobs.looked_up(found)
    assert not fetch(store, found).lookup


def test_sidecars_are_listed_once_for_each_path(store: Store, add: Add) -> None:
    """The newest job's that has a hashid; not one that is to be written anyway."""
    for path, hashid, sidecar, due in (
        (b"/v/a.mp4", "old", b"/v/a", 0),
        (b"/v/a.mp4", "new", b"/v/a", 0),
        (b"/v/a.mp4", None, None, 0),
        (b"/v/b.mp4", "due", b"/v/b", 1),
        (b"/v/c.mp4", "c", b"/v/c", 0),
    ):
        sql = "UPDATE job SET hashid = ?, sidecar = ?, sidecar_due = ? WHERE id = ?"
        store.database.write(sql, hashid, sidecar, due, add(path).id)
    first = store.sidecars.after(0, 1)
    assert [(one.hashid, one.mark) for one in first] == [("new", None)]
    rest = store.sidecars.after(first[0].job, 9)
    assert [one.hashid for one in rest] == ["c"]
    store.sidecars.intact([(first[0].job, -5)])
    store.sidecars.lost([rest[0].job])
    assert [one.mark for one in store.sidecars.after(0, 9)] == [-5]
    assert {job.hashid for job in store.tracking.to_write()} == {"due", "c"}


def test_what_was_moved_over_another_is_the_newest_of_its_path(store: Store, add: Add) -> None:
    """Its sidecar is looked after, and it may be meant by a listed file; the one below is not."""
    moved, below, twin = (add(name) for name in (b"/v/a.mp4", b"/v/b.mp4", b"/w/b.mp4"))
    for job in (moved, below):
        sql = "UPDATE job SET hashid = ?, sidecar = ?, sidecar_due = 0 WHERE id = ?"
        store.database.write(sql, f"h{job.id}", job.path, job.id)
    assert store.moving.move_to(fetch(store, moved), below.path, below.root, below.stamp)
    store.database.write("UPDATE job SET sidecar_due = 0")
    assert [one.job for one in store.sidecars.after(0, 9)] == [moved.id]
    store.database.write("UPDATE job SET hashid = NULL")
    assert [one.id for one in store.jobs.twins(twin)] == [moved.id]


def test_an_older_queue_is_known_for_one_that_was_at_work(path: str) -> None:
    """A queue with jobs from before there was a mark is no new one; an empty one is."""
    for jobs, born in ((1, "0"), (0, None)):
        Path(path).unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(path)) as raw:
            raw.executescript(migrations()[0])
            for _ in range(jobs):
                raw.execute(
                    "INSERT INTO job (path, state, ready, size, mtime_ns, ctime_ns, dev, ino, "
                    "match_key, created_at, updated_at) "
                    "VALUES (x'2f61', 'queued', 1, 1, 2, 3, 4, 5, 'a', 0, 0)"
                )
            raw.execute("PRAGMA user_version = 1")
            raw.commit()
        with Store(path, Clock()) as store:
            assert store.settings.born == born


def test_settings_about_a_loss_are_kept(store: Store) -> None:
    """And taken away again."""
    assert store.settings.lost_at is None
    store.settings.lost_at, store.settings.rebuilding = 5.25, "said"
    assert (store.settings.lost_at, store.settings.rebuilding) == (5.25, "said")
    store.settings.lost_at = store.settings.rebuilding = None
    assert (store.settings.lost_at, store.settings.rebuilding) == (None, None)


def filled(path: str) -> None:
    """Make a queue with something of all that is saved."""
    with Store(path, Clock()) as store:
        stamp = FileStamp(10, 1, 2, 3, 4)
        for number in range(300):
            name = b"/v/%d.mp4" % number
            store.jobs.add(name, stamp, root=None, folder=None, ready=True, reason="found")
        job = fetch(store, 1)
        attempt = store.journal.begin(job)
        store.journal.sending(attempt, 1.0)
        store.journal.begin(fetch(store, 2))
        store.orders.forget(fetch(store, 3))
        store.settings.paused = True
        store.settings.put("born", "x")


def test_salvage_reads_around_a_broken_page(path: str) -> None:
    """From both ends; and of what cannot be read at all, nothing."""
    filled(path)
    whole = salvage(path)
    assert whole.counts() == {"settings": 1, "forgotten": 1, "attempts": 1, "handed_in": 299}
    pages = [number for number in range(2, os.path.getsize(path) // 4096) if _leaf(path, number)]
    with open(path, "r+b") as file:
        file.seek(pages[len(pages) // 2] * 4096)
        file.write(b"\x77" * 4096)
    some = salvage(path)
    assert 0 < len(some.handed_in) < 299
    assert {b"/v/0.mp4", b"/v/299.mp4"} <= some.handed_in.keys()
    Path(path).write_bytes(b"nothing" * 1000)
    assert salvage(path).counts() == Salvage().counts()
    Path(path).unlink()
    assert salvage(path).counts() == Salvage().counts()


def _leaf(path: str, page: int) -> bool:
    """Tell whether a page holds rows of the table job."""
    with open(path, "rb") as file:
        file.seek(page * 4096)
        data = file.read(4096)
    return data[0] == 13 and b"/v/" in data and b"queued" in data and b"found" not in data


def test_what_is_saved_is_put_into_another_queue(path: str, tmp_path: Path) -> None:
    """A row that makes no sense is left out; a disk that is full is not taken for one."""
    filled(path)
    saved = salvage(path)
    saved.forgotten.append((b"/broken", "no", "numbers", 1, 2, 3))
    saved.attempts.append(replace(saved.attempts[0], id=99, step="no such step"))
    saved.attempts.append(replace(saved.attempts[0], outcome="discarded", hashid="orphan"))
    with Store(str(tmp_path / "other"), Clock()) as store:
        replant(saved, store.database, store.jobs, lambda one: b"/v" if b"0" in one else None)
        assert store.settings.paused
        assert store.settings.born is None
        first = store.jobs.latest(b"/v/0.mp4")
        assert first is not None
        assert (first.root, first.ready) == (b"/v", False)
        assert [one.service_time for one in store.journal.unknown_of(first)] == [1.0]
        assert list(store.orders.forgotten([b"/v/2.mp4", b"/broken"])) == [b"/v/2.mp4"]
        assert [one.hashid for one in store.journal.orphans()] == ["orphan"]


def test_a_full_disk_saves_nothing_by_halves(path: str, small_disk: Path) -> None:
    """All of it is in the other queue, or StoreFull is raised and none is."""
    saved = Salvage(settings={str(number): "x" * 5000 for number in range(500)})
    with Store(str(small_disk / "queue.db"), Clock()) as store:
        with pytest.raises(StoreFull):
            replant(saved, store.database, store.jobs, lambda _: None)
        assert store.settings.get("1") is None
        fill(small_disk)
        with pytest.raises(StoreFull):
            store.database.copy_to(str(small_disk / "copy"))


@pytest.mark.parametrize("deep", [True, False])
def test_soundness_is_found_out(
    path: str, store: Store, add: Add, monkeypatch: pytest.MonkeyPatch, deep: bool
) -> None:
    """By reading it, as far as that is cheap."""
    add()
    if not deep:
        monkeypatch.setattr(database, "_READ_DEEPLY", 0)
    assert store.database.is_sound()
    monkeypatch.setattr(database, "_READ_AT_ALL", 0)
    assert store.database.is_sound()
    os.unlink(path)
    assert not store.database.is_sound()


def test_an_empty_database_is_not_sound(path: str) -> None:
    """SQLite finds nothing wrong with a file of no length; it has none of the tables."""
    with Store(path, Clock()) as store:
        store.database.write("DROP TABLE forgotten")
        assert not store.database.is_sound()


def test_a_copy_takes_the_place_of_a_queue_that_was_deleted(path: str, store: Store) -> None:
    """With all that was committed; and a place that cannot be taken is tried again."""
    store.settings.put("a", "before")
    os.unlink(path)
    store.settings.put("a", "after")
    Path(path + ".new").write_bytes(b"left over")

    def put() -> None:
        os.unlink(path + "-wal")
        os.replace(path + ".new", path)

    with store.database.alone():
        store.database.copy_to(path + ".new", replace=True)
        with pytest.raises(StoreUnwritable):
            store.database.replace(_no_space)
        store.database.replace(put)
    assert store.settings.get("a") == "after"
    with Store(path, Clock(), writable=False) as other:
        assert other.settings.get("a") == "after"


def _no_space() -> None:
    raise OSError(5, "Input/output error")


def test_errors_of_a_failing_disk_have_their_own_name(path: str, store: Store) -> None:
    """Read-only, or not to be read: that is neither damage nor a lack of space."""
    store.database.read("PRAGMA query_only = ON")
    with pytest.raises(StoreUnwritable) as caught:
        store.settings.put("a", "b")
    assert not isinstance(caught.value, StoreFull | StoreDamaged)
    with pytest.raises(StoreUnwritable):
        Database(path + "/not/there", writable=False)


def test_where_a_file_goes_that_was_handed_in_is_left_to_the_watch(
    path: str, tmp_path: Path
) -> None:
    """Nobody has decided it yet, unless the file has been sent before."""
    filled(path)
    with Store(str(tmp_path / "other"), Clock()) as store:
        replant(salvage(path), store.database, store.jobs, lambda _path: b"/v")
        roots = [store.jobs.latest(b"/v/%d.mp4" % number) for number in (0, 1)]
        assert [job.root for job in roots if job is not None] == [b"/v", None]
