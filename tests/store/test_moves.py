"""Every move of a job from state to state, and what each leaves behind."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from megamax_sync.errors import InvalidTransition, StoreError
from megamax_sync.job import TRANSITIONS, VANISHED, FileStamp, Job, JobState
from megamax_sync.store import NewJob, Store

from .conftest import Add, TurnedClock, fetch

STAMP = FileStamp(10, 1, 2, 3, 4)
S = JobState


def arrive(store: Store, job: Job, hashid: str = "H1") -> bool:
    """Let the service have a job's file."""
    return store.jobs.arrived(
        job,
        hashid=hashid,
        status="onqueue",
        name="a.mp4",
        size=10,
        uploaded_at=5.0,
        fingerprint="xxh3-128:00",
        stamp=STAMP,
        reason="uploaded",
    )


def bring(store: Store, job: Job, state: JobState) -> Job:
    """Lead a queued job to a state, by the moves that lead there."""
    if state in {S.UPLOADING, S.PROCESSING, S.DONE}:
        claimed = store.jobs.claim("me", [job.path])
        assert claimed is not None
        job = claimed
    if state in {S.PROCESSING, S.DONE}:
        assert arrive(store, job)
        job = fetch(store, job)
    if state is S.DONE:
        assert store.tracking.complete(job, reason="converted", check_at=None)
    elif state is S.FAILED:
        assert store.jobs.fail(job, "broken")
    elif state is S.SKIPPED:
        assert store.jobs.skip(job, "vanished")
    return fetch(store, job)


MOVES: dict[JobState, Callable[[Store, Job], object]] = {
    S.PROCESSING: arrive,
    S.FAILED: lambda store, job: store.jobs.fail(job, "broken"),
    S.SKIPPED: lambda store, job: store.jobs.skip(job, "vanished"),
}


@pytest.mark.parametrize("old", S)
@pytest.mark.parametrize("new", MOVES)
def test_moves_follow_the_table(store: Store, add: Add, old: JobState, new: JobState) -> None:
    """A legal move happens and leaves its step; an illegal one raises and changes nothing."""
    job = bring(store, add(), old)
    steps = store.views.history(job)
    if new in TRANSITIONS[old]:
        assert MOVES[new](store, job)
        assert [step.state for step in store.views.history(job)] == [
            *(step.state for step in steps),
            new,
        ]
        assert fetch(store, job).state is new
    else:
        with pytest.raises(InvalidTransition):
            MOVES[new](store, job)
        assert fetch(store, job) == job
        assert store.views.history(job) == steps


def test_a_life_leaves_its_history(store: Store, add: Add, clock: TurnedClock) -> None:
    """Each step has its time, its state and its reason, in order."""
    job = add()
    clock.time += 5
    claimed = bring(store, job, S.UPLOADING)
    clock.time += 5
    assert arrive(store, claimed)
    assert store.tracking.complete(fetch(store, job), reason="converted", check_at=9.0)
    start = clock.time - 10
    assert [(step.at - start, step.state, step.reason) for step in store.views.history(job)] == [
        (0, "queued", "found"),
        (5, "uploading", "claimed"),
        (10, "processing", "uploaded"),
        (10, "done", "converted"),
    ]
    done = fetch(store, job)
    assert (done.check_at, done.error, done.sidecar_due, done.hashid) == (9.0, None, True, "H1")


@pytest.mark.parametrize("move", ["arrived", "fail", "skip", "release", "complete", "settle"])
def test_a_job_that_moved_meanwhile_is_left_alone(store: Store, add: Add, move: str) -> None:
    """What was read before decides nothing: the move is refused, and leaves no step."""
    queued = add()
    uploading = bring(store, queued, S.UPLOADING)
    processing = bring(store, add(b"/v/b.mp4"), S.PROCESSING)
    assert store.jobs.release(uploading, "stop")
    assert store.jobs.fail(processing, "broken")
    assert store.jobs.skip(fetch(store, queued), "vanished")
    before = [store.views.history(queued), store.views.history(processing)]
    refused = {
        "arrived": lambda: arrive(store, uploading),
        "fail": lambda: store.jobs.fail(queued, "late"),
        "skip": lambda: store.jobs.skip(queued, "late"),
        "release": lambda: store.jobs.release(uploading, "late"),
        "complete": lambda: store.tracking.complete(processing, reason="late", check_at=None),
        "settle": lambda: store.jobs.settle(queued, STAMP),
    }
    assert not refused[move]()
    assert [store.views.history(queued), store.views.history(processing)] == before


