"""MEGAMAX_AFTER_DONE: what is deleted or moved, and what never is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from megamax_sync import sidecar
from megamax_sync.after import moving
from megamax_sync.after.putter import Putter
from megamax_sync.errors import StoreFull
from megamax_sync.job import FileStamp, Job
from megamax_sync.sidecar import Placement
from megamax_sync.store import Outbox

from .conftest import Shelf

SIDECAR = ".megamax.json"


def test_delete_leaves_the_sidecar(shelf: Shelf) -> None:
    """The video goes, its links stay, and the history says so."""
    job = shelf.done()
    shelf.put_away(delete=True)
    assert shelf.files() == [f"in/a.mkv{SIDECAR}"]
    assert shelf.store.views.history(job)[-1].reason == "the video was deleted"
    assert not shelf.left()


def test_the_sidecar_of_a_deleted_video_is_written_again(shelf: Shelf) -> None:
    """It is all that is left of it, and nobody but we has deleted the video."""
    job = shelf.done()
    shelf.put_away(delete=True)
    (shelf.watched / f"a.mkv{SIDECAR}").unlink()
    shelf.store.tracking.track(shelf.fetch(job), checks=1, sidecar_due=1)
    shelf.write_sidecars()
    assert shelf.files() == [f"in/a.mkv{SIDECAR}"]


def test_a_move_keeps_subfolders_and_takes_the_sidecar_along(shelf: Shelf) -> None:
    """The tree below the watched folder, the job's path, the links: all are where the video is."""
    job = shelf.done("show/s1/e1.mkv")
    shelf.put_away()
    assert shelf.files() == ["out/show/s1/e1.mkv", f"out/show/s1/e1.mkv{SIDECAR}"]
    moved = shelf.fetch(job)
    assert moved.path == os.fsencode(shelf.target / "show/s1/e1.mkv")
    assert moved.sidecar == moved.path + SIDECAR.encode()
    assert (moved.root, moved.state) == (None, job.state)
    written = sidecar.read(moved.sidecar)
    assert written is not None
    assert written.hashid == job.hashid
    assert not shelf.left()


def test_across_file_systems(far: Shelf) -> None:
    """A copy, and then the original goes; times and mode are kept."""
    job = far.done("show/e1.mkv", os.urandom(1_500_000))
    before = os.stat(far.watched / "show/e1.mkv")
    far.put_away()
    assert far.files() == ["out/show/e1.mkv", f"out/show/e1.mkv{SIDECAR}"]
    after = os.stat(far.target / "show/e1.mkv")
    assert (after.st_mtime_ns, after.st_mode) == (before.st_mtime_ns, before.st_mode)
    assert far.fetch(job).stamp.ino == after.st_ino


@pytest.mark.parametrize("taken", ["a.mkv", f"a.mkv{SIDECAR}"])
def test_a_taken_name_gets_a_number(shelf: Shelf, taken: str) -> None:
    """Neither a video nor a sidecar is overwritten, nor the place of another job's video taken."""
    (shelf.target / taken).write_bytes(b"another's")
    shelf.done()
    shelf.put_away()
    assert (shelf.target / taken).read_bytes() == b"another's"
    assert f"out/a (2).mkv{SIDECAR}" in shelf.files()
    (shelf.target / "a (2).mkv").unlink()
    (shelf.target / f"a (2).mkv{SIDECAR}").unlink()
    shelf.done()
    shelf.put_away()
    assert "out/a (3).mkv" in shelf.files()


