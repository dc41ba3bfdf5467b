"""The comparer by itself: what it reads, and what it does about what it cannot read."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from megamax_sync.api.retry import RetryPolicy
from megamax_sync.clock import Clock
from megamax_sync.errors import UploadCancelled
from megamax_sync.fingerprint import fingerprint_of
from megamax_sync.job import FileStamp, Job
from megamax_sync.store import Store
from megamax_sync.upload.comparer import Comparer
from megamax_sync.upload.ledger import Ledger

Put = Callable[..., Job]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty queue."""
    with Store(str(tmp_path / "queue.db"), Clock()) as opened:
        yield opened


@pytest.fixture
def comparer(store: Store) -> Comparer:
    """A comparer that has not been started."""
    stop = threading.Event()
    return Comparer(
        store,
        ledger=Ledger(
            store,
            Clock(),
            policy=RetryPolicy(1.0, 1.0),
            max_attempts=3,
            first_lookup=1.0,
            stop=stop,
            on_error=lambda _part, _error: None,
            on_fine=lambda _part: None,
        ),
        preflight=lambda _job: None,
        lost=lambda _root: False,
        under=None,
        clock=Clock(),
        stop=stop,
        on_error=lambda _part, _error: None,
        on_fine=lambda _part: None,
    )


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read."""
    names: list[str] = []

    def note(fd: int, beat: Callable[[], None]) -> str:
        names.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))
        return fingerprint_of(fd, beat)

    monkeypatch.setattr("megamax_sync.upload.comparer.fingerprint_of", note)
    return names


@pytest.fixture
def put(store: Store, tmp_path: Path) -> Put:
    """Write a file, and queue it."""

    def write(name: str, data: bytes = b"video") -> Job:
        path = tmp_path / name
        path.write_bytes(data)
        return queue(store, path, tmp_path)

    return write


def queue(store: Store, path: Path, root: Path) -> Job:
    """Queue a file that is there."""
    job = store.jobs.add(
        os.fsencode(path),
        FileStamp.of(path.stat()),
        root=os.fsencode(root),
        folder=None,
        ready=True,
        reason="test",
    )
    return fresh(store, job)


def fresh(store: Store, job: Job | int) -> Job:
    """Read a job anew."""
    found = store.jobs.get(job if isinstance(job, int) else job.id)
    assert found is not None
    return found


def to_send(store: Store) -> list[str]:
    """The names of the files that may be sent."""
    names = []
    while job := store.jobs.claim("me", cleared=True):
        names.append(os.fsdecode(job.name))
    return names


def test_only_files_of_a_known_size_are_read(
    store: Store, comparer: Comparer, put: Put, read: list[str]
) -> None:
    """Each once; hard links not at all."""
    put("alone.mp4", b"another size")
    first = put("a.mp4")
    put("b.mp4", b"other")
    put("c.mp4")
    os.link(first.path, first.path + b"2.mp4")
    queue(store, Path(os.fsdecode(first.path + b"2.mp4")), Path(os.fsdecode(first.path)).parent)
    assert comparer.step() == 0.0
    assert comparer.step() is None
    assert sorted(read) == ["a.mp4", "b.mp4", "c.mp4"]
    assert to_send(store) == ["alone.mp4", "a.mp4", "b.mp4"]


def test_a_reading_ends_with_the_program(
    store: Store, comparer: Comparer, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nobody else waits for it: the queue can be written meanwhile."""
    put("a.mp4")
    job = put("b.mp4")

    def stop_amid(fd: int, beat: Callable[[], None]) -> str:
        other = threading.Thread(target=lambda: setattr(store.settings, "paused", True))
        other.start()
        other.join(5)
        assert store.settings.paused
        comparer.stop_event.set()
        return fingerprint_of(fd, beat)

    monkeypatch.setattr("megamax_sync.upload.comparer.fingerprint_of", stop_amid)
    with pytest.raises(UploadCancelled):
        comparer.step()
    assert fresh(store, job).fingerprint is None
    assert to_send(store) == ["a.mp4"]