def test_release_writes_down_why_and_when(store: Store, add: Add, clock: TurnedClock) -> None:
    """A put-back job counts its attempt only if told to, and keeps its suspicion."""
    job = bring(store, add(), S.UPLOADING)
    due = clock.time + 60
    assert store.jobs.release(job, "502", not_before=due, charge=True, suspect=True, error="502")
    back = fetch(store, job)
    assert (back.state, back.attempts, back.suspect_at, back.next_attempt_at, back.error) == (
        S.QUEUED,
        1,
        clock.time,
        due,
        "502",
    )
    suspected = clock.time
    clock.time += 60
    claimed = store.jobs.claim("me")
    assert claimed is not None
    assert store.jobs.release(claimed, "stop", ready=False)
    again = fetch(store, job)
    assert (again.ready, again.attempts, again.suspect_at) == (False, 1, suspected)
    assert [one.id for one in store.jobs.unsettled()] == [job.id]


def test_suspicion_asks_for_another_success(store: Store, add: Add, clock: TurnedClock) -> None:
    """Only an upload that arrived after the moment counts."""
    attempt = store.journal.begin(bring(store, add(), S.UPLOADING))
    store.journal.arrived(attempt, "H1")
    assert store.journal.another_arrived_since(clock.time - 1)
    assert not store.journal.another_arrived_since(clock.time)


def test_another_version_begins_afresh(store: Store, add: Add, clock: TurnedClock) -> None:
    """New content answers for no failure of the old; the same content does."""
    job = bring(store, add(), S.UPLOADING)
    later = clock.time + 3600
    store.jobs.release(job, "x", ready=False, not_before=later, charge=True, suspect=True)
    job = fetch(store, job)
    assert store.jobs.settle(job, job.stamp)
    same = fetch(store, job)
    assert (same.ready, same.attempts, same.next_attempt_at) == (True, 1, later)
    assert store.jobs.settle(same, FileStamp(20, 9, 9, 9, 9))
    new = fetch(store, job)
    assert (new.attempts, new.suspect_at, new.next_attempt_at) == (0, None, 0.0)
    assert new.stamp == FileStamp(20, 9, 9, 9, 9)


def test_touched_files_keep_their_job(store: Store, add: Add) -> None:
    """Other times with the same content change the stamp and nothing else."""
    job = bring(store, add(), S.DONE)
    store.jobs.restamp(job, FileStamp(10, 8, 7, 6, 5))
    touched = fetch(store, job)
    assert touched.stamp == FileStamp(10, 8, 7, 6, 5)
    assert touched.state is S.DONE


def test_a_touched_file_has_its_sidecar_written_again(
    store: Store, add: Add, clock: TurnedClock
) -> None:
    """It shows the file's time, and one that is just being written does not pay that debt."""
    job = bring(store, add(), S.DONE)
    store.tracking.sidecar_written(job, b"/v/s")
    assert not fetch(store, job).sidecar_due
    clock.time += 1
    store.jobs.restamp(job, FileStamp(10, 8, 7, 6, 5))
    store.tracking.sidecar_written(job, b"/v/s")
    assert fetch(store, job).sidecar_due
    waiting = add(b"/v/b.mp4")
    store.jobs.restamp(waiting, FileStamp(10, 8, 7, 6, 5))
    assert not fetch(store, waiting).sidecar_due


def test_an_arrival_keeps_the_whole_stamp(store: Store, add: Add) -> None:
    """The next scan compares with the file as it was sent, by its inode too."""
    job = bring(store, add(), S.UPLOADING)
    stamp = FileStamp(10, 11, 12, 13, 14)
    assert store.jobs.arrived(
        job,
        hashid="H1",
        status="onqueue",
        name="",
        size=10,
        uploaded_at=None,
        fingerprint=None,
        stamp=stamp,
        reason="sent",
    )
    assert fetch(store, job).stamp == stamp


def test_jobs_become_unsettled_in_the_order_of_their_history(store: Store, add: Add) -> None:
    """Each is named once after it came, came back or was retried, and none is left out."""
    first = add(b"/v/a.mp4", ready=False)
    add(b"/v/ready.mp4", size=11)
    unsettled, mark = store.jobs.unsettled_since(0)
    assert unsettled == [(b"/v/a.mp4", b"/v")]
    assert store.jobs.unsettled_since(mark) == ([], mark)
    second = add(b"/v/b.mp4", size=12, ready=False)
    unsettled, mark = store.jobs.unsettled_since(mark)
    assert unsettled == [(b"/v/b.mp4", b"/v")]
    store.jobs.settle(first, first.stamp)
    claimed = store.jobs.claim("me")
    assert claimed is not None
    assert store.jobs.unsettled_since(mark)[0] == []
    store.jobs.release(claimed, "it changed", ready=False)
    unsettled, mark = store.jobs.unsettled_since(mark)
    assert unsettled == [(b"/v/a.mp4", b"/v")]
    store.jobs.fail(fetch(store, second), "no")
    store.orders.retry(fetch(store, second))
    unsettled, mark = store.jobs.unsettled_since(mark)
    assert unsettled == [(b"/v/b.mp4", b"/v")]
    store.orders.forget(fetch(store, second))
    assert store.jobs.unsettled_since(mark) == ([], mark)
    add(b"/v/c.mp4", size=13, ready=False)
    assert store.jobs.unsettled_since(mark)[0] == [(b"/v/c.mp4", b"/v")]


