"""Jobs with the same content, jobs that were moved, and those of an older queue."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from megamax_sync.clock import Clock
from megamax_sync.job import VANISHED, FileStamp, Job, JobState
from megamax_sync.store import NewJob, Store
from megamax_sync.store.database import migrations
from megamax_sync.store.resting import newest

from .conftest import Add, TurnedClock, fetch

DONE, QUEUED, SKIPPED = JobState.DONE, JobState.QUEUED, JobState.SKIPPED


def send(store: Store, job: Job, fingerprint: str | None = "f") -> Job:
    """Have a job claimed, and arrive."""
    claimed = store.jobs.claim("me", [job.path], cleared=True)
    assert claimed is not None
    assert claimed.id == job.id
    store.jobs.arrived(
        claimed,
        hashid=f"h{job.id}",
        status="converted",
        name="name",
        size=job.stamp.size,
        uploaded_at=1.0,
        fingerprint=fingerprint,
        stamp=job.stamp,
        reason="test",
    )
    return fetch(store, job)


def finish(store: Store, job: Job) -> Job:
    """Have a job done, with its sidecar."""
    sent = send(store, job) if job.state is QUEUED else job
    store.tracking.complete(sent, reason="test", check_at=None)
    store.tracking.sidecar_written(fetch(store, job), job.path + b".json")
    return fetch(store, job)


def duplicate(store: Store, job: Job, first: Job) -> Job:
    """Have a job found to be a duplicate, with its sidecar."""
    store.twins.read(job, "f")
    assert store.twins.wait(fetch(store, job), first)
    store.tracking.sidecar_written(fetch(store, job), job.path + b".json")
    assert store.twins.skip(job) is not None
    return fetch(store, job)


def test_only_what_has_a_rival_is_compared(store: Store, add: Add) -> None:
    """Of one size, the first may be sent at once; the others wait for their look."""
    first, second = add(b"/v/a.mp4"), add(b"/v/b.mp4")
    add(b"/v/c.mp4", size=11)
    young = add(b"/v/d.mp4", ready=False)
    assert store.twins.to_compare(None, 9) == [second]
    assert store.twins.to_compare([b"/w"], 9) == []
    assert store.twins.has_rival(second)
    assert [job.id for job in store.twins.unread(second)] == [first.id]
    assert store.jobs.settle(young, young.stamp)
    assert [job.id for job in store.twins.to_compare(None, 9)] == [second.id, young.id]
    assert store.twins.clear(second)
    assert not store.twins.clear(second)
    claimed = [store.jobs.claim("me", cleared=True) for _ in range(4)]
    assert [job and job.path for job in claimed] == [b"/v/a.mp4", b"/v/b.mp4", b"/v/c.mp4", None]
    # Without dedupe there is nothing to wait for.
    taken = store.jobs.claim("me")
    assert taken is not None
    assert taken.path == b"/v/d.mp4"


def test_of_those_made_at_once_the_first_of_each_size_is_sent(store: Store, add: Add) -> None:
    """So in one commit as in many: the others of a size, new or not, wait for their look."""
    add(b"/v/a.mp4", size=3)
    sent = store.jobs.claim("me", cleared=True)
    assert sent is not None
    gone = add(b"/v/gone.mp4", size=4)
    assert store.jobs.skip(gone, VANISHED)
    sizes = [10 + n // 2 for n in range(230)] + [3, 4]
    new = [
        NewJob(b"/v/%d.mp4" % n, FileStamp(size, 1, 1, 1, n), b"/v", None, "found")
        for n, size in enumerate(sizes)
    ]
    ids = store.jobs.add_each(new, ready=True)
    rivals = [*ids[1:230:2], ids[230]]
    assert [job.id for job in store.twins.to_compare(None, 999)] == rivals
    assert [fetch(store, job).stamp.size for job in ids] == sizes


def test_a_reading_is_noted_for_the_version_that_was_read(store: Store, add: Add) -> None:
    """One that changed meanwhile has another content."""
    job = add()
    store.jobs.settle(job, FileStamp(10, 9, 2, 3, 4))
    store.twins.read(job, "f")
    assert fetch(store, job).fingerprint is None
    store.twins.read(fetch(store, job), "f")
    assert fetch(store, job).fingerprint == "f"


def test_those_who_wait_hear_of_every_end(store: Store, add: Add) -> None:
    """Nobody waits for what failed, was skipped or dropped, has changed, or lies elsewhere."""
    first, second = add(b"/v/a.mp4"), add(b"/v/b.mp4")
    for job in (first, second):
        store.twins.read(job, "f")

    def again() -> Job:
        assert store.twins.to_compare(None, 9) == [fetch(store, second)]
        found = store.twins.first_of(fetch(store, second))
        assert found is not None
        assert store.twins.wait(second, found)
        assert store.twins.to_compare(None, 9) == []
        return found

    again()
    moved = fetch(store, first)
    assert store.moving.move_to(moved, b"/v/c.mp4", b"/v", moved.stamp)
    again()
    store.jobs.settle(fetch(store, first), FileStamp(10, 5, 5, 3, 4))
    assert store.twins.first_of(fetch(store, second)) is None
    assert [job.id for job in store.twins.to_compare(None, 9)] == [first.id, second.id]
    store.twins.read(fetch(store, first), "f")
    assert store.twins.clear(first)
    again()
    claimed = store.jobs.claim("me", cleared=True)
    assert claimed is not None
    assert fetch(store, second).original == first.id
    store.jobs.release(claimed, "changed", ready=False)
    assert fetch(store, second).original is None
    store.jobs.settle(fetch(store, first), claimed.stamp)
    assert store.twins.clear(first)
    found = again()
    store.jobs.fail(found, "no")
    assert store.twins.first_of(fetch(store, second)) is None
    assert not store.twins.wait(second, found)
    store.orders.retry(fetch(store, first))
    store.jobs.settle(fetch(store, first), found.stamp)
    assert store.twins.clear(first)
    again()
    assert store.orders.forget(fetch(store, first))
    assert fetch(store, second).original is None
    assert store.twins.skip(second) is None


def test_a_duplicate_is_kept_in_step(store: Store, add: Add, clock: TurnedClock) -> None:
    """It owes a sidecar whenever its original does."""
    first, second = add(b"/v/a.mp4"), add(b"/v/b.mp4")
    assert store.twins.original(first) is None
    first = finish(store, first)
    second = duplicate(store, second, first)
    assert (second.state, second.error) == (SKIPPED, "duplicate of /v/a.mp4")
    assert (second.hashid, second.sidecar_due) == (first.hashid, False)
    assert store.twins.original(second) == first
    assert store.twins.duplicates(first) == [second]
    assert store.views.find(first.hashid or "") == first
    clock.time += 1
    assert store.tracking.track(first, direct="[]", sidecar_due=1)
    assert fetch(store, second).sidecar_due
    # What was rendered before the change does not pay the debt.
    assert not store.tracking.sidecar_written(second, None)
    # Its error follows a move of the original.
    assert store.moving.move_to(fetch(store, first), b"/v/c.mp4", b"/v", first.stamp)
    assert fetch(store, second).error == "duplicate of /v/c.mp4"


def test_the_first_duplicate_inherits_from_a_dropped_original(store: Store, add: Add) -> None:
    """With all that is known of the upload; the others are duplicates of it."""
    jobs = [add(b"/v/%d.mp4" % number) for number in range(3)]
    first = finish(store, jobs[0])
    second, third = (duplicate(store, job, first) for job in jobs[1:])
    store.tracking.track(first, mirrors="[1]", check_at=5.0)
    assert store.orders.forget(fetch(store, first))
    heir = fetch(store, second)
    assert (heir.state, heir.error, heir.original) == (DONE, None, None)
    assert (heir.hashid, heir.mirrors, heir.check_at) == (first.hashid, "[1]", 5.0)
    assert heir.sidecar_due
    last = fetch(store, third)
    assert (last.original, last.error) == (heir.id, "duplicate of /v/1.mp4")
    assert last.sidecar_due
    assert store.twins.first_of(last) == heir


def test_what_is_waited_for_is_worked_on_too(store: Store, add: Add) -> None:
    """An instance that is to look after some places alone sends what these wait for."""
    first, second = add(b"/w/a.mp4"), add(b"/v/b.mp4")
    assert store.jobs.next_claim([b"/v"], cleared=True) is None
    assert store.views.tally(0, [b"/v"]).compared == 1
    for job in (first, second):
        store.twins.read(job, "f")
    assert store.twins.wait(fetch(store, second), fetch(store, first))
    assert store.views.tally(0, [b"/v"]).compared == 0
    assert store.jobs.next_claim([b"/v"], cleared=True) is not None
    claimed = store.jobs.claim("me", [b"/v"], cleared=True)
    assert claimed is not None
    assert claimed.id == first.id
    assert store.views.tally(0, [b"/v"]).compared == 1
    assert store.views.tally(0, [b"/w"]).compared == 0


def test_a_moved_job_is_the_newest_of_its_new_path(store: Store, add: Add) -> None:
    """Whatever was made there before, or later than it."""
    first, second = finish(store, add(b"/v/a.mp4")), finish(store, add(b"/v/b.mp4", size=11))
    assert store.moving.move_to(first, second.path, b"/v", first.stamp)
    assert not store.moving.move_to(first, b"/v/c.mp4", b"/v", first.stamp)
    moved = fetch(store, first)
    assert store.jobs.latest(second.path) == moved
    assert store.jobs.latest_each([second.path]) == {second.path: moved}
    assert store.views.find("/v/b.mp4") == moved
    assert store.tracking.writes_sidecar(moved)
    assert not store.tracking.writes_sidecar(second)
    assert store.orders.is_outdated(second)
    assert store.resting.each([second.path])[second.path][1] == 10
    assert newest(store.resting.between(b"/v/a", b"/v/z", 9) or [])[second.path][1] == 10
    assert (moved.moved_from, moved.sidecar_due) == (b"/v/a.mp4", True)
    assert store.views.tally(0, [b"/v"]).owed == 1
    assert store.views.history(moved)[-1].reason == "moved from /v/a.mp4"
    # Its old sidecar is the one that was written, however often it is moved before the next.
    assert store.moving.move_to(moved, b"/v/c.mp4", b"/v", moved.stamp)
    moved = fetch(store, first)
    assert moved.moved_from == b"/v/a.mp4"
    assert not store.tracking.shares_sidecar(moved, b"/v/a.mp4")
    assert store.tracking.sidecar_written(moved, b"/v/c.mp4.json")
    assert fetch(store, first).moved_from is None
    # A job that is made later is newer, and has an id of its own.
    newer = add(b"/v/c.mp4", size=12)
    assert newer.id > second.id
    assert store.jobs.latest(b"/v/c.mp4") == newer
    assert {job.id for job in store.moving.of_inodes(range(600))} == {first.id, second.id, newer.id}


def test_a_job_that_was_overtaken_at_its_path(store: Store, add: Add) -> None:
    """Another file was moved over its own, before it was sent."""
    first, second = add(b"/v/a.mp4"), add(b"/v/b.mp4", ready=False)
    assert store.moving.overtaken([second.path]) == []
    assert store.moving.move_to(first, second.path, b"/v", first.stamp)
    assert store.moving.overtaken([second.path]) == [second]
    assert store.jobs.skip(second, VANISHED)
    assert store.moving.overtaken([second.path]) == []


def test_a_job_takes_the_place_of_one_that_was_made_for_its_file(store: Store, add: Add) -> None:
    """Unless that has changed meanwhile, or may have been sent."""
    first = finish(store, add(b"/v/a.mp4"))
    newcomer = add(b"/v/b.mp4")
    waits = add(b"/v/c.mp4")
    for job in (newcomer, waits):
        store.twins.read(job, "g")
    assert store.twins.clear(newcomer)
    assert store.twins.wait(fetch(store, waits), fetch(store, newcomer))
    attempt = store.journal.begin(newcomer)
    assert not store.moving.take_place_of(first, newcomer)
    store.journal.failed(attempt, "no")
    store.jobs.settle(newcomer, FileStamp(10, 8, 8, 8, 8))
    assert not store.moving.take_place_of(first, newcomer)
    newcomer = fetch(store, newcomer)
    assert store.moving.take_place_of(first, newcomer)
    assert not store.moving.take_place_of(first, newcomer)
    assert store.jobs.get(newcomer.id) is None
    assert fetch(store, waits).original is None
    moved = fetch(store, first)
    assert (moved.path, moved.stamp) == (newcomer.path, newcomer.stamp)


def test_what_was_sent_stays_the_version_of_a_moved_file(store: Store, add: Add) -> None:
    """Its upload may still be looked for, by the name under which it was sent."""
    job = add()
    attempt = store.journal.begin(job)
    store.journal.unknown(attempt, "lost", None)
    stamp = FileStamp(10, 1, 9, 8, 7)
    assert store.moving.move_to(job, b"/w/b.mp4", b"/w", stamp)
    (unknown,) = store.journal.unknown_of(job)
    assert unknown.sent_version(stamp)
    assert unknown.path == job.path
    assert unknown.match_key == "a"


def test_what_was_forgotten_stays_so(store: Store, add: Add) -> None:
    """Under another path, and under no other."""
    job = add()
    store.orders.forget(job)
    assert store.moving.forgotten_of_inodes([4, 5]) == [(job.path, job.stamp)]
    store.moving.move_forgotten(job.path, b"/v/b.mp4", job.stamp)
    assert store.orders.forgotten([job.path, b"/v/b.mp4"]) == {b"/v/b.mp4": job.stamp}


@pytest.fixture
def older(path: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A queue of the first version, with a job that is done and one that is queued."""
    with contextlib.closing(sqlite3.connect(path)) as queue:
        queue.executescript(migrations()[0])
        for job, state in enumerate(["done", "queued"], 1):
            queue.execute(
                "INSERT INTO job (id, path, state, ready, size, mtime_ns, ctime_ns, dev, ino, "
                "match_key, hashid, created_at, updated_at) "
                "VALUES (?, ?, ?, 1, 10, 1, 1, 1, ?, 'a', 'h', 0, 0)",
                (job, b"/v/%d.mp4" % job, state, job),
            )
        queue.execute("PRAGMA user_version = 1")
        queue.commit()
    return path


