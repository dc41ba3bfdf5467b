"""Queue, worker and a service that lies, against one sentence: each content arrives once.

The worker is the real one, on a real queue and real files, and is stepped by hand. What is doubled
is the service, the clock, and death: a kill stops the queue at one commit or at one point of a
call, and nothing that runs afterwards (``finally`` and the like) can still write.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from api.fakes import FakeClock, FakeStop
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from structlog.testing import capture_logs

from megamax_sync.api.bandwidth import Bandwidth
from megamax_sync.api.client import MegamaxClient
from megamax_sync.api.models import RemoteFile, UploadedFile
from megamax_sync.api.multipart import MultipartFile
from megamax_sync.api.pace import Gate
from megamax_sync.api.retry import RetryPolicy
from megamax_sync.errors import ServiceFault, ServiceUnreachable
from megamax_sync.job import FileStamp, Job, JobState
from megamax_sync.store import Store
from megamax_sync.upload.adoption import Adoption, Listing
from megamax_sync.upload.ledger import Ledger
from megamax_sync.upload.lookup import Lookup
from megamax_sync.upload.worker import Uploader

#: Seconds between the first looks; the list is believed after nearly seven of them.
FIRST = 1.0
PATHS = ("a.mp4", "one/a.mp4", "two/A.mkv", 'b "q".mp4', "x\\y.mp4")
#: Where a call ends, and with what.
FATES = (
    "arrives",
    "arrives",
    "the answer is lost",
    "a proxy says 504",
    "reset in the middle",
    "reset, and nothing stored",
    "refused with 503",
    "killed before the URL",
    "killed after the URL",
    "killed in the middle",
    "killed when all is sent, nothing stored",
    "killed when all is stored",
    "killed with the answer in hand",
)


class Killed(BaseException):
    """kill -9."""


@dataclass
class Kept:
    """A file at the service; ``listed_at`` and ``made`` by the service's clock."""

    hashid: str
    name: str
    content: bytes
    folder: int | None
    made: float
    listed_at: float
    ours: bool = True


