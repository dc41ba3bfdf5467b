"""The watcher, step by step: the clock is turned, nothing is waited for."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable

import pytest

from megamax_sync.errors import StoreError, UploadCancelled
from megamax_sync.job import JobState
from megamax_sync.watch import companions as companions_module
from megamax_sync.watch import probe, unreadable
from megamax_sync.watch import settler as settler_module
from megamax_sync.watch import walker as walker_module
from megamax_sync.watch import watcher as watcher_module
from megamax_sync.watch.pending import Pending
from megamax_sync.watch.rules import Rules
from megamax_sync.watch.settle import Signs
from megamax_sync.watch.watcher import Watcher

from .field import EXTENSIONS, Field, digest, stamp_of, write_through, writer


def break_queue(field: Field) -> Callable[[], None]:
    """Have every new job refused, as on a full disk; returns what ends that."""
    with sqlite3.connect(field.store.database.path) as other:
        other.execute(
            "CREATE TRIGGER full BEFORE INSERT ON job BEGIN SELECT RAISE(FAIL, 'full'); END"
        )
    other.close()

    def mend() -> None:
        with sqlite3.connect(field.store.database.path) as mending:
            mending.execute("DROP TRIGGER full")
        mending.close()

    return mend


def test_a_finished_file_is_queued_by_the_first_scan(field: Field) -> None:
    """What has lain there before the start is found and taken at once."""
    field.file("a/b.mkv")
    watcher = field.watch()
    assert not watcher.settled()
    wait = field.run(watcher)
    assert wait is not None
    assert watcher.scanned.is_set()
    assert watcher.settled()
    assert watcher.coverage.kind is None
    assert field.queued() == {"drop/a/b.mkv"}


def test_a_young_file_waits_for_its_quiet_period(field: Field) -> None:
    """It counts as found soon until then."""
    path = field.file("a.mkv", age=0)
    watcher = field.watch()
    wait = field.run(watcher)
    assert wait is not None
    assert 4 < wait <= 5
    assert field.reasons(watcher) == {"a.mkv": "5 s of quiet left"}
    assert not watcher.settled()
    path.write_bytes(b"more of it")
    field.run(watcher, ahead=5)
    assert not watcher.settled()
    path.write_bytes(b"and more of it")
    field.run(watcher, ahead=5)
    assert watcher.settled(), "it keeps changing: nobody waits for that"
    field.run(watcher, ahead=20)
    assert field.queued() == {"drop/a.mkv"}
    assert watcher.waiting() == []


def test_a_file_whose_mtime_was_set_back_waits_all_the_same(field: Field) -> None:
    """Downloaders set the server's date; ctime tells when that was."""
    path = field.file("a.mkv", age=0)
    os.utime(path, ns=(0, 0))
    watcher = field.watch()
    field.run(watcher)
    assert field.queued() == set()
    field.run(watcher, ahead=6)
    assert field.queued() == {"drop/a.mkv"}


def test_a_file_from_the_future_is_taken(field: Field) -> None:
    """A camera's wrong clock holds nothing up."""
    path = field.file("a.mkv")
    future = int((field.clock.wall() + 1e6) * 1e9)
    os.utime(path, ns=(future, future))
    watcher = field.watch()
    field.run(watcher)
    field.run(watcher, ahead=6)
    assert field.queued() == {"drop/a.mkv"}


def test_no_file_is_taken_while_somebody_writes_it(field: Field) -> None:
    """However long the writer pauses; and who it is is said."""
    path = field.file("a.mkv")
    watcher = field.watch()
    with writer(path) as process:
        field.run(watcher)
        for _ in range(4):
            write_through(process, b"more")
            field.run(watcher, ahead=700)
            field.run(watcher, ahead=700)
        assert field.reasons(watcher)["a.mkv"].startswith(f"open for writing (pid {process.pid}, ")
        assert field.queued() == set()
        assert watcher.settled()
    field.run(watcher, ahead=700)
    assert field.queued() == {"drop/a.mkv"}
    assert field.known(path).stamp.size == len(b"video") + 16


