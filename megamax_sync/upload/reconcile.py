"""Find in the account's list the upload whose answer was lost. Pure.

The upload call is not idempotent, so after any attempt whose outcome is unknown the list is asked
before the file is sent again. A listed file is ours if it has the size that we sent, was made no
earlier than our attempt by the service's own clock, has not failed, belongs to no other job, and
bears the same name, allowing for what services do to names (:func:`megamax_sync.job.match_key`).

What is known of the account's other files says more about the service: see :class:`Habits`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from megamax_sync.api.models import RemoteFile
from megamax_sync.job import REMOTE_CONVERTED, REMOTE_FAILED, Job, match_key
from megamax_sync.store import Attempt

#: The Date header has whole seconds.
_CLOCK_SLACK = 2.0
#: By how much a clock may differ that does not say what time it is, in seconds.
UNKNOWN_CLOCK = 900.0
#: Names that no service has a reason to change.
_PLAIN_NAME = re.compile(rb"[0-9A-Za-z][0-9A-Za-z ._-]{0,99}")
#: Not listed once is no proof: it is asked this often at the least …
MIN_LOOKUPS = 3
#: … over a time that grows with the size: what a service may take to list what it has got.
_LISTING_RATE = 20 << 20  # bytes a second
_LONGEST_WAIT = 3600.0


@dataclass(frozen=True, slots=True)
class Listed:
    """What matters of a listed file, in a fifth of the memory: lists are kept for a while."""

    hashid: str
    name: str
    size: int
    status: str
    created_at: datetime | None
    folder: int | None


@dataclass(frozen=True, slots=True)
class Habits:
    """What the account's list shows of the service, above all by uploads whose answers we had."""

    #: By how many seconds its dates lie before the true moments, by other clocks or zones.
    lag: float = 0.0
    #: To how many seconds it rounds them down; a day for one that names only the day.
    grain: float = 0.0
    #: It lists plain names as they were sent.
    keeps_names: bool = False

    @classmethod
    def of(cls, listed: Sequence[RemoteFile], arrived: Mapping[str, Attempt]) -> Habits:
        """Learn from listed files and the attempts that made them, by hashid."""
        pairs = [(remote, arrived[remote.hashid]) for remote in listed if remote.hashid in arrived]
        # No file is made before its first byte was sent.
        lags = [
            remote.created_at.timestamp() - attempt.service_time
            for remote, attempt in pairs
            if remote.created_at is not None and attempt.service_time is not None
        ]
        grains = [_grain(remote.created_at) for remote in listed if remote.created_at is not None]
        grain = min(grains, default=0.0)
        kept = any(match_key(remote.name) == attempt.match_key for remote, attempt in pairs)
        return cls(max(0.0, -min(lags, default=0.0) - grain), grain, kept)


def find(
    attempt: Attempt,
    listed: Sequence[RemoteFile],
    *,
    owned: Collection[str],
    rivals: int,
    habits: Habits = Habits(),
) -> RemoteFile | None:
    """Return the listed file that this attempt made, or None.

    ``owned`` are hashids that jobs or earlier attempts have. ``rivals`` counts the other attempts
    that may have made a file of this size: one under another name is taken only if there is none,
    if it is the only one that fits, and if the service may have changed the name.
    """
    slack = _CLOCK_SLACK + habits.lag + habits.grain
    fitting = [
        remote
        for remote in listed
        if remote.size == attempt.size
        and remote.status != REMOTE_FAILED
        and remote.hashid not in owned
        and _new_enough(remote, attempt, slack)
    ]
    named = [remote for remote in fitting if bears_name(attempt, remote)]
    if named:
        return min(named, key=_made)
    plain = _PLAIN_NAME.fullmatch(os.path.basename(attempt.path)) is not None
    if rivals or len(fitting) != 1 or (plain and habits.keeps_names):
        return None
    return fitting[0]


