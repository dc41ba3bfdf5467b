"""What the overview shows, gathered at one moment for all who look at it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from megamax_sync.health import Health, verdict
from megamax_sync.http.instance import Instance
from megamax_sync.http.throughput import Throughput
from megamax_sync.job import Job, JobState
from megamax_sync.status import status

#: How many jobs each list of the overview shows.
SHOWN = 8


@dataclass(frozen=True, slots=True)
class Snapshot:
    """``now`` is Unix time. ``document`` is the status document, without its list of jobs.

    ``uploads`` pairs each upload under way with its progress (``job``, ``sent``, ``size``,
    ``rate``), as far as its job is still there.
    """

    now: float
    document: dict[str, Any]
    health: Health
    uploads: list[tuple[Job, dict[str, Any]]]
    waiting: list[Job]
    converting: list[Job]
    failed: list[Job]
    done: list[Job]
    done_today: int
    #: How many sidecars are owed because they cannot be written, and why, of one.
    unwritable: tuple[int, str]
    limit_set: str | None
    rates: list[float]
    #: The id of the last step in any job's history that this takes account of.
    step: int


def take(instance: Instance, throughput: Throughput) -> Snapshot:
    """Look at everything once.

    Raises :class:`~megamax_sync.errors.StoreError` when the queue cannot be read.
    """
    now, live = instance.clock.wall(), instance.live()
    with instance.read() as store:
        step = store.pages.last_step()
        document = status(store, live, now=now, limit=1)
        del document["jobs"]
        jobs = ((store.jobs.get(one["job"]), one) for one in live["uploads"])
        return Snapshot(
            now=now,
            document=document,
            health=verdict(live),
            uploads=[(job, one) for job, one in jobs if job is not None],
            waiting=store.pages.next_up(SHOWN),
            converting=store.pages.oldest_first(JobState.PROCESSING, SHOWN),
            failed=store.pages.newest(JobState.FAILED, SHOWN),
            done=[job for job, _ in store.pages.done_last(SHOWN)],
            done_today=store.pages.done_since(midnight(now)),
            unwritable=store.pages.unwritable(),
            limit_set=store.settings.bwlimit,
            rates=throughput.rates(),
            step=step,
        )


def midnight(now: float) -> float:
    """Return when today began in the machine's own zone, as Unix time."""
    today = datetime.fromtimestamp(now, UTC).astimezone()
    return today.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()


def health(instance: Instance) -> Health:
    """Judge the instance by its loops: for more it asks its queue, which may be what hangs."""
    return verdict(instance.parts())
