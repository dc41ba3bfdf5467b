"""Queues of earlier versions, and copies."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from megamax_sync.clock import Clock
from megamax_sync.errors import StoreError, StoreFull, StoreTooOld
from megamax_sync.job import FileStamp, JobState
from megamax_sync.store import Store, copies, database
from megamax_sync.store.database import Database, migrations

from .conftest import fill

#: A step that a later version may bring.
LATER = "ALTER TABLE job ADD COLUMN colour TEXT;\nCREATE TABLE extra (n INTEGER) STRICT;\n"


def queue(store: Store, name: bytes = b"/v/a.mp4") -> int:
    """Queue a file."""
    stamp = FileStamp(1, 2, 3, 4, 5)
    return store.jobs.add(name, stamp, root=None, folder=None, ready=True, reason="found")


def version_of(path: str) -> int:
    """The schema that a file has."""
    raw = sqlite3.connect(path)
    (version,) = raw.execute("PRAGMA user_version").fetchone()
    raw.close()
    return int(version)


def mark(path: str) -> str:
    """What tells whether a file was changed."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@pytest.fixture
def now() -> int:
    """The schema of today."""
    return len(migrations())


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch, now: int) -> int:
    """Make the program a later version; return its schema."""
    steps = [*migrations(), LATER]
    monkeypatch.setattr(database, "migrations", lambda: steps)
    return now + 1


def made(path: str, steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a queue with one job, as a version with these steps would."""
    with monkeypatch.context() as patch:
        patch.setattr(database, "migrations", lambda: steps)
        Database(path).close()
    raw = sqlite3.connect(path, isolation_level=None)
    raw.execute("PRAGMA journal_mode = DELETE").fetchone()
    raw.execute("INSERT INTO setting VALUES ('paused', '1')")
    raw.close()


def test_every_earlier_schema_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever version a queue comes from, what was in it is there afterwards, and so is a copy."""
    steps = [*migrations(), LATER]
    for earlier in range(1, len(steps)):
        path = str(tmp_path / f"from-{earlier}.db")
        made(path, steps[:earlier], monkeypatch)
        with monkeypatch.context() as patch:
            patch.setattr(database, "migrations", lambda: steps)
            with Store(path, Clock()) as store:
                assert store.settings.paused
                assert store.database.read("SELECT n FROM extra") == []
        assert version_of(path) == len(steps)
        copy = f"{path}.before-{len(steps)}"
        assert version_of(copy) == earlier
        assert stat.S_IMODE(os.stat(copy).st_mode) == 0o600
        assert os.listdir(tmp_path).count(os.path.basename(copy) + ".tmp") == 0


def test_uploads_of_an_earlier_version_are_ours_unless_their_history_says_how_they_were_found(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What of that has been pruned was done long ago, and nothing is owed for it."""
    made(path, migrations()[:7], monkeypatch)
    reasons = (
        "uploaded as H",
        "the account has it already, as H",
        "its sidecar names it: H",
        "found in the account as H",
        # It was uploaded anew after that.
        "the account has it already, as OTHER",
    )
    with contextlib.closing(sqlite3.connect(path)) as raw:
        for number, reason in enumerate(reasons, 1):
            raw.execute(
                "INSERT INTO job (path, state, ready, size, mtime_ns, ctime_ns, dev, ino, "
                "match_key, hashid, created_at, updated_at) "
                "VALUES (x'2f61', 'processing', 1, 1, 2, 3, 4, 5, 'a', 'H', 0, 0)"
            )
            sql = "INSERT INTO history (job, at, state, reason) VALUES (?, 0, 'processing', ?)"
            raw.execute(sql, (number, reason))
        raw.commit()
    with Store(path, Clock()) as store:
        jobs = [store.jobs.get(number) for number in range(1, len(reasons) + 1)]
        assert [job and job.own_upload for job in jobs] == [True, False, False, False, True]


def test_an_up_to_date_queue_is_not_copied(path: str) -> None:
    """Neither when it is made nor when it is opened again."""
    Database(path).close()
    Database(path).close()
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]


def test_the_copy_shows_what_was_committed_last(path: str, later: int, now: int) -> None:
    """What is in the WAL alone goes along, though another process has the queue open."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA journal_mode = WAL").fetchone()
    for script in migrations():
        other.executescript(script)
    other.execute(f"PRAGMA user_version = {now}")
    other.execute("INSERT INTO setting VALUES ('bwlimit', '1M')")
    with Store(path, Clock()) as store:
        assert store.settings.bwlimit == "1M"
    with Store(f"{path}.before-{later}", Clock(), writable=False) as copy:
        assert copy.settings.bwlimit == "1M"
    other.close()


def test_the_newest_copies_are_kept(path: str) -> None:
    """Three of them; others' files of like names stay."""
    Database(path).close()
    foreign = [f"{path}.before-christmas", f"{path}.before-1.txt"]
    for name in foreign:
        Path(name).touch()
    source = sqlite3.connect(path)
    for version in (2, 9, 10, 11, 12):
        copies.before_upgrade(source, path, version)
    source.close()
    left = {name for name in os.listdir(os.path.dirname(path)) if ".before-" in name}
    kept = {os.path.basename(f"{path}.before-{version}") for version in (10, 11, 12)}
    assert left == kept | {os.path.basename(name) for name in foreign}


def test_without_space_for_the_copy_nothing_is_upgraded(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, now: int
) -> None:
    """The queue stays what it was, for the version that wrote it, and nothing is left over."""
    path = str(small_disk / "queue.db")
    with Store(path, Clock()) as store, store.transaction():
        for number in range(600):
            queue(store, b"/v/%d.mp4" % number)
    filler = fill(small_disk)
    # For the files beside the queue, without which it cannot even be opened.
    os.truncate(filler, filler.stat().st_size - 150_000)
    with monkeypatch.context() as patch:
        steps = [*migrations(), LATER]
        patch.setattr(database, "migrations", lambda: steps)
        with pytest.raises(StoreFull):
            Database(path)
    assert version_of(path) == now
    assert not [name for name in os.listdir(small_disk) if ".before-" in name]
    filler.unlink()


def test_reading_an_earlier_queue_changes_no_file(
    path: str, monkeypatch: pytest.MonkeyPatch, now: int
) -> None:
    """It is read as it will be, brought up to date in memory, and cannot be written."""
    with Store(path, Clock()) as store:
        job = queue(store)
    before = mark(path)
    steps = [*migrations(), LATER]
    monkeypatch.setattr(database, "migrations", lambda: steps)
    with Store(path, Clock(), writable=False, immutable=True) as store:
        assert store.views.counts()[JobState.QUEUED] == 1
        found = store.jobs.get(job)
        assert found is not None
        assert store.database.read("SELECT colour FROM job")[0]["colour"] is None
        with pytest.raises(StoreError, match="readonly"):
            store.settings.paused = True
    assert (mark(path), version_of(path)) == (before, now)
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]


