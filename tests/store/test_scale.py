"""What the queue costs must not depend on how many jobs it holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from megamax_sync.clock import Clock
from megamax_sync.job import FileStamp, Job, JobState
from megamax_sync.store import NewJob, Store, Tie
from megamax_sync.store.pruning import BATCH

S = JobState
#: So many jobs of each kind: a hundred of all, and twenty times as many.
FEW, MANY = 100, 2000


class Steps:
    """Counts what SQLite's virtual machine does, in hundreds of its instructions."""

    def __init__(self, store: Store) -> None:
        self._connection = store.database._connection
        self.count = 0

    @contextmanager
    def counting(self) -> Iterator[None]:
        def one() -> int:
            self.count += 1
            return 0

        self.count = 0
        self._connection.set_progress_handler(one, 100)
        yield
        self._connection.set_progress_handler(None, 0)


def filled(path: Path, jobs: int) -> Store:
    """A queue with so many jobs in each state, each with its history and attempts."""
    store = Store(str(path), Clock())
    now = store.jobs.clock.now()
    for kind, state in enumerate(("queued", "waiting", "later", "processing", "done", "skipped")):
        stamps = [FileStamp(1000 + number, 1, 1, 1, number) for number in range(jobs)]
        store.jobs.add_each(
            [
                NewJob(b"/v/%s/%06d.mkv" % (state.encode(), n), stamp, b"/v", kind, "found")
                for n, stamp in enumerate(stamps)
            ],
            ready=True,
        )
    run = store.database.write
    run("UPDATE job SET ready = 0 WHERE folder = 1")
    run("UPDATE job SET next_attempt_at = ?1, failed_at = ?1 WHERE folder = 2", now + 1e4)
    run(
        "UPDATE job SET hashid = 'h' || id, state = CASE WHEN folder = 4 "
        "THEN 'done' ELSE 'processing' END, check_at = ? + id, converted_at = 1 "
        "WHERE folder IN (3, 4)",
        now + 1e5,
    )
    run("UPDATE job SET state = 'skipped', error = 'vanished' WHERE folder = 5")
    run(
        "INSERT INTO attempt (job, path, size, mtime_ns, ino, match_key, step, outcome, hashid, "
        "begun_at, ended_at) SELECT id, path, size, 1, 1, match_key, 'sent', 'arrived', hashid, "
        "1, 2 FROM job WHERE hashid IS NOT NULL"
    )
    store.ties.note([Tie(f"t{n}", f"f{n}", 1000 + n, b"/s") for n in range(jobs)])
    run("INSERT INTO history (job, at, state, reason) SELECT id, 1, state, 'x' FROM job")
    return store


def first(store: Store, state: JobState) -> Job:
    """Some job in this state."""
    return store.views.jobs(state=state, limit=1)[0]


def claim_and_finish(store: Store) -> None:
    """What a worker does, from the claim to the hashid, and the tracker to the end."""
    # Nothing is claimable that is due only later, and it is not looked through either.
    job = store.jobs.claim("me")
    assert job is not None
    attempt = store.journal.begin(job)
    store.journal.sending(attempt, 1.0)
    store.journal.sent(attempt)
    store.journal.arrived(attempt, "hash")
    assert store.jobs.renew(job, "me")
    store.jobs.arrived(
        job, hashid="hash", status="converting", name="n", size=1, uploaded_at=1.0,
        fingerprint="f", stamp=job.stamp, reason="r",
    )  # fmt: skip
    held = store.jobs.get(job.id)
    assert held is not None
    store.tracking.to_write()
    store.tracking.writes_sidecar(held)
    store.tracking.sidecar_written(held, b"/s")
    store.tracking.track(held, converted_at=1.0, check_at=None)
    assert store.tracking.complete(held, reason="r", check_at=None)


