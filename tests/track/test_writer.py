"""The writer of sidecars by itself: how long it takes, and what it takes away."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from megamax_sync import sidecar
from megamax_sync.clock import Clock
from megamax_sync.job import FileStamp, Job, JobState
from megamax_sync.sidecar import Placement, Sidecar
from megamax_sync.store import Store
from megamax_sync.track.writer import SidecarWriter

SERVICE, ACCOUNT = "https://example.com/api", "00000000"


class TurnedClock(Clock):
    """Stands still until it is turned."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 1_700_000_000.0

    def monotonic(self) -> float:
        return self.time

    def now(self) -> float:
        return self.time


@dataclass
class Desk:
    """A watched folder, its queue, and who writes its sidecars."""

    drop: Path
    store: Store
    clock: TurnedClock
    beats: list[float] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    lost: set[bytes] = field(default_factory=set)

    def writer(self, folder: Path | None = None, *roots: Path) -> SidecarWriter:
        """A writer, with these watched folders."""
        placement = Placement(
            os.fsencode(folder) if folder else None,
            [os.fsencode(one) for one in roots or (self.drop,)],
        )
        return SidecarWriter(
            self.store,
            placement,
            self.clock,
            service=SERVICE,
            account=lambda: ACCOUNT,
            lost=self.lost.__contains__,
            on_error=lambda part, _error: self.troubles.append(part),
            on_fine=lambda _part: self.troubles.clear(),
        )

    def write(self, writer: SidecarWriter) -> float | None:
        """One go, with its beats noted."""
        return writer.write_due(lambda: self.beats.append(self.clock.time))

    def uploaded(self, path: Path, hashid: str, *, root: Path | None = None) -> Job:
        """A video that is there, and that the service has."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(hashid.encode())
        stamp = FileStamp.of(path.stat())
        made = self.store.jobs.add(
            os.fsencode(path),
            stamp,
            root=os.fsencode(root) if root else None,
            folder=None,
            ready=True,
            reason="found",
        )
        job = self.fetch(made)
        self.store.jobs.arrived(
            job,
            hashid=hashid,
            status="converting",
            name="a",
            size=stamp.size,
            uploaded_at=1.0,
            fingerprint=None,
            stamp=stamp,
            reason="uploaded",
        )
        return self.fetch(job.id)

    def fetch(self, job: int) -> Job:
        """Read a job anew."""
        found = self.store.jobs.get(job)
        assert found is not None
        return found

    def due(self, job: Job) -> None:
        """Have a job's sidecar written again."""
        self.store.tracking.track(self.fetch(job.id), checks=1, sidecar_due=1)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """One without any jobs."""
    clock = TurnedClock()
    (tmp_path / "drop").mkdir()
    with Store(str(tmp_path / "queue.db"), clock) as store:
        yield Desk(tmp_path / "drop", store, clock)


def names(folder: Path) -> dict[str, str]:
    """The hashids of the sidecars below a folder, by path."""
    found = {}
    for path in folder.rglob("*.megamax.json"):
        document = sidecar.read(os.fsencode(path))
        assert document is not None
        found[str(path.relative_to(folder)).removesuffix(".megamax.json")] = document.hashid
    return found


Slow = Callable[[float], None]


