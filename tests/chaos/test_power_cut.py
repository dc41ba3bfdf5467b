"""The power goes while the program works: what it had acknowledged is there at the next start.

Its queue and sidecars lie on an ext4 of their own, in an image. A cut is a copy of the image at
some instant: what was not synced had not left the kernel's memory by then (the file system writes
back by itself only every five minutes), and is not in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lacking import lacking
from upload.pipeline import rig

from chaos.world import SETTINGS, sha
from chaos.zygote import Victim, Zygote
from megamax_sync.clock import Clock
from megamax_sync.daemon import Daemon
from megamax_sync.job import FileStamp, JobState
from megamax_sync.sandbox import Sandbox
from megamax_sync.state import StateFolder
from megamax_sync.store import NewJob, Store

CUTS = 5
FILES = 4


class Disk:
    """An ext4 in a file."""

    def __init__(self, folder: Path, mkfs: str) -> None:
        self.image = folder / "disk.img"
        self.place = folder / "disk"
        self.place.mkdir()
        with open(self.image, "wb") as file:
            file.truncate(24 << 20)
        subprocess.run([mkfs, "-q", "-F", str(self.image)], check=True)

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """Mount it; where that is not allowed the test is skipped, and on CI it fails."""
        command = ["mount", "-o", "loop,commit=300", str(self.image), str(self.place)]
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
        if mounted.returncode:
            lacking("the right to mount an image, or a loop device: run the tests as root")
        try:
            yield
        finally:
            subprocess.run(["umount", str(self.place)], check=True)

    def as_it_is(self) -> bytes:
        """The image's bytes at one instant: two readings that agree."""
        before, now = b"", self.image.read_bytes()
        while before != now:
            before, now = now, self.image.read_bytes()
        return now


def arrived(queue: Path) -> dict[bytes, str]:
    """What the queue says has arrived, by path."""
    with contextlib.closing(sqlite3.connect(queue)) as database:
        rows = database.execute("SELECT path, hashid FROM job WHERE hashid IS NOT NULL")
        return dict(rows.fetchall())


