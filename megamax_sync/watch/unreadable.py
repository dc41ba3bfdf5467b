"""Folders below the watched ones that could not be read: said once, and looked at again."""

from __future__ import annotations

import os
from collections.abc import Callable

import structlog

_log = structlog.get_logger()


def unlistable(folder: bytes) -> OSError | None:
    """Return what keeps the files of a folder from being found; None if nothing does."""
    try:
        # It has to be read, to have its names, and entered, to look at what they name.
        os.scandir(folder).close()
        os.stat(os.path.join(folder, b"."))
    except OSError as error:
        return error
    return None


class Unreadable:
    """What walks could not read.

    A change of permissions need not give an event that anybody hears of, so such folders are tried
    again every ``seconds``. Moments are of the monotonic clock.
    """

    def __init__(self, mark: Callable[[bytes, bool], None], seconds: float) -> None:
        """``mark`` has a folder walked that can be read again, with all below it."""
        self._mark = mark
        self._seconds = seconds
        self._why: dict[bytes, str] = {}
        self._at = 0.0

    @property
    def due(self) -> float | None:
        """When :meth:`tick` has something to do; None for never."""
        return self._at if self._why else None

    def failed(self, folder: bytes, why: str, now: float) -> None:
        """A walk could not read this folder."""
        if not self._why:
            self._at = now + self._seconds
        if self._why.get(folder) != why:
            _log.warning("watch.degraded", path=folder, error=f"the folder cannot be read ({why})")
        self._why[folder] = why

    def tick(self, now: float) -> None:
        """Look at them again, if it is time."""
        if not self._why or now < self._at:
            return
        self._at = now + self._seconds
        for folder in list(self._why):
            error = unlistable(folder)
            if error is None:
                self.read(folder)
            elif isinstance(error, FileNotFoundError | NotADirectoryError):
                del self._why[folder]

    def read(self, folder: bytes) -> None:
        """This folder can be read."""
        if self._why.pop(folder, None) is not None:
            _log.info("watch.recovered", path=folder)
            # With all below it: nobody knows what has come in there meanwhile.
            self._mark(folder, True)

    def problem(self) -> str | None:
        """Say in one sentence what cannot be read; None when everything can."""
        # Asked for on other threads: go through a copy.
        folders = list(self._why.items())
        if not folders:
            return None
        folder, why = folders[0]
        more = f", and {len(folders) - 1} more" if len(folders) > 1 else ""
        return (
            f"{len(folders)} folders cannot be read: {os.fsdecode(folder)} ({why}){more}; "
            "let this user read and enter them"
        )
