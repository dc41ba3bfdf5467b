"""One world: a service that lives, a drop folder, and a program that is killed again and again."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import jsonschema

from chaos.points import POINTS
from chaos.zygote import Victim, Zygote
from megamax_sync import sidecar
from megamax_sync.sandbox import Fault, FaultScript, Sandbox

FOLDERS = ("", "s1", "s2", "s1/extras")
NAMES = ("Episode 01.mkv", "Episode 02.mkv", "Movie.2024.1080p.mp4", 'a "b".mp4', "x\\y.mp4")
SIZES = (1500, 1500, 40_000, 1_300_000)
#: Where nothing more happens by itself, a program that has not met its trap is killed anyway.
LONGEST_RUN = 4.0
#: Every so many starts are those of a fresh interpreter, as a user's are.
REAL_START = 25
#: The service lists late, by less than the program's patience of seven MEGAMAX_RETRY_SECONDS.
LATEST_LISTING = 0.8

SETTINGS = {
    "MEGAMAX_SETTLE_SECONDS": "0",
    "MEGAMAX_POLL_SECONDS": "0.1",
    "MEGAMAX_RETRY_SECONDS": "0.4",
    "MEGAMAX_RETRY_MAX_SECONDS": "0.8",
    "MEGAMAX_API_RATE": "0",
    "MEGAMAX_TIMEOUT_SECONDS": "5",
    # 5xx answers are part of this world, and no file is at fault.
    "MEGAMAX_MAX_ATTEMPTS": "1000",
    "MEGAMAX_FOLDERS": "s1=11,s2=12",
    "MEGAMAX_FOLDER": "1",
    "MEGAMAX_LOG_FORMAT": "json",
    "MEGAMAX_LOG_LEVEL": "info",
}


@dataclass
class Tally:
    """What came of it; all of the second group have to be 0."""

    kills: int = 0
    starts: int = 0
    files: int = 0
    arrived: int = 0
    points: dict[str, int] = field(default_factory=dict)

    lost: int = 0
    twice: int = 0
    mixed_up: int = 0
    unreadable: int = 0
    given_up: int = 0
    unexpected: int = 0
    #: What a person needs to see of the failures.
    notes: list[str] = field(default_factory=list)

    def faults(self) -> int:
        """How much went wrong."""
        return (
            self.lost
            + self.twice
            + self.mixed_up
            + self.unreadable
            + self.given_up
            + self.unexpected
        )


def sha(data: bytes) -> str:
    """A digest by which contents are compared."""
    return hashlib.sha256(data).hexdigest()


class World:
    """Everything of one world; :meth:`run` does it all."""

    def __init__(self, home: Path, seed: str) -> None:
        self.home = home
        self.drop = home / "drop"
        self.drop.mkdir(parents=True)
        self.rng = random.Random(seed)
        self.faults = FaultScript()
        self.tally = Tally()
        #: All contents that ever lay under a path, the present one last.
        self.contents: dict[Path, list[str]] = defaultdict(list)
        self._stored: dict[str, str] = {}
        #: By path, the sidecar that was looked at last: its inode is another after each write.
        self._seen: dict[Path, int] = {}
        points = list(POINTS)
        self.rng.shuffle(points)
        self._points = itertools.cycle(points)
        self._log = home / "log"

    def run(self, kills: int) -> Tally:
        """Kill it so often, let it finish, and look at what there is."""
        service = Sandbox(self.home / "service", step=0.02, faults=self.faults)
        with service as self.sandbox, Zygote() as zygote:
            self.environ = {
                **SETTINGS,
                "MEGAMAX_LOGIN": self.sandbox.login,
                "MEGAMAX_KEY": self.sandbox.key,
                "MEGAMAX_API_URL": self.sandbox.api_url,
                "MEGAMAX_WATCH": str(self.drop),
                "MEGAMAX_STATE_DIR": str(self.home / "state"),
            }
            while self.tally.kills < kills:
                self._disturb()
                self._one_life(zygote)
                self._look_at_sidecars()
            self.faults.clear()
            self._finish()
            self._judge()
        return self.tally

    # -- what happens to it ------------------------------------------------------------------

    def _disturb(self) -> None:
        """Files come and are replaced, and the service has a bad day."""
        for _ in range(self.rng.choice([0, 1, 1, 1, 2])):
            known = list(self.contents)
            if known and self.rng.random() < 0.25:
                path = self.rng.choice(known)
            else:
                number = self.rng.randrange(10_000)
                folder = self.drop / self.rng.choice(FOLDERS)
                # The same names and sizes in many folders: twins, of which none is the other.
                path = folder / f"batch {number % 40}" / self.rng.choice(NAMES)
            self._put(path)
        self.faults.clear()
        for call, fault in self.rng.choices(self._bad_days(), k=self.rng.randint(0, 2)):
            self.faults.add(call, fault, self.rng.choice([(1,), (2,), (1, 2, 3)]))

    def _put(self, path: Path) -> None:
        data = self.rng.randbytes(self.rng.choice(SIZES))
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.new")
        part.write_bytes(data)
        part.rename(path)
        self.contents[path].append(sha(data))

    def _bad_days(self) -> list[tuple[str, Fault]]:
        return [
            ("upload", Fault.lost_answer()),
            ("upload", Fault.lost_answer()),
            ("upload", Fault.cut_body(12)),
            ("upload", Fault.reset()),
            ("upload", Fault.reset_after(self.rng.randint(1, 1400))),
            ("upload", Fault.status(504)),
            ("upload", Fault.status(503, early=True, headers={"connection": "close"})),
            ("upload", Fault.raw(502, b"<html>Bad Gateway</html>")),
            ("upload", Fault.delay(self.rng.uniform(0.05, 0.4))),
            ("generate", Fault.delay(self.rng.uniform(0.05, 0.3))),
            ("generate", Fault.status(503)),
            ("files", Fault.hide_new(self.rng.uniform(0.1, LATEST_LISTING))),
            ("files", Fault.hide_new(LATEST_LISTING)),
            ("files", Fault.reset()),
            ("files", Fault.cut_body(30)),
            ("file", Fault.reset()),
            ("file", Fault.status(500)),
            ("mirrors", Fault.raw(200, b"<html>")),
            ("direct", Fault.delay(0.2)),
        ]

    def _one_life(self, zygote: Zygote) -> None:
        """Start it, and see it die: at a point of its life, or at any moment."""
        self.tally.starts += 1
        if self.tally.starts % REAL_START == 0:
            self._one_real_life()
            return
        trap = None
        longest = LONGEST_RUN
        if self.rng.random() < 0.65:
            trap = (next(self._points), self.rng.choice([1, 1, 2, 3]))
        else:
            longest = self.rng.uniform(0.0, 0.9)
        victim = zygote.start([], self.environ, self._log, trap)
        died = victim.wait(longest)
        if not died:
            victim.kill()
            assert victim.wait(30), "it cannot be killed"
        status = zygote.reap(victim)
        self._died(status, trap[0] if died and trap is not None else "any moment")

    def _one_real_life(self) -> None:
        with open(self._log, "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "megamax_sync"],
                env={**os.environ, **self.environ},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
            victim = Victim(process.pid)
            victim.wait(self.rng.uniform(0.4, 1.6))
            victim.kill()
            victim.close()
            self._died(process.wait(30), "any moment, a fresh interpreter")

    def _died(self, status: int, point: str) -> None:
        if status == -9:
            self.tally.kills += 1
            self.tally.points[point] = self.tally.points.get(point, 0) + 1
        else:
            self.tally.unexpected += 1
            self.tally.notes.append(f"it ended with {status}")

    def _finish(self) -> None:
        """Let it come to its end with a service that is well."""
        with open(self._log, "ab") as log:
            run = subprocess.run(
                [sys.executable, "-m", "megamax_sync", "--scan", "--timeout", "240"],
                env={**os.environ, **self.environ},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                timeout=280,
                check=False,
            )
        if run.returncode:
            self.tally.unexpected += 1
            self.tally.notes.append(f"--scan ended with {run.returncode}")

    # -- what came of it ---------------------------------------------------------------------

    def _remote(self) -> dict[str, str]:
        """The digest of every stored file, by hashid."""
        for record in self.sandbox.files():
            if record.hashid not in self._stored:
                self._stored[record.hashid] = sha(record.path.read_bytes())
        return self._stored

    def _look_at_sidecars(self) -> None:
        """After each kill: every sidecar can be read, and speaks of a content of its own path."""
        remote = self._remote()
        for path, contents in self.contents.items():
            try:
                inode = _sidecar_path(path).stat().st_ino
            except FileNotFoundError:
                continue
            if self._seen.get(path) == inode:
                continue
            self._seen[path] = inode
            document = self._sidecar(path)
            if document and remote.get(str(document["hashid"])) not in contents:
                self.tally.mixed_up += 1
                self.tally.notes.append(f"{path}: its sidecar names another file's upload")

    def _sidecar(self, path: Path) -> dict[str, object] | None:
        try:
            text = _sidecar_path(path).read_bytes()
        except FileNotFoundError:
            return None
        try:
            document: dict[str, object] = json.loads(text)
            jsonschema.validate(document, sidecar.schema())
        except (ValueError, jsonschema.ValidationError) as error:
            self.tally.unreadable += 1
            self.tally.notes.append(f"{path}: {error}")
            return None
        return document

    def _judge(self) -> None:
        tally, remote = self.tally, self._remote()
        copies = Counter(remote.values())
        tally.arrived = len(remote)
        tally.files = sum(len(versions) for versions in self.contents.values())
        for digest, number in copies.items():
            if number > 1:
                tally.twice += 1
                paths = [str(path) for path, all_of in self.contents.items() if digest in all_of]
                tally.notes.append(f"{number} times at the service: {paths}")
        for path, contents in self.contents.items():
            document = self._sidecar(path)
            if contents[-1] not in copies or document is None:
                tally.lost += 1
                tally.notes.append(f"{path}: lost, sidecar {document}")
            elif remote.get(str(document["hashid"])) != contents[-1]:
                tally.mixed_up += 1
                tally.notes.append(f"{path}: its sidecar is not this version's")
        with sqlite3.connect(self.home / "state" / "queue.db") as queue:
            for path, state, error in queue.execute(
                "SELECT path, state, error FROM job WHERE state != 'done' AND id IN "
                "(SELECT max(id) FROM job GROUP BY path)"
            ):
                tally.given_up += 1
                tally.notes.append(f"{path!r}: {state}, {error}")
        queue.close()
        for line in self._log.read_text("utf-8", "replace").splitlines():
            if '"exception"' in line or "Traceback" in line:
                tally.unexpected += 1
                tally.notes.append(line[:2000])


def _sidecar_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.megamax.json")


def heartbeat(world: World, stop: threading.Event) -> None:
    """Say on stderr now and then how far it is; for long runs."""
    began = time.monotonic()
    while not stop.wait(30):
        kills, seconds = world.tally.kills, time.monotonic() - began
        sys.stderr.write(f"{world.home.name}: {kills} kills in {seconds:.0f} s\n")
