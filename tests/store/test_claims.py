"""Claims: in order, when due, where asked, never twice, and rescued from the dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter

import pytest

from megamax_sync.clock import Clock
from megamax_sync.job import FileStamp, JobState
from megamax_sync.store import Store
from megamax_sync.store.jobs import LEASE_SECONDS

from .conftest import Add, TurnedClock, fetch


def test_claims_go_by_age_and_readiness(store: Store, add: Add) -> None:
    """The oldest that is ready comes first; what is not finished is not sent."""
    add(b"/v/0.mp4", ready=False)
    wanted = [add(b"/v/2.mp4"), add(b"/v/1.mp4")]
    got = [store.jobs.claim("me"), store.jobs.claim("me"), store.jobs.claim("me")]
    assert [one and one.id for one in got] == [wanted[0].id, wanted[1].id, None]
    assert got[0] is not None
    assert got[0].state is JobState.UPLOADING
    assert store.jobs.holds(got[0], "me")
    assert not store.jobs.holds(got[0], "you")


def test_claims_wait_until_they_are_due(store: Store, add: Add, clock: TurnedClock) -> None:
    """A back-off is kept to the moment, and told in advance."""
    assert store.jobs.next_claim() is None
    add()
    job = store.jobs.claim("me")
    assert job is not None
    assert store.jobs.next_claim() is None
    due = clock.time + 30
    store.jobs.release(job, "later", not_before=due)
    assert store.jobs.claim("me") is None
    assert store.jobs.next_claim() == due
    assert store.jobs.next_claim([b"/elsewhere"]) is None
    clock.time = due
    assert store.jobs.claim("me") is not None


@pytest.mark.parametrize(
    ("place", "inside"),
    [
        (b"/a/b", {b"/a/b/c.mp4", b"/a/b/d/e.mp4", b"/a/b"}),
        (b"/a/b/", {b"/a/b/c.mp4", b"/a/b/d/e.mp4"}),
        (b"/a/b/c.mp4", {b"/a/b/c.mp4"}),
        (b"/", {b"/a/b/c.mp4", b"/a/b/d/e.mp4", b"/a/b", b"/a/bc/f.mp4", b"/a/b0", b"/a/b.mp4"}),
        (b"/x", set()),
    ],
)
def test_places_are_folders_or_files(
    store: Store, add: Add, place: bytes, inside: set[bytes]
) -> None:
    """A place holds what lies in it, and not what only begins like it."""
    names = [b"/a/b/c.mp4", b"/a/b/d/e.mp4", b"/a/b", b"/a/bc/f.mp4", b"/a/b0", b"/a/b.mp4"]
    for size, name in enumerate(names):
        add(name, size=size + 1)
    assert {job.path for job in store.views.in_states(list(JobState), [place])} == inside
    claimed = set()
    while job := store.jobs.claim("me", [place]):
        claimed.add(job.path)
    assert claimed == inside
    assert store.jobs.claim("me", []) is None
    assert store.views.counts([place])[JobState.UPLOADING] == len(inside)


@pytest.mark.parametrize(
    ("name", "other"), [(b"EP 02.mp4", b"ep_02.MKV"), (b"x\\y.mp4", b"xy.mp4")]
)
def test_twins_are_never_open_or_unknown_together(
    store: Store, add: Add, clock: TurnedClock, name: bytes, other: bytes
) -> None:
    """Of two files that a list could not tell apart, one waits until the other is settled."""
    first, twin = add(b"/v/" + name), add(b"/w/" + other)
    other_size = add(b"/w/EP 02.mp4", size=11)
    with store.transaction():
        job = store.jobs.claim("me")
        assert job is not None
        attempt = store.journal.begin(job)
    got = store.jobs.claim("me")
    assert got is not None
    assert got.id == other_size.id
    assert store.jobs.claim("me") is None
    assert store.jobs.next_claim() is None
    store.journal.unknown(attempt, "lost", None)
    store.jobs.release(fetch(store, first), "lost", not_before=clock.time + 5)
    assert store.jobs.claim("me") is None
    clock.time += 5
    # Its own unknown attempt does not keep a job from being looked up.
    again = store.jobs.claim("me")
    assert again is not None
    assert again.id == first.id
    store.journal.failed(attempt, "not listed")
    last = store.jobs.claim("me")
    assert last is not None
    assert last.id == twin.id


def test_a_lease_is_prolonged_by_its_owner_alone(
    store: Store, add: Add, clock: TurnedClock
) -> None:
    """Renewing moves the end; nobody else can."""
    add()
    job = store.jobs.claim("me")
    assert job is not None
    clock.time += 100
    assert not store.jobs.renew(job, "you")
    assert store.jobs.renew(job, "me")
    row = store.database.read_one("SELECT lease_until FROM job")
    assert row is not None
    assert row[0] == clock.time + LEASE_SECONDS


def test_threads_never_get_the_same_job(store: Store, add: Add) -> None:
    """Eight threads empty the queue, and no job is claimed twice."""
    for number in range(120):
        add(b"/v/%d.mp4" % number, size=number)
    claimed: list[int] = []
    gate = threading.Barrier(8)

    def work() -> None:
        gate.wait()
        while job := store.jobs.claim(threading.current_thread().name):
            claimed.append(job.id)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(claimed) == Counter(range(1, 121))


CLAIM = """
import os, sys
from megamax_sync.store import Store
from megamax_sync.clock import Clock
with Store(sys.argv[1], Clock()) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    while job := store.jobs.claim(str(os.getpid())):
        store.journal.sending(store.journal.begin(job), 1.0)
        print(job.id, flush=True)
