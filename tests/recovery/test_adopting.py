"""Files that the account has already: taken for uploaded, where nothing else can be meant."""

from __future__ import annotations

import os
import threading
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from api.fakes import FakeClock
from structlog.testing import capture_logs
from upload.pipeline import Rig, rig, wait_for

from megamax_sync.api.client import MegamaxClient
from megamax_sync.api.models import RemoteFile
from megamax_sync.clock import Clock
from megamax_sync.errors import FileChanged, FileVanished, ServiceRefusal, ServiceUnreachable
from megamax_sync.fingerprint import Content
from megamax_sync.job import FileStamp, Job, JobState
from megamax_sync.sandbox import Fault
from megamax_sync.store import Store, Tie
from megamax_sync.upload.adoption import Adoption, Listing
from megamax_sync.upload.lookup import Lookup
from megamax_sync.upload.reconcile import Listed


def by_hand(made: Rig, name: str, data: bytes, **more: object) -> str:
    """Upload a file as a person does; return its hashid."""
    return made.sandbox.add_file(name, data, **more).hashid  # type: ignore[arg-type]  # passed on as they came; the callee checks them


def test_what_was_uploaded_by_hand_is_adopted(tmp_path: Path) -> None:
    """Tracked, with links and a sidecar like any other; what is not there is sent. One list."""
    with rig(tmp_path) as made:
        names = [f"Movie {number}.mp4" for number in range(20)]
        hashids = {
            # As services name them: without their extensions, some in a folder.
            name: by_hand(made, name[:-4], made.put(name, size=900 + number), folder=number % 2 * 7)
            for number, name in enumerate(names)
        }
        new = made.put("new.mp4")
        failed = made.put("failed.mp4", size=3000)
        by_hand(made, "failed.mp4", failed, status="failed")
        made.start(ADOPT="true", FOLDER="7")
        made.wait_done(*names, "new.mp4", "failed.mp4")
        assert {name: made.the_job(name).hashid for name in names} == hashids
        assert made.calls("upload") == 2
        assert len(made.remote(new)) == 1
        assert (made.sidecar(names[0]) or {})["mirrors"]
        assert made.the_job(names[0]).fingerprint is not None
        said = made.said("upload.reconciled")
        assert {one["hashid"] for one in said} == set(hashids.values())
        assert all(one["adopted"] for one in said)
        # The tracker asks for a few lists, too.
        assert made.calls("files") <= 12