@pytest.mark.timeout(180)
def test_a_power_cut_loses_nothing_that_was_acknowledged(
    tmp_path: Path,
    require_program: Callable[[str], str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """After each of several cuts the queue has all that it had said, and nothing is sent twice."""
    seed = random.randrange(1 << 31)
    rng = random.Random(seed)
    disk = Disk(tmp_path, require_program("mkfs.ext4"))
    drop, queue = tmp_path / "drop", disk.place / "state" / "queue.db"
    drop.mkdir()
    contents: dict[str, str] = {}
    acknowledged = 0
    with Sandbox(tmp_path / "service", step=0.02) as sandbox, Zygote() as zygote:
        environ = {
            **SETTINGS,
            "MEGAMAX_LOGIN": sandbox.login,
            "MEGAMAX_KEY": sandbox.key,
            "MEGAMAX_API_URL": sandbox.api_url,
            "MEGAMAX_WATCH": str(drop),
            "MEGAMAX_STATE_DIR": str(queue.parent),
            "MEGAMAX_SIDECAR_DIR": str(disk.place / "links"),
        }
        said: dict[bytes, str] = {}
        for cut in range(CUTS):
            for number in range(FILES):
                data = rng.randbytes(rng.choice([2000, 300_000]))
                name = f"{cut}-{number}.mp4"
                (drop / name).write_bytes(data)
                contents[name] = sha(data)
            had = len(sandbox.files())
            with disk.mounted():
                if cut:
                    assert said.items() <= arrived(queue).items(), f"seed {seed}"
                victim = zygote.start([], environ, tmp_path / "log", None)
                try:
                    wait_for_some(sandbox, had + rng.randint(1, FILES), rng.uniform(0.0, 0.4))
                    os.kill(victim.pid, signal.SIGSTOP)
                    said = arrived(queue)
                    image = disk.as_it_is()
                finally:
                    end(victim, zygote)
            acknowledged = len(said)
            disk.image.write_bytes(image)
        with disk.mounted():
            assert said.items() <= arrived(queue).items(), f"seed {seed}"
            victim = zygote.start(["--scan", "--timeout", "60"], environ, tmp_path / "log", None)
            assert victim.wait(90), "it did not come to its end"
            assert zygote.reap(victim) == 0, (tmp_path / "log").read_text()[-2000:]
            stored = {one.hashid: sha(one.path.read_bytes()) for one in sandbox.files()}
            for name, digest in contents.items():
                text = (disk.place / "links" / f"{name}.megamax.json").read_text("utf-8")
                assert stored[json.loads(text)["hashid"]] == digest, f"seed {seed}"
            shutil.copy(queue, tmp_path / "queue.db")
    assert Counter(stored.values()) == Counter(contents.values()), f"seed {seed}"
    with capsys.disabled():
        sys.stdout.write(
            f"\npower cut: seed {seed}, {CUTS} cuts, {acknowledged} acknowledged, 0 lost, 0 twice\n"
        )


def test_what_did_not_wait_for_the_disk_is_there_with_the_next_that_did(
    tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    """Commits keep their order: nothing that was waited for is there without what came before."""
    disk, images = Disk(tmp_path, require_program("mkfs.ext4")), []
    with disk.mounted(), Store(str(disk.place / "queue.db"), Clock()) as store:

        def put(name: str, *, durable: bool) -> None:
            with store.transaction(durable=durable):
                store.settings.put(name, "there")
            images.append(disk.as_it_is())

        put("first", durable=True)
        put("second", durable=False)
        put("third", durable=True)
        put("fourth", durable=False)
        store.database.flush()
        images.append(disk.as_it_is())
    found = []
    for image in images:
        disk.image.write_bytes(image)
        with disk.mounted(), Store(str(disk.place / "queue.db"), Clock()) as store:
            found.append(
                [
                    name
                    for name in ("first", "second", "third", "fourth")
                    if store.settings.get(name)
                ]
            )
    # Who did not wait may be lucky.
    assert found[0] == ["first"]
    assert found[1][:1] == ["first"]
    assert found[2] == ["first", "second", "third"]
    assert found[4] == ["first", "second", "third", "fourth"]


def test_the_mark_of_how_far_the_queue_has_come_is_never_ahead_of_it(
    tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    """After a power cut a queue behind its mark would be taken for an earlier copy of itself."""
    disk = Disk(tmp_path, require_program("mkfs.ext4"))
    state = disk.place / "state"
    with disk.mounted(), rig(tmp_path) as made:
        folder = StateFolder(str(state))
        folder.make()
        folder.lock()
        daemon = Daemon(made.settings(STATE_DIR=str(state)), folder)
        job = add_job(daemon.store)
        with daemon.store.transaction(durable=False):
            daemon.store.tracking.note(job, JobState.QUEUED, "heard of")
        daemon.keeper.finish()
        # The kernel may write back whatever it likes, and in any order: here, the mark first.
        with open(state / "queue.made", "rb") as mark:
            os.fsync(mark.fileno())
        image = disk.as_it_is()
        daemon.stop()
        folder.unlock()
    disk.image.write_bytes(image)
    with disk.mounted(), Store(str(state / "queue.db"), Clock()) as store:
        noted = StateFolder(str(state)).noted()
        assert noted
        assert store.lineage.steps >= noted


def add_job(store: Store) -> int:
    """Queue one file that need not be there; return its job's id."""
    stamp = FileStamp(1, 1, 1, 1, 1)
    store.jobs.add_each([NewJob(b"/v/a.mkv", stamp, b"/v", None, "found")], ready=True)
    job = store.jobs.latest(b"/v/a.mkv")
    assert job is not None
    return job.id


def wait_for_some(sandbox: Sandbox, number: int, longer: float) -> None:
    """Wait until so many files are at the service, and a little longer."""
    end_at = time.monotonic() + 20
    pause = threading.Event()
    while len(sandbox.files()) < number and time.monotonic() < end_at:
        pause.wait(0.01)
    pause.wait(longer)


def end(victim: Victim, zygote: Zygote) -> None:
    """Nothing of it may be left that holds the disk."""
    victim.kill()
    assert victim.wait(30)
    zygote.reap(victim)
