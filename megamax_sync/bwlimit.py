"""The bandwidth limit in force: by the clock on the wall, and by who has set it last."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from megamax_sync.clock import Clock
from megamax_sync.config.timetable import BandwidthTimetable, read_timetable
from megamax_sync.errors import StoreError
from megamax_sync.store import Store

_log = structlog.get_logger()


def timetable_of(written: str | None, configured: BandwidthTimetable) -> BandwidthTimetable:
    """Return the timetable that was set, the configured one if none was."""
    if written is None:
        return configured
    try:
        return read_timetable(written)
    except ValueError as error:
        # Nobody writes one that cannot be read, but for another version, or by hand.
        _log.warning("bwlimit.unusable", error=str(error))
        return configured


def local_time(wall: float) -> datetime:
    """Return the local time, as timetables are meant, of a moment in Unix time."""
    return datetime.fromtimestamp(wall, UTC).astimezone()


class BandwidthLimit:
    """What holds now: the limit that was set while it ran, else the configured one.

    It is asked before each chunk of each upload, so it reads the queue only after a change there,
    and the timetable once a minute.
    """

    def __init__(self, store: Store, configured: BandwidthTimetable, clock: Clock) -> None:
        self._store = store
        self._configured = configured
        self._clock = clock
        self._version = -1
        #: What was set and what is configured, as of the timetable.
        self._known: tuple[str | None, BandwidthTimetable] = None, configured
        self._timetable = configured
        self._minute: float | None = None
        self._rate: float | None = None

    def configure(self, timetable: BandwidthTimetable) -> None:
        """Go by this from the next question on, unless another one was set; on any thread."""
        self._configured = timetable
        self._version = -1

    def __call__(self) -> float | None:
        """Return bytes a second, None for no limit."""
        version = self._store.database.version
        if version != self._version:
            self._read(version)
        # By the wall, as people mean it: a jump of the clock, or of the time zone, counts. Minutes
        # begin everywhere at the same moment.
        wall = self._clock.wall()
        if wall // 60 != self._minute:
            self._minute = wall // 60
            self._rate = self._timetable.at(local_time(wall))
        return self._rate

    def _read(self, version: int) -> None:
        try:
            written = self._store.settings.bwlimit
        except StoreError:
            # What held before holds until the queue can be read again.
            return
        # In this order: what is configured after this is read with the next question.
        self._version = version
        known = written, self._configured
        if known != self._known:
            self._known = known
            self._timetable = timetable_of(*known)
            self._minute = None