def test_a_preallocated_file_waits_until_its_holes_are_filled(field: Field) -> None:
    """The size is final from the start, and the client closes between pieces."""
    path = field.file("a.mkv")
    os.truncate(path, 1 << 20)
    watcher = field.watch()
    field.run(watcher, ahead=100)
    field.run(watcher, ahead=100)
    assert field.reasons(watcher)["a.mkv"].startswith("has unwritten holes")
    for place in (3, 1, 0, 2):
        assert field.queued() == set()
        with path.open("r+b") as file:
            file.seek(place << 18)
            file.write(os.urandom(1 << 18))
        field.run(watcher, ahead=700)
        field.run(watcher, ahead=700)
    assert field.queued() == {"drop/a.mkv"}


def test_sparse_files_are_taken_where_they_are_allowed(field: Field) -> None:
    """MEGAMAX_ALLOW_SPARSE."""
    os.truncate(field.file("a.mkv"), 1 << 20)
    field.clock.ahead += 100
    field.run(field.watch(allow_sparse=True))
    assert field.queued() == {"drop/a.mkv"}


def test_a_companion_holds_a_file_up_until_it_is_gone(field: Field) -> None:
    """Word that something has happened in the folder is enough to look again.

    A quiet period later it is taken: it may be about to be merged, or put elsewhere.
    """
    field.file("a.mkv")
    control = field.file("a.mkv.aria2")
    watcher = field.watch()
    field.run(watcher)
    assert field.reasons(watcher) == {"a.mkv": "companion a.mkv.aria2"}
    control.unlink()
    watcher.mark(os.fsencode(field.drop), False)
    field.run(watcher, ahead=1)
    assert field.reasons(watcher) == {"a.mkv": "5 s of quiet left"}
    field.run(watcher, ahead=5)
    assert field.queued() == {"drop/a.mkv"}


def test_news_from_a_folder_do_not_bring_look_after_look(field: Field) -> None:
    """A busy folder with many open files must not cost a processor: one look a second."""
    field.file("a.mkv")
    field.file("a.mkv.aria2")
    watcher = field.watch()
    field.run(watcher)
    for _ in range(20):
        watcher.mark(os.fsencode(field.drop), False)
        wait = field.run(watcher)
        assert wait is not None
        assert wait > 0.1


def test_a_file_that_grows_after_it_was_taken_has_to_be_quiet_longer(field: Field) -> None:
    """The upload hands it back; its patience was not forgotten."""
    path = field.file("a.mkv")
    watcher = field.watch()
    field.run(watcher)
    job = field.store.jobs.claim("owner", None)
    assert job is not None
    path.write_bytes(b"it was not finished")
    field.store.jobs.release(job, "the file changed", ready=False)
    field.run(watcher)
    field.run(watcher, ahead=6)
    assert field.queued() == set()
    field.run(watcher, ahead=5)
    assert field.queued() == {"drop/a.mkv"}
    assert field.known(path).id == job.id


def test_a_file_replaced_while_it_is_sent_is_picked_up_afterwards(field: Field) -> None:
    """Of another size, or of the same: when the upload is through, it is a new job."""
    path = field.file("a.mkv")
    watcher = field.watch()
    field.run(watcher)
    assert field.store.jobs.claim("owner", None) is not None
    field.file("b", b"another film").rename(path)
    watcher.mark(os.fsencode(field.drop), False)
    field.run(watcher, ahead=10)
    assert field.reasons(watcher) == {"a.mkv": "being sent"}
    assert not watcher.settled()
    first = field.known(path)
    field.store.jobs.arrived(
        first,
        hashid="h",
        status="onqueue",
        name="a",
        size=5,
        uploaded_at=None,
        fingerprint=None,
        stamp=first.stamp,
        reason="test",
    )
    field.run(watcher, ahead=3)
    assert field.known(path).id != first.id
    assert field.queued() == {"drop/a.mkv"}
    assert watcher.settled()


def test_a_touched_library_is_compared_in_slices(field: Field) -> None:
    """What is put off is looked at again, and in the end all of it is known."""
    paths = [field.file(f"{n}.mkv") for n in range(5)]
    watcher = field.watch()
    field.run(watcher)
    for path in paths:
        field.upload(path, digest(path))
        os.utime(path, ns=(1, 1))

    def slow() -> None:
        field.clock.ahead += 1

    watcher._intake._beat = slow
    watcher.mark(os.fsencode(field.drop), True)
    field.clock.ahead += 100
    field.run(watcher)
    field.clock.ahead += 100
    watcher.step()
    assert set(field.reasons(watcher).values()) == {"to be compared with what was sent"}
    assert not watcher.settled()
    field.run(watcher)
    assert watcher.settled()
    assert watcher.waiting() == []
    assert len(field.store.views.jobs()) == 5


