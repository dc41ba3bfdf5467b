"""The watch knows how well it watches, and makes up for what is not watched."""

from __future__ import annotations

import os
import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
from watchdog.observers.inotify_c import InotifyEvent, Mask, WatchDescriptor

from megamax_sync.watch import coverage, limits
from megamax_sync.watch.canary import PREFIX
from megamax_sync.watch.observer import Observer

from .field import Field, until

_OVERFLOW, _UNMOUNT = 0x4000, 0x2000


def raw(mask: int) -> InotifyEvent:
    """An event as the kernel would have reported it."""
    return InotifyEvent(WatchDescriptor(-1), Mask(mask), 0, b"")


def observer_of(watcher: Any) -> Observer:
    """The observer that the watcher's coverage works with now."""
    observer = watcher.coverage._observer
    assert isinstance(observer, Observer)
    return observer


def test_the_private_names_of_watchdog_are_there(tmp_path: Path) -> None:
    """What we rely on without its being public: the reader, its hook, the watched paths."""
    lost: list[str] = []
    observer = Observer(lambda _folder, _subtree: None, lost.append)
    observer.start()
    try:
        (tmp_path / "below").mkdir()
        root = os.fsencode(tmp_path)
        observer.watch(root)
        assert observer.covers(root)
        assert observer.covers(root + b"/below")
        assert not observer.covers(root + b"/nowhere")
        assert not observer.covers(b"/")
        # The reader looks the hook up at each event, so ours is really called.
        assert observer._inotify.handle_event == observer._raw
        observer._inotify.handle_event(raw(_OVERFLOW))
        observer._inotify.handle_event(raw(_UNMOUNT))
        assert [why.split()[0] for why in lost] == ["the", "a"]
        assert observer.fault(lambda _root: False) is None
    finally:
        observer.stop(5)


def test_a_watch_that_is_taken_anew_does_not_cost_more_with_more_folders(tmp_path: Path) -> None:
    """What watchdog says of that, which nobody sees, does not name all other folders."""
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    root = os.fsencode(tmp_path)
    observer = Observer(lambda _folder, _subtree: None)
    observer.start()
    try:
        observer.watch(root)
        observer._inotify.handle_event(raw(_OVERFLOW))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            assert observer.covers(root + b"/one")
    finally:
        observer.stop(5)
    assert len(said) == 1
    assert "other" not in str(said[0].message)


def test_an_error_in_watchdogs_reader_does_not_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told as a loss, and later events still arrive."""
    lost: list[str] = []
    marked = threading.Event()
    observer = Observer(lambda _folder, _subtree: marked.set(), lost.append)
    observer.start()
    try:
        observer.watch(os.fsencode(tmp_path))
        handle = observer._handle_event

        def broken(event: InotifyEvent) -> None:
            raise KeyError(7)

        monkeypatch.setattr(observer, "_handle_event", broken)
        (tmp_path / "a.mkv").touch()
        until(lambda: lost)
        assert "KeyError" in lost[0]
        monkeypatch.setattr(observer, "_handle_event", handle)
        (tmp_path / "b.mkv").touch()
        assert marked.wait(5)
    finally:
        observer.stop(5)


@pytest.mark.parametrize("mask", [_OVERFLOW, _UNMOUNT])
def test_lost_events_are_made_up_for_at_once(field: Field, mask: int) -> None:
    """After an overflow everything is scanned, though no event named the file."""
    watcher = field.watch(observe=True)
    field.run(watcher)
    observer = observer_of(watcher)
    observer.unwatch(os.fsencode(field.drop))
    field.file("quiet.mkv")
    observer._raw(raw(mask))
    field.run(watcher)
    assert field.queued() == {"drop/quiet.mkv"}


@pytest.mark.parametrize("part", ["reader", "dispatcher", "emitter"])
def test_a_dead_thread_of_watchdog_is_replaced(field: Field, part: str) -> None:
    """It is noticed, what was missed is found, and later events arrive."""
    watcher = field.watch(observe=True)
    field.run(watcher)
    before = observer_of(watcher)
    victim: Any = {
        "reader": before._inotify,
        "dispatcher": before._observer,
        "emitter": next(iter(before._observer.emitters)),
    }[part]
    victim.stop()
    until(lambda: not victim.is_alive())
    fault = before.fault(lambda _root: False)
    assert fault is not None
    assert part in fault
    field.file("missed.mkv", age=0.0)
    field.run(watcher, ahead=coverage.CHECK_SECONDS + 1)
    field.run(watcher, ahead=100)
    assert field.queued() == {"drop/missed.mkv"}
    assert observer_of(watcher) is not before
    field.file("later.mkv")
    until(lambda: watcher._walker.busy)


def test_folders_without_a_watch_are_polled(field: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the limit on watches: said once, with the remedy, and nothing is missed."""
    (field.drop / "bare/deep").mkdir(parents=True)
    (field.drop / "other").mkdir()
    covers = Observer.covers
    monkeypatch.setattr(
        Observer, "covers", lambda self, folder: b"bare" not in folder and covers(self, folder)
    )
    monkeypatch.setattr(limits, "refusal", lambda _folder: OSError(28, "No space left on device"))
    watcher = field.watch(observe=True)
    field.run(watcher)
    assert watcher.coverage.problem() is None
    field.run(watcher, ahead=3)
    problem = watcher.coverage.problem()
    assert problem is not None
    assert problem.startswith("2 folders are scanned every 10 s")
    assert "sysctl fs.inotify.max_user_watches" in problem
    assert watcher.coverage.kind == "inotify+polling"
    observer_of(watcher).unwatch(os.fsencode(field.drop))
    field.file("bare/deep/a.mkv")
    field.run(watcher, ahead=coverage.POLL_SECONDS)
    assert field.queued() == {"drop/bare/deep/a.mkv"}
    # The limit is raised: everything is watched anew.
    monkeypatch.setattr(Observer, "covers", covers)
    monkeypatch.setattr(limits, "watches", lambda: "another")
    field.run(watcher, ahead=coverage.CHECK_SECONDS + 1)
    field.run(watcher, ahead=3)
    assert watcher.coverage.problem() is None
    assert watcher.coverage.kind == "inotify"


