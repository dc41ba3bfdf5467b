"""What the service says of a file in conversion, and what follows from it."""

from __future__ import annotations

import structlog

from megamax_sync.api.models import RemoteFile
from megamax_sync.clock import Clock
from megamax_sync.job import REMOTE_CONVERTED, REMOTE_FAILED, REMOTE_UNFINISHED, Job
from megamax_sync.store import Store
from megamax_sync.track.cadence import Cadence
from megamax_sync.track.usual import Usual

_log = structlog.get_logger()

#: A hashid that the service denies this often in a row, ever more rarely asked, is gone.
_DENIALS = 5
#: Conversion that takes longer than this is said, in seconds.
_LONG = 86400.0


class Conversion:
    """Notes each answer about a file in conversion, and when to ask again."""

    def __init__(self, store: Store, cadence: Cadence, usual: Usual, clock: Clock) -> None:
        self._store = store
        self._cadence = cadence
        self._usual = usual
        self._clock = clock
        self._denials: dict[int, int] = {}
        #: The uploads of which it was said that they take long.
        self._overdue: set[str] = set()

    def heard(self, job: Job, remote: RemoteFile) -> bool:
        """Note what the service says of a file in conversion; True if it is through."""
        self._denials.pop(job.id, None)
        # In one commit; and of a job that was dropped since it was read there is nothing to note.
        # What the service says it says again, but for a job that ends with it.
        with self._store.transaction(durable=remote.status == REMOTE_FAILED):
            fresh = self._store.jobs.get(job.id)
            return fresh is not None and fresh.hashid == job.hashid and self._note(job, remote)

    def _note(self, job: Job, remote: RemoteFile) -> bool:
        old, status = job.remote_status, remote.status or job.remote_status or ""
        changes: dict[str, object] = {}
        if status != old:
            _log.info(
                "remote.status_changed",
                job=job.id,
                path=job.path,
                hashid=job.hashid,
                old=old,
                new=status,
            )
            self._store.tracking.note(job.id, job.state, f"{old} → {status}")
            changes |= {"remote_status": status, "sidecar_due": 1}
            if not _goes_back(old, status):
                # What moves is looked at often. What only goes to and fro is not.
                changes["checks"] = 0
        if remote.poster != job.poster and remote.poster is not None:
            changes |= {"poster": remote.poster, "sidecar_due": 1}
        if remote.name and remote.name != job.remote_name:
            changes |= {"remote_name": remote.name, "sidecar_due": 1}
        if status == REMOTE_FAILED:
            self._failed(job)
        elif status == REMOTE_CONVERTED:
            changes |= {"converted_at": self._clock.now(), "checks": 0}
            through = self._store.tracking.track(job, **changes)
            if through:
                self._usual.add(self._age(job))
            return through
        else:
            age = self._age(job)
            if age >= _LONG:
                self._say_overdue(job, status, age)
            looks = 0 if "checks" in changes else job.checks
            wait = self._cadence.conversion(looks, age)
            changes.setdefault("checks", job.checks + 1)
            self._store.tracking.track(job, check_at=self._clock.now() + wait, **changes)
        return False

    def denied(self, job: Job) -> None:
        """The service does not know the hashid. It may be late; it may also have lost the file."""
        denials = self._denials[job.id] = self._denials.get(job.id, 0) + 1
        if denials < _DENIALS:
            # Over a time for which no service's hiccup lasts.
            self._ask_again(job, self._cadence.denial(denials))
            return
        del self._denials[job.id]
        error = f"the service no longer has {job.hashid}; retry uploads the file anew"
        if self._store.jobs.fail(job, error, remote_status=None, sidecar_due=1):
            _log.error("job.failed", job=job.id, path=job.path, hashid=job.hashid, error=error)

    def postpone(self, job: Job) -> None:
        """Nothing was learnt; ask again as if nothing had changed."""
        self._ask_again(job, self._cadence.conversion(job.checks, self._age(job)))

    def bring_forward(self) -> None:
        """Ask sooner about what an earlier run, with longer intervals, has put off for longer.

        At a start: each is asked about within one interval, and not all of them at one moment.
        """
        now, cadence = self._clock.now(), self._cadence
        with self._store.transaction():
            for job in self._store.tracking.converting_after(now + cadence.poll):
                if (job.check_at or 0.0) > now + cadence.conversion(job.checks, self._age(job)):
                    self._store.tracking.track(job, check_at=now + cadence.within_one_poll())

    def _ask_again(self, job: Job, wait: float) -> None:
        self._store.tracking.track(job, check_at=self._clock.now() + wait, checks=job.checks + 1)

    def _failed(self, job: Job) -> None:
        error = f"the service could not convert it ({job.hashid})"
        if self._store.jobs.fail(job, error, remote_status=REMOTE_FAILED, sidecar_due=1):
            _log.error("job.failed", job=job.id, path=job.path, hashid=job.hashid, error=error)

    def _age(self, job: Job) -> float:
        """Seconds since it arrived, by our clock where we know."""
        since = self._store.journal.arrived_at(job.hashid or "") or job.uploaded_at
        return 0.0 if since is None else max(0.0, self._clock.now() - since)

    def _say_overdue(self, job: Job, status: str, age: float) -> None:
        hashid = job.hashid or ""
        if hashid not in self._overdue:
            self._overdue.add(hashid)
            _log.warning(
                "remote.overdue",
                job=job.id,
                path=job.path,
                hashid=hashid,
                status=status,
                hours=round(age / 3600),
            )


def _goes_back(old: str | None, new: str) -> bool:
    """Tell whether a file went back on its way; of a status that is not known nobody can tell."""
    way = REMOTE_UNFINISHED
    return old in way and new in way and way.index(new) < way.index(old)
