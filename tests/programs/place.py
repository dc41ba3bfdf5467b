"""A daemon that watches a folder, programs that write into it, and what may come out of that.

The programs write in earnest. Where one has to be caught half way, it is fed through a pipe, or
by a server, that stops until the daemon has said why it waits: nothing here relies on being quick.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from upload.pipeline import Rig, sha, wait_for

from megamax_sync.job import JobState

#: Longer than any of these programs takes, in seconds.
PATIENCE = 30.0
#: MEGAMAX_SETTLE_SECONDS of the daemons here.
SETTLE = 0.5


class Started:
    """A program that runs. Its output goes to a file, for the reader of a failure."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def input(self) -> IO[bytes]:
        """What it reads from, unbuffered."""
        assert self.process.stdin is not None
        return self.process.stdin

    def output(self) -> str:
        """What it has said so far."""
        return self._log.read_text("utf-8", errors="replace")

    def finish(self) -> None:
        """Wait until it has done its work."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        status = self.process.wait(PATIENCE)
        assert status == 0, self.output()

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Stop it in the middle, as a stalled source does, and let it go on afterwards."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def interrupt(self) -> None:
        """Have it end in the middle, as a person at the keyboard would, and wait for the end."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(PATIENCE) != 0, "it had nothing left to do"

    def end(self) -> None:
        """See to it that it runs no longer."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE / 3)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Place:
    """The watched folder, the daemon, the service, and a folder beside for what is not watched."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.drop = rig.drop
        self.aside = rig.folder / "aside"
        self.aside.mkdir()
        self._logs = 0

    def start(self, **changes: str) -> None:
        """Start the daemon and wait for its first scan, so that what follows comes as events."""
        self.rig.start(**{"SETTLE_SECONDS": str(SETTLE), **changes})
        wait_for(self.rig.daemon.watcher.scanned.is_set)

    # -- programs ----------------------------------------------------------------------------

    @contextmanager
    def running(
        self,
        *command: str | Path,
        stdin: int = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
    ) -> Iterator[Started]:
        """Run a program beside the test; it is ended afterwards."""
        self._logs += 1
        log = self.aside / f"output-{self._logs}"
        with open(log, "wb") as file:
            process = subprocess.Popen(
                command,
                cwd=self.aside,
                stdin=stdin,
                stdout=file,
                stderr=subprocess.STDOUT,
                bufsize=0,
                env={**os.environ, **(env or {})},
            )
        started = Started(process, log)
        try:
            yield started
        finally:
            started.end()

    def run(self, *command: str | Path) -> None:
        """Run a program to its end."""
        with self.running(*command) as started:
            started.finish()

    # -- what the daemon says ----------------------------------------------------------------

    def wait_reason(self, path: Path, reason: str) -> None:
        """Wait until the daemon has said that this file waits, for a reason that begins so."""
        self.wait_written(path)
        # A file that was empty at the first look is looked at again when something happens beside
        # it, as it does in a real folder.
        passer_by = path.parent / "passer-by.txt"
        passer_by.touch()
        passer_by.unlink()
        wait_for(
            lambda: self.waited(path, reason),
            PATIENCE,
            what=f"{path.name} was not said to wait: {self.rig.events}",
        )

    def wait_written(self, path: Path) -> None:
        """Wait until something has been written under this name."""
        wait_for(lambda: _size(path) > 0, PATIENCE, what=f"{path.name} is not being written")

    def waited(self, path: Path, reason: str) -> bool:
        """Tell whether the daemon has said so already."""
        return any(
            event["path"] == os.fsencode(path) and event["reason"].startswith(reason)
            for event in self.rig.said("file.waiting")
        )

    def uploads(self) -> int:
        """How many uploads were begun."""
        return self.rig.calls("upload")

    def overtake(self) -> dict[Path, bytes]:
        """Have a file come later and be done sooner than those that wait; return it.

        Whatever was to be taken by mistake would have been taken by then.
        """
        path = self.drop / "later" / "overtakes.mp4"
        content = self.rig.put(str(path.relative_to(self.drop)))
        self.wait_done(path)
        return {path: content}

    # -- what has to come out ----------------------------------------------------------------

    def wait_done(self, *paths: Path) -> None:
        """Wait until the jobs of these files are done."""
        for path in paths:
            self.rig.wait_state(str(path.relative_to(self.drop)), JobState.DONE, PATIENCE)

    def check(self, finished: Mapping[Path, bytes]) -> None:
        """These files arrive, each once and whole, and nothing else is so much as begun."""
        self.wait_done(*finished)
        for path, content in finished.items():
            assert sha(path.read_bytes()) == sha(content), f"{path.name} was not finished"
        wait_for(
            lambda: self.rig.daemon.watcher.settled() and not self.rig.daemon.watcher.waiting()
        )
        self.check_arrived(finished.values())
        jobs = self.rig.daemon.store.views.jobs()
        assert Counter(job.path for job in jobs) == Counter(map(os.fsencode, finished))

    def check_arrived(self, contents: Iterable[bytes]) -> None:
        """The service holds these contents and no others, and none was sent in vain."""
        arrived = Counter(sha(one.path.read_bytes()) for one in self.rig.sandbox.files())
        wanted = Counter(map(sha, contents))
        assert arrived == wanted
        assert self.uploads() == wanted.total()
        for event in ("upload.discarded", "upload.retry_scheduled", "job.failed"):
            assert not self.rig.said(event)


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition as long as a program may take."""
    wait_for(condition, PATIENCE, what=what)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