class Service:
    """The double: what it has, and what becomes of the next upload."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.kept: list[Kept] = []
        self.skew = 0.0
        self.says_date = True
        self.heeds_folders = True
        self.cuts_extensions = False
        self.fate = "arrives"
        self.late = 0.0

    def now(self) -> float:
        """Its own clock."""
        return self.clock.time + self.skew

    def keep(self, name: str, content: bytes, folder: int | None, late: float) -> Kept:
        """Store a file."""
        shown = name.replace('"', "%22").rsplit("\\", 1)[-1]
        if self.cuts_extensions:
            shown = shown.rpartition(".")[0]
        kept = Kept(f"H{len(self.kept)}", shown, content, folder, self.now(), self.now() + late)
        self.kept.append(kept)
        return kept


class Client:
    """What the worker needs of a client."""

    def __init__(self, service: Service, die: Callable[[], None]) -> None:
        self._service = service
        self._die = die
        self.server_clock_offset: float | None = None

    def wait_as(self, *_: object) -> None:
        """Nothing here waits."""

    def upload_url(self) -> str:
        """A URL, unless death comes first."""
        if self._service.fate == "killed before the URL":
            self._die()
        if self._service.says_date:
            self.server_clock_offset = self._service.skew
        if self._service.fate == "killed after the URL":
            self._die()
        return "https://upload.example/1"

    def upload(self, _url: str, body: MultipartFile, *, folder: int | None) -> UploadedFile:
        """Take a body as its fate has it."""
        fate = self._service.fate
        pieces = iter(body.encode({}))
        sent = next(pieces)
        if fate == "killed in the middle":
            self._die()
        if fate == "reset in the middle":
            raise ServiceUnreachable("reset")
        sent += b"".join(pieces)
        if fate == "killed when all is sent, nothing stored":
            self._die()
        if fate == "reset, and nothing stored":
            raise ServiceUnreachable("reset")
        if fate == "refused with 503":
            raise ServiceFault("HTTP 503", answered=True)
        content = sent.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]
        kept = self._service.keep(body.name, content, folder, self._service.late)
        if fate == "killed when all is stored":
            self._die()
        if fate == "the answer is lost":
            raise ServiceUnreachable("time-out")
        if fate == "a proxy says 504":
            raise ServiceFault("HTTP 504", answered=True)
        if fate == "killed with the answer in hand":
            self._die()
        return UploadedFile(hashid=kept.hashid, name=kept.name, size=len(content))

    def files(
        self, *, folder: int | None = None, keep: Callable[[RemoteFile], bool]
    ) -> list[RemoteFile]:
        """The list as it shows by now."""
        service = self._service
        files = [
            RemoteFile(
                hashid=one.hashid,
                name=one.name,
                size=len(one.content),
                status="converting",
                created_at=datetime.fromtimestamp(one.made, UTC),
            )
            for one in service.kept
            if one.listed_at <= service.now()
            and (folder is None or (service.heeds_folders and one.folder == folder))
        ]
        return [one for one in files if keep(one)]


class ExactlyOnce(RuleBasedStateMachine):
    """Files come and are replaced, the service does what it likes, and death comes anywhere."""

    def __init__(self) -> None:
        super().__init__()
        # No power is cut here, so nothing has to reach a disk.
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self._temporary = tempfile.TemporaryDirectory(dir=memory)
        self.folder = Path(self._temporary.name)
        self.clock = FakeClock()
        self.clock.time = 1_700_000_000.0
        self.service = Service(self.clock)
        self.contents = 0
        self.last: dict[str, bytes] = {}
        self.commits: int | None = None
        self.before_commit = False
        self._open()

    def teardown(self) -> None:
        try:
            self._come_to_an_end()
        finally:
            self.store.close()
            self._temporary.cleanup()

    @initialize(
        skew=st.sampled_from([0.0, -7200.0, 300.0]),
        date=st.booleans(),
        folders=st.booleans(),
        cuts=st.booleans(),
    )
    def be(self, skew: float, date: bool, folders: bool, cuts: bool) -> None:
        """What kind of service it is."""
        self.service.skew = skew
        # Without a Date nobody can know a clock that lags by hours.
        self.service.says_date = date or skew < 0
        self.service.heeds_folders = folders
        self.service.cuts_extensions = cuts

    # -- the program -------------------------------------------------------------------------

    def _open(self) -> None:
        """Start the program on what is there."""
        self.dead = False
        self.store = Store(str(self.folder / "queue.db"), self.clock)
        database = self.store.database
        database.read("PRAGMA synchronous = OFF")
        execute = database._run

        def run(sql: str, values: Any = ()) -> Any:
            if self.dead and sql != "ROLLBACK":
                raise Killed
            counted = sql == "COMMIT" and self.commits is not None
            if counted:
                self.commits = (self.commits or 0) - 1
            if counted and self.commits == 0 and self.before_commit:
                self._die()
            result = execute(sql, values)
            if counted and self.commits == 0:
                self._die()
            return result

        cast("Any", database)._run = run
        self.store.journal.rescue()
        self.store.jobs.rescue()
        stop = cast("Any", FakeStop(self.clock))
        policy = RetryPolicy(FIRST, 2 * FIRST)
        common: dict[str, Any] = {"on_error": self._unexpected, "on_fine": lambda _part: None}
        self.worker = Uploader(
            1,
            store=self.store,
            client=cast("MegamaxClient", Client(self.service, self._die)),
            api_gate=Gate(policy, self.clock),
            upload_gate=Gate(policy, self.clock),
            policy=policy,
            ledger=Ledger(
                self.store,
                self.clock,
                policy=policy,
                max_attempts=1000,
                first_lookup=FIRST,
                stop=stop,
                **common,
            ),
            lookup=Lookup(self.store, self.clock, first=FIRST),
            adoption=Adoption(self.store, self.clock, Listing(self.clock), first=FIRST),
            may_look_up=lambda: True,
            bandwidth=Bandwidth(lambda: None, self.clock),
            dedupe=False,
            preflight=lambda _job: None,
            owner="me",
            under=None,
            clock=self.clock,
            stop=stop,
            **common,
        )

    def _unexpected(self, part: str, error: BaseException) -> None:
        raise AssertionError(part) from error

    def _die(self) -> None:
        self.dead = True
        raise Killed

    def _step(self) -> float | None:
        """One step of the worker, or its death and the next start."""
        try:
            return self.worker.step()
        except Killed:
            self.commits = None
            self.store.database._connection.close()
            self._open()
            return 0.0

    # -- what happens ------------------------------------------------------------------------

    @rule(path=st.sampled_from(PATHS), size=st.sampled_from([40, 40, 50]), folder=st.booleans())
    def put(self, path: str, size: int, folder: bool) -> None:
        """A file is there, or another version of it, and the watch queues it."""
        self.contents += 1
        content = b"%d " % self.contents
        content += b"." * (size - len(content))
        target = self.folder / "drop" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.with_suffix(".new").write_bytes(content)
        os.replace(target.with_suffix(".new"), target)
        # Files are not made at the same moment of a clock that stands still.
        os.utime(target, ns=(self.contents, self.contents))
        self.last[path] = content
        latest = self.store.jobs.latest(os.fsencode(target))
        stamp = FileStamp.of(os.stat(target))
        if latest is None or latest.state is not JobState.QUEUED:
            self.store.jobs.add(
                os.fsencode(target),
                stamp,
                root=None,
                folder=7 if folder else None,
                ready=True,
                reason="found",
            )
        else:
            self.store.jobs.settle(latest, stamp)

    @rule(fate=st.sampled_from(FATES), late=st.sampled_from([0.0, 0.5, 4.0]))
    def work(self, fate: str, late: float) -> None:
        """The worker does its next thing, and an upload has this fate."""
        self.service.fate, self.service.late = fate, late
        self._settle()
        self._step()

    @rule(number=st.integers(1, 6), before=st.booleans(), stored=st.booleans())
    def work_until_a_commit(self, number: int, before: bool, stored: bool) -> None:
        """The worker dies at its n-th commit, before or after it."""
        self.service.fate = "arrives" if stored else "the answer is lost"
        self.service.late = 0.0
        self._settle()
        self.commits, self.before_commit = number, before
        self._step()
        self.commits = None

    @rule(seconds=st.sampled_from([0.5, 2.0, 8.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.time += seconds

    @rule(path=st.sampled_from(PATHS), size=st.sampled_from([40, 50]))
    def somebody_else_uploads(self, path: str, size: int) -> None:
        """A file of the same name and size was in the account before."""
        kept = self.service.keep(os.path.basename(path), b"?" * size, None, 0.0)
        kept.made -= 3600.0
        kept.ours = False

    def _settle(self) -> None:
        """The watch finds finished what a worker has handed back."""
        for job in self.store.jobs.unsettled():
            self.store.jobs.settle(job, FileStamp.of(os.stat(job.path)))

    # -- what has to hold --------------------------------------------------------------------

    @invariant()
    def nothing_arrives_twice(self) -> None:
        """Each content is at the service at most once."""
        copies = Counter(one.content for one in self.service.kept if one.ours)
        assert not copies or max(copies.values()) == 1

    @invariant()
    def nobody_has_what_is_not_his(self) -> None:
        """A job's hashid is that of a content of its own path, and of no other job."""
        jobs = [job for job in self.store.views.jobs() if job.hashid is not None]
        assert len({job.hashid for job in jobs}) == len(jobs)
        for job in jobs:
            kept = self._kept(job)
            assert kept.ours
            assert len(kept.content) == job.stamp.size

    def _kept(self, job: Job) -> Kept:
        return next(one for one in self.service.kept if one.hashid == job.hashid)

    def _come_to_an_end(self) -> None:
        """The service is well, nobody dies: everything that lies there has arrived."""
        self.service.fate, self.service.late = "arrives", 0.0
        for _ in range(400):
            self._settle()
            wait = self._step()
            if wait is None and not self.store.jobs.unsettled():
                break
            self.clock.time += wait or 0.0
        self.nothing_arrives_twice()
        self.nobody_has_what_is_not_his()
        for path, content in self.last.items():
            job = self.store.jobs.latest(os.fsencode(self.folder / "drop" / path))
            assert job is not None
            assert job.state is JobState.PROCESSING, (job, content)
            assert self._kept(job).content == content


@pytest.mark.timeout(240)
def test_each_content_arrives_exactly_once() -> None:
    """Whatever the service does and whenever death comes, within the patience of a late list."""
    limits = settings(max_examples=50, stateful_step_count=25, deadline=None)
    with capture_logs():
        run_state_machine_as_test(ExactlyOnce, settings=limits)