def test_a_name_that_is_taken_at_the_last_moment(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rename itself refuses to replace."""
    shelf.done()
    rename = moving.rename_anew

    def race(source: bytes, target: bytes) -> None:
        if target.endswith(b"a.mkv"):
            (shelf.target / "a.mkv").write_bytes(b"another's")
        rename(source, target)

    monkeypatch.setattr(moving, "rename_anew", race)
    shelf.put_away()
    assert (shelf.target / "a.mkv").read_bytes() == b"another's"
    assert (shelf.target / "a (2).mkv").read_bytes() == b"video"


def test_every_name_taken_is_said(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """However odd: the video stays and is tried again."""
    shelf.done()
    monkeypatch.setattr(Putter, "_is_taken", lambda *_args: True)
    monkeypatch.setattr(moving, "names", lambda path: [path])
    with capture_logs() as events:
        shelf.put_away()
    assert [one["event"] for one in events if one["event"] == "after.failed"] == ["after.failed"]
    assert (shelf.watched / "a.mkv").exists()


def rewrite(path: Path) -> None:
    """The same size, another content."""
    path.write_bytes(b"VIDEO")


def grow(path: Path) -> None:
    """Another size."""
    path.write_bytes(b"video and more")


def replace_by_link(path: Path) -> None:
    """A link to the same content."""
    path.rename(path.with_suffix(".away"))
    path.symlink_to(path.with_suffix(".away"))


@pytest.mark.parametrize("change", [rewrite, grow])
@pytest.mark.parametrize("delete", [True, False])
def test_a_changed_file_is_kept(shelf: Shelf, change: Callable[[Path], None], delete: bool) -> None:
    """It is not what was uploaded: said, and left alone for good."""
    job = shelf.done()
    change(shelf.watched / "a.mkv")
    with capture_logs() as events:
        shelf.put_away(delete=delete)
    assert "file.kept" in {one["event"] for one in events}
    assert shelf.files() == ["in/a.mkv", f"in/a.mkv{SIDECAR}"]
    assert "kept" in shelf.store.views.history(job)[-1].reason
    assert not shelf.left()


def test_what_has_another_content_is_queued_once(shelf: Shelf) -> None:
    """The watch has to find it finished, and may have queued it itself by then."""
    job = shelf.done()
    rewrite(shelf.watched / "a.mkv")
    shelf.put_away()
    latest = shelf.store.jobs.latest(job.path)
    assert latest is not None
    assert latest.id != job.id
    assert (latest.ready, latest.root, latest.folder) == (False, job.root, job.folder)
    shelf.put_away()
    assert shelf.store.jobs.latest(job.path) == latest


@pytest.mark.parametrize("delete", [True, False])
def test_what_was_not_sent_from_here_is_kept(shelf: Shelf, delete: bool) -> None:
    """Its stamp and fingerprint are those of the file, and say nothing of what was uploaded."""
    job = shelf.done(own=False)
    with capture_logs() as events:
        shelf.put_away(delete=delete)
    assert "file.kept" in {one["event"] for one in events}
    assert shelf.files() == ["in/a.mkv", f"in/a.mkv{SIDECAR}"]
    assert "not sent from here" in shelf.store.views.history(job)[-1].reason
    assert not shelf.left()


@pytest.mark.parametrize("delete", [True, False])
def test_a_touched_file_is_told_by_its_content(shelf: Shelf, delete: bool) -> None:
    """Other times, another inode, the same content: it is the one."""
    shelf.done()
    path = shelf.watched / "a.mkv"
    shutil.copy(path, shelf.watched / "b")
    os.replace(shelf.watched / "b", path)
    shelf.put_away(delete=delete)
    assert not path.exists()


def test_without_a_fingerprint_a_touched_file_is_kept(shelf: Shelf) -> None:
    """Nobody can tell."""
    shelf.done(fingerprint=False)
    os.utime(shelf.watched / "a.mkv")
    shelf.put_away(delete=True)
    assert (shelf.watched / "a.mkv").exists()


def test_a_file_written_while_it_is_compared_is_kept(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read is not what is there."""
    shelf.done()
    path = shelf.watched / "a.mkv"
    os.utime(path)
    monkeypatch.setattr(Putter, "_tick", lambda _self: os.utime(path))
    shelf.put_away(delete=True)
    assert path.exists()


def test_a_file_replaced_in_between_is_kept(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verified is one file, and under the name lies another, or none."""
    shelf.done()
    path, verify = shelf.watched / "a.mkv", Putter._verify

    def swap(self: Putter, fd: int, job: Job) -> Any:
        stamp = verify(self, fd, job)
        path.unlink()
        if job.id == 1:
            path.write_bytes(b"newer")
        return stamp

    monkeypatch.setattr(Putter, "_verify", swap)
    shelf.put_away(delete=True)
    assert path.read_bytes() == b"newer"
    shelf.done()
    shelf.wait_out(delete=True)
    assert not shelf.left()


def test_a_newer_job_of_the_path_decides(shelf: Shelf) -> None:
    """The file is another's now."""
    shelf.done()
    shelf.store.jobs.add(
        os.fsencode(shelf.watched / "a.mkv"),
        shelf.fetch(1).stamp, root=None, folder=None, ready=False, reason="the file was replaced",
    )  # fmt: skip
    shelf.put_away(delete=True)
    assert (shelf.watched / "a.mkv").exists()


@pytest.mark.parametrize("delete", [True, False])
@pytest.mark.parametrize("gone", [True, False])
def test_what_is_not_there_is_no_trouble(shelf: Shelf, delete: bool, gone: bool) -> None:
    """Deleted by somebody else, or a link in its place; a job that was dropped is left alone."""
    job = shelf.done()
    if gone:
        replace_by_link(shelf.watched / "a.mkv")
    else:
        shelf.store.orders.forget(job)
    shelf.wait_out(delete=delete)
    assert not shelf.left()
    assert (shelf.watched / ("a.away" if gone else "a.mkv")).read_bytes() == b"video"


@pytest.mark.parametrize("delete", [True, False])
def test_a_video_that_was_just_renamed_is_waited_for(shelf: Shelf, delete: bool) -> None:
    """Where folders are polled, its job follows it some seconds later."""
    job = shelf.done()
    renamed = shelf.watched / "b.mkv"
    (shelf.watched / "a.mkv").rename(renamed)
    putter = shelf.putter(delete=delete)
    for _ in range(2):
        putter.step()
        shelf.clock.ahead += 6.0
    root, stamp = os.fsencode(shelf.watched), FileStamp.of(os.lstat(renamed))
    assert shelf.store.moving.move_to(job, os.fsencode(renamed), root, stamp)
    putter.step()
    assert not renamed.exists()
    assert (shelf.target / "b.mkv").exists() != delete


def test_other_names_of_the_file_stay(shelf: Shelf) -> None:
    """A hard link elsewhere is the user's: only the name in the watched folder goes."""
    shelf.done()
    os.link(shelf.watched / "a.mkv", shelf.watched / "seeding.mkv")
    shelf.put_away(delete=True)
    assert (shelf.watched / "seeding.mkv").read_bytes() == b"video"
    assert not (shelf.watched / "a.mkv").exists()


def test_a_missing_folder_is_said_and_waited_for(shelf: Shelf) -> None:
    """It is not made: a disk that is not mounted must not fill the one below. Said once."""
    shelf.done()
    shelf.done("b.mkv")
    shelf.target.rmdir()
    putter = shelf.putter()
    with capture_logs() as events:
        assert (putter.step() or 0) > 1
    (said,) = [one for one in events if one["event"] == "after.failed"]
    assert str(shelf.target) in said["error"]
    assert not shelf.store.outbox.owed()
    shelf.target.mkdir()
    shelf.store.database.write("UPDATE outbox SET due_at = 0")
    shelf.put_away()
    assert "out/b.mkv" in shelf.files()


def test_a_full_folder_is_a_problem_until_there_is_room(far: Shelf) -> None:
    """Nothing is left there, nothing is lost here, and the problem goes with the first success."""
    far.done(data=os.urandom(3_000_000))
    putter = far.putter()
    with capture_logs() as events:
        putter.step()
    assert [one["event"] for one in events] == ["after.failed"]
    assert isinstance(far.troubles["after-done"], StoreFull)
    assert far.files() == ["in/a.mkv", f"in/a.mkv{SIDECAR}"]
    far.done("small.mkv")
    putter.step()
    assert "out/small.mkv" in far.files()
    assert "after-done" not in far.troubles


def test_a_file_that_was_handed_in(shelf: Shelf) -> None:
    """It is moved by its name; one that lies in that folder already stays where it is."""
    (shelf.watched / "deep").mkdir()
    (shelf.watched / "deep/a.mkv").write_bytes(b"video")
    shelf.finish(shelf.watched / "deep/a.mkv")
    (shelf.target / "there.mkv").write_bytes(b"other")
    shelf.finish(shelf.target / "there.mkv")
    shelf.put_away()
    assert shelf.files() == [
        "out/a.mkv", f"out/a.mkv{SIDECAR}", "out/there.mkv", f"out/there.mkv{SIDECAR}",
    ]  # fmt: skip
    assert not shelf.left()


def test_sidecars_in_a_folder_of_their_own(shelf: Shelf, tmp_path: Path) -> None:
    """The new one lies there by the video's new path, and the old one goes."""
    shelf.placement = Placement(os.fsencode(tmp_path / "links"), [os.fsencode(shelf.watched)])
    shelf.done("show/a.mkv")
    shelf.put_away()
    links = tmp_path / "links/.elsewhere"
    found = [path.relative_to(links) for path in (tmp_path / "links").rglob("*.json")]
    assert found == [(shelf.target / f"show/a.mkv{SIDECAR}").relative_to("/")]


def test_a_sidecar_that_cannot_be_written_there_stays_here(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for, and not for ever; another's is never removed."""
    job = shelf.done()
    putter = shelf.putter()
    putter.step()
    assert putter.step() == 3.0
    assert shelf.store.outbox.owed()
    now = shelf.clock.monotonic()
    monkeypatch.setattr(shelf.clock, "monotonic", lambda: now + 4)
    putter.step()
    assert not shelf.store.outbox.owed()
    monkeypatch.undo()
    assert (shelf.watched / f"a.mkv{SIDECAR}").exists()
    # As if the video's folder had been removed: nobody is left to read it there.
    shelf.store.tracking.sidecar_written(shelf.fetch(job), None)
    shelf.store.database.write("UPDATE outbox SET due_at = 0")
    putter.step()
    assert (shelf.watched / f"a.mkv{SIDECAR}").exists()
    assert not shelf.left()


def test_an_old_sidecar_of_another_upload_stays(shelf: Shelf) -> None:
    """Whatever lies under its name by now: only our own is taken away."""
    shelf.done()
    putter = shelf.putter()
    putter.step()
    old = shelf.watched / f"a.mkv{SIDECAR}"
    old.write_text(old.read_text("utf-8").replace('"H1"', '"H2"'), "utf-8")
    shelf.write_sidecars()
    putter.step()
    assert old.exists()
    assert not shelf.left()


def test_the_stop_ends_a_long_copy(far: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left behind, and the next start begins again."""
    far.done(data=os.urandom(1_500_000))
    putter = far.putter()
    monkeypatch.setattr(putter, "beat", far.stop.set)
    putter.step()
    assert far.files() == ["in/a.mkv", f"in/a.mkv{SIDECAR}"]
    assert putter.step() is None
    far.stop.clear()
    far.put_away()
    assert "out/a.mkv" in far.files()


class _Killed(BaseException):
    """As far as the code can tell: it is over."""


#: Whatever changes something, on the disk or in the queue.
_ACTS: list[tuple[Any, str]] = [
    (moving, "copy"),
    (moving, "rename_anew"),
    (os, "unlink"),
    (os, "rename"),
    (os, "link"),
    (Outbox, "aim"),
    (Outbox, "put_away"),
    (Outbox, "delivered"),
]


def _kill_at(monkeypatch: pytest.MonkeyPatch, moment: int, *, before: bool) -> list[str]:
    """Have the act of this number end it all, before or after it is done; return what was done."""
    acts: list[str] = []
    for owner, name in _ACTS:
        act = getattr(owner, name)

        def wrapped(*args: Any, act: Any = act, name: str = name, **more: Any) -> Any:
            acts.append(name)
            mine = len(acts)
            if before and mine == moment:
                raise _Killed
            try:
                return act(*args, **more)
            finally:
                if mine == moment:
                    raise _Killed

        monkeypatch.setattr(owner, name, wrapped)
    return acts


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("how", ["rename", "link", "over own", "copy", "copy unmarked", "delete"])
def test_no_kill_loses_or_doubles_a_video(
    far: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, before: bool
) -> None:
    """At each step, before it or after it: the next start comes to the same end."""
    if not how.startswith("copy"):
        far.target = tmp_path / "near"
        far.target.mkdir()
    if how in {"link", "over own"}:
        monkeypatch.setattr(moving, "_renameat2", lambda _source, _target: 22)
    if how == "over own":
        monkeypatch.setattr(moving, "_rename_over_own", moving._rename_over_own)

        def refuse(*_args: Any, **_more: Any) -> None:
            raise PermissionError(1, "no links")

        monkeypatch.setattr(os, "link", refuse)
    delete = how == "delete"
    for moment in range(1, 30):
        data = os.urandom(1000)
        job = far.done(f"{moment}.mkv", data, fingerprint=how != "copy unmarked")
        with monkeypatch.context() as patch:
            acts = _kill_at(patch, moment, before=before)
            try:
                far.put_away(delete=delete)
            except _Killed:
                pass
            else:
                break
        if delete:
            far.wait_out(delete=True)
        else:
            far.put_away()
        there = [
            path.name
            for folder in (far.watched, far.target)
            for path in folder.rglob("*")
            if path.is_file() and path.read_bytes() == data
        ]
        assert there == ([] if delete else [f"{moment}.mkv"]), acts
        assert not far.left(), acts
        hidden = [name for name in far.files() if "/." in name]
        assert hidden == [], acts
        sidecars = [name for name in far.files() if name.endswith(f"/{moment}.mkv{SIDECAR}")]
        folder = "in" if delete else far.target.name
        assert sidecars == [f"{folder}/{moment}.mkv{SIDECAR}"], acts
        if not delete:
            assert far.fetch(job).path == os.fsencode(far.target / f"{moment}.mkv")
    assert moment > 2