def test_a_stop_does_not_wait_for_a_file_to_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is adopted is read for its fingerprint: of 60 GB that would take minutes."""
    reading, go_on = threading.Event(), threading.Event()
    pread, read = os.pread, list[int]()

    def slow(fd: int, size: int, offset: int) -> bytes:
        read.append(offset)
        if reading.is_set():
            go_on.wait(20)
        reading.set()
        return pread(fd, size, offset)

    with rig(tmp_path) as made:
        by_hand(made, "a.mp4", made.put("a.mp4", size=30 << 20))
        monkeypatch.setattr("megamax_sync.fingerprint.os.pread", slow)
        made.start(ADOPT="true")
        wait_for(reading.is_set)
        daemon = made.daemon

        def release() -> None:
            daemon.stopping.wait(20)
            go_on.set()

        releaser = threading.Thread(target=release)
        releaser.start()
        assert made.stop(budget=20.0)
        releaser.join()
        assert len(read) < 10
        monkeypatch.undo()
        made.start(ADOPT="true")
        made.wait_done("a.mp4")
        assert made.calls("upload") == 0


def test_without_the_setting_nobody_asks(tmp_path: Path) -> None:
    """A new file is sent, whatever the account has: it may be another video."""
    with rig(tmp_path) as made:
        by_hand(made, "a.mp4", made.put("a.mp4"))
        made.start()
        made.wait_done("a.mp4")
        assert made.calls("upload") == 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_two_videos_of_one_name_and_size_are_both_sent(tmp_path: Path, workers: str) -> None:
    """One of them is in the account, and nobody can tell which: no sidecar names a wrong one.

    Not even once the other has been sent, and is no twin to choose from any more.
    """
    with rig(tmp_path) as made:
        first, second = made.put("one/ep 1.mp4"), made.put("two/ep 1.mp4")
        by_hand(made, "ep 1.mp4", first)
        made.start(ADOPT="true", WORKERS=workers)
        made.wait_done("one/ep 1.mp4", "two/ep 1.mp4")
        assert made.calls("upload") == 2
        assert (len(made.remote(first)), len(made.remote(second))) == (2, 1)
        assert made.said("upload.ambiguous")


def test_files_of_one_content_may_share_it(tmp_path: Path) -> None:
    """Whichever is meant, it is right."""
    with rig(tmp_path) as made:
        data = made.put("one/ep 1.mp4")
        made.put("two/ep 1.mp4", data)
        hashid = by_hand(made, "ep 1.mp4", data)
        made.start(ADOPT="true", DEDUPE="false")
        wait_for(lambda: made.said("upload.reconciled"))
        assert made.said("upload.reconciled")[0]["hashid"] == hashid
        made.wait_done("one/ep 1.mp4", "two/ep 1.mp4")
        assert made.calls("upload") == 1


def test_a_service_in_trouble_is_waited_for(tmp_path: Path) -> None:
    """No list is no proof: nothing is sent until there is one."""
    with rig(tmp_path) as made:
        hashid = by_hand(made, "a.mp4", made.put("a.mp4"))
        made.faults.add("files", Fault.status(503), (1, 2, 3, 4, 5))
        made.start(ADOPT="true")
        made.wait_done("a.mp4")
        assert made.the_job("a.mp4").hashid == hashid
        assert made.calls("upload") == 0
        assert made.said("service.paused")


def test_after_a_loss_a_list_that_is_late_is_asked_again(tmp_path: Path) -> None:
    """What was on its way when the queue was lost is not sent a second time."""
    with rig(tmp_path) as made:
        made.start()
        wait_for(lambda: made.daemon.store.settings.born is not None)
        assert made.stop()
        (tmp_path / "state/queue.db").unlink()
        made.faults.add("files", Fault.hide_new(3600.0), (1, 2))
        hashid = by_hand(made, "a.mp4", made.put("a.mp4"))
        made.start(RETRY_SECONDS="0.3")
        made.wait_done("a.mp4")
        assert made.the_job("a.mp4").hashid == hashid
        assert made.calls("upload") == 0
        # Who puts an old file back later has it looked up, too; a new one is nobody's business.
        lists = made.calls("files")
        wait_for(lambda: made.said("queue.rebuilt"))
        made.put("new.mp4", size=2100)
        made.wait_done("new.mp4")
        assert made.calls("files") == lists


#: Before all that is listed here.
OLD = datetime(2019, 1, 1, tzinfo=UTC).timestamp()


class Account(MegamaxClient):
    """Answers with lists that a test gives."""

    def __init__(
        self, lists: dict[int | None, list[RemoteFile] | Exception], ahead: float | None = 0.0
    ) -> None:
        self.server_clock_offset = ahead
        self.lists = lists
        self.asked: list[int | None] = []

    def files(
        self,
        *,
        folder: int | None = None,
        status: str | None = None,
        keep: Callable[[RemoteFile], bool] = lambda _file: True,
    ) -> list[RemoteFile]:
        self.asked.append(folder)
        answer = self.lists[folder]
        if isinstance(answer, Exception):
            raise answer
        return [one for one in answer if keep(one)]


def remote(hashid: str, year: int = 2020, **more: object) -> RemoteFile:
    """A listed file of ten bytes."""
    made = datetime(year, 1, 1, tzinfo=UTC)
    values = {"name": "a", "size": 10, "status": "converted", "created_at": made, **more}
    return RemoteFile.model_validate({"hashid": hashid, **values})


@pytest.fixture
def job(tmp_path: Path) -> tuple[Store, Job]:
    """A queue with one file of ten bytes, claimed, in folder 7."""
    path = tmp_path / "a.mp4"
    path.write_bytes(b"0123456789")
    os.utime(path, (OLD, OLD))
    store = Store(str(tmp_path / "queue.db"), Clock())
    stamp = FileStamp.of(path.lstat())
    store.jobs.add(os.fsencode(path), stamp, root=None, folder=7, ready=True, reason="found")
    store.jobs.to_look_up(every=True)
    claimed = store.jobs.claim("me")
    assert claimed is not None
    assert claimed.lookup
    return store, claimed


def settle(given: tuple[Store, Job], account: Account) -> float | None:
    """Look the job up."""
    store, claimed = given
    adoption = Adoption(store, Clock(), Listing(Clock()), first=1.0)
    try:
        return adoption.settle(account, claimed, lambda: None)
    finally:
        found = store.jobs.get(claimed.id)
        store.close()
        assert found is not None
        account.taken = found.hashid  # type: ignore[attr-defined]  # an attribute of the tests' own, which `settle` sets for them


@pytest.mark.parametrize(
    ("listed", "taken"),
    [
        ([remote("young", 2022), remote("old", 2021)], "old"),
        ([remote("old", 2021), remote("here", 2022, folder=7)], "here"),
        ([remote("old", 2021, status="onqueue"), remote("ready", 2022)], "ready"),
        ([remote("other", name="b"), remote("larger", size=11), remote("none", size=None)], None),
        ([remote("failed", status="failed")], None),
        ([remote("dateless", created_at=None)], "dateless"),
    ],
)
def test_of_several_the_best_is_taken(
    job: tuple[Store, Job], listed: Sequence[RemoteFile], taken: str | None
) -> None:
    """In the job's folder, converted, the oldest; never another name or size, or a failed one."""
    account = Account({None: list(listed), 7: []})
    assert settle(job, account) == (None if taken else 0.0)
    assert account.taken == taken  # type: ignore[attr-defined]  # an attribute of the tests' own, which `settle` sets


