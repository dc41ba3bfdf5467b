"""The queue against a simple model: whatever order things come in, both say the same."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from megamax_sync.job import FileStamp, JobState, match_key
from megamax_sync.store import Store

from .conftest import TurnedClock, fetch
from .test_moves import arrive

S = JobState
NAMES = st.sampled_from([b"/v/a.mp4", b"/w/A.mkv", b"/v/\xff.mp4", b"/v/b\n.mp4"])


@dataclass
class Expected:
    """What the model believes of one job."""

    name: bytes
    size: int
    state: JobState = S.QUEUED
    ready: bool = True
    #: Its attempt without an outcome, if there is one.
    attempt: int | None = None
    steps: list[JobState] = field(default_factory=lambda: [S.QUEUED])

    def go(self, state: JobState) -> None:
        """Move."""
        self.state = state
        self.steps.append(state)


class QueueMachine(RuleBasedStateMachine):
    """Enqueue, settle, claim, release, arrive, fail, retry, forget."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(f"{self.folder.name}/queue.db", TurnedClock())
        self.model: dict[int, Expected] = {}
        self.hashids = 0
        #: What could be claimed after the last rule, and how often those who send were woken by it.
        self.claimable: set[int] = set()
        self.woken = 0

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    def is_twin_open(self, number: int) -> bool:
        """Whether another job's open attempt could be taken for this one's."""
        me = self.model[number]
        return any(
            other.attempt is not None and (other.size, key(other)) == (me.size, key(me))
            for at, other in self.model.items()
            if at != number
        )

    def could_be_claimed(self) -> set[int]:
        """The jobs that a claim would choose from."""
        return {
            number
            for number, one in self.model.items()
            if one.state is S.QUEUED and one.ready and not self.is_twin_open(number)
        }

    @invariant()
    def who_sends_is_woken(self) -> None:
        """Whenever there is more to send than before: nobody else tells a worker that waits."""
        now, woken = self.could_be_claimed(), self.store.database.work_to_send.version
        assert woken > self.woken or now <= self.claimable
        self.claimable, self.woken = now, woken

    @rule(target=jobs, name=NAMES, size=st.integers(1, 2), ready=st.booleans())
    def enqueue(self, name: bytes, size: int, ready: bool) -> int:
        stamp = FileStamp(size, 1, 1, 1, 1)
        number = self.store.jobs.add(
            name, stamp, root=None, folder=None, ready=ready, reason="found"
        )
        assert number not in self.model
        self.model[number] = Expected(name, size, ready=ready)
        return number

    @rule(number=jobs)
    def settle(self, number: int) -> None:
        job = self.store.jobs.get(number)
        if job is not None:
            queued = self.model[number].state is S.QUEUED
            assert self.store.jobs.settle(job, job.stamp) == queued
            self.model[number].ready |= queued

    @rule()
    def claim(self) -> None:
        may = sorted(self.could_be_claimed())
        with self.store.transaction():
            job = self.store.jobs.claim("me")
            assert (job and job.id) == (may[0] if may else None)
            if job is not None and self.model[job.id].attempt is None:
                self.model[job.id].attempt = self.store.journal.begin(job)
        if job is not None:
            self.model[job.id].go(S.UPLOADING)

    @rule(number=jobs, lost=st.booleans())
    def release(self, number: int, lost: bool) -> None:
        job, one = self.store.jobs.get(number), self.model.get(number)
        if job is None or one is None or one.state is not S.UPLOADING:
            return
        assert one.attempt is not None
        if lost:
            self.store.journal.unknown(one.attempt, "lost", None)
        else:
            self.store.journal.failed(one.attempt, "reset")
            one.attempt = None
        assert self.store.jobs.release(job, "again")
        one.go(S.QUEUED)

    @rule(number=jobs)
    def arrive(self, number: int) -> None:
        job, one = self.store.jobs.get(number), self.model.get(number)
        if job is None or one is None or one.state is not S.UPLOADING:
            return
        self.hashids += 1
        assert one.attempt is not None
        self.store.journal.arrived(one.attempt, f"H{self.hashids}")
        one.attempt = None
        assert arrive(self.store, job, f"H{self.hashids}")
        one.go(S.PROCESSING)

    @rule(number=jobs)
    def complete(self, number: int) -> None:
        job, one = self.store.jobs.get(number), self.model.get(number)
        if job is not None and one is not None:
            may = one.state is S.PROCESSING
            assert self.store.tracking.complete(job, reason="converted", check_at=None) == may
            if may:
                one.go(S.DONE)

    @rule(number=jobs, remote=st.sampled_from(["failed", "odd"]))
    def fail(self, number: int, remote: str) -> None:
        job, one = self.store.jobs.get(number), self.model.get(number)
        if job is not None and one is not None and one.state in {S.QUEUED, S.PROCESSING}:
            assert self.store.jobs.fail(job, "broken", remote_status=remote)
            one.go(S.FAILED)

    @rule(number=jobs)
    def retry(self, number: int) -> None:
        job, one = self.store.jobs.get(number), self.model.get(number)
        if job is None or one is None:
            return
        outdated = any(n > number and other.name == one.name for n, other in self.model.items())
        failed = one.state is S.FAILED and not outdated
        assert self.store.orders.retry(job) == failed
        if failed:
            held = job.hashid is not None and job.remote_status == "odd"
            one.go(S.PROCESSING if held else S.QUEUED)
            one.ready = one.ready if held else False

    @rule(number=jobs)
    def forget(self, number: int) -> None:
        job = self.store.jobs.get(number)
        if job is not None:
            assert self.store.orders.forget(job)
            del self.model[number]

    @rule()
    def die(self) -> None:
        self.store.journal.rescue()
        rescued = {job.id for job in self.store.jobs.rescue()}
        assert rescued == {n for n, one in self.model.items() if one.state is S.UPLOADING}
        for number, one in self.model.items():
            (job,) = [fetch(self.store, number)]
            if number in rescued:
                one.go(S.QUEUED)
                one.ready = True
            attempts = self.store.journal.unknown_of(job)
            one.attempt = attempts[0].id if attempts else None

    @invariant()
    def both_say_the_same(self) -> None:
        listed = {job.id: job for job in self.store.views.jobs()}
        assert {n: (job.state, job.ready, job.path) for n, job in listed.items()} == {
            n: (one.state, one.ready, one.name) for n, one in self.model.items()
        }
        for number, one in self.model.items():
            assert [s.state for s in self.store.views.history(listed[number])] == one.steps
        opened = [(one.size, key(one)) for one in self.model.values() if one.attempt is not None]
        assert len(opened) == len(set(opened))


def key(one: Expected) -> str:
    """How a list would name the file."""
    return match_key(one.name.rpartition(b"/")[2])


def test_the_queue_says_what_the_model_says() -> None:
    """Enqueue, settle, claim, release, arrive, fail, retry, forget and die, in any order."""
    limits = settings(max_examples=40, stateful_step_count=30, deadline=None)
    run_state_machine_as_test(QueueMachine, settings=limits)
