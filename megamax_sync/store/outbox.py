"""The outbox: what is still to be told, or done, about what has happened.

The rows about jobs are made by a trigger of the schema, in the commit that ends the job: none is
lost to a crash, and none is there before it is true. A row goes once it has been delivered, so
that everything is delivered at least once.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from megamax_sync.clock import Clock
from megamax_sync.errors import StoreUnwritable
from megamax_sync.job import FileStamp, Job, JobState
from megamax_sync.store.database import Database
from megamax_sync.store.places import in_places
from megamax_sync.store.table import JobTable

#: The channels by their names; every address of MEGAMAX_NOTIFY has one of its own.
AFTER, COMMAND, WEBHOOK, NOTIFY = "after", "command", "webhook", "notify:"

#: The setting that remembers which problem was told, so that its end is told after a restart, too.
_TOLD = "problem_told"


@dataclass(frozen=True, slots=True)
class Letter:
    """A row of the outbox. ``at`` and ``due_at`` are Unix time in seconds."""

    id: int
    #: Told from all others of any queue, and the same each time this one is delivered.
    mark: str
    channel: str
    event: str
    at: float
    #: The job as it was then; None for a problem or a recovery.
    job: int | None
    path: bytes | None
    hashid: str | None
    sidecar: bytes | None
    error: str | None
    problem: str | None
    #: How often its delivery has failed.
    attempts: int
    due_at: float
    target: bytes | None


_SELECT = f"SELECT {', '.join(Letter.__dataclass_fields__)} FROM outbox"


class Outbox(JobTable):
    """The tables ``outbox``, ``listener`` and ``put_away``.

    A problem that cannot be written down, as it is the queue's own disk that is full, is held in
    memory until it can be: who delivers sees no difference.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database, clock)
        self._guard = threading.Lock()
        #: What is held, by numbers that no row has; and the problem that was told by it.
        self._held: dict[int, Letter] = {}
        self._held_problem: str | None = None
        self._numbers = itertools.count(-1, -1)

    # -- who listens -------------------------------------------------------------------------

    def listen(self, channels: Mapping[str, Iterable[str]]) -> None:
        """From now on make rows for these channels, each with its events, and for no others.

        What is left for a channel that is no longer set goes with it.
        """
        rows = [(name, event) for name, events in channels.items() for event in sorted(events)]
        with self.database.transaction():
            if sorted(rows) != sorted(self._listeners()):
                self.database.write("DELETE FROM listener")
                self.database.write_each(
                    "INSERT INTO listener (channel, event) VALUES (?, ?)", rows
                )
            marks = ",".join("?" * len(channels))
            self.database.write(f"DELETE FROM outbox WHERE channel NOT IN ({marks})", *channels)

    def _listeners(self) -> list[tuple[str, str]]:
        return [tuple(row) for row in self.database.read("SELECT channel, event FROM listener")]

    # -- what has happened -------------------------------------------------------------------

    @property
    def told_problem(self) -> str | None:
        """The problem that was told, and whose end was not yet."""
        if self._held_problem is not None:
            return self._held_problem
        sql = "SELECT value FROM setting WHERE name = ?"
        row = self.database.read_one(sql, _TOLD)
        return row["value"] if row else None

    def tell_problem(self, word: str, detail: str) -> None:
        """Have a problem told, and remember that it was."""
        try:
            with self.database.transaction():
                self._tell("problem", word, detail)
                self._remember(word)
        except StoreUnwritable:
            self._hold(word, detail)
            self.database.wake()

    def write_down(self) -> None:
        """Write down what is held, if it can be written by now."""
        with self._guard:
            held, told = list(self._held.values()), self._held_problem
        if told is None:
            return
        try:
            with self.database.transaction():
                self.database.write_each(
                    "INSERT INTO outbox (mark, channel, event, at, problem, error, attempts, "
                    "due_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    [
                        (o.mark, o.channel, o.event, o.at, o.problem, o.error, o.attempts, o.due_at)
                        for o in held
                    ],
                )
                self._remember(told)
        except StoreUnwritable:
            return
        with self._guard:
            # One that is just being delivered is delivered again: at least once.
            self._held.clear()
            self._held_problem = None

    def _remember(self, word: str) -> None:
        self.database.write("REPLACE INTO setting (name, value) VALUES (?, ?)", _TOLD, word)

    def _hold(self, word: str, detail: str) -> None:
        now = self.clock.now()
        listening = [channel for channel, event in self._listeners() if event == "problem"]
        with self._guard:
            for channel in listening:
                number = next(self._numbers)
                self._held[number] = Letter(
                    id=number,
                    mark=os.urandom(16).hex(),
                    channel=channel,
                    event="problem",
                    at=now,
                    job=None,
                    path=None,
                    hashid=None,
                    sidecar=None,
                    error=detail,
                    problem=word,
                    attempts=0,
                    due_at=0.0,
                    target=None,
                )
            self._held_problem = word

    def tell_recovery(self, word: str) -> None:
        """Have the end of a problem told that was told itself."""
        with self.database.transaction():
            self._tell("recovery", word, None)
            self.database.write("DELETE FROM setting WHERE name = ?", _TOLD)

    def _tell(self, event: str, word: str, detail: str | None) -> None:
        sql = (
            "INSERT INTO outbox (channel, event, at, problem, error) "
            "SELECT channel, event, ?, ?, ? FROM listener WHERE event = ?"
        )
        self.database.write(sql, self.clock.now(), word, detail, event)

    # -- delivery ----------------------------------------------------------------------------

    def due(self, channel: str, *, limit: int = 100) -> list[Letter]:
        """Return what is to be delivered on a channel now, the oldest first.

        Before them what is held: rows cannot be taken out on a full disk, and would be in its way.
        """
        now = self.clock.now()
        held = [one for one in self._held_for(channel) if one.due_at <= now]
        if held:
            return held[:limit]
        sql = f"{_SELECT} WHERE channel = ? AND due_at <= ? ORDER BY id LIMIT ?"
        return self._letters(sql, channel, now, limit)

    def due_after(self, *, limit: int = 100) -> list[Letter]:
        """Return the videos that are to be put away now: those whose command has been run."""
        sql = (
            f"{_SELECT} AS one WHERE channel = ? AND due_at <= ? AND NOT EXISTS "
            "(SELECT 1 FROM outbox WHERE job = one.job AND channel = ?) ORDER BY id LIMIT ?"
        )
        return self._letters(sql, AFTER, self.clock.now(), COMMAND, limit)

    def next_due(self, channel: str) -> float | None:
        """Return when the next of a channel that has to wait is due, as Unix time."""
        sql = "SELECT min(due_at) FROM outbox WHERE channel = ? AND due_at > ?"
        now = self.clock.now()
        row = self.database.read_one(sql, channel, now)
        dues = [one.due_at for one in self._held_for(channel) if one.due_at > now]
        dues += [row[0]] if row and row[0] is not None else []
        return min(dues, default=None)

    def _held_for(self, channel: str) -> list[Letter]:
        with self._guard:
            return [one for one in self._held.values() if one.channel == channel]

    def delivered(self, letters: Sequence[Letter]) -> None:
        """Take out what has been delivered, or given up."""
        with self._guard:
            for one in letters:
                self._held.pop(one.id, None)
        rows = [(one.id,) for one in letters if one.id > 0]
        if rows:
            self.database.write_each("DELETE FROM outbox WHERE id = ?", rows)

    def postpone(self, letters: Sequence[Letter], seconds: float) -> None:
        """Count a delivery that failed, and have it tried again in so many seconds."""
        due = self.clock.now() + seconds
        with self._guard:
            for one in letters:
                if one.id in self._held:
                    self._held[one.id] = replace(one, attempts=one.attempts + 1, due_at=due)
        rows = [(due, one.id) for one in letters if one.id > 0]
        if rows:
            self.database.write_each(
                "UPDATE outbox SET attempts = attempts + 1, due_at = ? WHERE id = ?", rows
            )

    def owed(self, under: Sequence[bytes] | None = None) -> bool:
        """Tell whether anything is left for which ``--scan`` waits.

        Commands until they have been run, everything else until it was tried once. With
        ``under``: only commands and videos of jobs in these places.
        """
        if under is None:
            with self._guard:
                if any(not one.attempts for one in self._held.values()):
                    return True
        where, values = in_places(under)
        local = "" if under is None else f" AND channel IN ('{AFTER}', '{COMMAND}')"
        sql = (
            f"SELECT 1 FROM outbox WHERE (attempts = 0 OR channel = '{COMMAND}'){local}{where} "
            "LIMIT 1"
        )
        return self.database.read_one(sql, *values) is not None

    def busy(self) -> bool:
        """Tell whether any job is on its way, so that more will soon be told."""
        sql = (
            "SELECT EXISTS (SELECT 1 FROM job WHERE state IN ('uploading', 'processing')) "
            "OR EXISTS (SELECT 1 FROM job WHERE state = 'queued' AND ready = 1)"
        )
        return bool(self.database.read(sql)[0][0])

    # -- videos that are moved ---------------------------------------------------------------

    def aim(self, letter: Letter, target: bytes | None) -> None:
        """Write down where a video is going to be moved, before it is."""
        self.database.write("UPDATE outbox SET target = ? WHERE id = ?", target, letter.id)

    def put_away(
        self, letter: Letter, job: Job, path: bytes, stamp: FileStamp, reason: str
    ) -> bool:
        """Note that a job's video now lies at ``path``, and have its sidecar written there.

        The letter keeps where the sidecar was. False when the job was dropped, or its file
        renamed, meanwhile.
        """
        sql = (
            "UPDATE job SET path = ?, root = NULL, size = ?, mtime_ns = ?, ctime_ns = ?, dev = ?, "
            "ino = ?, sidecar_due = 1, updated_at = ? WHERE id = ? AND path = ? RETURNING id"
        )
        with self.database.transaction():
            changed = self.database.write(
                sql,
                path,
                stamp.size,
                stamp.mtime_ns,
                stamp.ctime_ns,
                stamp.dev,
                stamp.ino,
                self.clock.now(),
                job.id,
                job.path,
            )
            if changed:
                self._remember_place(job)
                self.database.write(
                    "UPDATE outbox SET sidecar = ?, attempts = 0 WHERE id = ?",
                    job.sidecar,
                    letter.id,
                )
                self.note(job.id, JobState.DONE, reason)
        return bool(changed)

    def deleted(self, letter: Letter, job: Job, reason: str) -> None:
        """Note that a job's video was deleted, as it was to be."""
        with self.database.transaction():
            self.delivered([letter])
            self.noted(job, reason)
            self._remember_place(job)

    def was_put_away(self, job: Job) -> bool:
        """Tell whether a job's video was moved or deleted by us."""
        return self.database.read_one("SELECT 1 FROM put_away WHERE job = ?", job.id) is not None

    def _remember_place(self, job: Job) -> None:
        sql = "INSERT OR IGNORE INTO put_away (job, path) VALUES (?, ?)"
        self.database.write(sql, job.id, job.path)

    def noted(self, job: Job, reason: str) -> None:
        """Add to a job's history what became of its video."""
        self.note(job.id, JobState.DONE, reason)

    def _letters(self, sql: str, *values: object) -> list[Letter]:
        return [Letter(*row) for row in self.database.read(sql, *values)]
