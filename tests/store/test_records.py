"""The journal, the tracking, the settings, and what people ask."""

from __future__ import annotations

import os

import pytest

from megamax_sync.job import FileStamp, JobState
from megamax_sync.store import Store

from .conftest import Add, TurnedClock, fetch
from .test_moves import arrive, bring

S = JobState


def test_the_journal_writes_down_each_step(store: Store, add: Add, clock: TurnedClock) -> None:
    """An attempt is begun, being sent, sent, and ends; each with its facts."""
    job = add()
    attempt = store.journal.begin(job)
    store.journal.sending(attempt, 77.0)
    store.journal.sent(attempt)
    (row,) = store.journal.unknown_of(job)
    assert (row.step, row.service_time, row.size, row.match_key, row.folder) == (
        "sent",
        77.0,
        10,
        "a",
        7,
    )
    assert row.sent_version(job.stamp)
    assert not row.sent_version(FileStamp(11, 1, 2, 3, 4))
    store.journal.unknown(attempt, "time-out", "xxh3-128:00")
    store.journal.not_listed(attempt)
    (row,) = store.journal.unknown_of(job)
    assert (row.unknown_at, row.error, row.fingerprint, row.lookups) == (
        clock.time,
        "time-out",
        "xxh3-128:00",
        1,
    )
    store.journal.arrived(attempt, "H1")
    assert store.journal.unknown_of(job) == []
    (row,) = store.views.attempts(job)
    assert (row.outcome, row.hashid, row.ended_at) == ("arrived", "H1", clock.time)


def test_who_may_have_made_a_file_of_this_size(store: Store, add: Add) -> None:
    """Attempts without an outcome, and other jobs' that the list never showed; no others."""
    mine, other, third = add(b"/v/a.mp4"), add(b"/v/b.mp4"), add(b"/v/c.mp4")
    store.journal.begin(mine)
    (attempt,) = store.journal.unknown_of(mine)
    assert store.journal.rivals(attempt) == 0
    open_one = store.journal.begin(other)
    assert store.journal.rivals(attempt) == 1
    store.journal.failed(open_one, "reset in the middle")
    assert store.journal.rivals(attempt) == 0
    for job in (mine, third):
        late = store.journal.begin(job)
        store.journal.not_listed(late)
        store.journal.failed(late, "not listed")
    assert store.journal.rivals(attempt) == 1


def test_attempts_are_known_by_what_they_arrived_as(store: Store, add: Add) -> None:
    """By hashid, and when; a discarded one, or one of another origin, is not among them."""
    job = add()
    attempt, discarded = store.journal.begin(job), store.journal.begin(job)
    store.journal.arrived(attempt, "H1")
    store.journal.discarded(discarded, "H2", "changed")
    found = store.journal.arrived_as(["H1", "H2", "H3"])
    assert {hashid: one.id for hashid, one in found.items()} == {"H1": attempt}
    assert store.journal.arrived_at("H1") == found["H1"].ended_at
    assert store.journal.arrived_at("H2") is None
    assert store.journal.arrived_as([]) == {}


def test_rescue_knows_what_cannot_have_arrived(store: Store, add: Add, clock: TurnedClock) -> None:
    """What was only begun has failed; what was being sent, or sent, is unknown since now."""
    job = add()
    begun, sending, sent, known = (store.journal.begin(job) for _ in range(4))
    store.journal.sending(sending, 1.0)
    store.journal.sending(sent, 1.0)
    store.journal.sent(sent)
    store.journal.sending(known, 1.0)
    store.journal.unknown(known, "time-out", None)
    clock.time += 50
    store.journal.rescue()
    rows = {row.id: row for row in store.views.attempts(job)}
    assert rows[begun].outcome == "failed"
    assert [row.id for row in store.journal.unknown_of(job)] == [sending, sent, known]
    assert rows[sending].unknown_at == rows[sent].unknown_at == clock.time
    assert (rows[known].unknown_at, rows[known].error) == (clock.time - 50, "time-out")