def test_an_older_queue_is_brought_up_to_date(older: str) -> None:
    """What was done counts as it is; what waits is compared first."""
    with Store(older, Clock()) as store:
        assert [job.id for job in store.twins.to_compare(None, 9)] == [2]
        assert [job.id for job in store.twins.unread(fetch(store, 2))] == [1]
    with Store(older, Clock(), writable=False) as store:
        assert store.jobs.get(1) is not None


def test_one_that_was_postponed_is_compared_at_its_time(
    store: Store, add: Add, clock: TurnedClock
) -> None:
    """That costs an attempt; one that is not to be compared any more is left alone."""
    add()
    job = add(b"/v/b.mp4")
    assert store.twins.next_to_compare(None) is None
    assert store.twins.postpone(job, "no place", clock.time + 9)
    assert store.twins.to_compare(None, 9) == []
    assert store.twins.next_to_compare([b"/v"]) == clock.time + 9
    assert store.twins.next_to_compare([b"/w"]) is None
    clock.time += 9
    (again,) = store.twins.to_compare(None, 9)
    assert (again.id, again.attempts, again.error) == (job.id, 1, "no place")
    assert store.views.history(again)[-1].reason == "no place"
    assert store.twins.postpone(again, "no place", clock.time + 9)
    newer = job.stamp._replace(mtime_ns=77)
    assert store.jobs.settle(job, newer)
    (afresh,) = store.twins.to_compare(None, 9)
    assert (afresh.id, afresh.attempts, afresh.stamp) == (job.id, 0, newer)
    assert store.twins.clear(afresh)
    assert not store.twins.postpone(afresh, "no place", clock.time + 9)
    assert fetch(store, job).attempts == 0