def test_a_vanished_file_comes_back(store: Store, add: Add) -> None:
    """A skipped job is queued again as the file is now; any other is not."""
    job = bring(store, add(), S.SKIPPED)
    assert store.jobs.requeue(job, FileStamp(11, 2, 3, 4, 5), "it is back")
    back = fetch(store, job)
    assert (back.state, back.ready, back.error, back.stamp.size) == (S.QUEUED, True, None, 11)
    assert not store.jobs.requeue(job, STAMP, "again")
    assert store.views.history(job)[-1].reason == "it is back"


def test_waiting_is_said_only_of_jobs_that_wait(store: Store, add: Add) -> None:
    """Why a file is not finished stands in its job, until it is ready."""
    waiting, ready = add(ready=False), add(b"/v/b.mp4")
    for job in (waiting, ready):
        store.jobs.note_waiting(job, "being written")
    assert fetch(store, waiting).error == "being written"
    assert fetch(store, ready).error is None


@pytest.mark.parametrize("state", sorted(set(S) - {S.FAILED}))
def test_only_failed_jobs_are_tried_again(store: Store, add: Add, state: JobState) -> None:
    """Retry says False for every other state."""
    assert not store.orders.retry(bring(store, add(), state))


def test_retry_of_a_file_failure_starts_over(store: Store, add: Add) -> None:
    """The watch has to find the file finished again, and all attempts are forgiven."""
    job = bring(store, add(), S.UPLOADING)
    store.jobs.release(job, "x", charge=True, suspect=True, not_before=1e12)
    assert store.jobs.fail(fetch(store, job), "unreadable")
    assert store.orders.retry(fetch(store, job))
    again = fetch(store, job)
    assert (again.state, again.ready, again.attempts, again.suspect_at) == (
        S.QUEUED,
        False,
        0,
        None,
    )
    assert (again.error, again.next_attempt_at) == (None, 0.0)


def test_retry_of_what_the_service_holds_tracks_it(
    store: Store, add: Add, clock: TurnedClock
) -> None:
    """Nothing is sent twice: the job goes on where its tracking ended."""
    job = bring(store, add(), S.PROCESSING)
    assert store.jobs.fail(job, "odd")
    failed = fetch(store, job)
    assert failed.check_at is None
    assert store.orders.retry(failed)
    again = fetch(store, job)
    assert (again.state, again.hashid, again.check_at) == (S.PROCESSING, "H1", clock.time)
    assert not store.orders.retry(failed)


@pytest.mark.parametrize("status", ["failed", None])
def test_retry_of_a_failed_conversion_uploads_anew(
    store: Store, add: Add, status: str | None
) -> None:
    """What the service could not convert, or lost, is left behind as an orphan."""
    claimed = bring(store, add(), S.UPLOADING)
    attempt = store.journal.begin(claimed)
    store.journal.arrived(attempt, "H1")
    assert arrive(store, claimed)
    assert store.journal.orphans() == []
    store.jobs.fail(fetch(store, claimed), "conversion", remote_status=status)
    assert store.orders.retry(fetch(store, claimed))
    again = fetch(store, claimed)
    assert (again.state, again.hashid, again.sidecar_due, again.uploaded_at) == (
        S.QUEUED,
        None,
        False,
        None,
    )
    assert [one.hashid for one in store.journal.orphans()] == ["H1"]
    assert store.journal.owned(["H1", "H2"]) == {"H1"}


def test_forgetting_remembers_the_file_as_it_was_last(store: Store, add: Add) -> None:
    """The next scan can tell the dropped file from a new one; a new job ends the memory."""
    job = add()
    store.jobs.settle(job, FileStamp(99, 1, 2, 3, 4))
    assert store.orders.forget(job)
    assert store.jobs.get(job.id) is None
    assert store.views.history(job) == []
    assert store.orders.forgotten([job.path, b"/v/other"]) == {job.path: FileStamp(99, 1, 2, 3, 4)}
    assert not store.orders.forget(job)
    store.orders.recall(job.path)
    assert store.orders.forgotten([job.path]) == {}
    assert store.orders.forget(add())
    again = add()
    assert again.id > job.id
    assert store.orders.forgotten([job.path]) == {}
    assert store.orders.forgotten([]) == {}


