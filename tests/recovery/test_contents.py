"""With the queue lost, a sidecar belongs to the content that it names, wherever that lies now."""

from __future__ import annotations

import os
import shutil
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from upload.pipeline import Rig, rig, wait_for

from megamax_sync.clock import Clock
from megamax_sync.job import JobState
from megamax_sync.recovery.gathering import Gathering
from megamax_sync.sidecar import Placement, Sidecar
from megamax_sync.store import Store


def lose(made: Rig) -> None:
    """Take the queue away, with nobody at work."""
    for suffix in ("", "-wal", "-shm"):
        (made.folder / f"state/queue.db{suffix}").unlink(missing_ok=True)


def uploaded(made: Rig, *names: str) -> dict[str, bytes]:
    """Have new files of one size uploaded, and stop; return their contents."""
    contents = {name: made.put(name) for name in names}
    made.start()
    made.wait_done(*names)
    assert made.stop()
    return contents


def replace(made: Rig, name: str, *, older: bool = False) -> bytes:
    """Put another video of the size in a file's place; ``older``: with times before all uploads."""
    data = made.put(name)
    if older:
        os.utime(made.drop / name, (1e9, 1e9))
    return data


def document(**source: object) -> dict[str, object]:
    """What a sidecar says of a video of ten bytes."""
    told = {"name": "a.mp4", "size": 10, "mtime_ns": "1", "fingerprint": "xxh3-128:0", **source}
    nothing = dict.fromkeys(
        ("folder", "poster", "uploaded_at", "converted_at", "direct_error"), None
    )
    return {
        "schema": 1,
        "service": "https://api.example/api",
        "account": "0",
        "hashid": "H",
        "name": "a",
        "status": "converted",
        "size": 10,
        "source": told,
        "updated_at": "2023-04-15T03:40:02Z",
        "mirrors": [],
        "direct": [],
        **nothing,
    }


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("folder", ["", "sidecars"])
def test_a_video_that_was_replaced_is_sent(tmp_path: Path, folder: str, older: bool) -> None:
    """Its sidecar says that the upload of that name and size is another content."""
    with rig(tmp_path) as made:
        if folder:
            made.environ["MEGAMAX_SIDECAR_DIR"] = str(tmp_path / folder)
        (first,) = uploaded(made, "a.mp4").values()
        second = replace(made, "a.mp4", older=older)
        lose(made)
        made.start()
        made.wait_done("a.mp4")
        assert (len(made.remote(first)), len(made.remote(second))) == (1, 1)
        assert made.the_job("a.mp4").hashid == made.remote(second)[0].hashid
        assert made.said("queue.lost")


@pytest.mark.parametrize("folder", [None, b"/sidecars"])
@pytest.mark.parametrize("roots", [[b"/v"], [b"/v", b"/w/v"], [b"/v", b"/w"]])
@pytest.mark.parametrize("path", [b"/v/a.mp4", b"/v/s/a.mp4", b"/w/v/s/a.mp4", b"/w/a.mp4"])
def test_a_sidecars_place_tells_where_its_video_lay(
    folder: bytes | None, roots: list[bytes], path: bytes
) -> None:
    """Beside it, or in a folder that mirrors all, for a file in no watched folder, too."""
    placement = Placement(folder, roots)
    root = next((one for one in roots if path.startswith(one + b"/")), None)
    where = placement.of(path, root)
    told = Sidecar.model_validate(document(name="../a.mp4"))
    assert placement.video_of(where, told) == path


def replaced_since_a_backup(made: Rig, tmp_path: Path) -> bytes:
    """Have ``a.mp4`` uploaded, a backup made, and a second version uploaded, which is returned."""
    uploaded(made, "a.mp4")
    store = made.start().store
    store.database.copy_to(os.fspath(tmp_path / "backup.db"))
    second = replace(made, "a.mp4")
    wait_for(lambda: made.remote(second))
    made.wait_done("a.mp4")
    assert made.stop()
    return second


@pytest.mark.parametrize("older", [False, True])
def test_a_video_that_was_replaced_since_a_later_version_than_the_backups_is_sent(
    tmp_path: Path, older: bool
) -> None:
    """The backup knows the first, the sidecar the second; the third is neither."""
    with rig(tmp_path) as made:
        second = replaced_since_a_backup(made, tmp_path)
        third = replace(made, "a.mp4", older=older)
        lose(made)
        shutil.copy(tmp_path / "backup.db", tmp_path / "state/queue.db")
        made.start()
        wait_for(lambda: made.remote(third), 15.0)
        made.wait_done("a.mp4")
        assert made.the_job("a.mp4").hashid == made.remote(third)[0].hashid
        assert len(made.remote(second)) == 1


def test_a_version_after_the_backups_that_was_touched_is_not_sent_again(tmp_path: Path) -> None:
    """Its sidecar has its content; that the backup has another one of that path is no matter."""
    with rig(tmp_path) as made:
        second = replaced_since_a_backup(made, tmp_path)
        os.utime(made.drop / "a.mp4", (1e9, 1e9))
        lose(made)
        shutil.copy(tmp_path / "backup.db", tmp_path / "state/queue.db")
        made.start()
        wait_for(lambda: made.said("upload.reconciled"))
        made.wait_done("a.mp4")
        assert made.the_job("a.mp4").hashid == made.remote(second)[0].hashid
        assert made.calls("upload") == 2