def test_the_list_of_the_folder_is_asked_too(job: tuple[Store, Job]) -> None:
    """A list without a folder need not show what lies in folders."""
    account = Account({None: [], 7: [remote("in the folder")]})
    assert settle(job, account) is None
    assert account.taken == "in the folder"  # type: ignore[attr-defined]  # an attribute of the tests' own, which `settle` sets
    assert account.asked == [None, 7]


def test_a_folder_that_is_no_more_says_nothing(job: tuple[Store, Job]) -> None:
    """The file is sent then."""
    account = Account({None: [], 7: ServiceRefusal("no such folder", answered=True)})
    assert settle(job, account) == 0.0


#: Moments of a service that says the second, and of one that only says the day.
EXACT, DAY = datetime(2020, 1, 1, 1, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("made", "seconds", "ahead", "taken"),
    [
        (EXACT, 1.0, 0.0, True),
        (EXACT, 10.0, 0.0, False),
        # The file is old by the service's clock, or just as young.
        (EXACT, 10.0, -60.0, True),
        (EXACT, -10.0, 60.0, False),
        # Nobody knows what the service's clock says.
        (EXACT, -600.0, None, False),
        (EXACT, -1000.0, None, True),
        (DAY, 86000.0, 0.0, True),
        (DAY, 90000.0, 0.0, False),
    ],
)
def test_what_is_older_than_the_file_is_another_version(
    job: tuple[Store, Job], made: datetime, seconds: float, ahead: float | None, taken: bool
) -> None:
    """Made before the file was written last: to send it once too often is better than never."""
    store, claimed = job
    listed = remote("listed", created_at=made)
    mtime_ns = int((made.timestamp() + seconds) * 1e9)
    os.utime(claimed.path, ns=(mtime_ns, mtime_ns))
    now = replace(claimed, stamp=FileStamp.of(os.lstat(claimed.path)))
    account = Account({None: [listed], 7: []}, ahead)
    with capture_logs() as events:
        assert settle((store, now), account) == (None if taken else 0.0)
    assert account.taken == ("listed" if taken else None)  # type: ignore[attr-defined]  # an attribute of the tests' own, which `settle` sets
    assert [one["reason"] for one in events if one["event"] == "upload.ambiguous"] == (
        [] if taken else ["it is older than the file"]
    )


