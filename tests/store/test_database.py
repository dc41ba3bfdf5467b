"""The database: made, migrated, shared, full, damaged, and waited on."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from megamax_sync.clock import Clock
from megamax_sync.errors import StoreDamaged, StoreError, StoreFull, StoreTooNew
from megamax_sync.job import FileStamp, JobState
from megamax_sync.store import Store, database, durability
from megamax_sync.store.database import Database, migrations

from .conftest import fill


def queue(store: Store, name: bytes = b"/v/a.mp4") -> int:
    """Queue a file."""
    stamp = FileStamp(1, 2, 3, 4, 5)
    return store.jobs.add(name, stamp, root=None, folder=None, ready=True, reason="found")


def queue_many(store: Store) -> None:
    """Queue more in one transaction than a small disk can hold."""
    with store.transaction():
        for number in range(5000):
            queue(store, b"/v/%d.mp4" % number)


def break_off(store: Store, error: BaseException) -> None:
    """Queue a file in a nested transaction, and fail in the outer one."""
    with store.transaction():
        with store.transaction():
            queue(store)
        raise error


def pragma(path: Database, name: str) -> object:
    """Read one of SQLite's settings."""
    row = path.read_one(f"PRAGMA {name}")
    assert row is not None
    return row[0]


def test_it_is_made_from_nothing_with_the_promised_durability(path: str) -> None:
    """A new queue has every table, WAL, synchronous FULL, and is private whatever the umask."""
    before = os.umask(0)
    try:
        made = Database(path)
    finally:
        os.umask(before)
    assert pragma(made, "user_version") == len(migrations())
    assert pragma(made, "journal_mode") == "wal"
    assert pragma(made, "synchronous") == 2
    assert pragma(made, "foreign_keys") == 1
    with made.transaction(durable=False):
        made.write("INSERT INTO setting VALUES ('a', 'b')")
        assert pragma(made, "synchronous") == 1
    made.write("INSERT INTO setting VALUES ('c', 'd')")
    assert pragma(made, "synchronous") == 2
    for suffix in ("", "-wal", "-shm"):
        assert stat.S_IMODE(os.stat(path + suffix).st_mode) == 0o600
    made.close()


def test_it_uses_no_shared_memory_on_a_network_file_system(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where WAL does not work, the journal is truncated instead."""
    monkeypatch.setattr(durability, "is_remote", lambda _: True)
    made = Database(path)
    assert pragma(made, "journal_mode") == "truncate"
    # That journal is what the queue is repaired with: it is always waited for.
    with made.transaction(durable=False):
        made.write("INSERT INTO setting VALUES ('a', 'b')")
    assert pragma(made, "synchronous") == 2
    made.flush()
    made.close()


def test_what_was_written_is_there_after_opening_again(path: str) -> None:
    """Opening an existing queue changes nothing in it."""
    with Store(path, Clock()) as store:
        job = queue(store)
    with Store(path, Clock()) as store:
        assert store.jobs.get(job) is not None


def test_a_failed_migration_leaves_the_version_before(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a schema step is there, or none of it, and the next start tries again."""
    Database(path).close()
    broken = [*migrations(), "CREATE TABLE extra (n INTEGER) STRICT;\nCREATE TABLE job (n);\n"]
    monkeypatch.setattr(database, "migrations", lambda: broken)
    with pytest.raises(StoreError, match="already exists"):
        Database(path)
    mended = [*migrations(), "-- twice; now right\nCREATE TABLE extra (n INTEGER) STRICT;\n"]
    monkeypatch.setattr(database, "migrations", lambda: mended)
    opened = Database(path)
    assert pragma(opened, "user_version") == len(mended)
    assert opened.read("SELECT n FROM extra") == []
    opened.close()


OPEN_AT_ONCE = """
import sys
from megamax_sync.store.database import Database
sys.stdin.readline()
Database(sys.argv[1]).close()
"""


def test_many_processes_make_it_at_once(path: str) -> None:
    """Whoever comes first makes the tables, and nobody fails for being second."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN_AT_ONCE, path],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(6)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write(b"go\n")
        child.stdin.flush()
    assert [child.communicate()[1] for child in children] == [b""] * 6


def test_a_second_migrator_finds_the_work_done(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that saw an empty file, and then waited for another's migration, goes on with it."""
    real = Database.transaction
    others: list[str] = []

    def late(self: Database) -> object:
        if not others:
            others.append("came first")
            Database(path).close()
        return real(self)

    monkeypatch.setattr(Database, "transaction", late)
    opened = Database(path)
    assert pragma(opened, "user_version") == len(migrations())
    opened.close()


def test_opening_again_keeps_the_locks_of_the_process(path: str) -> None:
    """A second opening here does not make another process believe that nobody has it open."""
    with Store(path, Clock()) as first:
        job = queue(first)
        Store(path, Clock()).close()
        subprocess.run([sys.executable, "-c", OPEN_AT_ONCE, path], input=b"go\n", check=True)
        assert os.path.exists(path + "-wal")
        assert first.jobs.get(job) is not None


def test_a_newer_schema_is_refused(path: str) -> None:
    """A queue of a later version is left alone, and the message says what to do."""
    Database(path).close()
    raw = sqlite3.connect(path)
    raw.execute(f"PRAGMA user_version = {len(migrations()) + 1}")
    raw.close()
    for writable in (True, False):
        with pytest.raises(StoreTooNew, match="install that version"):
            Database(path, writable=writable)


def test_a_file_of_no_length_becomes_a_queue(path: str) -> None:
    """A zero-length file is an empty database, not a damaged one; for a reader it is no queue."""
    Path(path).touch()
    with pytest.raises(StoreDamaged, match="holds no queue"):
        Database(path, writable=False)
    opened = Database(path)
    assert pragma(opened, "user_version") == len(migrations())
    opened.close()


def test_garbage_is_said_to_be_damaged(path: str) -> None:
    """A file that is no database is neither used nor overwritten."""
    Path(path).write_bytes(b"no database at all" * 500)
    with pytest.raises(StoreDamaged, match="damaged"):
        Database(path)
    assert Path(path).read_bytes() == b"no database at all" * 500


def test_a_truncated_file_is_said_to_be_damaged(path: str) -> None:
    """Pages that are missing are noticed as damage, at the latest when they are read."""
    with Store(path, Clock()) as store:
        for number in range(500):
            queue(store, b"/v/%d.mp4" % number)
    os.truncate(path, 8192)
    with pytest.raises(StoreDamaged), Store(path, Clock()) as store:
        store.views.jobs()


def test_a_missing_or_wrong_place_is_a_store_error(tmp_path: Path) -> None:
    """A folder in its place, a folder that is not there, and a queue that is not there to read."""
    for path, writable in ((tmp_path, True), (tmp_path / "no/q", True), (tmp_path / "q", False)):
        with pytest.raises(StoreError, match="cannot be used"):
            Database(str(path), writable=writable)


def test_a_read_only_file_system_is_a_store_error(small_disk: Path) -> None:
    """Nothing can be made there; it is not taken for a full disk."""
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StoreError, match="Read-only") as caught:
        Database(str(small_disk / "queue.db"))
    assert not isinstance(caught.value, StoreFull)