"""


def claimer(path: str) -> subprocess.Popen[bytes]:
    """Start a process that claims all it can get, once it is told to."""
    child = subprocess.Popen(
        [sys.executable, "-c", CLAIM, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    return child


def fill_queue(path: str, count: int) -> None:
    """Make a queue of ready jobs."""
    with Store(path, Clock()) as store, store.transaction():
        for number in range(count):
            stamp = FileStamp(number, 1, 1, 1, 1)
            name = b"/v/%d.mp4" % number
            store.jobs.add(name, stamp, root=None, folder=None, ready=True, reason="found")


def test_processes_never_get_the_same_job(path: str) -> None:
    """Three real processes empty the queue, and no job is claimed twice."""
    fill_queue(path, 150)
    children = [claimer(path) for _ in range(3)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write(b"go\n")
        child.stdin.flush()
    claimed = [line for child in children for line in child.communicate()[0].split()]
    assert Counter(map(int, claimed)) == Counter(range(1, 151))


def test_a_killed_process_loses_nothing(path: str) -> None:
    """After kill -9 amid claims all it said it had is rescued, and every attempt is unknown."""
    fill_queue(path, 5000)
    child = claimer(path)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(b"go\n")
    child.stdin.flush()
    said = [int(child.stdout.readline()) for _ in range(25)]
    os.kill(child.pid, signal.SIGKILL)
    said += [int(line) for line in child.communicate()[0].split(b"\n")[:-1]]
    with Store(path, Clock()) as store:
        held = store.views.counts()[JobState.UPLOADING]
        store.journal.rescue()
        rescued = store.jobs.rescue()
        assert {job.id for job in rescued} >= set(said)
        assert len(rescued) == held
        counts = store.views.counts()
        assert counts[JobState.QUEUED] == 5000
        for number in said:
            job = fetch(store, number)
            assert store.views.history(job)[-1].reason.startswith("the program ended")
            (attempt,) = store.journal.unknown_of(job)
            assert attempt.unknown_at is not None


def test_rescue_puts_back_what_was_claimed(store: Store, add: Add) -> None:
    """Whoever holds the folder's lock at its start knows that nobody else is sending."""
    add()
    mine = store.jobs.claim("me")
    assert mine is not None
    assert [job.id for job in store.jobs.rescue()] == [mine.id]
    assert fetch(store, mine).state is JobState.QUEUED


def test_rescue_mends_times_of_a_clock_that_was_wrong(store: Store, add: Add) -> None:
    """Nothing is put off for longer than anything ever is."""
    add()
    job = store.jobs.claim("me")
    assert job is not None
    store.jobs.release(job, "later", not_before=job.created_at + 3e8)
    store.jobs.rescue()
    assert store.jobs.claim("me") is not None


def test_a_failed_job_goes_behind_the_others(store: Store, add: Add) -> None:
    """No file holds up the queue: after a failure the next claim takes another."""
    first, second = add(), add()
    for expected in (first, second, first):
        job = store.jobs.claim("me")
        assert job is not None
        assert job.id == expected.id
        store.jobs.release(job, "500", failed=True)


@pytest.mark.parametrize("ahead", [3600.0, 50_000.0, 3e8])
def test_rescue_takes_back_by_how_much_the_clock_was_ahead(
    store: Store, add: Add, clock: TurnedClock, ahead: float
) -> None:
    """What was due in a minute still is, and nothing has happened later than now."""
    now = clock.time
    clock.time += ahead
    add()
    job = store.jobs.claim("me")
    assert job is not None
    store.journal.discarded(store.journal.begin(job), "orphan", "changed")
    store.jobs.release(job, "later", not_before=clock.time + 60.0, failed=True, suspect=True)
    columns = "check_at = next_attempt_at, converted_at = created_at"
    store.database.write(f"UPDATE job SET {columns}")
    clock.time = now
    store.jobs.rescue()
    mended = fetch(store, job)
    assert mended.next_attempt_at == mended.check_at == now + 60.0
    assert mended.suspect_at == mended.converted_at == now
    assert mended.created_at == mended.updated_at == now
    (orphan,) = store.journal.orphans()
    assert orphan.begun_at == orphan.ended_at == now


def test_rescue_leaves_times_alone_that_are_right(
    store: Store, add: Add, clock: TurnedClock
) -> None:
    """After a long rest as after a short one, and where the clock was set back by seconds."""
    job = add()
    claimed = store.jobs.claim("me")
    assert claimed is not None
    store.jobs.release(claimed, "later", not_before=clock.time + 60.0)
    due = fetch(store, job).next_attempt_at
    for turned in (-30.0, 86400.0):
        clock.time += turned
        store.jobs.rescue()
        assert fetch(store, job).next_attempt_at == due
