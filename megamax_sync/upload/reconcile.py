"""Find in the account's list the upload whose answer was lost. Pure.

The upload call is not idempotent, so after any attempt whose outcome is unknown the list is asked
before the file is sent again. A listed file is ours if it has the size that we sent, was made no
earlier than our attempt by the service's own clock, has not failed, belongs to no other job, and
bears the same name, allowing for what services do to names (:func:`megamax_sync.job.match_key`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from megamax_sync.api.models import RemoteFile
from megamax_sync.job import REMOTE_CONVERTED, REMOTE_FAILED, Job, match_key
from megamax_sync.store import Attempt

#: The Date header has whole seconds, and a service's database need not agree with its web server.
_CLOCK_SLACK = 2.0
#: Not listed once is no proof: it is asked this often at the least …
MIN_LOOKUPS = 3
#: … over a time that grows with the size: what a service may take to list what it has got.
_LISTING_RATE = 20 << 20  # bytes a second
_LONGEST_WAIT = 3600.0


def find(
    attempt: Attempt,
    listed: Sequence[RemoteFile],
    *,
    owned: Collection[str],
    rivals: int,
) -> RemoteFile | None:
    """Return the listed file that this attempt made, or None.

    ``owned`` are hashids that jobs or earlier attempts have. ``rivals`` counts the other attempts
    of this size whose outcome is unknown: a file under another name is taken only if there is none,
    and if it is the only one that fits.
    """
    fitting = [
        remote
        for remote in listed
        if remote.size == attempt.size
        and remote.status != REMOTE_FAILED
        and remote.hashid not in owned
        and _new_enough(remote, attempt)
    ]
    named = [remote for remote in fitting if match_key(remote.name) == attempt.match_key]
    if named:
        return min(named, key=_made)
    return fitting[0] if len(fitting) == 1 and not rivals else None


def choose(job: Job, listed: Sequence[RemoteFile], owned: Collection[str]) -> RemoteFile | None:
    """Return the listed file that a job's file was uploaded as, by hand or before a loss, or None.

    Nothing tells it from others of its size and name, so any of them will do: best one in the job's
    folder, then one that is converted, then the oldest. Whether another file of ours may be meant
    is for the caller to know.
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

    def rank(remote: RemoteFile) -> tuple[bool, bool, float]:
        return remote.folder != job.folder, remote.status != REMOTE_CONVERTED, _made(remote)

    return min(fitting, key=rank, default=None)


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


def _new_enough(remote: RemoteFile, attempt: Attempt) -> bool:
    if remote.created_at is None or attempt.service_time is None:
        return False
    return remote.created_at.timestamp() >= attempt.service_time - _CLOCK_SLACK


def _made(remote: RemoteFile) -> float:
    return remote.created_at.timestamp() if remote.created_at else 0.0