@pytest.mark.parametrize("folder", ["", "sidecars"])
def test_a_video_that_was_renamed_is_known_and_its_sidecar_follows(
    tmp_path: Path, folder: str
) -> None:
    """Nothing is sent, though another video lies under the old name."""
    with rig(tmp_path) as made:
        places = tmp_path / folder if folder else made.drop
        if folder:
            made.environ["MEGAMAX_SIDECAR_DIR"] = str(places)
        contents = uploaded(made, "a.mp4", "s/b.mp4")
        lose(made)
        (made.drop / "a.mp4").rename(made.drop / "moved.mp4")
        (made.drop / "s").rename(made.drop / "t")
        if not folder:
            # Whoever renames files one by one leaves their sidecars where they are.
            (made.drop / "s").mkdir()
            (made.drop / "t/b.mp4.megamax.json").rename(made.drop / "s/b.mp4.megamax.json")
        made.start()
        made.wait_done("moved.mp4", "t/b.mp4")
        assert made.calls("upload") == 2
        for name, old in (("moved.mp4", "a.mp4"), ("t/b.mp4", "s/b.mp4")):
            hashid = made.remote(contents[old])[0].hashid
            assert made.the_job(name).hashid == hashid
            wait_for((places / f"{name}.megamax.json").exists)
            wait_for(lambda old=old: not (places / f"{old}.megamax.json").exists())  # type: ignore[misc]  # the default binds the loop's value; mypy cannot tell its type
        new = made.put("a.mp4")
        made.wait_done("a.mp4")
        assert len(made.remote(new)) == 1


def test_videos_that_have_changed_places_are_known_by_their_contents(tmp_path: Path) -> None:
    """Of one name and size, so that the list cannot tell them apart."""
    with rig(tmp_path) as made:
        contents = uploaded(made, "one/ep.mp4", "two/ep.mp4")
        lose(made)
        (made.drop / "one/ep.mp4").rename(tmp_path / "ep.mp4")
        (made.drop / "two/ep.mp4").rename(made.drop / "one/ep.mp4")
        (tmp_path / "ep.mp4").rename(made.drop / "two/ep.mp4")
        made.start()
        made.wait_done("one/ep.mp4", "two/ep.mp4")
        assert made.calls("upload") == 2
        for name, old in (("one/ep.mp4", "two/ep.mp4"), ("two/ep.mp4", "one/ep.mp4")):
            assert made.the_job(name).hashid == made.remote(contents[old])[0].hashid
            wait_for(lambda name=name: not made.the_job(name).sidecar_due)  # type: ignore[misc]  # the default binds the loop's value; mypy cannot tell its type
            document = made.sidecar(name)
            assert document is not None
            assert document["hashid"] == made.the_job(name).hashid


def test_a_copy_leaves_the_sidecar_to_the_video_that_it_lies_beside(tmp_path: Path) -> None:
    """Of two files of the content the one that is described keeps its upload."""
    with rig(tmp_path) as made:
        uploaded(made, "z.mp4")
        lose(made)
        shutil.copy(made.drop / "z.mp4", made.drop / "a.mp4")
        made.start()
        made.wait_state("a.mp4", JobState.SKIPPED)
        made.wait_done("z.mp4")
        assert made.calls("upload") == 1
        assert (made.drop / "z.mp4.megamax.json").exists()


def test_a_disk_that_comes_back_after_a_loss_has_its_sidecars_believed(tmp_path: Path) -> None:
    """What lies on it is old, so the list is asked; not for an upload that is another content."""
    with rig(tmp_path) as made:
        (first,) = uploaded(made, "s/a.mp4").values()
        (made.drop / "s").rename(tmp_path / "away")
        lose(made)
        made.start()
        wait_for(lambda: made.said("queue.lost"))
        wait_for(made.daemon.watcher.taken_in.is_set)
        second = os.urandom(2000)
        (tmp_path / "away/a.mp4").write_bytes(second)
        os.utime(tmp_path / "away/a.mp4", (1e9, 1e9))
        (tmp_path / "away").rename(made.drop / "s")
        made.wait_done("s/a.mp4")
        assert made.the_job("s/a.mp4").hashid == made.remote(second)[0].hashid
        assert len(made.remote(first)) == 1


def test_without_a_sidecar_what_is_younger_than_the_upload_is_sent(tmp_path: Path) -> None:
    """An earlier version of it lies in the account: nobody says that this one does."""
    with rig(tmp_path) as made:
        (first,) = uploaded(made, "a.mp4").values()
        (made.drop / "a.mp4.megamax.json").unlink()
        second = replace(made, "a.mp4")
        later = time.time() + 3600.0
        os.utime(made.drop / "a.mp4", (later, later))
        lose(made)
        made.start()
        made.wait_done("a.mp4")
        assert (len(made.remote(first)), len(made.remote(second))) == (1, 1)
        assert made.said("upload.ambiguous")[0]["reason"] == "it is older than the file"


def test_any_number_of_sidecars_is_gathered_in_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they say is kept in the queue, a piece at a time."""
    made = Sidecar.model_validate(document())

    def many(*_: object) -> Iterator[tuple[bytes, Sidecar]]:
        for number in range(20_000):
            source = made.source.model_copy(update={"fingerprint": f"xxh3-128:{number:032x}"})
            more = {"hashid": f"H{number:013}", "source": source}
            yield b"/videos/a folder of videos/%013d.mp4" % number, made.model_copy(update=more)

    monkeypatch.setattr(Gathering, "read_all", many)
    with Store(str(tmp_path / "queue.db"), Clock()) as store:
        gathering = Gathering(store, Placement(None, []))
        tracemalloc.start()
        try:
            gathering.gather(lambda: None, lambda _found: True)
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()
        assert store.ties.of_content(10, f"xxh3-128:{19_999:032x}")