@pytest.mark.parametrize("what", ["gone", "changed", "a folder", "unreadable"])
def test_what_cannot_be_read_is_for_the_upload_to_find_out(
    store: Store, comparer: Comparer, put: Put, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is let go, as the upload says what is wrong, and hands it back."""
    put("a.mp4")
    job = put("b.mp4")
    if what == "changed":
        Path(os.fsdecode(job.path)).write_bytes(b"longer than it was")
    elif what == "unreadable":
        deny(monkeypatch, job)
    else:
        os.unlink(job.path)
        if what == "a folder":
            os.mkdir(job.path)
    comparer.step()
    assert to_send(store) == ["a.mp4", "b.mp4"]


def deny(monkeypatch: pytest.MonkeyPatch, job: Job) -> None:
    """Have a file refuse to be opened, as root can open any."""
    real = os.open

    def refuse(path: bytes, flags: int, *rest: int, **more: int) -> int:
        if path == job.path:
            raise PermissionError(13, "no")
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)


@pytest.mark.parametrize("what", ["gone", "changed"])
def test_one_whose_content_is_about_to_be_known_is_waited_for(
    store: Store, comparer: Comparer, put: Put, what: str
) -> None:
    """It is being sent, perhaps from where it was moved to."""
    first = put("a.mp4")
    assert store.jobs.claim("me", cleared=True) == fresh(store, first)
    second = put("b.mp4")
    if what == "gone":
        os.unlink(first.path)
    else:
        Path(os.fsdecode(first.path)).write_bytes(b"other")
    comparer.step()
    assert fresh(store, second).original == first.id


def test_one_that_nobody_can_read_holds_nobody_up(
    store: Store, comparer: Comparer, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own upload fails for the same reason."""
    first = put("a.mp4")
    put("b.mp4")
    deny(monkeypatch, first)
    comparer.step()
    assert to_send(store) == ["a.mp4", "b.mp4"]


def test_an_old_upload_of_unknown_content_holds_nobody_up(
    store: Store, comparer: Comparer, put: Put
) -> None:
    """Its file is gone: nobody will ever know."""
    first = put("a.mp4")
    claimed = store.jobs.claim("me", cleared=True)
    assert claimed is not None
    store.jobs.arrived(
        claimed,
        hashid="h",
        status="converted",
        name="a",
        size=5,
        uploaded_at=None,
        fingerprint=None,
        stamp=claimed.stamp,
        reason="test",
    )
    os.unlink(first.path)
    put("b.mp4")
    comparer.step()
    assert to_send(store) == ["b.mp4"]


def test_a_lost_upload_is_looked_for_before_anything_else(
    store: Store, comparer: Comparer, put: Put
) -> None:
    """What it may have brought to the account must not be forgotten."""
    put("a.mp4")
    job = put("b.mp4")
    attempt = store.journal.begin(job)
    store.journal.unknown(attempt, "lost", None)
    comparer.step()
    assert to_send(store) == ["a.mp4", "b.mp4"]


def test_a_link_that_takes_the_place_of_its_file_is_a_move(
    store: Store, comparer: Comparer, put: Put
) -> None:
    """Some programs move by link and unlink: when it was found, both names were there."""
    first = put("a.mp4")
    path = Path(os.fsdecode(first.path)).with_name("b.mp4")
    os.link(first.path, path)
    second = queue(store, path, path.parent)
    os.unlink(first.path)
    comparer.step()
    assert fresh(store, first).path == second.path
    assert store.jobs.get(second.id) is None


def test_a_job_that_is_dropped_while_it_is_read(
    store: Store, comparer: Comparer, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing becomes of it."""
    put("a.mp4")
    job = put("b.mp4")

    def drop(fd: int, beat: Callable[[], None]) -> str:
        store.orders.forget(job)
        return fingerprint_of(fd, beat)

    monkeypatch.setattr("megamax_sync.upload.comparer.fingerprint_of", drop)
    comparer.step()
    assert store.jobs.get(job.id) is None
    assert to_send(store) == ["a.mp4"]


def test_a_file_that_is_written_while_it_is_read(
    store: Store, comparer: Comparer, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read is not its content."""
    put("a.mp4")
    job = put("b.mp4")

    def write(fd: int, beat: Callable[[], None]) -> str:
        made = fingerprint_of(fd, beat)
        Path(os.fsdecode(job.path)).write_bytes(b"other")
        os.utime(job.path, ns=(1, 1))
        return made

    monkeypatch.setattr("megamax_sync.upload.comparer.fingerprint_of", write)
    comparer.step()
    assert fresh(store, job).fingerprint is None