def test_a_file_that_vanishes_while_it_is_waited_for(field: Field) -> None:
    """Without a job there is nothing to say; a queued one is skipped."""
    path, other = field.file("a.mkv", age=0), field.file("b.mkv", age=0)
    watcher = field.watch()
    job = field.store.jobs.add(
        os.fsencode(other),
        stamp_of(other),
        root=os.fsencode(field.drop),
        folder=None,
        ready=False,
        reason="test",
    )
    field.run(watcher)
    path.unlink()
    other.unlink()
    other.mkdir()
    field.run(watcher, ahead=10)
    # It may have been moved, and be found where it is now.
    assert not watcher.settled()
    field.run(watcher, ahead=2)
    assert watcher.waiting() == []
    assert watcher.settled()
    assert field.job(path) is None
    skipped = field.store.jobs.get(job)
    assert skipped is not None
    assert (skipped.state, skipped.error) == (JobState.SKIPPED, "vanished")


def test_a_path_that_cannot_be_looked_at_proves_nothing(field: Field) -> None:
    """Only "there is no such file" does: the file waits, and says why."""
    path = field.file("a/a.mkv", age=0)
    watcher = field.watch()
    field.run(watcher)
    folder = path.parent
    folder.rename(field.base / "away")
    folder.symlink_to(folder)
    field.run(watcher, ahead=10)
    assert field.reasons(watcher) == {"a.mkv": "cannot be read (Too many levels of symbolic links)"}
    folder.unlink()
    (field.base / "away").rename(folder)
    field.run(watcher, ahead=100)
    assert field.queued() == {"drop/a/a.mkv"}


