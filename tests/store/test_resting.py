"""What a scan asks about every file: is there anything to be done about it?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from megamax_sync.clock import Clock
from megamax_sync.job import VANISHED, Job
from megamax_sync.store import Store
from megamax_sync.store.resting import BETWEEN, Version, newest

Add = Callable[..., Job]


def version(job: Job) -> Version:
    return job.path, job.stamp.size, job.stamp.mtime_ns, job.stamp.ino


def test_the_newest_job_of_a_path_says_which_version_is_known(store: Store, add: Add) -> None:
    """One by one and by a range the answer is the same, and so is that of a job that is sent."""
    add(b"/v/a.mp4")
    newer, other = add(b"/v/a.mp4", size=11), add(b"/v/b.mp4")
    assert store.jobs.claim("me", [other.path]) is not None
    known = {job.path: version(job) for job in (newer, other)}
    assert store.resting.each([newer.path, other.path, b"/v/unknown.mp4"]) == known
    rows = store.resting.between(newer.path, other.path, 3)
    assert rows is not None
    assert newest(rows) == known
    assert [row[0] for row in rows] == [newer.path, newer.path, other.path]


def test_what_wants_another_look_equals_no_version(store: Store, add: Add) -> None:
    """A file that was handed in, and one that is back after it had vanished."""
    handed, gone, other = add(b"/v/a", ready=False), add(b"/v/b"), add(b"/v/c")
    assert store.jobs.skip(gone, VANISHED)
    assert store.jobs.skip(other, "duplicate of /v/x")
    rows = store.resting.between(handed.path, other.path, 3)
    assert rows is not None
    known = newest(rows)
    assert known == store.resting.each([handed.path, gone.path, other.path])
    assert known[other.path] == version(other)
    assert known[handed.path] != version(handed)
    assert known[gone.path] != version(gone)


def test_a_range_with_too_much_in_it_is_not_told(store: Store, add: Add) -> None:
    """A folder's few files may stand at both ends of a large library in its folders."""
    for number in range(4):
        add(b"/v/%d" % number)
    assert store.resting.between(b"/v/0", b"/v/3", 3) is None
    assert store.resting.between(b"/v/0", b"/v/3", 4) is not None


def test_fates_are_those_of_the_newest_jobs(store: Store, add: Add) -> None:
    """Whether a range holds little more than what is asked for, or a library lies in between."""
    add(b"/v/a.mp4")
    newer, other = add(b"/v/a.mp4", size=11), add(b"/v/c.mp4", ready=False)
    asked = [newer.path, b"/v/b.mp4", other.path]
    few = store.resting.fates(asked)
    assert list(few) == [newer.path, other.path]
    assert store.resting.fates([]) == {}
    fate = few[newer.path]
    assert (fate.version, fate.job, fate.state) == (version(newer), newer.id, "queued")
    assert few[other.path].version != version(other)
    for number in range(BETWEEN + 10):
        add(b"/v/b/%d" % number)
    assert store.resting.fates(asked) == few


def test_jobs_that_were_queued_or_skipped_are_told_once(store: Store, add: Add) -> None:
    """Whatever could have a known file wanted again is a step of its job's history."""
    first, second = add(b"/v/a"), add(b"/v/b")
    paths, mark = store.resting.stirred_since((0, 0))
    assert paths is None
    assert store.resting.stirred_since(mark) == ([], mark)
    assert store.jobs.skip(first, VANISHED)
    claimed = store.jobs.claim("me", [second.path])
    assert claimed is not None
    paths, mark = store.resting.stirred_since(mark)
    assert paths == [first.path]
    assert store.jobs.release(claimed, "changed", ready=False)
    paths, mark = store.resting.stirred_since(mark)
    assert paths == [second.path]
    assert store.resting.stirred_since(mark)[0] == []


def test_after_another_process_nobody_can_tell(store: Store, add: Add, tmp_path: Path) -> None:
    """It may have dropped a job, of which nothing is left."""
    job = add(b"/v/a")
    _, mark = store.resting.stirred_since((0, 0))
    with Store(store.database.path, Clock()) as other:
        assert other.orders.forget(job)
    paths, mark = store.resting.stirred_since(mark)
    assert paths is None
    assert store.resting.stirred_since(mark)[0] == []
