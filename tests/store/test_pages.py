"""What the pages ask for: right, and by an index."""

from __future__ import annotations

import json
import sqlite3

import pytest

from megamax_sync.clock import Clock
from megamax_sync.job import FileStamp, Job, JobState
from megamax_sync.store import Move, Outcome, Place, Store
from megamax_sync.store.database import migrations
from store.conftest import Add, TurnedClock, fetch


def names(jobs: list[Job]) -> list[bytes]:
    """The names of jobs, in their order."""
    return [job.name for job in jobs]


def finish(store: Store, job: Job, **changes: object) -> Job:
    """Take a job through to its end."""
    claimed = store.jobs.claim("me")
    assert claimed is not None
    assert claimed.id == job.id
    store.jobs.arrived(
        claimed,
        hashid=f"h{job.id}",
        status="onqueue",
        name="a",
        size=1,
        uploaded_at=None,
        fingerprint=None,
        stamp=job.stamp,
        reason="uploaded",
    )
    store.tracking.note(job.id, JobState.PROCESSING, "onqueue → converting")
    if changes:
        store.tracking.track(fetch(store, job), **changes)
    store.tracking.complete(fetch(store, job), reason="converted", check_at=None)
    return fetch(store, job)


def recount(store: Store) -> dict[JobState, tuple[int, int]]:
    """Count the jobs and their bytes one by one."""
    found = dict.fromkeys(JobState, (0, 0))
    sql = "SELECT state, count(*), sum(size) FROM job GROUP BY state"
    for state, number, size in store.database.read_tuples(sql):
        found[JobState(state)] = (number, size)
    return found


def counted(store: Store) -> dict[JobState, tuple[int, int]]:
    """What the tally says."""
    return {s: (n, store.views.bytes_in(s)) for s, n in store.views.counts().items()}


def test_the_tally_is_kept_in_step(store: Store, add: Add) -> None:
    """Made, moved, grown and dropped: the counts are those of the table."""
    first, second = add(b"/v/a.mp4", size=10), add(b"/v/b.mp4", size=32)
    assert counted(store)[JobState.QUEUED] == (2, 42)
    finish(store, first)
    store.jobs.settle(second, FileStamp(100, 1, 2, 3, 4))
    assert counted(store) == recount(store)
    assert counted(store)[JobState.QUEUED] == (1, 100)
    store.orders.forget(fetch(store, second))
    assert counted(store) == recount(store)
    assert counted(store)[JobState.DONE] == (1, 10)


def test_a_commit_that_fails_counts_nothing(store: Store, add: Add) -> None:
    """The tally goes with the transaction."""
    add()

    def cut_short() -> None:
        with store.transaction():
            add(b"/v/b.mp4")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        cut_short()
    assert counted(store) == recount(store)


def test_an_older_queue_is_counted_once(path: str, clock: TurnedClock) -> None:
    """The tally of a queue that had none is what lies in it."""
    steps = migrations()
    own = next(i for i, step in enumerate(steps) if "CREATE TABLE tally" in step)
    connection = sqlite3.connect(path)
    for step in steps[:own]:
        connection.executescript(step)
    connection.execute(
        "INSERT INTO job (path, state, ready, size, mtime_ns, ctime_ns, dev, ino, match_key, "
        "created_at, updated_at) VALUES (x'2f61', 'queued', 1, 7, 0, 0, 0, 0, 'a', 0, 0)"
    )
    connection.execute(f"PRAGMA user_version = {own}")
    connection.commit()
    connection.close()
    with Store(path, clock) as store:
        assert counted(store) == recount(store)
        assert counted(store)[JobState.QUEUED] == (1, 7)


def test_pages_follow_one_another(store: Store, add: Add, clock: TurnedClock) -> None:
    """Forth and back, each job once, also where several changed at one moment."""
    for number in range(7):
        clock.time += number % 2
        add(f"/v/{number}.mp4".encode())
    seen, place = [], None
    while page := store.pages.jobs(place=place, limit=3):
        seen += page
        place = Place(page[-1].updated_at, page[-1].id)
    assert [job.id for job in seen] == [7, 6, 5, 4, 3, 2, 1]
    third = Place(seen[4].updated_at, seen[4].id)
    assert [job.id for job in store.pages.jobs(place=third, back=True, limit=3)] == [6, 5, 4]


