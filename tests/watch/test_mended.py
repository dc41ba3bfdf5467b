"""What random changes to real folders have brought to light."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from megamax_sync.watch.canary import PREFIX
from megamax_sync.watch.observer import Observer
from megamax_sync.watch.roots import Roots

from .field import Field, until


def test_an_observer_that_notes_two_watches_for_one_path_can_be_stopped(tmp_path: Path) -> None:
    """watchdog does so after folders were moved, and would leave its threads behind."""
    (tmp_path / "a").mkdir()
    observer = Observer(lambda _folder, _subtree: None)
    observer.start()
    root = os.fsencode(tmp_path)
    observer.watch(root)
    group: Any = next(iter(observer._observer.emitters))
    watches = group._inotify._active_callbacks_by_watch
    watches[10_000] = root + b"/a"
    threads = [observer._observer, observer._inotify, group]
    observer.stop(5)
    until(lambda: not any(thread.is_alive() for thread in threads))


def test_a_link_to_a_folder_in_a_tree_that_is_moved_in_is_not_entered(field: Field) -> None:
    """Its event calls it a folder; what lies behind it is none of ours."""
    (field.base / "else").mkdir()
    (field.base / "else/out.mkv").write_bytes(b"video")
    tree = field.base / "tree"
    tree.mkdir()
    (tree / "in.mkv").write_bytes(b"video")
    (tree / "link").symlink_to(field.base / "else")
    watcher = field.watch(settle=0.05, observe=True)
    watcher.start()
    assert watcher.scanned.wait(10)
    tree.rename(field.drop / "tree")
    until(lambda: field.queued() == {"drop/tree/in.mkv"})
    watcher.mark(os.fsencode(field.drop / "tree/link"), True)
    until(lambda: not watcher._walker.busy)
    assert field.queued() == {"drop/tree/in.mkv"}


def test_a_start_on_a_disk_that_is_not_there_calls_nothing_vanished(field: Field) -> None:
    """The folder is empty, and files of it wait in the queue: so it is the disk that is missing."""
    path = field.file("a.mkv")
    field.run(field.watch())
    job = field.store.jobs.claim("owner")
    assert job is not None
    field.store.jobs.release(job, "it cannot be opened", ready=False)
    field.drop.rename(field.base / "disk")
    field.drop.mkdir()
    later = field.watch()
    field.run(later)
    assert field.known(path).error == "its watched folder is missing"
    assert "empty" in (later.coverage.problem() or "")
    field.drop.rmdir()
    (field.base / "disk").rename(field.drop)
    field.run(later, ahead=60)
    assert later.coverage.problem() is None
    assert field.queued() == {"drop/a.mkv"}


def test_our_own_canary_does_not_make_an_empty_folder_believed(tmp_path: Path) -> None:
    """It may be left by a kill, or be sent between two looks."""
    drop = tmp_path / "drop"
    drop.mkdir()
    roots = Roots([os.fsencode(drop)])
    roots.check()
    drop.rename(tmp_path / "away")
    drop.mkdir()
    (drop / os.fsdecode(PREFIX + b"1")).touch()
    assert roots.check() == []
    assert roots.lost(os.fsencode(drop))
