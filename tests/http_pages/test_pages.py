"""What the pages show and do, asked as programs ask."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from pathlib import Path

import httpx
import pytest
from upload.pipeline import wait_for

from http_pages.site import TOKEN, Site, live, site
from megamax_sync.clock import Clock
from megamax_sync.errors import CredentialsRejected, ServiceFault, UploadCancelled
from megamax_sync.http import chart, words
from megamax_sync.http import live as live_events
from megamax_sync.http.following import Follower
from megamax_sync.http.throughput import SAMPLE_SECONDS, SAMPLES, Throughput
from megamax_sync.job import JobState
from megamax_sync.meters import Histogram, Meters
from megamax_sync.status import status


def test_the_api_says_what_status_says(open_site: Site, anybody: httpx.Client) -> None:
    """The document of status --json, with up to a hundred jobs."""
    for number in range(3):
        open_site.done(f"/media/{number}.mkv")
    said = anybody.get("/api/status").json()
    expected = status(open_site.store, open_site.live, now=Clock().now(), limit=100)
    assert said == json.loads(json.dumps(expected))


def test_orders_by_a_program(kept_site: Site, bearer: httpx.Client) -> None:
    """With the token in its header, and nothing else, each order says what has become of it."""
    job = kept_site.failed("/media/a.mkv")
    assert bearer.post("/api/pause").json() == {"ok": True, "message": "uploads are paused"}
    assert kept_site.settings() == (True, None)
    assert bearer.post("/api/resume").status_code == 200
    assert kept_site.settings() == (False, None)
    assert bearer.post(f"/api/jobs/{job.id}/retry").status_code == 200
    assert kept_site.job(job.id).state is JobState.QUEUED
    again = bearer.post(f"/api/jobs/{job.id}/retry")
    assert (again.status_code, again.json()["error"]) == (
        409,
        f"job {job.id} is not to be tried again: it is queued",
    )
    assert bearer.post("/api/jobs/99/retry").status_code == 404
    for number in (1 << 63, "9" * 5000):
        assert bearer.post(f"/api/jobs/{number}/retry").status_code == 404
        assert bearer.get(f"/jobs/{number}").status_code == 404


def test_an_outdated_job_is_not_retried(kept_site: Site, bearer: httpx.Client) -> None:
    """Its file has a newer one, which is said."""
    job = kept_site.failed("/media/a.mkv")
    kept_site.add("/media/a.mkv")
    assert "newer job" in bearer.post(f"/api/jobs/{job.id}/retry").json()["error"]


@pytest.mark.parametrize(
    ("limit", "code", "set_to"),
    [
        ("10M", 200, "10M"),
        (" 08:00,2M  23:00,off ", 200, "08:00,2M 23:00,off"),
        ("config", 200, None),
        ("", 422, "old"),
        ("fast", 422, "old"),
        ("1M " * 300, 422, "old"),
    ],
)
def test_the_bandwidth_limit(
    kept_site: Site, bearer: httpx.Client, limit: str, code: int, set_to: str | None
) -> None:
    """It is taken as MEGAMAX_BWLIMIT is, or refused with what is wrong about it."""
    kept_site.store.settings.bwlimit = "old"
    answer = bearer.post("/api/bwlimit", data={"limit": limit})
    assert answer.status_code == code, answer.text
    assert kept_site.store.settings.bwlimit == set_to


def test_what_is_not_there_is_said(anybody: httpx.Client) -> None:
    """As a page to a person, as JSON to a program."""
    for path in ("/jobs/7", f"/jobs/{1 << 70}", "/nothing"):
        page = anybody.get(path)
        assert page.status_code == 404
        assert "<h1>Not here</h1>" in page.text
        assert anybody.get(path, headers={"accept": "*/*"}).json()["error"]


@pytest.mark.parametrize(
    "query",
    [
        "after=nan-1", "after=1", "after=x-y", "after=1-99999999999999999999", "before=-",
        "state=none", "q=%00%ff", f"q={'a' * 5000}", "after=1e999-1", "after=--", "x=1&x=2",
    ],
)  # fmt: skip
def test_queries_that_mean_nothing_harm_nothing(
    open_site: Site, anybody: httpx.Client, query: str
) -> None:
    """A list is shown, whatever is asked for."""
    open_site.add("/media/a.mkv")
    assert anybody.get(f"/jobs?{query}").status_code == 200


def test_a_job_shows_its_life(open_site: Site, anybody: httpx.Client) -> None:
    """History and attempts in one line of time, in the order in which they were."""
    job = open_site.done("/media/a.mkv")
    text = anybody.get(f"/jobs/{job.id}").text
    steps = re.findall(r"<li[^>]*><time[^>]*>[^<]*</time><strong>(\w+)</strong>", text)
    assert steps[:2] == ["queued", "uploading"]
    assert steps[-2:] == ["processing", "done"]
    assert "attempt" in steps
    assert "xxh3-128:0011" in text
    lost = open_site.uploading("/media/b.mkv")
    (attempt,) = open_site.store.journal.unknown_of(lost)
    assert "under way" in anybody.get(f"/jobs/{lost.id}").text
    open_site.store.journal.unknown(attempt.id, "no answer", None)
    assert "outcome unknown" in anybody.get(f"/jobs/{lost.id}").text
    bare = open_site.done("/media/c.mkv", mirrors="[]", direct="[]")
    assert "no links for it yet" in anybody.get(f"/jobs/{bare.id}").text
    poor = open_site.done("/media/d.mkv", direct="[]", direct_error="No premium plan")
    assert "No direct links: No premium plan" in anybody.get(f"/jobs/{poor.id}").text


def test_the_overview_puts_problems_first(open_site: Site, anybody: httpx.Client) -> None:
    """What is wrong stands above everything else; when nothing is, that is said."""
    assert "Ready" in anybody.get("/").text
    open_site.done("/media/a.mkv")
    assert "All is well" in anybody.get("/").text
    open_site.processing("/media/b.mkv")
    assert "Everything is sent" in anybody.get("/").text
    job = open_site.uploading("/media/c.mkv", size=1000)
    open_site.live["uploads"] = [
        {"job": job.id, "sent": 500, "size": 1000, "rate": 100.0},
        {"job": 99, "sent": 1, "size": 1, "rate": 0.0},
    ]
    text = anybody.get("/").text
    assert "1 file on the way" in text
    assert "50 % · 500 B of 1000 B · 100 B/s, 5 s left" in text
    open_site.live |= live(problem="watch", problem_detail="/media is missing")
    open_site.live["parts"][0] |= {"stuck": True, "age": 90.0}
    open_site.store.settings.paused = True
    open_site.failed("/media/d.mkv")
    text = anybody.get("/").text
    titles = re.findall(r'<div class="notice \w+"><strong>([^<]*)', text)
    assert titles == [
        "A part has stopped",
        "Not all folders are watched as they should be",
        "Uploads are paused",
        "One file needs you",
    ]


def test_a_sidecar_that_cannot_be_written_is_said(open_site: Site, anybody: httpx.Client) -> None:
    """Where it would be looked for: on top, in the list, in the job; and nothing calls it well."""
    job, why = open_site.processing("/media/a.mkv"), "cannot be written in /media (Read-only)"
    open_site.store.tracking.sidecar_unwritable(job, why)
    text = anybody.get("/").text
    assert "One sidecar cannot be written" in text
    assert "still converting" not in text
    assert why in text.split('id="converting"')[1]
    assert why in anybody.get("/jobs").text
    assert why in anybody.get(f"/jobs/{job.id}").text


def test_new_links_make_no_video_done_last(open_site: Site, anybody: httpx.Client) -> None:
    """They come every few days, for thousands."""
    first, second = open_site.done("/media/a.mkv"), open_site.done("/media/b.mkv")
    open_site.store.tracking.track(first, direct="[]", sidecar_due=1)
    listed = anybody.get("/").text.split('id="done"')[1]
    assert re.findall(r'data-key="(\d+)"', listed) == [str(second.id), str(first.id)]


def test_a_queue_that_is_away_is_said(open_site: Site, anybody: httpx.Client) -> None:
    """Pages say so with 503; metrics tell the rest; when it is back, so is everything."""
    queue = Path(open_site.queue)
    away = queue.with_name("away.db")
    queue.rename(away)
    try:
        assert anybody.get("/").status_code == 503
        assert anybody.get("/api/status", headers={"accept": "*/*"}).status_code == 503
        assert "megamax_queue_readable 0.0" in anybody.get("/metrics").text
        assert anybody.get("/healthz").status_code == 200
    finally:
        away.rename(queue)
    assert anybody.get("/").status_code == 200


# -- live events ---------------------------------------------------------------------------------


def test_events_come_once_something_changes(kept_site: Site, bearer: httpx.Client) -> None:
    """First all there is, then what has changed; jobs that moved are named."""
    with bearer.stream("GET", "/api/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert json.loads(after(lines, "status"))["counts"]["queued"] == 0
        job = kept_site.add("/media/a.mkv")
        assert json.loads(after(lines, "status"))["counts"]["queued"] == 1
        assert json.loads(after(lines, "changed")) == [job.id]


def after(lines, event: str) -> str:  # type: ignore[no-untyped-def]  # httpx names no type for what iter_lines returns
    """The data of the next event of this name."""
    while next(lines) != f"event: {event}":
        pass
    return str(next(lines)).removeprefix("data: ")


def test_nobody_looks_while_nobody_watches(
    open_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One look a tick for all viewers, and none once they have gone."""
    rest = threading.Event()
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            client = stack.enter_context(open_site.client())
            lines = stack.enter_context(client.stream("GET", "/api/events?parts=1")).iter_lines()
            after(lines, "status")
        before = open_site.looks
        rest.wait(2.2)
        assert 1 <= open_site.looks - before <= 4
    assert open_site.pages is not None
    wait_for(lambda: open_site.pages and not open_site.pages.application.broadcast.viewers)
    rest.wait(1.2)
    before = open_site.looks
    rest.wait(1.5)
    assert open_site.looks == before


