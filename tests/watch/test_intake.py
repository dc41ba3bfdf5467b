"""What a finished file means to the queue."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from megamax_sync.errors import StoreFull, UploadCancelled
from megamax_sync.job import Job, JobState
from megamax_sync.watch.intake import Intake
from megamax_sync.watch.need import Need
from megamax_sync.watch.rules import Folders
from megamax_sync.watch.scanner import Found

from .field import Field, digest, stamp_of


def intake(field: Field) -> Intake:
    return Intake(field.store, Folders(7, ()), lambda: None)


def seen(field: Field, path: Path) -> Found:
    return Found(os.fsencode(path), os.fsencode(field.drop), stamp_of(path))


def take(field: Field, path: Path, *, ready: bool = True) -> Job:
    """Sift and take one file as it is; return its newest job."""
    files = intake(field).sift([seen(field, path)])
    assert intake(field).take(files, ready=ready) == []
    return field.known(path)


def touch(path: Path, at: int = 1_000_000_000) -> None:
    os.utime(path, ns=(at, at))


def test_a_new_file_is_a_new_job(field: Field) -> None:
    """Its folder is decided now; found again it is known."""
    path = field.file("a.mkv")
    job = take(field, path)
    assert (job.state, job.ready, job.folder) == (JobState.QUEUED, True, 7)
    assert intake(field).sift([seen(field, path)]) == []


def test_many_files_are_asked_for_in_parts(field: Field) -> None:
    """More files than one query takes are sifted whole."""
    path = field.file("a.mkv")
    many = [Found(b"/%d.mkv" % n, b"/", stamp_of(path)) for n in range(1200)]
    assert intake(field).sift(many) == many


def test_a_file_replaced_while_queued_updates_its_job(field: Field) -> None:
    """What was not sent yet is not sent twice."""
    path = field.file("a.mkv")
    first = take(field, path)
    path.write_bytes(b"longer than before")
    job = take(field, path)
    assert (job.id, job.stamp.size, job.ready) == (first.id, 18, True)


@pytest.mark.parametrize("fingerprint", [None, "xxh3-128:other"])
def test_a_file_replaced_after_its_upload_is_a_new_job(
    field: Field, fingerprint: str | None
) -> None:
    """Of the same size too, if its content is another or the old one is not known."""
    path = field.file("a.mkv")
    take(field, path)
    first = field.upload(path, fingerprint)
    path.write_bytes(b"VIDEO")
    touch(path)
    job = take(field, path)
    assert job.id != first.id
    assert job.state is JobState.QUEUED


def test_a_file_of_another_size_is_a_new_job(field: Field) -> None:
    """Nothing has to be read to know that."""
    path = field.file("a.mkv")
    take(field, path)
    first = field.upload(path, "xxh3-128:whatever")
    path.write_bytes(b"another size")
    assert take(field, path).id != first.id


def test_a_file_only_touched_is_no_new_job(field: Field) -> None:
    """It is read once, and known by its new times from then on."""
    path = field.file("a.mkv")
    take(field, path)
    first = field.upload(path, digest(path))
    touch(path)
    assert take(field, path).id == first.id
    assert intake(field).sift([seen(field, path)]) == []


def test_a_new_inode_number_alone_is_no_new_job(field: Field) -> None:
    """File systems that number anew at a mount must not have a library sent again."""
    path = field.file("a.mkv")
    take(field, path)
    field.upload(path, None)
    data, times = path.read_bytes(), path.stat()
    copy = path.with_name("copy")
    copy.write_bytes(data)
    os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))
    copy.rename(path)
    assert intake(field).sift([seen(field, path)]) == []


def test_a_file_that_cannot_be_read_again_counts_as_replaced(field: Field) -> None:
    """Gone at the second look: the upload finds out."""
    path = field.file("a.mkv")
    take(field, path)
    first = field.upload(path, digest(path))
    touch(path)
    files = [seen(field, path)]
    path.unlink()
    assert intake(field).take(files) == []
    assert field.known(path).id != first.id
    path.mkdir()
    field.store.orders.forget(field.known(path))
    assert intake(field).take([Found(files[0].path, files[0].root, files[0].stamp)]) == []


def test_a_vanished_file_that_returns_is_queued_again(field: Field) -> None:
    """The same job goes on, as the file now is."""
    path = field.file("a.mkv")
    job = take(field, path)
    field.store.jobs.skip(job, "vanished")
    path.write_bytes(b"returned")
    back = take(field, path)
    assert (back.id, back.state, back.ready, back.stamp.size) == (job.id, JobState.QUEUED, True, 8)


def test_a_file_skipped_for_another_reason_stays_skipped(field: Field) -> None:
    """A duplicate is known as long as it does not change."""
    path = field.file("a.mkv")
    field.store.jobs.skip(take(field, path), "duplicate of b.mkv")
    assert take(field, path).state is JobState.SKIPPED


def test_a_failed_file_is_not_tried_again_by_itself(field: Field) -> None:
    """A person has to order that; a replaced one is a new job."""
    path = field.file("a.mkv")
    field.store.jobs.fail(take(field, path), "refused")
    failed = take(field, path)
    assert failed.state is JobState.FAILED
    path.write_bytes(b"another content")
    assert take(field, path).state is JobState.QUEUED


def test_a_forgotten_file_stays_forgotten_until_it_changes(field: Field) -> None:
    """Also one that was being waited for when its job was dropped."""
    path = field.file("a.mkv")
    job = take(field, path, ready=False)
    field.store.orders.forget(job)
    assert intake(field).sift([seen(field, path)]) == []
    assert intake(field).take([seen(field, path)]) == []
    assert field.job(path) is None
    path.write_bytes(b"changed")
    assert take(field, path).ready


def test_a_file_that_changes_while_it_is_sent_comes_later(field: Field) -> None:
    """The upload notices by itself; nothing is queued beside it."""
    path = field.file("a.mkv")
    take(field, path)
    field.store.jobs.claim("owner", None)
    assert intake(field).sift([seen(field, path)]) == []
    path.write_bytes(b"changed")
    files = [seen(field, path)]
    assert intake(field).take(files) == [(files[0], Need.LATER)]


def test_what_is_queued_for_a_daemon_is_not_ready(field: Field) -> None:
    """Another process has not watched the file, so the daemon's watch has to find it finished."""
    path = field.file("a.mkv")
    job = take(field, path, ready=False)
    assert not job.ready
    path.write_bytes(b"still growing")
    assert not take(field, path, ready=False).ready
    field.store.jobs.skip(field.known(path), "vanished")
    back = take(field, path, ready=False)
    assert (back.id, back.state, back.ready) == (job.id, JobState.QUEUED, False)
    assert take(field, path).ready