@pytest.fixture
def slow(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Slow:
    """Have each sidecar take so many seconds."""
    whole = Placement.write

    def set_to(seconds: float) -> None:
        def write(placement: Placement, job: Job, document: Sidecar) -> bytes:
            desk.clock.time += seconds
            return whole(placement, job, document)

        monkeypatch.setattr(Placement, "write", write)

    return set_to


def test_many_sidecars_are_written_in_pieces_with_signs_of_life(desk: Desk, slow: Slow) -> None:
    """A folder with thousands was renamed, on a slow disk: nobody is stuck, and polling goes on."""
    jobs = [desk.uploaded(desk.drop / f"{n}.mp4", f"h{n}", root=desk.drop) for n in range(120)]
    slow(0.25)
    writer, pieces = desk.writer(), 0
    while desk.write(writer) == 0.0:
        pieces += 1
        written = sum(not desk.fetch(job.id).sidecar_due for job in jobs)
        assert written <= 8 * pieces
    assert len(names(desk.drop)) == len(jobs)
    gaps = [later - one for one, later in zip(desk.beats, desk.beats[1:], strict=False)]
    assert max(gaps) <= 0.25


def test_what_fails_is_not_in_the_way_of_what_does_not(desk: Desk, slow: Slow) -> None:
    """More of them than are read at once: each is said and tried again, all others are written."""
    for n in range(70):
        desk.uploaded(desk.drop / f"bad/{n}.mp4", f"b{n}", root=desk.drop)
    for n in range(30):
        desk.uploaded(desk.drop / f"good/{n}.mp4", f"g{n}", root=desk.drop)
    links = desk.drop.parent / "links"
    links.mkdir()
    (links / "bad").write_text("in the way")
    slow(0.1)
    writer = desk.writer(links)
    while desk.write(writer) == 0.0:
        pass
    assert len(names(links)) == 30
    assert len(writer._failed) == 70
    (links / "bad").unlink()
    desk.clock.time += 60.0
    while desk.write(writer) == 0.0:
        pass
    assert len(names(links)) == 100
    assert not writer._failed


def test_what_cannot_be_written_says_so_and_is_tried_again_soon(desk: Desk) -> None:
    """In each job's ``error``, until it is written; whoever mends it waits 30 s at most."""
    converting = desk.uploaded(desk.drop / "a.mp4", "h1", root=desk.drop)
    done = desk.uploaded(desk.drop / "b.mp4", "h2", root=desk.drop)
    failed = desk.uploaded(desk.drop / "c.mp4", "h3", root=desk.drop)
    desk.store.tracking.complete(done, reason="converted", check_at=None)
    desk.store.jobs.fail(failed, "the service could not convert it")
    taken = [desk.drop / f"{name}.mp4.megamax.json" for name in "abc"]
    for path in taken:
        path.mkdir()
    writer, pause = desk.writer(), 0.0
    for _ in range(20):
        pause = desk.write(writer) or 0.0
        assert 0 < pause <= 30
        desk.clock.time += pause
    assert pause > 15, "and not all the time"
    for job, path in ((converting, taken[0]), (done, taken[1])):
        error = desk.fetch(job.id).error or ""
        assert error.startswith(f"the sidecar cannot be written as {path} (Is a directory); move")
        assert desk.fetch(job.id).state is not JobState.FAILED
    assert desk.store.pages.unwritable() == (2, desk.fetch(converting.id).error)
    for path in taken:
        path.rmdir()
    desk.write(writer)
    assert [desk.fetch(job.id).error for job in (converting, done)] == [None, None]
    assert desk.fetch(failed.id).error == "the service could not convert it"
    assert desk.store.pages.unwritable() == (0, "")
    assert len(names(desk.drop)) == 3


def test_an_error_that_stays_is_written_down_once(desk: Desk) -> None:
    """Many thousand jobs that cannot be written for days cost the queue nothing."""
    job = desk.uploaded(desk.drop / "a.mp4", "h1", root=desk.drop)
    (desk.drop / "a.mp4.megamax.json").mkdir()
    writer = desk.writer()
    desk.write(writer)
    said = desk.fetch(job.id)
    for _ in range(3):
        desk.clock.time += 60
        desk.write(writer)
    assert desk.fetch(job.id) == said


@pytest.mark.parametrize("before", ["beside", "one"])
def test_no_sidecar_is_left_where_the_settings_had_it_before(desk: Desk, before: str) -> None:
    """Another folder for them, another watched folder: what lies at the old place goes stale."""
    more, links = desk.drop.parent / "more", desk.drop.parent / "links"
    links.mkdir()
    job = desk.uploaded(desk.drop / "x/a.mp4", "h1", root=desk.drop)
    desk.write(desk.writer(links if before == "one" else None))
    desk.due(job)
    desk.write(desk.writer(links, desk.drop, more))
    assert names(links) == {"drop/x/a.mp4": "h1"}
    assert names(desk.drop) == {}
    assert not (links / "x").exists()


def test_a_sidecar_at_the_old_place_that_speaks_of_another_upload_stays(desk: Desk) -> None:
    """A newer version's, say, or another program's."""
    more, links = desk.drop.parent / "more", desk.drop.parent / "links"
    links.mkdir()
    job = desk.uploaded(desk.drop / "a.mp4", "h1", root=desk.drop)
    desk.write(desk.writer(links))
    old = links / "a.mp4.megamax.json"
    old.write_text(old.read_text().replace('"h1"', '"h2"'))
    desk.due(job)
    desk.write(desk.writer(links, desk.drop, more))
    assert names(links) == {"a.mp4": "h2", "drop/a.mp4": "h1"}


def test_the_sidecar_of_a_newer_version_is_not_taken_away(desk: Desk) -> None:
    """The older one's job owes none, and has none at another place."""
    job = desk.uploaded(desk.drop / "a.mp4", "h1", root=desk.drop)
    writer = desk.writer()
    desk.write(writer)
    newer = desk.uploaded(desk.drop / "a.mp4", "h2", root=desk.drop)
    desk.due(job)
    desk.write(writer)
    assert names(desk.drop) == {"a.mp4": "h2"}
    assert not desk.fetch(job.id).sidecar_due
    assert not desk.fetch(newer.id).sidecar_due


@pytest.mark.parametrize("left", ["neither", "video", "sidecar"])
def test_who_deletes_a_video_and_its_sidecar_wants_neither(desk: Desk, left: str) -> None:
    """New links are no reason to write it again; where one of the two is left, they are."""
    job = desk.uploaded(desk.drop / "a.mp4", "h1", root=desk.drop)
    writer = desk.writer()
    desk.write(writer)
    if left != "video":
        (desk.drop / "a.mp4").unlink()
    if left != "sidecar":
        (desk.drop / "a.mp4.megamax.json").unlink()
    desk.clock.time += 100
    desk.due(job)
    assert desk.write(writer) is None
    assert names(desk.drop) == ({} if left == "neither" else {"a.mp4": "h1"})
    assert not desk.fetch(job.id).sidecar_due


@pytest.mark.parametrize("how", ["lost", "renamed", "unreadable"])
def test_a_video_that_only_cannot_be_seen_now_has_its_sidecar_written(desk: Desk, how: str) -> None:
    """Its disk is away, or its folder may not be read: nobody has deleted anything."""
    links = desk.drop.parent / "links"
    links.mkdir()
    job = desk.uploaded(desk.drop / "show/a.mp4", "h1", root=desk.drop)
    writer = desk.writer(links)
    desk.write(writer)
    (links / "show/a.mp4.megamax.json").unlink()
    if how == "unreadable":
        (desk.drop / "show").rename(desk.drop / "hidden")
        (desk.drop / "show").symlink_to("show")
    elif how == "renamed":
        desk.drop.rename(desk.drop.parent / "away")
    else:
        desk.drop.rename(desk.drop.parent / "away")
        desk.drop.mkdir()
        desk.lost.add(os.fsencode(desk.drop))
    desk.due(job)
    desk.write(writer)
    assert names(links) == {"show/a.mp4": "h1"}


def test_a_disk_that_has_just_come_back_leaves_the_sidecar_owed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was away for the writing, and is there when somebody looks why that has failed."""
    job = desk.uploaded(desk.drop / "a.mkv", "h1", root=desk.drop)
    writer = desk.writer()

    def away(*_: object) -> bytes:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    with monkeypatch.context() as patch:
        patch.setattr(Placement, "write", away)
        desk.write(writer)
    assert desk.fetch(job.id).sidecar_due
    desk.clock.time += 10
    desk.write(writer)
    assert not desk.fetch(job.id).sidecar_due
    assert names(desk.drop) == {"a.mkv": "h1"}


@pytest.mark.parametrize("beside", ["nothing", "a copy", "another job"])
def test_the_sidecar_that_went_along_with_a_renamed_folder_is_taken_away(
    desk: Desk, beside: str
) -> None:
    """Then the video in it was renamed as well, before anybody had looked."""
    job = desk.uploaded(desk.drop / "tt/1.mp4", "h1", root=desk.drop)
    writer = desk.writer()
    desk.write(writer)
    (desk.drop / "tt").rename(desk.drop / "uu")
    old, new = desk.drop / "uu/1.mp4", desk.drop / "uu/one.mp4"
    old.rename(new)
    if beside == "a copy":
        old.write_bytes(new.read_bytes())
    elif beside == "another job":
        desk.uploaded(old, "h2", root=desk.drop)
    stamp = FileStamp.of(new.stat())
    root = os.fsencode(desk.drop)
    assert desk.store.moving.move_to(desk.fetch(job.id), os.fsencode(new), root, stamp)
    desk.write(writer)
    left = {"nothing": {}, "a copy": {"uu/1.mp4": "h1"}, "another job": {"uu/1.mp4": "h2"}}
    assert names(desk.drop) == {"uu/one.mp4": "h1", **left[beside]}
