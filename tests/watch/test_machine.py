"""Anything may happen to the watched folders; at rest the queue holds what the rules want.

A state machine does to real folders what programs and people do, while a real watcher runs on its
own thread. What is wanted is worked out here once more, from the disk alone: a table of names, and
for every moment between two steps the versions of files that nobody was writing.

There is no rescan but after a watched folder was replaced, so whatever else is found was found
through events.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from megamax_sync.api.retry import RetryPolicy
from megamax_sync.errors import FileError
from megamax_sync.job import VANISHED, FileStamp, Job, JobState
from megamax_sync.upload.ledger import Ledger
from megamax_sync.upload.sending import open_unchanged
from megamax_sync.watch.canary import PREFIX
from megamax_sync.watch.probe import ignore_lease_breaks
from megamax_sync.watch.rules import Rules
from megamax_sync.watch.watcher import Watcher

from .field import EXTENSIONS, Field, TurnedClock, digest

SETTLE = 0.02
RESCAN = 1e6
#: How long the queue may take until it is right, in seconds of real time.
PATIENCE = 10.0
MIN_SIZE = 10
EXCLUDE = ("*.sample.*", "skip/")

#: Is a file of this name wanted?
NAMES = {
    "1.mkv": True,
    "2.MP4": True,
    "ep 10.mkv": True,
    "two\nlines \udcff.mkv": True,
    "c.mkv": True,
    "notes.txt": False,
    ".3.mkv": False,
    "1.mkv.part": False,
    "2.MP4.aria2": False,
    "a.aria2": False,
    "2.sample.mkv": False,
    "1.f137.mp4": False,
    "1.mkv.megamax.json": False,
}
#: Is what lies in a folder of this name wanted? The folder ``c.mkv`` may be a file, too.
PARTS = {"a": True, "b": True, "c.mkv": True, "skip": False, ".hidden": False}
FOLDERS = ["", "", "", "a", "a/b", "a/b/c.mkv", "c.mkv", "b", "skip", "skip/a", ".hidden"]
COMPANIONS = (".part", ".aria2")
CANARY = os.fsdecode(PREFIX)

roots = st.sampled_from(["drop", "drop", "other"])
folders = st.sampled_from(FOLDERS)
names = st.sampled_from([*NAMES, *(name for name, wanted in NAMES.items() if wanted)])
#: Few lengths, so that files are replaced by others of their size; 5 is below the least size.
lengths = st.sampled_from([5, 40, 40, 40, 5000, 70_000])
picks = st.integers(min_value=0, max_value=999)

#: A path, and by what one version of its file is told from another: size, mtime and inode.
Version = tuple[bytes, int, int, int]


class Ahead(TurnedClock):
    """Puts waiting times forward, but makes no file older than it is."""

    def now(self) -> float:
        return super().now() - self.ahead

    def wall(self) -> float:
        return super().wall() - self.ahead


class Machine(RuleBasedStateMachine):
    """``drop`` and ``other`` are watched; ``outside`` is not."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(os.path.realpath(tempfile.mkdtemp(prefix="megamax-machine-")))
        self.field = Field(self.base)
        self.field.clock = Ahead()
        for name in ("other", "outside"):
            (self.base / name).mkdir()
        self.ledger = Ledger(
            self.field.store,
            self.field.clock,
            policy=RetryPolicy(0.01, 0.01),
            max_attempts=3,
            first_lookup=1.0,
            stop=self.field.stop,
            on_error=lambda _part, error: self.field.errors.append(error),
            on_fine=lambda _part: None,
        )
        self.written = 0
        self.writers: list[int] = []
        self.sending: list[tuple[Job, int, int]] = []
        self.finished_once: set[Version] = set()
        #: The files of ``drop`` as they were when it was taken away.
        self.away: set[bytes] | None = None
        #: ``drop`` was swapped for an empty folder, which is not believed.
        self.doubted = False
        #: Something happened of which there is no event; the rescan has to find it.
        self.unseen = False
        self.failed = False
        self.watcher: Watcher | None = None
        self._start()

    def _start(self) -> None:
        watched = tuple(os.fsencode(self.base / name) for name in ("drop", "other"))
        self.field.stop.clear()
        self.watcher = self.field.watch(
            settle=SETTLE,
            rescan=RESCAN,
            observe=True,
            rules=Rules(watched, EXTENSIONS, exclude=EXCLUDE, min_size=MIN_SIZE),
        )
        self.watcher.start()
        # Until it is watched, nothing that happens gives an event.
        self._until(lambda: [] if self.watcher and self.watcher.scanned.is_set() else ["no scan"])

    # -- what is there -----------------------------------------------------------------------

    def _entries(self, *tops: str) -> list[Path]:
        """Everything below these folders, in an order that repeats."""
        return sorted(
            Path(where) / name
            for top in tops
            for where, below, files in os.walk(self.base / top)
            for name in (*below, *files)
            # They come and go by themselves.
            if not name.startswith(CANARY)
        )

    def _files(self) -> Iterator[tuple[bytes, os.stat_result]]:
        """The regular files whose names and sizes are wanted, finished or not."""
        for path in self._entries("drop", "other"):
            status = path.lstat()
            parts = path.relative_to(self.base).parts
            if (
                stat.S_ISREG(status.st_mode)
                and NAMES.get(path.name, False)
                and all(PARTS[part] for part in parts[1:-1])
                and status.st_size >= MIN_SIZE
            ):
                yield os.fsencode(path), status

    def _finished(self) -> dict[bytes, FileStamp]:
        """Of these, the ones that nobody writes and nothing says are incomplete."""
        written = {os.fstat(fd).st_ino for fd in self.writers}
        return {
            path: FileStamp.of(status)
            for path, status in self._files()
            if status.st_ino not in written
            and not self._accompanied(Path(os.fsdecode(path)))
            and not _has_holes(path)
        }

    def _accompanied(self, path: Path) -> bool:
        beside = [path.with_name(path.name + suffix) for suffix in COMPANIONS]
        between = path.relative_to(self.base).parts[1:-1]
        above = [path.parents[n] for n in range(len(between))]
        beside += [folder.with_name(folder.name + ".aria2") for folder in above]
        return any(os.path.lexists(one) for one in beside)

    def _lost(self) -> bool:
        """Whether ``drop`` is such that nothing is to be concluded from what it lacks."""
        return (self.away is not None or self.doubted) and not self._entries("drop")

    def _is_empty(self, job: Job) -> bool:
        """Whether its folder holds nothing: at a start, one that lacks its disk looks like that."""
        return job.root is not None and not self._entries(os.path.basename(os.fsdecode(job.root)))

    # -- what is right -----------------------------------------------------------------------

    def _note(self) -> None:
        """After each thing done: what is finished now may be queued from now on."""
        if self._entries("drop"):
            self.doubted = False
        if self.away and self._entries("drop"):
            # Another folder with something in it is believed, and the files are gone.
            self.away = set()
        self.finished_once |= {
            (path, stamp.size, stamp.mtime_ns, stamp.ino)
            for path, stamp in self._finished().items()
        }
        for job in self.field.store.views.jobs():
            s = job.stamp
            if (job.path, s.size, s.mtime_ns, s.ino) not in self.finished_once:
                self._fail([f"{job.path!r} was queued as it never was when finished: {job}"])

    def _newest(self) -> dict[bytes, Job]:
        """The newest job of each path: one that has moved there is newer than one made there."""
        store = self.field.store
        return store.jobs.latest_each([job.path for job in store.views.jobs()])

    def _missing(self) -> list[str]:
        """Say which finished files are not in the queue as they are."""
        wrong, newest = [], self._newest()
        for path, stamp in self._finished().items():
            job = newest.get(path)
            if job is None:
                wrong.append(f"{path!r} was missed")
            elif not job.stamp.same_version(stamp):
                wrong.append(f"{path!r} is {stamp}, but {job}")
            elif job.state is JobState.PROCESSING:
                if job.fingerprint != digest(Path(os.fsdecode(path))):
                    wrong.append(f"{path!r} holds something else than what was sent: {job}")
            elif job.state is not JobState.QUEUED or not job.ready:
                wrong.append(f"{path!r} is not to be sent: {job}")
        return wrong

    def _unwanted(self) -> list[str]:
        """Say what is queued and should not be."""
        wrong = []
        jobs = self.field.store.views.jobs()
        finished, newest, lost = self._finished(), self._newest(), self._lost()
        for job in jobs:
            if job.state is JobState.QUEUED and newest[job.path].id != job.id:
                wrong.append(f"{job.path!r} is queued twice: {job}")
            elif (
                job.state is JobState.QUEUED
                and job.path not in finished
                and not self._unfinished(job)
                and not (not job.ready and (lost or self._is_empty(job)))
            ):
                wrong.append(f"{job.path!r} is queued and is not wanted: {job}")
        for path in (self.away or set()) if lost else set():
            if newest[path].error == VANISHED:
                wrong.append(f"{path!r} was given up for its folder's sake")
        return wrong

    def _unfinished(self, job: Job) -> bool:
        """A file that waits; or it was finished, and only then came what makes others wait."""
        stamp = _stamp(job.path)
        return stamp is not None and (not job.ready or job.stamp.same_version(stamp))

    def _try_the_gone(self) -> None:
        """Have the upload find out about queued files that are not there, or changed."""
        for job in self.field.store.views.jobs(state=JobState.QUEUED):
            stamp = _stamp(job.path)
            if not job.ready or (stamp is not None and job.stamp.same_version(stamp)):
                continue
            claimed = self.field.store.jobs.claim("owner", [job.path])
            if claimed is not None:
                attempt = self.field.store.journal.begin(claimed)
                fd = self._open(claimed, attempt)
                if fd is not None:
                    os.close(fd)
                    self.ledger.give_back(claimed, attempt, "test")

    def _open(self, job: Job, attempt: int) -> int | None:
        try:
            return open_unchanged(job)
        except FileError as error:
            self.ledger.file_failed(job, attempt, error)
            return None

    def _until(self, complaints: Callable[[], list[str]]) -> None:
        """Wait until there is nothing to complain about; after a while, put the clock forward."""
        patience, began, pause = threading.Event(), time.monotonic(), 0.003
        while wrong := complaints():
            waited = time.monotonic() - began
            if waited > PATIENCE:
                self._fail(wrong)
            if waited > 0.3:
                self.field.clock.ahead += 2.0
                self.field.store.database.wake()
                pause = 0.05
            if waited > 1.0 and self.unseen:
                # There is no event for it.
                self.field.clock.ahead += RESCAN
                self.unseen = False
            patience.wait(pause)

    def _fail(self, wrong: list[str]) -> None:
        self.failed = True
        raise AssertionError("\n".join(wrong))

    # -- files -------------------------------------------------------------------------------

    def _content(self, length: int) -> bytes:
        """Bytes that were never written before."""
        self.written += 1
        return f"{self.written:<{length}}".encode()[:length]

    def _place(self, root: str, folder: str, name: str = "") -> Path:
        """A path whose folder is there, if that is possible."""
        path = self.base / root / folder / name
        parent = path.parent if name else path
        with contextlib.suppress(OSError):
            parent.mkdir(parents=True, exist_ok=True)
        return path

    @contextlib.contextmanager
    def _doing(self) -> Iterator[None]:
        """What people try need not be possible: the place may be a folder, or not be there."""
        with contextlib.suppress(OSError, shutil.Error):
            yield
        self._note()

    def _any(self, pick: int, *tops: str, folder: bool | None = None) -> Path | None:
        entries = [
            path
            for path in self._entries(*tops)
            if folder is None or (path.is_dir() and not path.is_symlink()) == folder
        ]
        return entries[pick % len(entries)] if entries else None

    @rule(root=roots, folder=folders, name=names, length=lengths, mode=st.sampled_from("wwa"))
    def write(self, root: str, folder: str, name: str, length: int, mode: str) -> None:
        path = self._place(root, folder, name)
        with self._doing(), path.open(mode + "b") as file:
            file.write(self._content(length))

    @rule(root=roots, folder=folders, name=names, length=lengths)
    def write_then_rename(self, root: str, folder: str, name: str, length: int) -> None:
        path = self._place(root, folder, name)
        temporary = path.with_name(f".{name}.part")
        with self._doing():
            temporary.write_bytes(self._content(length))
            temporary.rename(path)

    @rule(root=roots, folder=folders, name=names)
    def open_writer(self, root: str, folder: str, name: str) -> None:
        path = self._place(root, folder, name)
        with self._doing():
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self.writers.append(os.open(path, flags))

    @precondition(lambda self: self.writers)
    @rule(pick=picks, length=lengths)
    def write_more(self, pick: int, length: int) -> None:
        os.write(self.writers[pick % len(self.writers)], self._content(length))
        self._note()

    @precondition(lambda self: self.writers)
    @rule(pick=picks)
    def close_writer(self, pick: int) -> None:
        os.close(self.writers.pop(pick % len(self.writers)))
        self._note()

    @rule(root=roots, folder=folders, name=names)
    def preallocate(self, root: str, folder: str, name: str) -> None:
        path = self._place(root, folder, name)
        with self._doing(), path.open("wb") as file:
            file.truncate(1 << 20)

    @rule(pick=picks)
    def fill(self, pick: int) -> None:
        path = self._any(pick, "drop", "other", folder=False)
        if path is not None and not path.is_symlink() and _has_holes(os.fsencode(path)):
            with self._doing(), path.open("r+b") as file:
                file.write(self._content(1 << 20))

    @rule(pick=picks)
    def touch(self, pick: int) -> None:
        path = self._any(pick, "drop", "other")
        if path is not None and not path.is_symlink():
            with self._doing():
                _touch(path)

    @rule(pick=picks)
    def set_times(self, pick: int) -> None:
        path = self._any(pick, "drop", "other")
        if path is not None:
            self.unseen = True
            with self._doing():
                os.utime(path)

    @rule(pick=picks, root=roots, folder=folders, name=names)
    def hard_link(self, pick: int, root: str, folder: str, name: str) -> None:
        source = self._any(pick, "drop", "other", "outside", folder=False)
        if source is not None:
            place = self._place(root, folder, name)
            with self._doing():
                os.link(source, place, follow_symlinks=False)

    @rule(pick=picks, root=roots, folder=folders, name=st.sampled_from([*NAMES, *PARTS]))
    def symlink(self, pick: int, root: str, folder: str, name: str) -> None:
        target = self._any(pick, "drop", "other", "outside", folder=False)
        if target is not None:
            place = self._place(root, folder, name)
            with self._doing():
                place.symlink_to(target)

    # -- files and trees ---------------------------------------------------------------------

    @rule(pick=picks, root=roots, folder=folders, name=names)
    def rename(self, pick: int, root: str, folder: str, name: str) -> None:
        source = self._any(pick, "drop", "other", "outside", folder=False)
        if source is not None:
            place = self._place(root, folder, name)
            with self._doing():
                source.rename(place)

    @rule(pick=picks, root=roots, folder=folders, part=st.sampled_from([*PARTS]))
    def move_tree(self, pick: int, root: str, folder: str, part: str) -> None:
        source = self._any(pick, "drop", "other", "outside", folder=True)
        if source is not None:
            place = self._place(root, folder, part)
            with self._doing():
                source.rename(place)

    @rule(pick=picks, name=st.sampled_from([*PARTS]))
    def move_out(self, pick: int, name: str) -> None:
        source = self._any(pick, "drop", "other")
        if source is not None:
            folder = source.is_dir() and not source.is_symlink()
            place = self._place("outside", "", name if folder else source.name)
            with self._doing():
                source.rename(place)

    @rule(root=roots, folder=folders, part=st.sampled_from([*PARTS]), files=st.sets(names))
    def move_new_tree_in(self, root: str, folder: str, part: str, files: set[str]) -> None:
        tree = self.base / "new"
        shutil.rmtree(tree, ignore_errors=True)
        (tree / "b").mkdir(parents=True)
        for number, name in enumerate(sorted(files)):
            (tree / ("b" if number % 2 else "") / name).write_bytes(self._content(40))
        place = self._place(root, folder, part)
        with self._doing():
            tree.rename(place)

    @rule(pick=picks)
    def delete(self, pick: int) -> None:
        path = self._any(pick, "drop", "other")
        if path is not None:
            with self._doing():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    # -- the watched folder itself -----------------------------------------------------------

    @precondition(lambda self: self.watcher is not None and self.away is None)
    @rule(instead=st.sampled_from(["nothing", "empty", "another"]))
    def take_root_away(self, instead: str) -> None:
        self._rest()
        self.away = {p for p in self._finished() if p.startswith(os.fsencode(self.base / "drop/"))}
        self.unseen = True
        (self.base / "drop").rename(self.base / "away")
        if instead != "nothing":
            (self.base / "drop").mkdir()
        if instead == "another":
            (self.base / "drop/1.mkv").write_bytes(self._content(40))
        self._note()

    @precondition(lambda self: self.away is not None)
    @rule()
    def bring_root_back(self) -> None:
        self.away, self.unseen = None, True
        shutil.rmtree(self.base / "drop", ignore_errors=True)
        (self.base / "away").rename(self.base / "drop")
        # One that was believed meanwhile is now replaced, by a folder that may be empty.
        self.doubted = not self._entries("drop")
        self._note()

    # -- the upload, and the watch itself ----------------------------------------------------

    @rule()
    def begin_to_send(self) -> None:
        job = self.field.store.jobs.claim("owner")
        if job is not None:
            attempt = self.field.store.journal.begin(job)
            fd = self._open(job, attempt)
            if fd is not None:
                self.sending.append((job, attempt, fd))

    @rule(pick=picks)
    def end_sending(self, pick: int) -> None:
        # No precondition: how much is being sent depends on how fast the watcher was.
        if self.sending:
            self._end_sending(*self.sending.pop(pick % len(self.sending)))

    def _end_sending(self, job: Job, attempt: int, fd: int) -> None:
        try:
            stamp = FileStamp.of(os.fstat(fd))
            if not stamp.same_version(job.stamp):
                self.field.store.journal.failed(attempt, "it changed")
                self.ledger.release(job, "it changed", ready=False)
                return
            name, print_ = f"hash{job.id}", digest(Path(f"/proc/self/fd/{fd}"))
        finally:
            os.close(fd)
        self.field.store.journal.arrived(attempt, name)
        assert self.field.store.jobs.arrived(
            job,
            hashid=name,
            status="onqueue",
            name="name",
            size=job.stamp.size,
            uploaded_at=None,
            fingerprint=print_,
            stamp=stamp,
            reason="test",
        )

    @rule(pick=picks)
    def touch_what_was_sent(self, pick: int) -> None:
        """No new job comes of that."""
        self._rest()
        jobs = self.field.store.views.jobs(state=JobState.PROCESSING)
        paths = sorted({job.path for job in jobs} & set(self._finished()))
        if paths:
            path = paths[pick % len(paths)]
            newest = self.field.store.jobs.latest(path)
            _touch(Path(os.fsdecode(path)))
            self._note()
            self._rest()
            now = self.field.store.jobs.latest(path)
            assert newest is not None
            assert now is not None
            assert now.id == newest.id

    @precondition(lambda self: self.watcher is not None)
    @rule()
    def stop_the_watch(self) -> None:
        assert self.watcher is not None
        self.field.stop.set()
        self.field.store.database.wake()
        self.watcher.close(5.0)
        self.watcher.join(5.0)
        assert not self.watcher.is_alive()
        self.watcher = None

    @precondition(lambda self: self.watcher is None)
    @rule()
    def start_the_watch(self) -> None:
        self._start()

    # -- at rest -----------------------------------------------------------------------------

    @rule()
    def rest(self) -> None:
        self._rest()

    def _rest(self) -> None:
        while self.writers:
            os.close(self.writers.pop())
        self._note()
        while self.sending:
            self._end_sending(*self.sending.pop())
        if self.watcher is None:
            self._start()
        # First without the upload's help: what is there has to be found by the watch alone.
        self._until(self._missing)
        self._until(self._all_wrong)
        self._note()

    def _all_wrong(self) -> list[str]:
        self._try_the_gone()
        return self._missing() + self._unwanted()

    def teardown(self) -> None:
        try:
            if not self.failed:
                self._rest()
        finally:
            for fd in (*self.writers, *(fd for _, _, fd in self.sending)):
                os.close(fd)
            self.field.__exit__(None, None, None)
            shutil.rmtree(self.base)