def test_a_folder_that_is_only_late_to_be_watched_is_no_problem(field: Field) -> None:
    """watchdog adds new folders when it reads of them; that takes a moment."""
    watcher = field.watch(observe=True)
    field.run(watcher)
    (field.drop / "new").mkdir()
    watcher.coverage.visited(os.fsencode(field.drop / "new"))
    until(lambda: observer_of(watcher).covers(os.fsencode(field.drop / "new")))
    field.run(watcher, ahead=3)
    assert watcher.coverage.problem() is None


def test_a_folder_without_a_watch_that_goes_is_forgotten(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody polls what is no more."""
    (field.drop / "bare").mkdir()
    monkeypatch.setattr(Observer, "covers", lambda _self, folder: b"bare" not in folder)
    watcher = field.watch(observe=True)
    field.run(watcher)
    field.run(watcher, ahead=3)
    assert watcher.coverage.kind == "inotify+polling"
    (field.drop / "bare").rmdir()
    field.run(watcher, ahead=coverage.POLL_SECONDS + 1)
    assert watcher.coverage.kind == "inotify"


def test_a_canary_proves_that_events_arrive(field: Field) -> None:
    """It is made in the watched folder, heard, and taken away."""
    watcher = field.watch(observe=True)
    field.run(watcher)
    canary = watcher.coverage._eyes[0].canary
    until(lambda: canary._sung is not None)
    field.run(watcher)
    assert not [name for name in os.listdir(field.drop) if name.startswith(PREFIX.decode())]
    assert canary.due > field.clock.monotonic() + 30


def test_where_events_do_not_arrive_the_folder_is_polled(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three dead canaries: polled, and said so; one that sings later ends that."""
    watcher = field.watch(observe=True)
    coverage_ = watcher.coverage
    monkeypatch.setattr(coverage_._eyes[0].canary, "heard", lambda _path: None)
    field.run(watcher)
    observer_of(watcher).unwatch(os.fsencode(field.drop))
    for _ in range(8):
        field.run(watcher, ahead=6)
    assert "events do not arrive" in (coverage_.problem() or "")
    assert coverage_.kind == "polling"
    field.file("a.mkv")
    field.run(watcher)
    assert field.queued() == {"drop/a.mkv"}
    monkeypatch.undo()
    observer_of(watcher).watch(os.fsencode(field.drop))
    # One may have been out when its event could not arrive yet; the next one comes.
    field.run(watcher, ahead=4000)
    field.run(watcher, ahead=4000)
    canary = coverage_._eyes[0].canary
    until(lambda: canary._flying is not None and canary._sung == canary._flying)
    field.run(watcher)
    assert coverage_.problem() is None
    assert coverage_.kind == "inotify"


def test_a_folder_that_cannot_be_written_is_trusted(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read-only media take no canary, and events are relied on without one."""

    def refusing(path: bytes, *_: object) -> int:
        raise OSError(30, "Read-only file system", path)

    watcher = field.watch(observe=True)
    canary = watcher.coverage._eyes[0].canary
    with monkeypatch.context() as patch:
        patch.setattr("megamax_sync.watch.canary.os.open", refusing)
        assert canary.tick(1.0) is None
    assert canary.due > 1000
    assert watcher.coverage.problem() is None


@pytest.mark.parametrize("mode", ["polling", "auto"])
def test_polling_by_choice_or_by_nature(
    field: Field, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """MEGAMAX_OBSERVER=polling, or a file system like NFS: found within ten seconds, no problem."""
    monkeypatch.setattr(coverage, "is_remote", lambda _path: mode == "auto")
    watcher = field.watch()
    watcher.coverage = coverage.Coverage(
        [os.fsencode(field.drop)],
        watcher.mark,
        mode=mode,
        wake=field.store.database.wake,
        clock=field.clock,
    )
    field.run(watcher)
    assert watcher.coverage.kind == "polling"
    assert watcher.coverage.problem() is None
    field.file("a.mkv", age=0.0)
    field.run(watcher, ahead=coverage.POLL_SECONDS)
    field.run(watcher, ahead=100)
    assert field.queued() == {"drop/a.mkv"}


def test_without_an_inotify_instance_the_folder_is_polled(
    field: Field, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit on instances is reached: polled, and the remedy is named."""

    def refusing(*_: object) -> None:
        raise OSError(24, "inotify instance limit reached")

    monkeypatch.setattr(coverage, "Observer", refusing)
    watcher = field.watch(observe=True)
    field.run(watcher)
    assert "max_user_instances" in (watcher.coverage.problem() or "")
    assert watcher.coverage.kind == "polling"