def test_owned_hashids_are_those_of_jobs_and_of_attempts(store: Store, add: Add) -> None:
    """Also of a dropped job, of an orphan, and among more than one query takes."""
    job = bring(store, add(), S.PROCESSING)
    orphan = store.journal.begin(job)
    store.journal.discarded(orphan, "H2", "changed")
    nameless = store.journal.begin(job)
    store.journal.discarded(nameless, None, "changed")
    many = [f"X{number}" for number in range(1200)]
    assert store.journal.owned([*many, "H1", "H2"]) == {"H1", "H2"}
    assert store.journal.owned([]) == set()
    store.orders.forget(job)
    assert store.journal.owned(["H1", "H2"]) == {"H2"}
    assert [one.id for one in store.journal.orphans()] == [orphan]


def test_what_is_due_is_looked_at_longest_due_first(
    store: Store, add: Add, clock: TurnedClock
) -> None:
    """Within the states and places asked for, and as far ahead as asked for."""
    assert store.tracking.next_check(states=[S.PROCESSING], under=None) is None
    jobs = [
        bring(store, add(name, size=n), S.PROCESSING) for n, name in enumerate((b"/v/a", b"/w/b"))
    ]
    store.tracking.track(jobs[0], check_at=clock.time + 10)
    store.tracking.track(jobs[1], check_at=clock.time + 5)
    due = [one.id for one in store.tracking.to_check(10, states=[S.PROCESSING], under=None, most=9)]
    assert due == [jobs[1].id, jobs[0].id]
    assert store.tracking.to_check(4, states=[S.PROCESSING], under=None, most=9) == []
    assert store.tracking.to_check(99, states=[S.DONE], under=None, most=9) == []
    assert store.tracking.next_check(states=[S.PROCESSING], under=None) == clock.time + 5
    assert store.tracking.next_check(states=[S.PROCESSING], under=[b"/v"]) == clock.time + 10
    assert store.tracking.complete(fetch(store, jobs[0]), reason="converted", check_at=None)
    assert store.tracking.next_check(states=[S.DONE], under=None) is None


def test_what_is_learnt_goes_to_the_same_upload_only(
    store: Store, add: Add, clock: TurnedClock
) -> None:
    """News of a hashid that the job no longer has is dropped; others may not move its change."""
    job = bring(store, add(), S.PROCESSING)
    clock.time += 9
    assert store.tracking.track(job, checks=3)
    assert fetch(store, job).updated_at == clock.time - 9
    assert store.tracking.track(job, remote_status="converting", sidecar_due=1)
    assert fetch(store, job).updated_at == clock.time
    store.jobs.fail(fetch(store, job), "conversion", remote_status="failed")
    store.orders.retry(fetch(store, job))
    assert not store.tracking.track(job, remote_status="converted")


def test_a_sidecar_is_owed_until_what_it_says_is_written(
    store: Store, add: Add, clock: TurnedClock
) -> None:
    """A change while it was being written keeps the debt."""
    job = bring(store, add(), S.PROCESSING)
    assert store.tracking.to_write() == [job]
    clock.time += 1
    store.tracking.track(job, remote_status="converting", sidecar_due=1)
    store.tracking.sidecar_written(job, b"/v/s")
    assert fetch(store, job).sidecar_due
    store.tracking.sidecar_written(fetch(store, job), b"/v/s")
    assert store.tracking.to_write() == []
    store.tracking.sidecar_written(fetch(store, job), None)
    assert fetch(store, job).sidecar == b"/v/s"


def test_the_newest_upload_of_a_path_writes_its_sidecar(store: Store, add: Add) -> None:
    """A newer job counts from its hashid on."""
    old = bring(store, add(), S.PROCESSING)
    assert store.tracking.writes_sidecar(old)
    new = add()
    assert store.tracking.writes_sidecar(old)
    claimed = store.jobs.claim("me")
    assert claimed is not None
    assert arrive(store, claimed, "H2")
    assert not store.tracking.writes_sidecar(old)
    assert store.tracking.writes_sidecar(fetch(store, new))