def test_what_is_no_older_is_taken_first(job: tuple[Store, Job]) -> None:
    """Whatever else speaks for the older one."""
    store, claimed = job
    mtime = datetime(2021, 6, 1, tzinfo=UTC).timestamp()
    os.utime(claimed.path, (mtime, mtime))
    now = replace(claimed, stamp=FileStamp.of(os.lstat(claimed.path)))
    account = Account({None: [remote("old", 2021, folder=7), remote("young", 2022)], 7: []})
    assert settle((store, now), account) is None
    assert account.taken == "young"  # type: ignore[attr-defined]  # an attribute of the tests' own, which `settle` sets


def test_twins_of_what_looks_older_are_sent_with_it(job: tuple[Store, Job]) -> None:
    """It may only have been touched: then the listed one is it, and not the other."""
    store, claimed = job
    twin = claimed.path.replace(b"a.mp4", b"sub/a.mp4")
    store.jobs.add(twin, claimed.stamp, root=None, folder=7, ready=True, reason="found")
    store.jobs.to_look_up(every=True)
    now = replace(claimed, stamp=claimed.stamp._replace(mtime_ns=time.time_ns()))
    adoption = Adoption(store, Clock(), Listing(Clock()), first=1.0)
    assert adoption.settle(Account({None: [remote("H")], 7: []}), now, lambda: None) == 0.0
    assert store.jobs.rests_of_lookups() == 0
    store.close()


@pytest.mark.parametrize("same", [True, False])
def test_what_a_sidecar_ties_to_a_content_is_for_that_content(
    job: tuple[Store, Job], same: bool
) -> None:
    """Whatever its name and size are."""
    store, claimed = job
    mark = Content(claimed.path, lambda: None)() if same else "xxh3-128:" + "0" * 32
    assert mark is not None
    store.ties.note([Tie("tied", mark, 10, b"/s.megamax.json")])
    account = Account({None: [remote("tied"), remote("free", 2021)], 7: []})
    assert settle(job, account) is None
    assert account.taken == ("tied" if same else "free")  # type: ignore[attr-defined]  # an attribute of the tests' own, which `settle` sets


@pytest.mark.parametrize("same", [True, False])
def test_a_lost_upload_is_not_what_a_sidecar_ties_to_another_content(
    job: tuple[Store, Job], same: bool
) -> None:
    """An earlier copy of the queue may know an attempt of before that sidecar was written."""
    store, claimed = job
    store.journal.sending(store.journal.begin(claimed), 0.0)
    mark = Content(claimed.path, lambda: None)() if same else "xxh3-128:" + "0" * 32
    assert mark is not None
    store.ties.note([Tie("H", mark, 10, b"/s.megamax.json")])
    lookup = Lookup(store, Clock(), first=1.0)
    unknown = store.journal.unknown_of(claimed)
    wait = lookup.settle(Account({None: [remote("H")], 7: []}), claimed, unknown, lambda: None)
    taken = store.jobs.get(claimed.id)
    orphans = store.journal.orphans()
    store.close()
    assert taken is not None
    assert (wait is None, taken.hashid, orphans) == (same, "H" if same else None, [])


@pytest.mark.parametrize("error", [ServiceRefusal("no"), ServiceUnreachable("gone")])
def test_without_a_list_nothing_is_decided(job: tuple[Store, Job], error: Exception) -> None:
    """The trouble is the caller's."""
    with pytest.raises(type(error)):
        settle(job, Account({None: error, 7: []}))


def test_a_hashid_that_a_job_owns_is_not_taken(job: tuple[Store, Job]) -> None:
    """Another job's upload stays that one's, also when that came while the file was read."""
    store, claimed = job
    store.journal.arrived(store.journal.begin(claimed), "theirs")
    account = Account({None: [remote("theirs"), remote("free", 2023)], 7: []})
    assert settle(job, account) is None
    assert account.taken == "free"  # type: ignore[attr-defined]  # an attribute of the tests' own, which `settle` sets