def _touch(path: Path) -> None:
    """As touch(1) does it, which opens the file."""
    fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.utime(fd)
    finally:
        os.close(fd)


def _stamp(path: bytes) -> FileStamp | None:
    """The stamp of a regular file; None when there is none."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return FileStamp.of(status) if stat.S_ISREG(status.st_mode) else None


def _has_holes(path: bytes) -> bool:
    fd = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(fd).st_size
        return size > 0 and os.lseek(fd, 0, os.SEEK_HOLE) < size
    finally:
        os.close(fd)


@pytest.fixture
def _lease_breaks_ignored() -> Iterator[None]:
    """A writer of this process may open a file just while the watcher tries its lease."""
    before = signal.getsignal(signal.SIGIO)
    ignore_lease_breaks()
    yield
    signal.signal(signal.SIGIO, before)


# A thread of watchdog's may die of a root that goes (a KeyError): the watch begins another one,
# which is part of what this machine tests.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.usefixtures("_lease_breaks_ignored")
@pytest.mark.timeout(300)
def test_at_rest_the_queue_holds_what_the_rules_want() -> None:
    """Whatever happened to the folders, every finished video is queued once, and nothing else."""
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=30,
            stateful_step_count=30,
            deadline=None,
            print_blob=True,
            # A run that fails has waited for all its patience: made smaller, it takes an hour.
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