def test_settings_stay_until_they_are_taken_away(store: Store) -> None:
    """Also what is paused."""
    assert store.settings.get("a") is None
    store.settings.put("a", "1")
    store.settings.put("a", "2")
    assert store.settings.get("a") == "2"
    store.settings.put("a", None)
    assert store.settings.get("a") is None
    assert not store.settings.paused
    store.settings.paused = True
    assert store.settings.paused
    store.settings.paused = False
    assert not store.settings.paused


def test_a_job_is_found_by_path_hashid_and_id(
    store: Store, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this order; a path may be relative, and anything may be no name at all."""
    job = bring(store, add(b"/v/a.mp4"), S.PROCESSING)
    numbered = add(os.path.join(os.getcwdb(), b"1"))
    for name in ("/v/a.mp4", "/v/../v/a.mp4", "H1"):
        assert store.views.find(name) == job
    assert store.views.find("1") == numbered
    assert store.views.find(str(numbered.id)) == numbered
    for name in ("/v/none", "H2", "99", "9" * 40, "²", "", os.fsdecode(b"\xff")):
        assert store.views.find(name) is None
    monkeypatch.setenv("HOME", "/v")
    assert store.views.find("~/a.mp4") == job


def test_lists_come_newest_change_first(store: Store, add: Add, clock: TurnedClock) -> None:
    """Limited and filtered as asked for."""
    jobs = []
    for number in range(3):
        clock.time += 1
        jobs.append(add(b"/v/%d" % number, size=number + 1))
    clock.time += 1
    store.jobs.skip(jobs[0], "vanished")
    assert [job.id for job in store.views.jobs()] == [1, 3, 2]
    assert [job.id for job in store.views.jobs(limit=2)] == [1, 3]
    assert [job.id for job in store.views.jobs(state=S.QUEUED)] == [3, 2]
    assert store.views.bytes_in(S.QUEUED) == 5
    assert store.views.bytes_in(S.QUEUED, [b"/v/1"]) == 2
    assert store.views.bytes_in(S.DONE) == 0
    assert store.views.counts() == {**dict.fromkeys(S, 0), S.QUEUED: 2, S.SKIPPED: 1}
    assert [job.id for job in store.views.in_states([S.QUEUED], None)] == [2, 3]


def test_a_mark_tells_what_has_moved_since(store: Store, add: Add) -> None:
    """The tally holds what is unfinished, and what was finished after the mark, no more."""
    assert store.views.mark() == 0
    bring(store, add(b"/v/old", size=1), S.DONE)
    add(b"/v/waits", size=2, ready=False)
    mark = store.views.mark()
    failed = bring(store, add(b"/v/new", size=4), S.FAILED)
    add(b"/w/else", size=8)
    tally = store.views.tally(mark, [b"/v"])
    assert tally.counts == {**dict.fromkeys(S, 0), S.QUEUED: 1, S.FAILED: 1}
    assert (tally.sizes[S.QUEUED], tally.sizes[S.FAILED], tally.unsettled) == (2, 4, 1)
    assert store.views.tally(mark, None).counts[S.QUEUED] == 2
    assert [job.id for job in store.views.moved_since(mark, [b"/v"])] == [failed.id]
    assert store.views.moved_since(store.views.mark(), None) == []


def test_only_the_newest_failure_of_a_path_counts(store: Store, add: Add) -> None:
    """A file that was replaced after it failed is judged by its new version."""
    bring(store, add(), S.FAILED)
    assert len(store.views.failed_now([b"/v"])) == 1
    assert store.views.failed_now([b"/w"]) == []
    add()
    assert store.views.failed_now(None) == []