def bears_name(attempt: Attempt, remote: RemoteFile) -> bool:
    """Tell whether a listed file has the name that was sent."""
    # Not the key that is written down, which an earlier version may have made otherwise.
    return match_key(remote.name) == match_key(os.path.basename(attempt.path))


def choose(
    job: Job, listed: Sequence[Listed], owned: Collection[str], late: float
) -> Listed | None:
    """Return the listed file that a job's file was uploaded as, by hand or before a loss, or None.

    Nothing tells it from others of its size and name, so any of them will do that is no older
    (:func:`is_older`, which has ``late``): best one in the job's folder, then one that is
    converted, then the oldest. Whether another file of ours may be meant is for the caller to know.
    """
    key = match_key(job.name)
    fitting = [
        remote
        for remote in listed
        if remote.size == job.stamp.size
        and remote.status != REMOTE_FAILED
        and remote.hashid not in owned
        and match_key(remote.name) == key
    ]

    def rank(remote: Listed) -> tuple[bool, bool, bool, float]:
        elsewhere, unready = remote.folder != job.folder, remote.status != REMOTE_CONVERTED
        return is_older(job, remote, late), elsewhere, unready, _made(remote)

    return min(fitting, key=rank, default=None)


def is_older(job: Job, remote: Listed, late: float) -> bool:
    """Tell whether a listed file was made before the job's file was written last.

    It is an earlier version then, or the file was only touched. ``late``: by how many seconds at
    the most its date lies before the moment by our clock.
    """
    return (
        remote.created_at is not None
        and remote.created_at.timestamp() + late < job.stamp.mtime_ns / 1e9
    )


def lateness(dates: Iterable[datetime], ahead: float | None) -> float:
    """Return by how many seconds the dates of a list may lie before the moments by our clock.

    ``ahead``: by how much the service's clock is ahead of ours; None for one that does not say.
    """
    # Of a clock that nobody knows, an earlier version must not look younger than the file.
    known = UNKNOWN_CLOCK if ahead is None else ahead
    return _CLOCK_SLACK + min(map(_grain, dates), default=0.0) - known


@dataclass(frozen=True, slots=True)
class Patience:
    """When to ask the list again, and when to believe that the file did not arrive."""

    first: float

    def next_lookup(self, attempt: Attempt) -> float:
        """Seconds until the list is asked again, after it was asked ``attempt.lookups`` times."""
        return min(self.span(attempt.size) / 7 * 2.0 ** min(attempt.lookups, 3), _LONGEST_WAIT)

    def exhausted(self, attempt: Attempt, now: float) -> bool:
        """Tell whether the list was asked often enough, and over a long enough time."""
        since = attempt.begun_at if attempt.unknown_at is None else attempt.unknown_at
        return attempt.lookups >= MIN_LOOKUPS and now - since >= self.span(attempt.size) * 0.9

    def looks(self, since: float, size: int) -> list[float]:
        """Return when to ask for a file of this size that may have arrived shortly before."""
        return [since + self.span(size) * part / 7 for part in (0, 1, 3, 7)]

    def span(self, size: int) -> float:
        """Seconds that the service may take to list a file of this size that it has."""
        # Look-ups at 0, 1, 3 and 7 sevenths of it.
        return min(max(7 * self.first, size / _LISTING_RATE), _LONGEST_WAIT)


def _new_enough(remote: RemoteFile, attempt: Attempt, slack: float) -> bool:
    if remote.created_at is None or attempt.service_time is None:
        return False
    return remote.created_at.timestamp() >= attempt.service_time - slack


def _grain(moment: datetime) -> float:
    """How much later than it says a moment may have been, in seconds."""
    if moment.microsecond or moment.second:
        return 0.0
    return 60.0 if moment.minute or moment.hour else 86400.0


def _made(remote: RemoteFile | Listed) -> float:
    return remote.created_at.timestamp() if remote.created_at else 0.0
