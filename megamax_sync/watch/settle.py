"""Is this file finished? Pure: what was seen goes in, a verdict comes out, the clock is handed in.

No single sign suffices (measured, see ARCHITECTURE.md): preallocated files keep their size while
they fill, clients close between writes, mmap writers move no times. So all of them together: a
quiet period judged by the later of mtime and ctime, nobody with the file open for writing, no
unwritten holes, and no companion of an unfinished download.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from functools import lru_cache

from megamax_sync.job import FileStamp

#: A file that grew again after it looked finished has to be quiet twice as long, up to this.
_LONGEST_QUIET = 600.0
#: How often a file that waits for something that gives no event is looked at, in seconds.
_LOOK_AGAIN = (1.0, 30.0)
#: What the wall clock and a file's times may disagree by before they are no longer believed.
_SKEW = 2.0


class Writers(enum.Enum):
    """Whether anybody has the file open for writing."""

    NONE = "none"
    SOME = "some"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Signs:
    """What only a closer look tells, asked for once the file has been quiet long enough."""

    writers: Writers
    #: Who writes, for people: ``pid 4711, qbittorrent-nox``. Empty when unknown.
    writer: str = ""
    #: The first unwritten byte lies inside the file.
    holes: bool = False
    #: The name of a file beside it that says it is still being fetched.
    companion: str | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """It may be uploaded."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Not yet. ``reason`` for people; ``kind`` stays the same while the reason does.

    ``seconds``: when to look again.
    """

    kind: str
    reason: str
    seconds: float


class Settling:
    """What is remembered of one file that is not finished yet."""

    # There may be tens of thousands.
    __slots__ = (
        "_accompanied", "_allow_sparse", "_looks", "_quiet", "_quiet_at", "_seen", "_settle",
        "_since", "stamp",
    )  # fmt: skip

    def __init__(self, settle_seconds: float, *, allow_sparse: bool) -> None:
        self._settle = settle_seconds
        self._allow_sparse = allow_sparse
        #: How the file looked last.
        self.stamp: FileStamp | None = None
        self._since = 0.0
        #: When it was first seen to look so.
        self._seen = 0.0
        self._quiet = settle_seconds
        self._quiet_at: float | None = None
        self._looks = 0
        #: It had a companion when it was looked at last.
        self._accompanied = False

    def quiet(self, stamp: FileStamp, *, monotonic: float, wall: float) -> Waits | None:
        """Judge the quiet period from the file's stamp; None when it has been quiet enough.

        ``monotonic`` and ``wall`` are the present moment, in seconds, by both clocks. Times that
        lie before our first look are believed unless they are in the future, so that a file
        that has lain there for days is not waited for.
        """
        if stamp != self.stamp:
            self._changed(stamp, monotonic, wall)
        left = self._since + self._quiet - monotonic
        if left > 0:
            return Waits("quiet", _quiet_left(math.ceil(left)), left)
        if self._quiet_at is None:
            self._quiet_at = monotonic
        return None

    def _changed(self, stamp: FileStamp, monotonic: float, wall: float) -> None:
        old, quiet_at = self.stamp, self._quiet_at
        self.stamp, self._seen, self._quiet_at, self._looks = stamp, monotonic, None, 0
        another = old is None or (old.dev, old.ino) != (stamp.dev, stamp.ino)
        if another or (quiet_at is not None and monotonic - quiet_at > _LONGEST_QUIET):
            self._quiet = self._settle
        elif quiet_at is not None and not _only_status(old, stamp):
            # It seemed finished and was not: whoever writes it pauses for longer than we
            # thought. Be more patient with this one.
            self._quiet = min(max(self._quiet, 0.5) * 2, max(_LONGEST_QUIET, self._settle))
        # The file's own times count for more than the moment we looked, but only the first time:
        # a later change was noticed now, whatever it set the times to.
        age = wall - max(stamp.mtime_ns, stamp.ctime_ns) / 1e9
        believed = another and age > -_SKEW
        self._since = monotonic - max(0.0, age) if believed else monotonic

    def judge(self, signs: Signs, *, monotonic: float = math.inf) -> Finished | Waits:
        """Judge the closer look, after :meth:`quiet` had nothing against it.

        ``monotonic`` is the present moment; without it the file counts as watched for long.
        """
        if signs.writers is Writers.SOME:
            who = f" ({signs.writer})" if signs.writer else ""
            return self._again("open", f"open for writing{who}")
        if signs.companion is not None:
            self._accompanied = True
            return self._again("companion", f"companion {signs.companion}")
        if self._accompanied and monotonic < math.inf:
            # Whoever took it away is perhaps about to rename, merge or remove the file.
            self._accompanied, self._since, self._quiet_at = False, monotonic, None
            return Waits("quiet", _quiet_left(math.ceil(self._quiet)), self._quiet)
        if signs.holes and not self._allow_sparse:
            return self._again(
                "holes",
                "has unwritten holes, as an unfinished download has; "
                "MEGAMAX_ALLOW_SPARSE=true if it is meant to be sparse",
            )
        left = self._seen + self._quiet - monotonic
        if signs.writers is Writers.UNKNOWN and left > 0:
            # Another machine may write it, and the clock that its times are by may be slow: only
            # what we have seen ourselves counts.
            return Waits("quiet", _quiet_left(math.ceil(left)), left)
        return Finished()

    def _again(self, kind: str, reason: str) -> Waits:
        first, last = _LOOK_AGAIN
        seconds = min(max(self._settle, first) * 1.5 ** min(self._looks, 20), last)
        self._looks += 1
        return Waits(kind, reason, seconds)


@lru_cache
def _quiet_left(seconds: int) -> str:
    # One text for all that wait for as long.
    return f"{seconds} s of quiet left"


def _only_status(old: FileStamp | None, new: FileStamp) -> bool:
    """Tell whether only ctime moved: a chmod or a hard link, no writer."""
    return old is not None and old.same_version(new)