def test_forgetting_while_it_is_sent(store: Store, add: Add) -> None:
    """The sender learns that it is no longer its job, and a twin need not wait for it."""
    job = bring(store, add(), S.UPLOADING)
    attempt = store.journal.begin(job)
    store.journal.sending(attempt, 1.0)
    twin = add(b"/w/a.mp4")
    assert store.jobs.claim("other") is None
    assert store.jobs.renew(job, "me")
    assert store.orders.forget(job)
    assert not store.jobs.renew(job, "me")
    assert not store.jobs.holds(job, "me")
    assert not store.jobs.release(job, "late")
    assert not arrive(store, job)
    store.journal.discarded(attempt, "H9", "dropped")
    assert [(one.job, one.hashid) for one in store.journal.orphans()] == [(None, "H9")]
    claimed = store.jobs.claim("other")
    assert claimed is not None
    assert claimed.id == twin.id


def test_many_jobs_are_made_at_once(store: Store, add: Add) -> None:
    """Each gets an id that no job ever had, in order, and its first step of history."""
    store.orders.forget(add(b"/v/0.mp4"))
    last = add(b"/v/last.mp4")
    store.orders.forget(last)
    stamp = FileStamp(10, 1, 2, 3, 4)
    new = [NewJob(b"/v/%d.mp4" % n, stamp, b"/v", 7, f"reason {n}") for n in range(3)]
    ids = store.jobs.add_each(new, ready=False)
    assert ids == [last.id + 1, last.id + 2, last.id + 3]
    for number, job in enumerate(ids):
        made = fetch(store, job)
        assert (made.path, made.stamp, made.ready) == (b"/v/%d.mp4" % number, stamp, False)
        (step,) = store.views.history(made)
        assert (step.state, step.reason) == (S.QUEUED, f"reason {number}")
    assert store.orders.forgotten([b"/v/0.mp4"]) == {}
    assert add(b"/v/after.mp4").id == ids[-1] + 1
    assert store.jobs.add_each([], ready=True) == []


def test_of_many_jobs_all_are_made_or_none(store: Store, add: Add) -> None:
    """One that the database refuses takes the others of its commit with it."""
    good, bad = FileStamp(10, 1, 2, 3, 4), FileStamp(-1, 1, 2, 3, 4)
    new = [NewJob(b"/v/%d.mp4" % n, stamp, None, None, "x") for n, stamp in enumerate([good, bad])]
    with pytest.raises(StoreError):
        store.jobs.add_each(new, ready=True)
    assert store.views.jobs() == []


def test_checks_refuse_what_the_table_cannot(store: Store, add: Add) -> None:
    """Even SQL by hand cannot make a job that is done without a hashid."""
    job = add()
    for wrong in ("state = 'done'", "state = 'failed'", "owner = 'x'", "ready = 2", "size = -1"):
        with pytest.raises(StoreError, match="CHECK"):
            store.database.write(f"UPDATE job SET {wrong} WHERE id = ?", job.id)


@pytest.mark.parametrize(
    "name", [b"/v/\xff\xfe.mp4", b"/v/a\nb.mp4", "/v/Wintergärten.webm".encode(), b"/v/\xc3.mp4"]
)
def test_any_name_is_a_name(store: Store, add: Add, name: bytes) -> None:
    """Names that are no UTF-8, and names with newlines, go through the queue unharmed."""
    job = bring(store, add(name), S.DONE)
    assert job.path == name
    assert job.name == os.path.basename(name)
    assert store.jobs.latest(name) == job
    assert store.jobs.latest_each([name, b"/v/none"]) == {name: job}
    assert store.views.find(os.fsdecode(name)) == job
    assert store.journal.begin(job) > 0


def test_the_newest_job_of_a_path_speaks_for_it(store: Store, add: Add) -> None:
    """A replaced file has two jobs, and the later is the one that counts."""
    old, new = bring(store, add(), S.DONE), add()
    assert store.jobs.latest(old.path) == new
    assert store.jobs.latest_each([old.path]) == {old.path: new}
    assert store.jobs.latest(b"/v/none") is None
    assert store.jobs.latest_each([]) == {}


def test_a_job_whose_upload_may_have_arrived_is_not_skipped(store: Store, add: Add) -> None:
    """First the account's list is asked; until then its twin has to wait for it."""
    add()
    job = store.jobs.claim("me")
    assert job is not None
    attempt = store.journal.begin(job)
    store.journal.sending(attempt, 0.0)
    assert store.jobs.release(job, "the answer was lost")
    queued = fetch(store, job)
    assert not store.jobs.skip(queued, VANISHED)
    store.journal.failed(attempt, "not listed")
    assert store.jobs.skip(queued, VANISHED)