def test_a_queue_in_use_by_an_earlier_version_is_left_alone(
    path: str, request: pytest.FixtureRequest
) -> None:
    """An order must not take the tables away from under a running instance."""
    Database(path).close()
    before = version_of(path)
    request.getfixturevalue("later")
    with pytest.raises(StoreTooOld, match="restart that first"):
        Database(path, upgrade=False)
    assert version_of(path) == before


def test_a_copy_is_whole_while_others_write(path: str, tmp_path: Path) -> None:
    """Each copy shows one moment: the two settings that always change together are equal in it."""
    stop = threading.Event()
    with Store(path, Clock()) as store:

        def write() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                with store.transaction():
                    store.settings.put("one", str(number))
                    store.settings.put("two", str(number))

        with store.transaction():
            for number in range(2000):
                queue(store, b"/v/%d.mp4" % number)
        store.settings.put("one", "0")
        store.settings.put("two", "0")
        writer = threading.Thread(target=write)
        writer.start()
        try:
            for number in range(5):
                with Store(path, Clock(), writable=False) as reader:
                    reader.database.copy_to(str(tmp_path / f"copy-{number}"))
        finally:
            stop.set()
            writer.join()
    for number in range(5):
        with Store(str(tmp_path / f"copy-{number}"), Clock()) as copy:
            assert copy.settings.get("one") == copy.settings.get("two")
            assert copy.views.counts()[JobState.QUEUED] == 2000


def test_a_copy_takes_nobodys_place_unasked(path: str, tmp_path: Path) -> None:
    """An existing file stays, unless it is to be replaced; nothing is left over either way."""
    target = tmp_path / "copy"
    target.write_text("mine")
    with Store(path, Clock()) as store:
        with pytest.raises(StoreError, match="File exists"):
            store.database.copy_to(str(target))
        assert target.read_text() == "mine"
        store.database.copy_to(str(target), replace=True)
        with pytest.raises(StoreError, match="No such file"):
            store.database.copy_to(str(tmp_path / "no" / "copy"))
    assert version_of(str(target)) == len(migrations())
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]


def test_a_damaged_queue_is_not_copied(path: str, tmp_path: Path) -> None:
    """A copy that could not be used is worse than none."""
    with Store(path, Clock()) as store:
        with store.transaction():
            for number in range(500):
                queue(store, b"/v/%d.mp4" % number)
        store.database.read("PRAGMA wal_checkpoint(TRUNCATE)")
    with open(path, "r+b") as file:
        file.seek(8 * 4096)
        file.write(b"\xff" * 4096 * 4)
    with Store(path, Clock(), writable=False) as store, pytest.raises(StoreError):
        store.database.copy_to(str(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()
