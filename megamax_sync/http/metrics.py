"""``/metrics``: what Prometheus is told, named as its guide says."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from megamax_sync import __version__
from megamax_sync.clock import iso
from megamax_sync.errors import StoreError
from megamax_sync.http.following import Follower
from megamax_sync.http.instance import Instance
from megamax_sync.job import JobState
from megamax_sync.meters import Histogram
from megamax_sync.store import Store

_PROBLEMS = ("credentials", "unreachable", "disk-full", "watch")


class Metrics:
    """All metrics of one instance."""

    def __init__(self, instance: Instance) -> None:
        with instance.read() as store:
            self._registry = CollectorRegistry(auto_describe=False)
            self._registry.register(_Jobs(instance, Follower(store)))
            ProcessCollector(registry=self._registry)

    def render(self, accept: str | None) -> tuple[bytes, str]:
        """Return the exposition that an Accept header asks for, and its content type."""
        encode, content_type = choose_encoder(accept or "")
        return encode(self._registry), content_type


class _Jobs(Collector):
    def __init__(self, instance: Instance, follower: Follower) -> None:
        self._instance = instance
        self._follower = follower

    def collect(self) -> Iterator[Metric]:
        """Look at everything once."""
        yield InfoMetricFamily(
            "megamax_build",
            "The version that runs",
            {"version": __version__, "python": platform.python_version()},
        )
        yield from self._of_the_stages()
        yield from self._of_now()
        try:
            with self._instance.read() as store:
                self._follower.look(store)
                yield from self._of_the_queue(store)
                readable = 1
        except StoreError:
            # What is known without the queue is worth more than an error.
            readable = 0
        yield _gauge("megamax_queue_readable", "Whether the queue can be read", readable)
        yield from self._of_the_past()

    def _of_the_stages(self) -> Iterator[Metric]:
        meters = self._instance.meters
        sent = CounterMetricFamily("megamax_upload_sent_bytes", "Bytes of files that were sent")
        sent.add_metric([], meters.bytes_sent)
        yield sent
        calls = CounterMetricFamily(
            "megamax_api_calls", "Calls of the API", labels=["call", "outcome"]
        )
        for (call, outcome), number in sorted(meters.calls().items()):
            calls.add_metric([call, outcome], number)
        yield calls

    def _of_the_past(self) -> Iterator[Metric]:
        uploads = CounterMetricFamily(
            "megamax_uploads", "Attempts to upload a file that have ended", labels=["outcome"]
        )
        for outcome, number in self._follower.uploads.items():
            uploads.add_metric([outcome], number)
        yield uploads
        moves = CounterMetricFamily(
            "megamax_job_transitions", "Jobs that have come into a state", labels=["state"]
        )
        for state, number in self._follower.moves.items():
            moves.add_metric([state.value], number)
        yield moves
        stages = HistogramMetricFamily(
            "megamax_stage_duration_seconds",
            "How long files took: to be finished, to be claimed, to be sent, to be converted",
            labels=["stage"],
        )
        durations = {"settle": self._instance.meters.settle(), **self._follower.stages}
        for stage, histogram in durations.items():
            stages.add_metric([stage], list(_buckets(histogram)), histogram.sum)
        yield stages

    def _of_now(self) -> Iterator[Metric]:
        live = self._instance.live()
        yield _gauge(
            "megamax_upload_rate_bytes",
            "Bytes a second that are being sent",
            sum(one["rate"] for one in live["uploads"]),
        )
        yield _gauges(
            "megamax_problem",
            "Whether this is wrong now",
            "problem",
            ((name, int(live["problem"] == name)) for name in _PROBLEMS),
        )
        parts = live["parts"]
        yield _gauges(
            "megamax_part_stuck",
            "Whether this part makes no progress",
            "part",
            ((one["part"], int(one["stuck"])) for one in parts),
        )
        yield _gauges(
            "megamax_part_silence_seconds",
            "Time since this part's last sign of life, while it works",
            "part",
            ((one["part"], one["age"]) for one in parts),
        )
        yield _gauges(
            "megamax_service_paused",
            "Whether the breaker keeps everybody from this part of the service",
            "part",
            ((part, int(reason() is not None)) for part, reason in self._instance.gates.items()),
        )
        yield _gauge(
            "megamax_watch_healthy",
            "Whether all watched folders are there and watched as wanted",
            int(self._instance.unwatched() is None),
        )

    def _of_the_queue(self, store: Store) -> Iterator[Metric]:
        counts = store.views.counts()
        yield _gauges(
            "megamax_jobs", "Jobs in this state", "state", ((s.value, n) for s, n in counts.items())
        )
        yield _gauges(
            "megamax_jobs_bytes",
            "Bytes of the files of the jobs in this state",
            "state",
            ((state.value, store.views.bytes_in(state)) for state in JobState),
        )
        now = self._instance.clock.now()
        since = store.pages.queued_since()
        yield _gauge(
            "megamax_oldest_queued_age_seconds",
            "Age of the oldest queued job; 0 when nothing is queued",
            0.0 if since is None else max(0.0, now - since),
        )
        yield _gauge("megamax_paused", "Whether uploads are paused", int(store.settings.paused))
        first, expired = store.pages.links_expire(iso(self._instance.clock.wall()))
        yield _gauge("megamax_links_expired", "Jobs whose direct links work no longer", expired)
        if first is not None:
            yield _gauge(
                "megamax_links_first_expiry_timestamp_seconds",
                "When the next direct links expire",
                datetime.fromisoformat(first).timestamp(),
            )


def _gauge(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, about, value=value)


def _gauges(
    name: str, about: str, label: str, values: Iterable[tuple[str, float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, about, labels=[label])
    for key, value in values:
        family.add_metric([key], value)
    return family


def _buckets(histogram: Histogram) -> Iterator[tuple[str, float]]:
    total = 0
    for bound, number in zip((*histogram.bounds, None), histogram.counts, strict=True):
        total += number
        yield ("+Inf" if bound is None else f"{bound:g}"), total