STATEMENTS: dict[str, Callable[[Store], object]] = {
    "claim and finish": claim_and_finish,
    "next claim": lambda store: store.jobs.next_claim(),
    "next check": lambda store: store.tracking.next_check(
        states=[S.PROCESSING, S.DONE], under=None
    ),
    "to check": lambda store: store.tracking.to_check(
        10.0, states=[S.PROCESSING, S.DONE], under=None, most=10_000
    ),
    "counts": lambda store: store.views.counts(),
    "bytes": lambda store: [store.views.bytes_in(state) for state in S],
    "waits in": lambda store: store.views.waits_in(b"/v"),
    "tally": lambda store: store.views.tally(store.views.mark(), [b"/v"]),
    "tally of all": lambda store: store.views.tally(store.views.mark(), None),
    "moved": lambda store: store.views.moved_since(store.views.mark(), [b"/v"]),
    "newest": lambda store: store.views.jobs(limit=5),
    "newest of a state": lambda store: [store.views.jobs(state=state, limit=5) for state in S],
    "find": lambda store: [store.views.find(one) for one in ("/v/done/000007.mkv", "h7", "7")],
    "failed": lambda store: store.views.failed_now([b"/v"]),
    "history": lambda store: store.views.history(first(store, S.DONE)),
    "attempts": lambda store: store.views.attempts(first(store, S.DONE)),
    "newest of a path": lambda store: store.jobs.latest(b"/v/done/000003.mkv"),
    "newest of paths": lambda store: store.jobs.latest_each([b"/v/done/000003.mkv", b"/v/no"]),
    "resting": lambda store: store.resting.each([b"/v/done/000003.mkv", b"/v/no"]),
    "between": lambda store: store.resting.between(b"/v/done/000003", b"/v/done/000009", 50),
    "fates": lambda store: store.resting.fates([b"/v/done/000003.mkv", b"/v/done/000009.mkv"]),
    "forgotten": lambda store: store.orders.forgotten([b"/v/done/000003.mkv", b"/v/no"]),
    "unsettled since": lambda store: store.jobs.unsettled_since(store.views.mark()),
    "stirred": lambda store: store.resting.stirred_since((0, store.views.mark())),
    "unknown": lambda store: store.journal.unknown_of(first(store, S.QUEUED)),
    "rivals": lambda store: [
        store.journal.rivals(one) for one in store.views.attempts(first(store, S.DONE))
    ],
    "another arrived": lambda store: store.journal.another_arrived_since(1e12),
    "owned": lambda store: store.journal.owned(["h7", "h8", "nobody's"]),
    "ties": lambda store: (
        store.ties.has_size(1007),
        store.ties.of_content(1007, "f7"),
        store.ties.others(["t7", "t8", "nobody's"], lambda: "f7"),
    ),
    "orphans": lambda store: store.journal.orphans(),
    "outdated": lambda store: store.orders.is_outdated(first(store, S.DONE)),
    "forget": lambda store: store.orders.forget(first(store, S.DONE)),
    "rescue": lambda store: [rescue() for rescue in (store.journal.rescue, store.jobs.rescue)],
    "to compare": lambda store: store.twins.to_compare(None, 9),
    "next to compare": lambda store: store.twins.next_to_compare(None),
    "done last": lambda store: store.pages.done_last(8),
    "unwritable": lambda store: store.pages.unwritable(),
    "settings": lambda store: (store.settings.paused, store.settings.bwlimit),
    "add": lambda store: store.jobs.add(
        b"/v/new.mkv", FileStamp(1, 1, 1, 1, 1), root=b"/v", folder=None, ready=True, reason="r"
    ),
}


@pytest.fixture(scope="module")
def queues(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Store]]:
    """A small queue, and one that is twenty times as large."""
    folder = tmp_path_factory.mktemp("scale")
    with filled(folder / "few.db", FEW) as few, filled(folder / "many.db", MANY) as many:
        yield few, many


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_statement_grows_with_the_queue(queues: tuple[Store, Store], name: str) -> None:
    """With twenty times as many jobs SQLite takes no more steps, but for the depth of its trees."""
    steps = []
    for store in queues:
        counter = Steps(store)
        with counter.counting():
            STATEMENTS[name](store)
        steps.append(counter.count)
    assert steps[1] <= steps[0] + 5, f"hundreds of steps: {steps}"


def test_a_statement_that_grows_is_seen(queues: tuple[Store, Store]) -> None:
    """The test above would notice a scan, also one of an index alone."""
    steps = []
    for store in queues:
        counter = Steps(store)
        with counter.counting():
            store.database.read("SELECT count(*) FROM job WHERE state = 'done' AND size > 0")
        steps.append(counter.count)
    assert steps[1] > steps[0] + 50


