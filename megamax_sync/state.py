"""The state folder: where the queue is, and who may use it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading

from megamax_sync.errors import ConfigError, StateFolderInUse, StoreError, StoreFull

#: How often the lock is asked for, 20 ms apart.
_TRIES = 10
#: No queue will ever count to a number of so many digits, which SQLite could not.
_MOST = 18


class StateFolder:
    """``queue.db``, the lock and the control socket of one instance."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.queue = os.path.join(path, "queue.db")
        self.socket = os.path.join(path, "control.sock")
        self._lock_path = os.path.join(path, "lock")
        self._mark = os.path.join(path, "queue.made")
        self._lock: int | None = None
        self._noted: int | None = None

    def make(self) -> None:
        """Make the folder, private to its user. Raises :class:`ConfigError` with the remedy."""
        try:
            _make_private(self.path)
        except OSError as error:
            raise ConfigError(
                f"MEGAMAX_STATE_DIR: '{self.path}' cannot be made ({error.strerror}); "
                "set a folder that this user may write"
            ) from error
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise ConfigError(
                f"MEGAMAX_STATE_DIR: '{self.path}' cannot be written; "
                "set a folder that this user may write"
            )

    def had_queue(self) -> bool:
        """Tell whether there has been a queue here that was at work."""
        return os.path.lexists(self._mark)

    def note_queue(self, steps: int) -> None:
        """Leave a mark of how far the queue has come.

        By it a queue that was deleted is told from one that never was, and an earlier copy that
        has taken its place from itself.
        """
        if steps == self._noted:
            return
        # Without space for it there will be another time.
        with contextlib.suppress(OSError):
            with open(self._mark + ".new", "w", encoding="ascii") as file:
                file.write(f"{steps}\n")
            os.replace(self._mark + ".new", self._mark)
            self._noted = steps

    def noted(self) -> int | None:
        """Return how far the queue had come; None where there was none, 0 where nobody knows."""
        try:
            with open(self._mark, encoding="ascii") as file:
                text = file.read(_MOST + 1).strip()
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return 0
        # Earlier versions wrote no number.
        return int(text) if text.isdigit() and len(text) < _MOST else 0

    def lock(self) -> None:
        """Own the folder until :meth:`unlock` or death.

        Raises :class:`StateFolderInUse`, and :class:`StoreError` where no lock can be made.
        """
        try:
            fd = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            kind = StoreFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StoreError
            raise kind(f"the lock in {self.path} cannot be made: {error.strerror}") from error
        patience = threading.Event()
        for left in reversed(range(_TRIES)):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if not left:
                    os.close(fd)
                    raise StateFolderInUse(self.path, self.owner()) from error
            # Whoever only asks whether the folder is in use has it for a moment, too.
            patience.wait(0.02)
        # Only for people to read: on a full disk the lock holds without it.
        with contextlib.suppress(OSError):
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._lock = fd

    def renew(self) -> bool:
        """Make again what was deleted of the folder while it was owned; tell whether it was.

        Raises :class:`StateFolderInUse` if another instance was faster, and
        :class:`StoreError`.
        """
        if self._lock is None or _same_file(self._lock, self._lock_path):
            return False
        old, self._lock = self._lock, None
        try:
            self.make()
            self.lock()
        except BaseException:
            self._lock = old
            raise
        os.close(old)
        return True

    def unlock(self) -> None:
        """Give the folder up."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def keep(self) -> None:
        """Own the folder until the process ends, :meth:`unlock` or not: part of it still works."""
        self._lock = None

    def in_use(self) -> bool:
        """Tell whether another process owns the folder."""
        try:
            fd = os.open(self._lock_path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def owner(self) -> int | None:
        """Return the process id that the lock names."""
        try:
            with open(self._lock_path, encoding="ascii") as file:
                return int(file.read(32))
        except (OSError, ValueError):
            return None


def _same_file(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except OSError:
        return False


def _make_private(path: str) -> None:
    """Make a folder, and what is missing above it, for this user alone."""
    # os.makedirs gives its mode to the last folder only.
    above = os.path.dirname(path)
    if above != path and not os.path.isdir(above):
        _make_private(above)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
