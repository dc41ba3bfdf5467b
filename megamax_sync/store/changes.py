"""Who is to be woken by what: a counter that threads wait on, and what SQLite tells of a commit.

While many files are sent there are hundreds of commits a second, and few of them make work for an
upload worker. Which ones do is not for each statement's author to remember: triggers of the
connection's own, which no other connection and no file ever sees, notice the rows themselves.
"""

from __future__ import annotations

import sqlite3
import threading

#: The function by which the triggers tell.
_FUNCTION = "work_to_send"
#: What may make a job claimable: one in the queue; the end of an attempt, for which another job of
#: its name and size waits; the end of a pause. And what ends an upload under way: a pause.
_TRIGGERS = (
    "AFTER INSERT ON main.job WHEN NEW.state = 'queued'",
    "AFTER UPDATE ON main.job WHEN NEW.state = 'queued'",
    "AFTER UPDATE ON main.attempt WHEN OLD.outcome IS NULL AND NEW.outcome IS NOT NULL",
    "AFTER DELETE ON main.attempt WHEN OLD.outcome IS NULL",
    "AFTER INSERT ON main.setting WHEN NEW.name = 'paused'",
    "AFTER UPDATE ON main.setting WHEN NEW.name = 'paused'",
    "AFTER DELETE ON main.setting WHEN OLD.name = 'paused'",
)


class Changes:
    """Counts changes; threads wait for the next one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._version = 0

    @property
    def version(self) -> int:
        """Counts up at every change."""
        return self._version

    def wake(self) -> None:
        """There is a change: wake everybody who waits."""
        with self._changed:
            self._version += 1
            self._changed.notify_all()

    def wait(self, seen: int, timeout: float | None) -> int:
        """Wait until :attr:`version` is no longer ``seen``, ``timeout`` seconds at the most."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != seen, timeout)
            return self._version


class WorkToSend(Changes):
    """Changes after which there may be something to send, seen by the database itself."""

    def __init__(self) -> None:
        super().__init__()
        self._seen = False

    def observe(self, connection: sqlite3.Connection) -> None:
        """Have this connection tell of its own changes from now on."""
        connection.create_function(_FUNCTION, 0, self._see)
        for number, event in enumerate(_TRIGGERS):
            connection.execute(
                f"CREATE TEMP TRIGGER {_FUNCTION}_{number} {event} BEGIN SELECT {_FUNCTION}(); END"
            )

    def committed(self) -> None:
        """Wake those who wait, if there was such a change since the last commit."""
        if self._seen:
            self._seen = False
            self.wake()

    def _see(self) -> None:
        self._seen = True