def counted(store: Store) -> set[tuple[object, ...]]:
    """The jobs by root, state and readiness, counted anew."""
    return {
        tuple(row)
        for row in store.database.read_tuples(
            "SELECT coalesce(root, x''), state, ready, count(*), sum(size) FROM job GROUP BY 1,2,3"
        )
    }


def test_the_tally_is_true_after_every_change(tmp_path: Path) -> None:
    """Made, moved, changed in size, dropped: it equals what counting anew gives."""
    with filled(tmp_path / "queue.db", 5) as store:
        claim_and_finish(store)
        queued = first(store, S.QUEUED)
        store.jobs.settle(queued, FileStamp(77, 2, 2, 2, 2))
        store.orders.forget(first(store, S.DONE))
        store.jobs.add(b"/x", queued.stamp, root=None, folder=None, ready=False, reason="r")
        kept = {
            tuple(row) for row in store.database.read_tuples("SELECT * FROM tally WHERE jobs > 0")
        }
        assert kept == counted(store)
        assert sum(store.views.counts().values()) == len(store.views.jobs())
        # What is in a part of a watched folder, and what was handed in, is counted job by job.
        assert store.views.tally(10**6, [b"/v/later"]).counts[S.QUEUED] == 5
        assert store.views.tally(10**6, [b"/x"]).unsettled == 1
        assert store.views.tally(10**6, [b"/v", b"/x"]).counts[S.QUEUED] == 15
        assert store.views.tally(10**6, None).counts[S.PROCESSING] == 5
        assert not any(store.views.tally(10**6, [b"/elsewhere"]).counts.values())
        assert store.views.waits_in(b"/v")
        assert not store.views.waits_in(b"/w")


def test_a_queue_of_before_is_counted_when_it_is_brought_up_to_date(tmp_path: Path) -> None:
    """The step of the schema counts what is there."""
    path = tmp_path / "queue.db"
    with filled(path, 3) as store:
        before = counted(store)
    raw = sqlite3.connect(path)
    steps = sorted(Path("megamax_sync/store/schema").glob("*.sql"))
    mine = next(n for n, step in enumerate(steps) if step.name == "0006_scale.sql")
    if mine + 1 == len(steps):
        raw.executescript(
            "DROP TABLE tally; DROP TRIGGER job_counted; DROP TRIGGER job_uncounted; "
            f"DROP TRIGGER job_recounted; DROP INDEX job_due; PRAGMA user_version = {mine}"
        )
        raw.close()
        with Store(str(path), Clock()) as store:
            assert set(store.database.read_tuples("SELECT * FROM tally")) == before


def test_old_records_go_and_what_somebody_may_ask_for_stays(tmp_path: Path) -> None:
    """Each finished job keeps its last step; failed ones and orphans keep all."""
    with filled(tmp_path / "queue.db", 5) as store:
        failed = first(store, S.QUEUED)
        store.jobs.fail(failed, "broken")
        done = first(store, S.DONE)
        store.database.write("UPDATE history SET at = 1")
        store.database.write(
            "UPDATE attempt SET outcome = 'discarded' WHERE id = (SELECT min(id) FROM attempt)"
        )
        dropped = store.views.jobs(state=S.DONE)[-1]
        store.orders.forget(dropped)
        history, attempts = store.views.history(failed), len(store.journal.orphans())
        for prune in (store.pruning.prune_history, store.pruning.prune_attempts):
            assert prune(0, 0.5) is None
            last: int | None = 0
            rounds = 0
            while last is not None:
                last, rounds = prune(last, 1e9), rounds + 1
            assert rounds == 2
        assert len(store.views.history(done)) == 1
        assert store.views.attempts(done) == []
        assert store.views.history(failed) == history
        assert len(store.journal.orphans()) == attempts
        assert dropped.hashid is not None
        assert store.journal.owned([dropped.hashid]) == {dropped.hashid}
        version = store.database.version
        assert store.pruning.prune_history(0, 1e9) is not None
        assert store.database.version == version
        assert BATCH > 100