def test_new_files_do_not_wait_for_a_touched_library(field: Field) -> None:
    """One file is read; when that was long enough, the others are put off, and all new ones
    are queued.
    """
    touched = [field.file(f"old {n}.mkv") for n in range(3)]
    for path in touched:
        take(field, path)
        field.upload(path, digest(path))
        touch(path)
    new = field.file("new.mkv")
    files = [seen(field, path) for path in (*touched, new)]
    later = intake(field).take(files, enough=lambda: True)
    assert later == [(files[1], Need.COMPARE), (files[2], Need.COMPARE)]
    assert field.queued() == {"drop/new.mkv"}
    assert intake(field).sift(files) == files[1:3]


def test_reading_a_file_ends_with_the_stop(field: Field) -> None:
    """A file of many gigabytes does not hold up the end of the program."""

    def beat() -> None:
        raise UploadCancelled("stopping")

    path = field.file("a.mkv")
    take(field, path)
    field.upload(path, digest(path))
    touch(path)
    with pytest.raises(UploadCancelled):
        Intake(field.store, Folders(None, ()), beat).take([seen(field, path)])


def test_few_files_at_both_ends_of_a_library_are_known(field: Field) -> None:
    """The jobs of a folder's folders lie between those of its files."""
    inner = [field.file(f"m/{number}.mkv", age=1) for number in range(150)]
    outer = [field.file("a.mkv"), field.file("z.mkv")]
    for path in (*inner, *outer):
        take(field, path)
    versions = [seen(field, path).version for path in outer]
    assert intake(field).fresh(versions) == set()
    new = field.file("z.mkv", b"another video")
    assert intake(field).fresh([versions[0], seen(field, new).version]) == {os.fsencode(new)}


def test_many_files_of_a_folder_are_asked_about_in_any_order(field: Field) -> None:
    """As they are listed: more of them than one query takes."""
    files = [seen(field, field.file(f"{number}.mkv", age=1)) for number in range(700)]
    intake(field).take(files[:-1])
    assert intake(field).fresh([one.version for one in reversed(files)]) == {files[-1].path}


def test_what_was_not_committed_is_not_said(field: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is called queued once it is, and not where the commit failed."""
    files = intake(field).sift([seen(field, field.file("a.mkv"))])
    run = field.store.database._run
    before = field.store.database._connection.total_changes

    def failing(sql: str, *values: Any) -> object:
        if sql == "COMMIT" and field.store.database._connection.total_changes > before:
            raise StoreFull("no space left")
        return run(sql, *values)

    with capture_logs() as said:
        monkeypatch.setattr(field.store.database, "_run", failing)
        with pytest.raises(StoreFull):
            intake(field).take(files)
        assert said == []
        monkeypatch.undo()
        intake(field).take(files)
    assert [one["event"] for one in said] == ["file.queued"]