def test_a_file_that_is_not_the_one_queued_is_given_back(job: tuple[Store, Job]) -> None:
    """Changed, or gone, between the look at it and this."""
    account = Account({None: [remote("old")], 7: []})
    path = Path(os.fsdecode(job[1].path))
    path.write_bytes(b"9876543210!")
    with pytest.raises(FileChanged):
        settle(job, account)


def test_a_file_that_is_gone_is_given_back(job: tuple[Store, Job]) -> None:
    """The watch finds out what became of it."""
    Path(os.fsdecode(job[1].path)).unlink()
    with pytest.raises(FileVanished):
        settle(job, Account({None: [remote("old")], 7: []}))


def test_a_list_serves_for_a_burst(tmp_path: Path) -> None:
    """Two at once cause one call; one that has to be newer causes another."""
    account = Account({None: [remote("old")]})
    clock = Clock()
    listing = Listing(clock)

    def ask(since: float = 0.0) -> Sequence[Listed]:
        return listing.of_size(account, None, 10, since=since, beat=lambda: None)[0]

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(account.asked) == 1
    assert [one.hashid for one in ask(clock.now())] == ["old"]
    assert len(account.asked) == 2


def test_a_list_that_serves_no_longer_is_let_go() -> None:
    """It is large; whoever waits for nothing else comes by to do so."""
    clock = FakeClock()
    listing = Listing(clock)
    account = Account({None: [remote("old")], 7: []})
    assert listing.tidy() is None
    listing.of_size(account, None, 10, since=0.0, beat=lambda: None)
    clock.time += 20.0
    listing.of_size(account, 7, 10, since=0.0, beat=lambda: None)
    assert listing.tidy() == 40.0
    clock.time += 40.0
    assert listing.tidy() == 20.0
    assert list(listing._lists) == [7]
    with listing._lock:
        assert listing.tidy() is None


def test_a_kept_list_is_small() -> None:
    """A hundred thousand files would take half of what the whole program may."""
    listing, many = Listing(Clock()), 2000

    class Large(Account):
        def files(self, *, keep: Callable[[RemoteFile], bool], **_: object) -> list[RemoteFile]:  # type: ignore[override]  # it stands in for a client of which nothing else is called
            names = (f"Some Show S01E{n:06d} 1080p" for n in range(many))
            files = (remote(f"VKf{n:07d}", name=name, size=n) for n, name in enumerate(names))
            return [one for one in files if keep(one)]

    tracemalloc.start()
    try:
        listing.of_size(Large({}), None, 10, since=0.0, beat=lambda: None)
        assert tracemalloc.get_traced_memory()[0] < 450 * many
    finally:
        tracemalloc.stop()


def test_unready_jobs_count_as_what_may_be_meant(job: tuple[Store, Job]) -> None:
    """Also a file of that name and size which is still being written, or has failed."""
    store, claimed = job
    other = claimed.path.replace(b"a.mp4", b"sub/a.mp4")
    store.jobs.add(other, claimed.stamp, root=None, folder=7, ready=False, reason="found")
    assert [one.path for one in store.jobs.twins(claimed)] == [other]
    assert settle(job, Account({None: [remote("whose")], 7: []})) == 0.0
    assert claimed.state is JobState.UPLOADING


@pytest.mark.parametrize(("name", "own"), [("a", True), ("b", False)])
def test_a_lost_upload_that_only_its_size_tells_is_not_surely_ours(
    job: tuple[Store, Job], name: str, own: bool
) -> None:
    """It is taken, as it is the only one that fits, and remembered for what it is."""
    store, claimed = job
    store.journal.sending(store.journal.begin(claimed), 0.0)
    account = Account({None: [remote("H", name=name)], 7: []})
    lookup = Lookup(store, Clock(), first=1.0)
    unknown = store.journal.unknown_of(claimed)
    assert lookup.settle(account, claimed, unknown, lambda: None) is None
    taken = store.jobs.get(claimed.id)
    store.close()
    assert taken is not None
    assert (taken.hashid, taken.own_upload) == ("H", own)
