"""A queue that is lost while nobody runs: made again, and nothing is sent a second time."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from upload.pipeline import Rig, rig, wait_for

from megamax_sync import sidecar
from megamax_sync.clock import Clock
from megamax_sync.job import FileStamp, JobState
from megamax_sync.sandbox import Fault
from megamax_sync.store import Store

MIRROR = {
    "driver": "ok",
    "iframe": "https://ok.ru/videoembed/1",
    "link": None,
    "uploaded_at": None,
    "checked_at": None,
}
FEW = ("a.mp4", "b.mkv", "sub/c.mp4", "sub/d.mp4")


def done(made: Rig, names: tuple[str, ...] = FEW) -> dict[str, str]:
    """Have these files uploaded, and the daemon stopped; return the hashid of each."""
    for number, name in enumerate(names):
        made.put(name, size=2000 + number)
    made.start()
    made.wait_done(*names, seconds=50)
    hashids = {name: made.the_job(name).hashid or "" for name in names}
    assert made.stop()
    return hashids


def check(made: Rig, hashids: dict[str, str], uploads: int) -> None:
    """See that all is done again, by the same hashids, and that nothing was sent."""
    made.wait_done(*hashids, seconds=50)
    assert {name: made.the_job(name).hashid for name in hashids} == hashids
    assert made.calls("upload") == uploads
    for name, hashid in hashids.items():
        # Not held against the schema, which takes long.
        text = (made.drop / f"{name}.megamax.json").read_text("utf-8")
        assert json.loads(text)["hashid"] == hashid


def library(made: Rig, names: Sequence[str]) -> dict[str, str]:
    """Make files as another machine has left them: uploaded, with their sidecars, without a state.

    Return the hashid of each.
    """
    hashids = {}
    for number, name in enumerate(names):
        data = made.put(name, size=500 + number)
        record = made.sandbox.add_file(os.path.basename(name), data)
        hashids[name] = record.hashid
        status = (made.drop / name).stat()
        document = {
            "schema": 1,
            "service": made.sandbox.api_url,
            "account": sidecar.account_mark(made.sandbox.login),
            "hashid": record.hashid,
            "name": name,
            "status": "converted",
            "folder": None,
            "size": len(data),
            "poster": None,
            "source": {
                "name": name,
                "size": len(data),
                "mtime_ns": str(status.st_mtime_ns),
                "fingerprint": None,
            },
            "uploaded_at": "2023-04-15T03:15:21Z",
            "converted_at": "2023-04-15T03:40:02Z",
            "updated_at": "2023-04-15T03:40:02Z",
            "mirrors": [{"title": "source", "size": None, "mirrors": [MIRROR]}],
            "direct": [],
            "direct_error": None,
        }
        beside = sidecar.beside(os.fsencode(made.drop / name))
        Path(os.fsdecode(beside)).write_text(json.dumps(document))
    return hashids


def test_a_library_whose_state_is_gone_is_not_sent_again(tmp_path: Path) -> None:
    """200 files without a state folder, then half of the sidecars gone too: all done, no upload."""
    names = tuple(f"{number % 7}/ep {number}.mp4" for number in range(200))
    with rig(tmp_path, step=0) as made:
        hashids = library(made, names)
        for half in ((), names[::2]):
            lists = made.calls("files")
            shutil.rmtree(tmp_path / "state", ignore_errors=True)
            for name in half:
                (made.drop / f"{name}.megamax.json").unlink()
            made.events.clear()
            made.start()
            check(made, hashids, 0)
            wait_for(lambda: made.said("queue.rebuilt"))
            (said,) = made.said("queue.rebuilt")
            assert said["reason"] == "it is not there, and there are sidecars of this account"
            assert sum(said["jobs"].values()) == 200
            found_in = [one["found_in"] for one in made.said("upload.reconciled")]
            assert (found_in.count("account"), len(found_in)) == (len(half), 200)
            # Not one list a file, and none where the sidecars say it all.
            assert made.calls("files") - lists <= (30 if half else 0)
            assert made.stop()


def test_a_first_start_asks_nobody(tmp_path: Path) -> None:
    """Without any sidecar of this account, new files are sent and no list is asked for."""
    with rig(tmp_path) as made:
        made.put("a.mp4")
        other = {"schema": 1, "service": "https://other.example/api", "account": "0"}
        (made.drop / "b.mp4.megamax.json").write_text(json.dumps(other))
        made.start()
        made.wait_done("a.mp4")
        assert made.call_counts()["files"] == 0
        assert not made.said("queue.lost")
        assert (tmp_path / "state/queue.made").exists()


def deleted(queue: Path) -> None:
    """Take it away."""
    queue.unlink()


def emptied(queue: Path) -> None:
    """Leave a file of no length."""
    queue.write_bytes(b"")


def garbage(queue: Path) -> None:
    """Leave anything."""
    queue.write_bytes(os.urandom(9000))


def truncated(queue: Path) -> None:
    """Cut it off."""
    os.truncate(queue, 8192)


def flipped(queue: Path) -> None:
    """Turn bytes in its middle over."""
    data = bytearray(queue.read_bytes())
    for at in range(len(data) // 3, len(data) // 3 + 12_000):
        data[at] ^= 0x5A
    queue.write_bytes(data)


def index_broken(queue: Path) -> None:
    """Leave every page in order, and one index without what its table has."""
    with sqlite3.connect(queue) as raw:
        raw.execute("PRAGMA writable_schema = ON")
        raw.execute("DELETE FROM sqlite_master WHERE name = 'job_by_path'")
        raw.execute("PRAGMA writable_schema = OFF")
        raw.commit()
        raw.execute("CREATE INDEX other ON job (path, id) WHERE size = 1")
        raw.execute("PRAGMA writable_schema = ON")
        raw.execute(
            "UPDATE sqlite_master SET sql = 'CREATE INDEX other ON job (path, id)' "
            "WHERE name = 'other'"
        )
        raw.commit()
    raw.close()


@pytest.mark.parametrize(
    "lose", [deleted, emptied, garbage, truncated, flipped, index_broken], ids=lambda f: f.__name__
)
def test_a_queue_that_cannot_be_used_is_made_again(
    tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    """Whatever was done to it: set aside with a date, said, and nothing is sent again."""
    with rig(tmp_path) as made:
        hashids = done(made)
        (made.drop / "a.mp4.megamax.json").unlink()
        uploads = made.calls("upload")
        queue = tmp_path / "state/queue.db"
        lose(queue)
        before = queue.read_bytes() if queue.exists() else b""
        made.start()
        check(made, hashids, uploads)
        wait_for(lambda: made.said("queue.rebuilt"))
        (said,) = made.said("queue.rebuilt")
        aside = [one for one in os.listdir(tmp_path / "state") if ".damaged-" in one]
        if len(before) > 0:
            assert os.path.basename(said["set_aside"]) in aside
            assert Path(said["set_aside"]).read_bytes()[: 1 << 12] == before[: 1 << 12]
        else:
            assert aside == []
        # It is over with that: the next start finds a queue like any other.
        assert made.stop()
        made.start()
        made.wait_done("a.mp4")
        assert len(made.said("queue.rebuilt")) == 1


def test_a_wal_without_its_queue_is_set_aside(tmp_path: Path) -> None:
    """What a queue left behind that was deleted is not mixed with the next one."""
    with rig(tmp_path) as made:
        hashids = done(made)
        uploads = made.calls("upload")
        queue = tmp_path / "state/queue.db"
        queue.unlink()
        queue.with_name("queue.db-wal").write_bytes(b"left behind" * 1000)
        made.start()
        check(made, hashids, uploads)
        names = os.listdir(tmp_path / "state")
        assert any(name.startswith("queue.db.remains-") for name in names)


def test_what_stands_nowhere_else_is_saved_from_a_damaged_queue(tmp_path: Path) -> None:
    """A pause, forgotten files, lost uploads, orphans, and files handed in from elsewhere."""
    with rig(tmp_path) as made:
        hashids = done(made, ("a.mp4", "b.mp4"))
        elsewhere = tmp_path / "elsewhere.mp4"
        elsewhere.write_bytes(b"handed in")
        store = made.start().store
        made.faults.add("upload", Fault.lost_answer(), None)
        made.faults.add("files", Fault.status(503), None)
        lost = made.put("lost.mp4", size=3000)
        wait_for(lambda: made.remote(lost))
        wait_for(lambda: store.journal.unknown_of(made.the_job("lost.mp4")))
        store.orders.forget(made.the_job("b.mp4"))
        store.journal.discarded(1, "an orphan", "it changed")
        stamp = FileStamp.of(elsewhere.stat())
        store.jobs.add(
            os.fsencode(elsewhere), stamp, root=None, folder=7, ready=False, reason="handed in"
        )
        store.settings.paused = True
        assert made.stop()
        made.faults.clear()
        queue = tmp_path / "state/queue.db"
        with sqlite3.connect(queue) as raw:
            (root,) = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = 'job_by_state'")
        raw.close()
        data = bytearray(queue.read_bytes())
        data[(root[0] - 1) * 4096 : root[0] * 4096] = b"\x77" * 4096
        queue.write_bytes(data)
        store = made.start().store
        wait_for(lambda: made.said("queue.rebuilt"))
        (said,) = made.said("queue.rebuilt")
        assert (said["settings"], said["forgotten"], said["handed_in"]) == (1, 1, 1)
        assert said["attempts"] == 2
        assert store.settings.paused
        assert made.job("b.mp4") is None
        assert made.the_job("a.mp4").hashid == hashids["a.mp4"]
        assert [one.hashid for one in store.journal.orphans()] == ["an orphan"]
        (attempt,) = store.journal.unknown_of(made.the_job("lost.mp4"))
        assert attempt.service_time is not None
        handed_in = store.jobs.latest(os.fsencode(elsewhere))
        assert handed_in is not None
        assert (handed_in.root, handed_in.folder) == (None, 7)
        store.settings.paused = False
        made.wait_done("lost.mp4")
        assert len(made.remote(lost)) == 1
        wait_for(lambda: store.views.counts()[JobState.DONE] == 3)


def test_an_order_that_made_a_queue_does_not_hide_the_loss(tmp_path: Path) -> None:
    """Somebody pauses, or hands a file in, while the queue is gone: that is no first start."""
    with rig(tmp_path) as made:
        hashids = done(made)
        uploads = made.calls("upload")
        (tmp_path / "state/queue.db").unlink()
        (made.drop / "a.mp4.megamax.json").unlink()
        with Store(str(tmp_path / "state/queue.db"), Clock()) as store:
            path = os.fsencode(made.drop / "sub/c.mp4")
            stamp = FileStamp.of(os.lstat(path))
            store.jobs.add(path, stamp, root=None, folder=None, ready=False, reason="handed in")
        made.start()
        check(made, hashids, uploads)
        assert made.said("queue.lost")[0]["reason"] == "it was deleted"
