"""What is written into the outbox, when, and for whom."""

from __future__ import annotations

import pytest

from megamax_sync.job import FileStamp, JobState
from megamax_sync.store import Letter, Store

from .conftest import Add, TurnedClock, fetch
from .test_moves import arrive, bring

S = JobState


def letters(store: Store, channel: str = "webhook") -> list[Letter]:
    """What is due on a channel."""
    return store.outbox.due(channel)


def test_a_job_that_ends_is_told_in_the_same_commit(
    store: Store, add: Add, clock: TurnedClock
) -> None:
    """One row for each channel that wants to know, with the facts as they were."""
    store.outbox.listen({"webhook": ["done", "failed"], "after": ["done"], "command": ["failed"]})
    done = bring(store, add(b"/v/\xff.mp4"), S.DONE)
    failed = bring(store, add(b"/v/b.mp4"), S.FAILED)
    first, second = letters(store)
    assert (first.event, first.job, first.path, first.hashid, first.error) == (
        "done", done.id, b"/v/\xff.mp4", "H1", None,
    )  # fmt: skip
    assert (second.event, second.job, second.error) == ("failed", failed.id, "broken")
    assert (first.at, first.attempts) == (clock.time, 0)
    assert [one.job for one in letters(store, "after")] == [done.id]
    assert [one.job for one in letters(store, "command")] == [failed.id]
    assert len(first.mark) == 32
    assert first.mark != second.mark


def test_nothing_is_told_of_what_was_not_committed(store: Store, add: Add) -> None:
    """The row goes with the transition when that is rolled back."""
    store.outbox.listen({"webhook": ["done"]})
    job = bring(store, add(), S.PROCESSING)

    def complete_and_break() -> None:
        with store.transaction():
            store.tracking.complete(job, reason="converted", check_at=None)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        complete_and_break()
    assert (letters(store), fetch(store, job).state) == ([], S.PROCESSING)


def test_other_steps_are_not_told(store: Store, add: Add) -> None:
    """Only the ends, each time they come; a change of something else in the row is none."""
    store.outbox.listen({"webhook": ["done", "failed"]})
    job = bring(store, add(), S.PROCESSING)
    store.jobs.skip(add(b"/v/b.mp4"), "vanished")
    assert letters(store) == []
    store.jobs.fail(job, "lost", remote_status="onqueue")
    assert store.orders.retry(fetch(store, job))
    store.tracking.complete(fetch(store, job), reason="converted", check_at=None)
    store.tracking.track(fetch(store, job), mirrors="[]", sidecar_due=1)
    assert [one.event for one in letters(store)] == ["failed", "done"]


def test_who_no_longer_listens_is_owed_nothing(store: Store, add: Add) -> None:
    """A channel that is taken away takes what was left for it along; the others keep theirs."""
    store.outbox.listen({"webhook": ["done"], "command": ["done"]})
    store.outbox.listen({"webhook": ["done"], "command": ["done"]})
    bring(store, add(), S.DONE)
    store.outbox.listen({"command": ["done", "failed"]})
    assert (len(letters(store)), len(letters(store, "command"))) == (0, 1)
    store.outbox.listen({})
    bring(store, add(b"/v/b.mp4"), S.DONE)
    assert letters(store, "command") == []


def test_problems_and_their_ends(store: Store) -> None:
    """What was told is remembered, so that its end can be told by another run."""
    store.outbox.listen({"webhook": ["problem", "recovery"], "command": ["done"]})
    told = [store.outbox.told_problem]
    store.outbox.tell_problem("unreachable", "no answer")
    told.append(store.outbox.told_problem)
    store.outbox.tell_recovery("unreachable")
    told.append(store.outbox.told_problem)
    assert told == [None, "unreachable", None]
    problem, recovery = letters(store)
    assert (problem.event, problem.problem, problem.error, problem.job, problem.path) == (
        "problem", "unreachable", "no answer", None, None,
    )  # fmt: skip
    assert (recovery.event, recovery.problem, recovery.error) == ("recovery", "unreachable", None)
    assert letters(store, "command") == []


def test_what_failed_is_due_later(store: Store, add: Add, clock: TurnedClock) -> None:
    """It counts, waits, and comes back; what was delivered does not."""
    store.outbox.listen({"webhook": ["done"]})
    bring(store, add(), S.DONE)
    bring(store, add(b"/v/b.mp4"), S.DONE)
    first, second = letters(store)
    store.outbox.postpone([first], 10)
    store.outbox.delivered([second])
    assert letters(store) == []
    assert store.outbox.next_due("webhook") == clock.time + 10
    assert store.outbox.next_due("command") is None
    clock.time += 10
    (again,) = letters(store)
    assert (again.id, again.mark, again.attempts) == (first.id, first.mark, 1)
    assert store.outbox.next_due("webhook") is None