def test_a_search_finds_parts_of_paths(
    store: Store, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In either case, marks taken as they are, also in names that are no UTF-8; by hashid too."""
    odd = [
        b"/v/100% done_a.mkv",
        b"/v/100x doneXa.mkv",
        b"/v/caf\xe9 Movie.mkv",
        b"/v/b\\s.mkv",
    ]
    for name in odd:
        add(name)
    done = finish(store, fetch(store, 1))
    for few in (2000, 0):
        # However many are found, the answer is the same.
        monkeypatch.setattr("megamax_sync.store.pages._RARE", few)
        assert names(store.pages.jobs(text="% DONE_", limit=9)) == [b"100% done_a.mkv"]
        assert names(store.pages.jobs(text="movie", limit=9)) == [b"caf\xe9 Movie.mkv"]
        assert names(store.pages.jobs(text="b\\s", limit=9)) == [b"b\\s.mkv"]
        assert names(store.pages.jobs(text=str(done.hashid), limit=9)) == [b"100% done_a.mkv"]
        assert store.pages.jobs(text="nowhere \udce9", limit=9) == []
        queued = store.pages.jobs(text="done", state=JobState.QUEUED, limit=9)
        assert names(queued) == [b"100x doneXa.mkv"]


def test_lists_of_the_overview(store: Store, add: Add, clock: TurnedClock) -> None:
    """What comes next comes in the order of claims; what has waited longest comes first."""
    for number in range(3):
        clock.time += 1
        add(f"/v/{number}.mp4".encode(), ready=number != 1)
    assert names(store.pages.next_up(9)) == [b"0.mp4", b"2.mp4"]
    assert names(store.pages.oldest_first(JobState.QUEUED, 2)) == [b"0.mp4", b"1.mp4"]
    assert names(store.pages.newest(JobState.QUEUED, 1)) == [b"2.mp4"]


def test_what_was_done_last_is_told_by_when_it_was_done(
    store: Store, add: Add, clock: TurnedClock
) -> None:
    """New links are a change of the job, and a move is a step of it; neither makes it done anew."""
    jobs, began = [], clock.time
    for name in (b"/v/a.mp4", b"/v/b.mp4", b"/v/c.mp4"):
        clock.time += 10
        jobs.append(add(name))
        finish(store, jobs[-1])
    clock.time += 10
    first = store.jobs.get(jobs[0].id)
    assert first is not None
    store.tracking.track(first, direct="[]", sidecar_due=1)
    store.moving.move_to(first, b"/v/moved.mp4", b"/v", first.stamp)
    last = store.pages.done_last(9)
    assert names([job for job, _ in last]) == [b"c.mp4", b"b.mp4", b"moved.mp4"]
    assert [at - began for _, at in last] == [30, 20, 10]
    assert store.pages.done_since(began) == 3
    assert len(store.pages.done_last(2)) == 2
    store.orders.forget(first)
    assert len(store.pages.done_last(9)) == 2


def test_figures(store: Store, add: Add, clock: TurnedClock) -> None:
    """Done since, the oldest that waits, and when links expire."""
    assert store.pages.queued_since() is None
    assert store.pages.links_expire("2026-01-01T00:00:00Z") == (None, 0)
    first = add(b"/v/a.mp4")
    assert store.pages.queued_since() == first.created_at
    began = clock.time
    links = json.dumps([{"expires_at": "2026-05-01T00:00:00Z"}])
    finish(store, first, direct=links)
    clock.time += 10
    for name, direct in ((b"/v/b.mp4", "[]"), (b"/v/c.mp4", "not json"), (b"/v/d.mp4", links)):
        finish(store, add(name), direct=direct)
    assert store.pages.done_since(began) == 4
    assert store.pages.done_since(began + 5) == 3
    assert store.pages.links_expire("2026-04-01T00:00:00Z") == ("2026-05-01T00:00:00Z", 0)
    assert store.pages.links_expire("2026-06-01T00:00:00Z") == (None, 2)


def test_moves_say_how_long_a_state_lasted(store: Store, add: Add, clock: TurnedClock) -> None:
    """From the first step into a state to the step out of it, words in between left aside."""
    job = add()
    clock.time += 5
    finish(store, job)
    moves = store.pages.moves(0, 99)
    at = clock.time
    assert moves == [
        Move(1, 1, JobState.QUEUED, at - 5, None, at - 5),
        Move(2, 1, JobState.UPLOADING, at, JobState.QUEUED, at - 5),
        Move(3, 1, JobState.PROCESSING, at, JobState.UPLOADING, at),
        Move(4, 1, JobState.PROCESSING, at, JobState.PROCESSING, at),
        Move(5, 1, JobState.DONE, at, JobState.PROCESSING, at),
    ]
    assert [move.id for move in store.pages.moves(2, 2)] == [3, 4]
    assert store.pages.last_step() == 5
    assert store.pages.moved(2, 9) == [1]
    assert store.pages.moved(5, 9) == []


def test_outcomes_of_attempts(store: Store, add: Add) -> None:
    """Those that are asked for, and those that are new."""
    job = add()
    first, second = store.journal.begin(job), store.journal.begin(job)
    store.journal.unknown(first, "no answer", None)
    assert store.pages.last_attempt() == second
    assert store.pages.open_attempts() == [
        Outcome(first, None, True),
        Outcome(second, None, False),
    ]
    store.journal.failed(second, "no")
    assert store.pages.outcomes(first, [first], 9) == [
        Outcome(first, None, True),
        Outcome(second, "failed", False),
    ]
    assert store.pages.outcomes(second, [], 9) == []


@pytest.mark.parametrize(
    "query",
    [
        "SELECT min(created_at) FROM job WHERE state = 'queued'",
        "SELECT count(*) FROM history WHERE state = 'done' AND at >= 1",
        "SELECT * FROM job WHERE (updated_at, id) < (1, 1) ORDER BY updated_at DESC, id DESC",
        "SELECT * FROM job WHERE state = 'done' AND (updated_at, id) > (1, 1) ORDER BY updated_at",
        "SELECT id FROM job WHERE CAST(path AS TEXT) LIKE '%a%'",
    ],
)
def test_no_question_reads_the_table(store: Store, query: str) -> None:
    """Each goes by an index and sorts nothing, so a million jobs cost what ten do."""
    plan = " ".join(row[3] for row in store.database.read_tuples(f"EXPLAIN QUERY PLAN {query}"))
    assert "INDEX" in plan, plan
    assert "TEMP B-TREE" not in plan, plan


def test_what_names_its_index_goes_by_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both questions about links, and what comes next, as they are really asked."""
    asked: list[str] = []
    read = store.database.read_tuples

    def noted(sql: str, *values: object) -> list[object]:
        asked.append(" ".join(row[3] for row in read(f"EXPLAIN QUERY PLAN {sql}", *values)))
        return read(sql, *values)

    monkeypatch.setattr(store.database, "read_tuples", noted)
    store.pages.links_expire("2026-01-01T00:00:00Z")
    assert len(asked) == 2
    assert all("job_links" in plan for plan in asked), asked
    monkeypatch.setattr(store.database, "read", noted)
    store.pages.next_up(1)
    assert "job_to_claim" in asked[2]
    assert "TEMP B-TREE" not in asked[2]


def test_a_reader_sees_what_the_writer_has_committed(path: str, store: Store, add: Add) -> None:
    """The pages read through a connection of their own, while the daemon writes."""
    add()
    with Store(path, Clock(), writable=False) as reader:
        assert reader.views.counts()[JobState.QUEUED] == 1
        add(b"/v/b.mp4")
        assert reader.views.counts()[JobState.QUEUED] == 2