def test_a_process_out_of_descriptors_takes_nothing(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That a file cannot be opened now says nothing about its writers."""

    def exhausted(*_: object, **__: object) -> int:
        raise OSError(24, "Too many open files")

    field.file("a.mkv")
    watcher = field.watch()
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", exhausted)
        with pytest.raises(OSError, match="Too many"):
            field.run(watcher)
    assert field.queued() == set()
    field.run(watcher, ahead=2)
    assert field.queued() == {"drop/a.mkv"}


def test_an_empty_file_is_never_queued(field: Field) -> None:
    """A file that is emptied while it waits is about to be written anew."""
    path = field.file("a.mkv", age=0)
    watcher = field.watch()
    field.run(watcher)
    path.write_bytes(b"")
    field.run(watcher, ahead=10)
    field.run(watcher, ahead=10)
    assert field.reasons(watcher) == {"a.mkv": "empty file"}
    assert watcher.settled()
    path.write_bytes(b"written anew")
    field.run(watcher, ahead=40)
    field.run(watcher, ahead=40)
    assert field.queued() == {"drop/a.mkv"}


@pytest.mark.parametrize("watched", [True, False])
def test_a_file_handed_in_may_be_small(field: Field, watched: bool) -> None:
    """MEGAMAX_MIN_SIZE is for what is found, not for what somebody named, wherever that lies."""
    small = field.file("a.mkv")
    field.store.jobs.add(
        os.fsencode(small), stamp_of(small), root=None, folder=None, ready=False, reason="test"
    )
    roots = (os.fsencode(field.drop),) if watched else ()
    field.run(field.watch(rules=Rules(roots, EXTENSIONS, min_size=1000)))
    assert field.queued() == {"drop/a.mkv"}
    assert field.run(field.watch(rules=Rules((), EXTENSIONS))) is None


def test_a_file_handed_in_belongs_to_its_watched_folder(field: Field) -> None:
    """It may be small, as it was named; but what is said of a folder holds for it as well."""
    path = field.file("in/a.mkv")
    field.store.jobs.add(
        os.fsencode(path), stamp_of(path), root=None, folder=None, ready=False, reason="test"
    )
    watcher = field.watch(rules=Rules((os.fsencode(field.drop),), EXTENSIONS, min_size=1000))
    away = field.base / "away"
    field.drop.rename(away)
    field.run(watcher)
    assert field.reasons(watcher) == {"a.mkv": "its watched folder is missing"}
    away.rename(field.drop)
    field.run(watcher, ahead=40)
    assert field.known(path).ready
    assert field.known(path).root == os.fsencode(field.drop)


def test_a_queued_file_that_has_become_small_is_skipped(field: Field) -> None:
    """It was found, and would not be now."""
    path = field.file("a.mkv")
    job = field.store.jobs.add(
        os.fsencode(path),
        stamp_of(path)._replace(size=2000),
        root=os.fsencode(field.drop),
        folder=None,
        ready=False,
        reason="test",
    )
    field.run(field.watch(rules=Rules((os.fsencode(field.drop),), EXTENSIONS, min_size=1000)))
    skipped = field.store.jobs.get(job)
    assert skipped is not None
    assert skipped.state is JobState.SKIPPED


def test_a_file_handed_in_may_vanish(field: Field) -> None:
    """Without a watched folder nobody can say that its disk is missing."""
    path = field.file("a.bin")
    field.store.jobs.add(
        os.fsencode(path), stamp_of(path), root=None, folder=None, ready=False, reason="test"
    )
    path.unlink()
    watcher = field.watch()
    field.run(watcher)
    field.run(watcher, ahead=2)
    assert field.known(path).state is JobState.SKIPPED


def test_a_file_that_vanishes_after_its_upload_changes_nothing(field: Field) -> None:
    """It was replaced and then deleted: what was uploaded stays."""
    path = field.file("a.mkv")
    watcher = field.watch()
    field.run(watcher)
    field.upload(path)
    path.write_bytes(b"another film")
    watcher.mark(os.fsencode(field.drop), False)
    field.run(watcher)
    path.unlink()
    field.run(watcher, ahead=20)
    assert watcher.waiting() == []
    assert field.known(path).state is JobState.PROCESSING


def test_a_queue_that_cannot_be_written_loses_no_file(field: Field) -> None:
    """A full disk is an error now; afterwards the file is queued without any news of it."""
    field.file("a.mkv")
    watcher = field.watch()
    mend = break_queue(field)
    with pytest.raises(StoreError):
        field.run(watcher)
    mend()
    field.run(watcher, ahead=2)
    assert field.queued() == {"drop/a.mkv"}


@pytest.mark.parametrize("marked", [False, True])
def test_an_error_while_walking_loses_no_folder(
    field: Field, monkeypatch: pytest.MonkeyPatch, *, marked: bool
) -> None:
    """The scan begins again, and a folder that was named is walked again: nothing counts as
    scanned that was not.
    """
    watcher = field.watch()
    if marked:
        field.run(watcher)
    field.file("a/a.mkv")
    if marked:
        watcher.mark(os.fsencode(field.drop), True)

    def broken(*_: object) -> None:
        raise StoreError("no")

    with monkeypatch.context() as patch:
        patch.setattr(field.store.jobs, "latest_each", broken)
        with pytest.raises(StoreError):
            field.run(watcher)
    assert not watcher.settled()
    assert watcher.scanned.is_set() is marked
    field.run(watcher)
    assert watcher.settled()
    assert field.queued() == {"drop/a/a.mkv"}


def test_the_rescan_finds_what_nobody_reported(field: Field) -> None:
    """It comes round after the time that was set, and not before."""
    watcher = field.watch(rescan=300)
    field.run(watcher)
    field.file("a.mkv")
    wait = field.run(watcher)
    assert wait is not None
    assert wait <= 10
    assert field.queued() == set()
    field.run(watcher, ahead=200)
    assert field.queued() == {"drop/a.mkv"}


def test_only_wanted_folders_are_walked_on_news(field: Field) -> None:
    """News of hidden, excluded, private, foreign and vanished folders lead to nothing."""
    for name in (".hidden/a.mkv", "raw/a.mkv", "state/a.mkv", "ok/a.mkv"):
        field.file(name)
    root = os.fsencode(field.drop)
    rules = Rules((root,), EXTENSIONS, ("raw/",), private=(root + b"/state",))
    watcher = field.watch(rules=rules)
    for folder in (b".hidden", b"raw", b"state", b"gone", b"../elsewhere", b"ok"):
        watcher.mark(root + b"/" + folder, True)
    watcher.mark(b"/elsewhere", True)
    field.run(watcher)
    assert field.queued() == {"drop/ok/a.mkv"}


def test_a_long_scan_holds_up_nothing_that_is_finished(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20,000 folders are walked in slices, and between them what is due is queued."""
    for number in range(200):
        base = field.drop / f"z{number}"
        base.mkdir()
        for inner in range(100):
            (base / str(inner)).mkdir()
    monkeypatch.setattr(watcher_module, "_SLICE", 0.01)
    for number in range(50):
        field.file(f"a{number}.mkv")
    watcher = field.watch()
    steps = 0
    while len(field.queued()) < 50:
        watcher.step()
        steps += 1
        assert not watcher.scanned.is_set()
    assert steps < 30
    field.stop.set()
    with pytest.raises(UploadCancelled):
        watcher.step()


def test_many_finished_files_are_queued_in_batches(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One commit takes some, so that uploads begin while the rest is looked at."""
    monkeypatch.setattr(settler_module, "_BATCH", 3)
    for number in range(10):
        field.file(f"{number}.mkv")
    field.run(field.watch())
    assert len(field.queued()) == 10


def test_a_companion_that_comes_while_others_are_looked_at_is_seen(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch's folders are listed after the last look, not before: it cannot be missed."""
    for number in range(10):
        field.file(f"{number}.mkv")
    real = probe.look

    def late(path: bytes) -> Signs:
        (field.drop / ".0.mkv.Ab3dE9").touch()
        return real(path)

    monkeypatch.setattr(settler_module, "look", late)
    watcher = field.watch()
    field.run(watcher)
    assert field.reasons(watcher) == {"0.mkv": "companion .0.mkv.Ab3dE9"}
    assert len(field.queued()) == 9
    (field.drop / ".0.mkv.Ab3dE9").unlink()
    monkeypatch.undo()
    field.run(watcher, ahead=30)
    field.run(watcher, ahead=5)
    assert "drop/0.mkv" in field.queued()


def test_a_folder_that_cannot_be_listed_holds_up_its_own_files_only(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a file has a companion is not known then, so it waits; the rest of the batch goes."""
    field.file("in/a.mkv")
    field.file("b.mkv")
    real = companions_module._listed

    def failing(folder: bytes) -> companions_module._Beside:
        if folder.endswith(b"/in"):
            raise OSError(5, "Input/output error")
        return real(folder)

    monkeypatch.setattr(companions_module, "_listed", failing)
    watcher = field.watch()
    field.run(watcher)
    assert field.reasons(watcher) == {"a.mkv": "cannot be read (Input/output error)"}
    assert field.queued() == {"drop/b.mkv"}
    monkeypatch.undo()
    field.run(watcher, ahead=31)
    assert field.queued() == {"drop/b.mkv", "drop/in/a.mkv"}


def most_waiting(field: Field, watcher: Watcher) -> int:
    """Run to the end; return how many files waited at once at the most."""
    most, real = 0, watcher._settler.add

    def counted(path: bytes, root: bytes | None) -> Pending:
        nonlocal most
        pending = real(path, root)
        most = max(most, watcher._settler.pending.soon)
        return pending

    watcher._settler.add = counted  # type: ignore[method-assign]  # the real one still runs; this counts its calls
    field.run(watcher)
    return most


@pytest.mark.parametrize("limit", ["_MOST_UNSEEN", "_MOST_SOON"])
@pytest.mark.parametrize("marked", [False, True])
def test_the_walk_is_held_back_while_many_wait(
    field: Field, monkeypatch: pytest.MonkeyPatch, limit: str, *, marked: bool
) -> None:
    """However many files come at once, few of them are held in memory, and all are queued."""
    monkeypatch.setattr(watcher_module, limit, 20)
    monkeypatch.setattr(watcher_module, "_STRIDE", 1e-4)
    watcher = field.watch()
    if marked:
        field.run(watcher)
    for number in range(200):
        field.file(f"{number // 5}/{number}.mkv")
    if marked:
        watcher.mark(os.fsencode(field.drop), True)
    assert most_waiting(field, watcher) <= 60
    assert len(field.queued()) == 200
    assert watcher.settled()


def test_young_files_hold_the_walk_back_until_they_are_quiet(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile the loop rests, and goes on by itself."""
    monkeypatch.setattr(watcher_module, "_MOST_SOON", 20)
    monkeypatch.setattr(watcher_module, "_STRIDE", 1e-4)
    for number in range(60):
        field.file(f"{number // 5}/{number}.mkv", age=0)
    watcher = field.watch()
    wait = field.run(watcher)
    assert wait is not None
    assert wait > 1
    assert 20 <= len(watcher.waiting()) <= 40
    assert not watcher.scanned.is_set()
    field.run(watcher, ahead=wait + 1)
    assert len(field.queued()) == 60
    assert watcher.scanned.is_set()


def test_files_that_wait_for_long_hold_no_walk_back(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stalled torrent of many files must not keep a new file from being found."""
    monkeypatch.setattr(watcher_module, "_MOST_UNSEEN", 20)
    monkeypatch.setattr(watcher_module, "_MOST_SOON", 20)
    monkeypatch.setattr(watcher_module, "_STRIDE", 1e-4)
    for number in range(60):
        field.file(f"t/{number // 5}/{number}.mkv", age=0)
    (field.drop / "t.aria2").touch()
    field.clock.ahead += 100
    watcher = field.watch()
    field.run(watcher)
    assert len(watcher.waiting()) == 60
    field.file("z.mkv")
    watcher.mark(os.fsencode(field.drop), False)
    field.run(watcher)
    assert field.queued() == {"drop/z.mkv"}


def test_a_folder_that_cannot_be_read_is_said_once(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at every scan again."""
    said: list[dict[str, object]] = []

    class Log:
        def warning(self, event: str, **values: object) -> None:
            said.append({"event": event, **values})

        def info(self, event: str, **values: object) -> None:
            pass

    (field.drop / "in").mkdir()
    real = os.scandir

    def refusing(path: bytes) -> object:
        if path.endswith(b"/in"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(unreadable, "_log", Log())
    monkeypatch.setattr(os, "scandir", refusing)
    watcher = field.watch(rescan=100)
    field.run(watcher)
    field.run(watcher, ahead=101)
    expected = {
        "event": "watch.degraded",
        "path": os.fsencode(field.drop / "in"),
        "error": "the folder cannot be read (Permission denied)",
    }
    assert said == [expected]


def test_a_hot_folder_does_not_keep_the_loop_busy(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large folder that is named again and again is walked now and then, the rest is rest."""
    monkeypatch.setattr(walker_module, "_SHORT_WALK", 0.0)
    monkeypatch.setattr(walker_module, "_REST", 1e6)
    field.file("a.mkv")
    watcher = field.watch()
    root = os.fsencode(field.drop)
    watcher.mark(root, False)
    field.run(watcher)
    watcher.mark(root, False)
    wait = field.run(watcher)
    assert wait is not None
    assert wait > 1
    assert not watcher.settled(), "what was named is walked before anybody goes"
    field.run(watcher, ahead=61)
    assert watcher.settled()


def test_only_news_of_the_queue_are_read_at_each_step(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs that wait for the watch are adopted once, also those that come back to it."""
    watcher = field.watch()
    field.run(watcher)
    asked: list[int] = []
    real = field.store.jobs.unsettled_since

    def counted(mark: int) -> tuple[list[tuple[bytes, bytes | None]], int]:
        unsettled, now = real(mark)
        asked.append(len(unsettled))
        return unsettled, now

    monkeypatch.setattr(field.store.jobs, "unsettled_since", counted)
    path = field.file("a.mkv", age=0)
    stamp = stamp_of(path)
    name = os.fsencode(path)
    field.store.jobs.add(name, stamp, root=None, folder=None, ready=False, reason="handed in")
    field.run(watcher)
    field.run(watcher)
    assert [name for name, _ in watcher.waiting()] == [name]
    assert sum(asked) == 1
    field.run(watcher, ahead=100)
    job = field.store.jobs.claim("me")
    assert job is not None
    field.store.jobs.release(job, "it changed", ready=False)
    field.run(watcher)
    assert field.queued() == {"drop/a.mkv"}