def test_a_full_disk_is_rolled_back_and_recovered_from(small_disk: Path) -> None:
    """StoreFull, nothing half written, reading goes on, and writing too once there is space."""
    with Store(str(small_disk / "queue.db"), Clock()) as store:
        first = queue(store)
        filler = fill(small_disk)
        with pytest.raises(StoreFull):
            queue_many(store)
        assert [job.id for job in store.views.jobs()] == [first]
        filler.unlink()
        assert queue(store, b"/v/b.mp4") > first


def test_a_queue_on_a_full_disk_cannot_be_made(small_disk: Path) -> None:
    """That is StoreFull too, and leaves something that the next start makes good."""
    filler = fill(small_disk)
    with pytest.raises(StoreFull):
        Database(str(small_disk / "queue.db"))
    filler.unlink()
    Database(str(small_disk / "queue.db")).close()


def test_no_space_for_the_file_itself_is_a_full_disk(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ENOSPC from the file system means the same as SQLite's own."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(StoreFull):
        Database(path)


def test_nested_transactions_are_one(store: Store) -> None:
    """An inner one that ends well is undone with the outer one."""
    with pytest.raises(KeyError):
        break_off(store, KeyError("outer"))
    assert store.views.jobs() == []
    with store.transaction(), store.transaction():
        queue(store)
    assert len(store.views.jobs()) == 1


def test_foreign_errors_come_through_and_roll_back(store: Store) -> None:
    """What is not the queue's is not translated, not even an OSError, and nothing stays."""
    error = OSError(5, "somebody else's")
    with pytest.raises(OSError, match="somebody else") as caught:
        break_off(store, error)
    assert caught.value is error
    assert store.views.jobs() == []


def test_after_an_inner_failure_the_next_transaction_works(store: Store) -> None:
    """The depth is counted back, whatever went wrong inside."""
    with pytest.raises(KeyError), store.transaction(), store.transaction():
        raise KeyError("inner")
    queue(store)
    assert len(store.views.jobs()) == 1


def test_sql_that_is_refused_is_a_store_error(store: Store) -> None:
    """A CHECK that fails is ours by name, and rolled back."""
    job = queue(store)
    with pytest.raises(StoreError, match="CHECK"):
        store.database.write("UPDATE job SET state = 'lost' WHERE id = ?", job)
    with pytest.raises(StoreError):
        store.database.insert("INSERT INTO job (path) VALUES (?)", b"/v/b.mp4")
    assert store.views.counts()[JobState.QUEUED] == 1


def test_a_closed_queue_says_so(path: str) -> None:
    """A late thread gets an error of ours."""
    store = Store(path, Clock())
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.views.jobs()


HOLD = """
import sys
from megamax_sync.store import Store
from megamax_sync.clock import Clock
with Store(sys.argv[1], Clock()) as store, store.transaction():
    store.settings.put("a", "new")
    print("held", flush=True)
    sys.stdin.readline()
print("done", flush=True)
"""


def test_it_is_read_while_another_process_writes(path: str) -> None:
    """A reader sees what was committed, and does not wait for the writer."""
    with Store(path, Clock()) as store:
        store.settings.put("a", "old")
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    with Store(path, Clock(), writable=False) as reader:
        assert reader.settings.get("a") == "old"
        assert child.communicate(b"\n")[0] == b"done\n"
        assert reader.settings.get("a") == "new"


def test_it_is_read_without_a_writer_and_never_written(path: str) -> None:
    """A reader needs nobody else, and cannot change anything."""
    with Store(path, Clock()) as store:
        store.settings.put("a", "b")
    with Store(path, Clock(), writable=False) as reader:
        assert reader.settings.get("a") == "b"
        with pytest.raises(StoreError, match="readonly"):
            reader.settings.put("a", "c")


def test_reading_what_nobody_writes_leaves_nothing_behind(path: str) -> None:
    """An immutable opening makes no WAL files, not even while it lasts."""
    with Store(path, Clock()) as store:
        store.settings.put("a", "b")
    with Store(path, Clock(), writable=False, immutable=True) as reader:
        assert reader.settings.get("a") == "b"
        assert os.listdir(os.path.dirname(path)) == ["queue.db"]


def test_names_with_a_meaning_in_uris_are_taken_as_they_are(tmp_path: Path) -> None:
    """A path may hold what SQLite's URIs have a use for, and bytes that are no UTF-8."""
    folder = os.path.join(os.fsencode(tmp_path), b"a?mode=memory#%41\xff")
    os.mkdir(folder)
    path = os.fsdecode(os.path.join(folder, b"q.db"))
    Database(path).close()
    assert os.listdir(folder) == [b"q.db"]
    Database(path, writable=False).close()


def test_a_commit_wakes_those_who_wait(store: Store) -> None:
    """A change made after the look but before the wait is not slept through."""
    seen = store.database.version
    queue(store)
    assert store.database.wait(seen, None) == store.database.version > seen


def test_looking_in_vain_wakes_nobody(store: Store) -> None:
    """Commits that change no row, reading, and rollbacks are no changes."""
    seen = store.database.version
    assert store.jobs.claim("me") is None
    store.views.jobs()
    with pytest.raises(KeyError):
        break_off(store, KeyError())
    assert store.database.wait(seen, 0.0) == seen


def test_those_who_send_are_woken_by_their_own_work_alone(store: Store) -> None:
    """A job in the queue, the end of an attempt or of a pause; not what becomes of an upload."""

    def woken(change: Callable[[], object]) -> bool:
        seen, any_change = store.database.work_to_send.version, store.database.version
        change()
        assert store.database.version > any_change
        return store.database.work_to_send.version > seen

    jobs, journal = store.jobs, store.journal
    assert woken(lambda: queue(store))
    assert not woken(lambda: jobs.claim("me"))
    job = jobs.latest(b"/v/a.mp4")
    assert job is not None
    assert not woken(lambda: journal.begin(job))
    assert not woken(lambda: journal.sending(1, 0.0))
    assert not woken(lambda: journal.sent(1))
    assert woken(lambda: journal.failed(1, "reset"))
    assert woken(lambda: jobs.release(job, "again"))
    queued = jobs.get(job.id)
    assert queued is not None
    assert not woken(lambda: jobs.skip(queued, "gone"))
    for paused in (True, False):
        assert woken(lambda: setattr(store.settings, "paused", paused))  # noqa: B023 - it is called before the loop goes on
    assert not woken(lambda: store.settings.put("usual", "12"))
    # A rollback may wake once too often, never once too little.
    with pytest.raises(KeyError):
        break_off(store, KeyError())
    assert woken(lambda: queue(store, b"/v/b.mp4"))
    # What another process has done nobody sees; whoever hears of it wakes all.
    seen = store.database.work_to_send.version
    store.database.wake()
    assert store.database.work_to_send.wait(seen, None) > seen


def test_no_wake_up_is_lost(store: Store) -> None:
    """Each of many changes by one thread is seen by another that only ever waits."""
    last = 300
    seen_last = threading.Event()

    def watch() -> None:
        seen = store.database.version
        while store.settings.get("n") != str(last):
            seen = store.database.wait(seen, None)
        seen_last.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    for number in range(last + 1):
        store.settings.put("n", str(number))
    assert seen_last.wait(20)
    watcher.join()


def test_many_places_are_no_too_deep_question(store: Store) -> None:
    """Thousands of files handed in at once are a limit that SQLite can still read."""
    places = [b"/v/%d.mp4" % number for number in range(3000)]
    job = queue(store, places[1234])
    queue(store, b"/w/a.mp4")
    claimed = store.jobs.claim("me", places)
    assert claimed is not None
    assert claimed.id == job
    assert store.jobs.claim("me", places) is None