def test_only_so_many_watch(open_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is told to come back later."""
    monkeypatch.setattr(live_events, "MOST", 1)
    with open_site.client() as one, one.stream("GET", "/api/events") as answer:
        lines = answer.iter_lines()
        after(lines, "status")
        with open_site.client() as other:
            assert other.get("/api/events").status_code == 503


def test_events_survive_a_queue_that_is_away(open_site: Site) -> None:
    """They go on when it is back."""
    queue = Path(open_site.queue)
    away = queue.with_name("away.db")
    with open_site.client() as client, client.stream("GET", "/api/events") as answer:
        lines = answer.iter_lines()
        after(lines, "status")
        queue.rename(away)
        threading.Event().wait(1.2)
        away.rename(queue)
        open_site.store.settings.paused = True
        assert json.loads(after(lines, "status"))["daemon"]["paused"] is True


# -- metrics -------------------------------------------------------------------------------------


def test_metrics_count_from_nought(tmp_path: Path) -> None:
    """What was before the start is no part of the counters; what comes is, once."""
    (tmp_path / "a").mkdir()
    with site(tmp_path / "a", token=TOKEN) as made:
        made.done("/media/before.mkv")
        lost = made.uploading("/media/lost.mkv")
        (open_before,) = made.store.journal.unknown_of(lost)
        follower = Follower(made.store)
        follower.look(made.store)
        assert sum(follower.uploads.values()) == sum(follower.moves.values()) == 0
        made.done("/media/a.mkv")
        made.failed("/media/b.mkv")
        made.store.journal.unknown(open_before.id, "no answer", None)
        follower.look(made.store)
        follower.look(made.store)
        assert follower.uploads == {
            "arrived": 1, "failed": 1, "discarded": 0, "unknown": 1, "reconciled": 0,
        }  # fmt: skip
        made.store.journal.arrived(open_before.id, "h")
        follower.look(made.store)
        assert follower.uploads["reconciled"] == 1
        assert follower.uploads["arrived"] == 1
        again = made.uploading("/media/again.mkv")
        (attempt,) = made.store.journal.unknown_of(again)
        made.store.journal.unknown(attempt.id, "no answer", None)
        follower.look(made.store)
        made.store.journal.failed(attempt.id, "it is not there")
        follower.look(made.store)
        assert (follower.uploads["unknown"], follower.uploads["failed"]) == (2, 1)
        assert follower.moves[JobState.DONE] == 1
        assert {name: sum(h.counts) for name, h in follower.stages.items()} == {
            "wait": 3, "upload": 1, "convert": 1,
        }  # fmt: skip


def test_metrics_of_a_queue_at_work(kept_site: Site, bearer: httpx.Client) -> None:
    """Depth, age, links, calls, breaker: each as it is."""
    kept_site.add("/media/a.mkv", size=70)
    kept_site.done("/media/b.mkv")
    kept_site.meters.sent(500)
    kept_site.meters.settled(2.0)
    kept_site.meters.called("files", ServiceFault("HTTP 500"))
    text = bearer.get("/metrics").text
    for line in (
        'megamax_jobs{state="queued"} 1.0',
        'megamax_jobs_bytes{state="queued"} 70.0',
        "megamax_upload_sent_bytes_total 500.0",
        'megamax_api_calls_total{call="files",outcome="fault"} 1.0',
        'megamax_service_paused{part="api"} 0.0',
        'megamax_service_paused{part="upload"} 1.0',
        'megamax_stage_duration_seconds_bucket{le="5",stage="settle"} 1.0',
        'megamax_stage_duration_seconds_bucket{le="+Inf",stage="settle"} 1.0',
        "megamax_links_first_expiry_timestamp_seconds 2.092187706e+09",
        "megamax_links_expired 0.0",
        "megamax_watch_healthy 1.0",
    ):
        assert line in text.splitlines(), line
    open_metrics = bearer.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert open_metrics.text.endswith("# EOF\n")


def test_meters_name_outcomes() -> None:
    """Whose fault an error was can be read from its name."""
    meters = Meters()
    errors = [None, CredentialsRejected("no"), UploadCancelled("stop"), ValueError("a bug")]
    for error in errors:
        meters.called("file", error)
    assert {outcome for _, outcome in meters.calls()} == {
        "success", "credentials", "cancelled", "error",
    }  # fmt: skip
    histogram = Histogram((1.0, 2.0))
    for seconds in (-5.0, 1.0, 1.5, 9.0):
        histogram.observe(seconds)
    assert (histogram.counts, histogram.sum) == ([2, 1, 1], 11.5)


# -- the small things ----------------------------------------------------------------------------


def test_throughput_keeps_an_hour() -> None:
    """Each half minute is one sample; a gap is spread over its length; a restart is no fall."""
    kept = Throughput(0.0, 0)
    kept.sample(SAMPLE_SECONDS, 3000)
    kept.sample(SAMPLE_SECONDS, 3000)
    kept.sample(SAMPLE_SECONDS * 4, 3000)
    assert kept.rates() == [100.0, 0.0, 0.0, 0.0]
    kept.sample(SAMPLE_SECONDS * 5, 0)
    assert kept.rates()[-1] == 0.0
    kept.sample(SAMPLE_SECONDS * 5000, 0)
    assert len(kept.rates()) == SAMPLES


def test_throughput_is_sampled_while_the_pages_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent while nobody looks is in the chart later."""
    monkeypatch.setattr("megamax_sync.http.app.SAMPLE_SECONDS", 0.05)
    with site(tmp_path) as made, made.client() as caller:
        assert "0 B/s at the most" in caller.get("/").text
        made.meters.sent(3 << 20)
        wait_for(lambda: "0 B/s at the most" not in caller.get("/").text)


def test_the_chart_says_what_it_shows() -> None:
    """For those who do not see it, in a sentence; also with nothing to show."""
    assert "2.0 KiB/s now, 3.0 KiB/s at the most" in str(chart.chart([1024.0, 3072.0], 2048.0))
    assert "0 B/s at the most" in str(chart.chart([], 0.0))


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (words.size(812), "812 B"),
        (words.size(1 << 70), "1024.0 EiB"),
        (words.duration(45), "45 s"),
        (words.duration(200), "3 min"),
        (words.duration(7500), "2 h 5 min"),
        (words.duration(273600), "3 d 4 h"),
        (words.said(None), ""),
        (words.said("a\nb\udce9"), "a\\nb\\udce9"),
    ],
)
def test_words(shown: str, text: str) -> None:
    """Sizes, durations and odd texts, as people read them."""
    assert shown == text


def test_moments_are_told_from_now() -> None:
    """Just now, some time ago, or to come."""
    assert ">just now<" in str(words.ago(100, 101))
    assert ">2 min ago<" in str(words.ago(0, 120))
    assert ">in 30 s<" in str(words.ago(130, 100))