def test_a_video_is_put_away_after_its_command(store: Store, add: Add) -> None:
    """The command of the same job comes first; others' hold nothing up."""
    store.outbox.listen({"command": ["done"], "after": ["done"]})
    bring(store, add(), S.DONE)
    bring(store, add(b"/v/b.mp4"), S.DONE)
    first, _second = letters(store, "command")
    assert store.outbox.due_after() == []
    store.outbox.delivered([first])
    assert [one.path for one in store.outbox.due_after()] == [b"/v/a.mp4"]


def test_what_a_scan_waits_for(store: Store, add: Add) -> None:
    """Commands until they were run, everything else until it was tried; of its places, beside
    another instance, only what is done to its own jobs.
    """
    assert not store.outbox.owed()
    store.outbox.listen({"webhook": ["done"]})
    bring(store, add(), S.DONE)
    assert store.outbox.owed()
    assert not store.outbox.owed([b"/v"])
    store.outbox.postpone(letters(store), 10)
    assert not store.outbox.owed()
    store.outbox.listen({"command": ["done"]})
    bring(store, add(b"/v/b.mp4"), S.DONE)
    store.outbox.postpone(letters(store, "command"), 10)
    assert store.outbox.owed()
    assert store.outbox.owed([b"/v"])
    assert not store.outbox.owed([b"/w"])


def test_busy_while_a_job_is_on_its_way(store: Store, add: Add) -> None:
    """Queued and ready, being sent, in conversion; not one that waits for its file."""
    assert not store.outbox.busy()
    add(b"/v/open.mp4", ready=False)
    assert not store.outbox.busy()
    job = add()
    assert store.outbox.busy()
    job = bring(store, job, S.PROCESSING)
    assert store.outbox.busy()
    store.tracking.complete(job, reason="converted", check_at=None)
    assert not store.outbox.busy()


def test_a_job_goes_with_its_video(store: Store, add: Add) -> None:
    """It has the new path and no watched folder, owes a sidecar, and is still found as it was."""
    store.outbox.listen({"after": ["done"]})
    mark = store.views.mark()
    job = bring(store, add(), S.DONE)
    (letter,) = store.outbox.due_after()
    store.outbox.aim(letter, b"/done/a.mp4")
    (letter,) = store.outbox.due_after()
    assert letter.target == b"/done/a.mp4"
    stamp = FileStamp(10, 5, 6, 7, 8)
    assert store.outbox.put_away(letter, job, b"/done/a.mp4", stamp, "moved to /done/a.mp4")
    moved = fetch(store, job)
    assert (moved.path, moved.root, moved.stamp, moved.sidecar_due) == (
        b"/done/a.mp4", None, stamp, True,
    )  # fmt: skip
    assert store.views.history(moved)[-1].reason == "moved to /done/a.mp4"
    assert store.views.find("/v/a.mp4") == moved
    assert store.views.find("/done/a.mp4") == moved
    assert store.views.tally(mark, [b"/v"]).counts[S.DONE] == 1
    assert store.views.tally(mark, [b"/w"]).counts[S.DONE] == 0
    assert store.views.moved_since(mark, [b"/v"]) == [moved]
    assert store.views.moved_since(mark, None) == [moved]
    # The path that it was read with is no longer the one it has.
    assert not store.outbox.put_away(letter, job, b"/done/b.mp4", stamp, "moved")
    store.outbox.noted(moved, "the video was deleted")
    assert store.views.history(moved)[-1].reason == "the video was deleted"


def test_a_job_that_is_dropped_leaves_its_letters(store: Store, add: Add) -> None:
    """What has happened is told, whatever becomes of the job."""
    store.outbox.listen({"webhook": ["failed"]})
    job = add()
    assert store.jobs.fail(job, "broken")
    assert store.orders.forget(fetch(store, job))
    assert [one.path for one in letters(store)] == [b"/v/a.mp4"]


def test_reconciled_jobs_are_told_too(store: Store, add: Add) -> None:
    """Whatever led to the end: a queued job whose upload was found in the account's list."""
    store.outbox.listen({"webhook": ["done"]})
    job = add()
    assert arrive(store, job, "H9")
    store.tracking.complete(fetch(store, job), reason="converted", check_at=None)
    assert [one.hashid for one in letters(store)] == ["H9"]