def test_the_queue_is_asked_by_index(store: Store, add: Add, tmp_path: Path) -> None:
    """With a million jobs, none of these may go through all that are queued."""
    add()
    seen: list[str] = []
    store.database._connection.set_trace_callback(seen.append)
    job = add(b"/v/b.mp4")
    store.twins.to_compare(None, 9)
    store.twins.next_to_compare(None)
    store.twins.unread(job)
    store.twins.has_rival(job)
    store.twins.of_file(job)
    store.twins.first_of(job)
    store.twins.duplicates(job)
    store.twins.wait(job, job)
    store.moving.of_inodes([1, 2])
    store.moving.forgotten_of_inodes([1, 2])
    store.tracking.writes_sidecar(job)
    store.jobs.claim("me", cleared=True)
    store.orders.forget(job)
    store.database._connection.set_trace_callback(None)
    # What goes through these goes through no jobs, or ends at the first row.
    harmless = ("SCAN sqlite_sequence", "SCAN json_each")
    seen = [one for one in seen if one != "SELECT 1 FROM forgotten LIMIT 1"]
    queries = [one for one in seen if one.startswith(("SELECT", "UPDATE", "DELETE"))]
    assert len(queries) > 12
    for query in queries:
        for row in store.database.read(f"EXPLAIN QUERY PLAN {query}"):
            named = row["detail"].split(" INDEX ")[-1].split(" ")[0]
            scanned = row["detail"].startswith("SCAN") and not row["detail"].startswith(harmless)
            assert not scanned or named in {"job_to_send", "job_to_compare"}, (query, row["detail"])
            assert named != "job_by_state", query
