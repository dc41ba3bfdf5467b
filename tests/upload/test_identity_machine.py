"""Whatever is done to names, at rest each content is in the account once, and each file's sidecar
names the upload that has its bytes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from megamax_sync.job import JobState
from upload.pipeline import Rig, rig, sha

#: Few names, so that they meet.
FOLDERS = ["", "a", "a/b", "c"]
NAMES = ["1.mp4", "2.mkv", "3.mp4"]
#: Few lengths, so that contents differ and sizes don't.
LENGTHS = [2000, 2000, 70_000]
#: At rest after this long, or never, in seconds.
PATIENCE = 30.0
_ENDED = {JobState.DONE, JobState.SKIPPED}

picks = st.integers(min_value=0, max_value=99)
places = st.tuples(st.sampled_from(FOLDERS), st.sampled_from(NAMES))
trees = st.sampled_from(FOLDERS[1:])


class Machine(RuleBasedStateMachine):
    """A drop folder, a daemon that works on it, and a sandbox that is quick."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(os.path.realpath(tempfile.mkdtemp(prefix="megamax-identity-")))
        self.stack = contextlib.ExitStack()
        self.rig: Rig = self.stack.enter_context(rig(self.base, step=0.01))
        self._start()
        self.written = 0
        #: What was written over, or deleted, before anybody can say whether it was sent.
        self.unsure: set[str] = set()

    def _start(self) -> None:
        # By scans alone, so that what is seen of several changes at once differs from run to run
        # no more than it has to.
        self.rig.start(OBSERVER="polling", RESCAN_SECONDS="0.3")

    def teardown(self) -> None:
        try:
            self._rest()
        finally:
            self.stack.close()
            shutil.rmtree(self.base, ignore_errors=True)

    # -- what is done ------------------------------------------------------------------------

    @rule(place=places, length=st.sampled_from(LENGTHS))
    def create(self, place: tuple[str, str], length: int) -> None:
        """Or put another content in the place of one."""
        path = self._path(place)
        self._lose(path)
        self.written += 1
        self.rig.put(str(path.relative_to(self.rig.drop)), self._content(length))

    @rule(pick=picks, place=places)
    def copy(self, pick: int, place: tuple[str, str]) -> None:
        source, path = self._any(pick), self._path(place)
        if source is not None and source != path and not _is_same(source, path):
            self._lose(path)
            self.rig.put(str(path.relative_to(self.rig.drop)), source.read_bytes())

    @rule(pick=picks, place=places)
    def hard_link(self, pick: int, place: tuple[str, str]) -> None:
        source, path = self._any(pick), self._path(place)
        if source is not None and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            os.link(source, path)

    @rule(pick=picks, place=places)
    def rename(self, pick: int, place: tuple[str, str]) -> None:
        """Also over another file."""
        source, path = self._any(pick), self._path(place)
        if source is not None and source != path:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not _is_same(source, path):
                self._lose(path)
            source.rename(path)

    @rule(tree=trees, other=trees)
    def move_tree(self, tree: str, other: str) -> None:
        """With its sidecars, where the place is free."""
        source, place = self.rig.drop / tree, self.rig.drop / other
        with contextlib.suppress(OSError):
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                source.rename(place)

    @rule(first=picks, second=picks)
    def swap(self, first: int, second: int) -> None:
        one, other = self._any(first), self._any(second)
        if one is not None and other is not None and one != other:
            aside = self.rig.drop / "aside.mp4"
            one.rename(aside)
            other.rename(one)
            aside.rename(other)

    @rule(pick=picks)
    def modify(self, pick: int) -> None:
        """In place, with the same size; all its hard links change."""
        path = self._any(pick)
        if path is not None:
            self.unsure.add(sha(path.read_bytes()))
            self.written += 1
            with path.open("r+b") as file:
                file.write(b"%08d" % self.written)

    @rule(pick=picks)
    def delete(self, pick: int) -> None:
        path = self._any(pick)
        if path is not None:
            self._lose(path)
            path.unlink()

    @rule()
    def restart(self) -> None:
        assert self.rig.stop()
        self._start()

    @rule(pick=picks, place=places)
    def rename_while_nothing_runs(self, pick: int, place: tuple[str, str]) -> None:
        assert self.rig.stop()
        self.rename(pick, place)
        self._start()

    @rule()
    def rest(self) -> None:
        self._rest()

    # -- what has to be ----------------------------------------------------------------------

    def _rest(self) -> None:
        until, pause = time.monotonic() + PATIENCE, threading.Event()
        while wrong := self._wrong():
            assert time.monotonic() < until, f"{wrong}\n" + "\n".join(map(str, self.rig.events))
            pause.wait(0.05)
        # And it stays so: nothing is sent late.
        for data in self._contents().values():
            copies = len(self.rig.remote(data))
            assert copies == 1 or (copies and sha(data) in self.unsure), copies

    def _wrong(self) -> list[str]:
        wrong = []
        for path, data in self._contents().items():
            name = str(path.relative_to(self.rig.drop))
            job = self.rig.job(name)
            if job is None or job.state not in _ENDED or job.sidecar_due:
                wrong.append(f"{name} is not through: {job}")
                continue
            document = self.rig.sidecar(name)
            hashids = {one.hashid for one in self.rig.remote(data)}
            if document is None or document["hashid"] not in hashids:
                wrong.append(f"{name}'s sidecar names another upload: {document}")
            elif document["source"]["name"] != path.name:
                wrong.append(f"{name}'s sidecar is that of {document['source']['name']}")
        return wrong

    def _contents(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self._files()}

    # -- files -------------------------------------------------------------------------------

    def _files(self) -> list[Path]:
        return sorted(p for p in self.rig.drop.rglob("*.m[pk][4v]") if p.is_file())

    def _any(self, pick: int) -> Path | None:
        files = self._files()
        return files[pick % len(files)] if files else None

    def _path(self, place: tuple[str, str]) -> Path:
        return self.rig.drop.joinpath(*place)

    def _lose(self, path: Path) -> None:
        """A file is about to go; if it is the last of its content, that may be sent or not."""
        if path.exists():
            self.unsure.add(sha(path.read_bytes()))

    def _content(self, length: int) -> bytes:
        return f"{self.written:08d}{self.base.name}".encode().ljust(length, b".")


def _is_same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)


def test_at_rest_each_content_is_in_the_account_once() -> None:
    """And the sidecar beside each file names the upload of its bytes."""
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=6,
            stateful_step_count=12,
            deadline=None,
            print_blob=True,
            # A run that fails has waited for all its patience: made smaller, it takes an hour.
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )
