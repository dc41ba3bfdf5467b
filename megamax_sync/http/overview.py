"""The first page: is it working, how long will it take, what needs a person."""

from __future__ import annotations

from collections.abc import Sequence

from megamax_sync.http import words
from megamax_sync.http.chart import chart
from megamax_sync.http.html import Child, Html, join, tag
from megamax_sync.http.layout import (
    View,
    badge,
    button,
    folder,
    link,
    notice,
    page,
    progress,
    region,
    retry,
)
from megamax_sync.http.limit import limit, limit_form
from megamax_sync.http.snapshot import Snapshot
from megamax_sync.job import Job
from megamax_sync.status import shown, to_send

_PROBLEMS = {
    "credentials": "The service rejects login or key",
    "unreachable": "The service cannot be reached",
    "disk-full": "The disk is full",
    "watch": "Not all folders are watched as they should be",
}


def overview(view: View, now: Snapshot) -> Html:
    """Make the page."""
    parts = regions(now, view.can_change)
    return page(
        view,
        "Overview",
        tag("h1", "Overview", class_="unseen"),
        parts["head"],
        parts["figures"],
        tag(
            "div",
            tag(
                "div",
                _card("Sending now", parts["sending"]),
                _card("Next in the queue", parts["waiting"], more="/jobs?state=queued"),
                _card("In conversion", parts["converting"], more="/jobs?state=processing"),
            ),
            tag(
                "div",
                _card("Needs you", parts["failed"], more="/jobs?state=failed"),
                _card("Throughput, last hour", parts["chart"], limit_form(view, now)),
                _card("Done last", parts["done"], more="/jobs?state=done"),
            ),
            class_="columns",
        ),
    )


def regions(now: Snapshot, can_change: bool) -> dict[str, Html]:
    """Make the parts of the page that change, by their ids; the same for everybody."""
    return {
        "head": region("head", _head(now, can_change)),
        "figures": region("figures", _figures(now), class_="tiles"),
        "sending": region("sending", _sending(now)),
        "waiting": region("waiting", _waiting(now)),
        "converting": region("converting", _converting(now)),
        "chart": region("chart", chart(now.rates, float(_speed(now)))),
        "limit": limit(now),
        "failed": region("failed", _failed(now, can_change)),
        "done": region("done", _done(now)),
        **{f"upload-{job.id}": progress(job, one) for job, one in now.uploads},
    }


def _card(title: str, *inner: Child, more: str | None = None) -> Html:
    name = "card-" + title.lower().replace(" ", "-").replace(",", "")
    all_of_them = None
    if more:
        all_of_them = tag("a", "All", href=more, aria_label=f"All: {title.lower()}", class_="more")
    return tag(
        "section",
        tag("div", tag("h2", title, id=name), all_of_them, class_="head"),
        *inner,
        class_="card",
        aria_labelledby=name,
    )


def _speed(now: Snapshot) -> int:
    return int(now.document["bytes"]["sent_per_second"] or 0)


# -- problems first ------------------------------------------------------------------------------


def _head(now: Snapshot, can_change: bool) -> Html:
    daemon = now.document["daemon"]
    notices: list[Html] = []
    if not now.health.healthy:
        notices.append(notice("bad", "A part has stopped", f"{now.health.reason}."))
    if daemon["problem"]:
        title = _PROBLEMS.get(daemon["problem"], str(daemon["problem"]))
        notices.append(notice("bad", title, str(daemon["problem_detail"] or "")))
    if daemon["paused"]:
        text = "What is in conversion is still followed; nothing new is sent."
        notices.append(notice("warn", "Uploads are paused", text))
    failed = now.document["counts"]["failed"]
    if failed:
        one = failed == 1
        title = "One file needs you" if one else f"{words.count(failed)} files need you"
        see = tag("a", "See why", href="/jobs?state=failed")
        notices.append(notice("warn", title, see))
    owed, why = now.unwritable
    if owed:
        title = "One sidecar" if owed == 1 else f"{words.count(owed)} sidecars"
        notices.append(notice("bad", f"{title} cannot be written", words.said(why)))
    if not notices:
        notices.append(notice("good", *_well(now)))
    control = None
    if can_change:
        control = (
            button("Resume uploads", "/api/resume", class_="main")
            if daemon["paused"]
            else button("Pause uploads", "/api/pause")
        )
    return tag("div", tag("div", notices, class_="notices"), control, class_="headline")


def _well(now: Snapshot) -> tuple[str, str]:
    counts, volume = now.document["counts"], now.document["bytes"]
    left = counts["queued"] + counts["uploading"]
    if left:
        until = volume["eta_seconds"]
        size = to_send(volume, (progress for _, progress in now.uploads))
        text = f"{words.size(size)} to send"
        text += f", about {words.duration(until)} to go." if until is not None else "."
        return f"{words.count(left)} {'file' if left == 1 else 'files'} on the way", text
    if counts["processing"]:
        return "Everything is sent", "The service is still converting."
    if counts["done"]:
        return "All is well", "Everything is uploaded and has its links."
    return "Ready", "Drop a video into a watched folder, and it shows up here."


def _figures(now: Snapshot) -> Html:
    counts, volume = now.document["counts"], now.document["bytes"]
    until = volume["eta_seconds"]
    uploads = len(now.uploads)
    return join(
        _tile(
            words.rate(_speed(now)),
            "sending",
            f"{uploads} {'upload' if uploads == 1 else 'uploads'}",
            "/jobs?state=uploading",
        ),
        _tile(
            words.count(counts["queued"]),
            "queued",
            words.size(volume["queued"]),
            "/jobs?state=queued",
        ),
        _tile("-" if until is None else words.duration(until), "to go", "at this speed", None),
        _tile(
            words.count(counts["processing"]),
            "in conversion",
            "at the service",
            "/jobs?state=processing",
        ),
        _tile(
            words.count(now.done_today),
            "done today",
            f"{words.count(counts['done'])} in all",
            "/jobs?state=done",
        ),
        _tile(
            words.count(counts["failed"]),
            "failed",
            "need you" if counts["failed"] else "nothing to do",
            "/jobs?state=failed",
            bad=bool(counts["failed"]),
        ),
    )


def _tile(figure: str, name: str, more: str, href: str | None, *, bad: bool = False) -> Html:
    inner = (
        tag("span", figure, class_="figure"),
        tag("span", name, class_="what"),
        tag("span", more, class_="dim"),
    )
    class_ = "tile bad" if bad else "tile"
    return tag("a", *inner, href=href, class_=class_) if href else tag("div", *inner, class_=class_)


# -- lists ---------------------------------------------------------------------------------------


def _list(rows: Sequence[Html], nothing: str) -> Html:
    return tag("ul", *rows, class_="rows") if rows else tag("p", nothing, class_="nothing")


def _row(job: Job, *more: Child) -> Html:
    return tag("li", *more, data_key=str(job.id))


def _sending(now: Snapshot) -> Html:
    rows = [
        _row(job, tag("div", link(job), folder(job), class_="who"), progress(job, one))
        for job, one in now.uploads
    ]
    return _list(rows, "Nothing is being sent.")


def _waiting(now: Snapshot) -> Html:
    rows = []
    for job in now.waiting:
        note: Child = words.size(job.stamp.size)
        if job.next_attempt_at > now.now:
            note = join("tried again ", words.ago(job.next_attempt_at, now.now))
        rows.append(_row(job, tag("div", link(job), tag("span", note, class_="dim"), class_="who")))
    return _list(rows, "The queue is empty.")


def _converting(now: Snapshot) -> Html:
    rows = []
    for job in now.converting:
        since = now.now - (job.uploaded_at or job.updated_at)
        for_long = tag("span", f"for {words.duration(since)}", class_="dim")
        why = tag("p", words.said(job.error), class_="why") if job.error else None
        rows.append(_row(job, tag("div", link(job), for_long, badge(job), class_="who"), why))
    return _list(rows, "Nothing is being converted.")


def _failed(now: Snapshot, can_change: bool) -> Html:
    rows = [
        _row(
            job,
            tag(
                "div",
                link(job),
                tag("span", words.ago(job.updated_at, now.now), class_="dim"),
                retry(job) if can_change else None,
                class_="who",
            ),
            tag("p", words.said(job.error), class_="why"),
        )
        for job in now.failed
    ]
    return _list(rows, "Nothing has failed.")


def _done(now: Snapshot) -> Html:
    rows = [
        _row(
            job,
            tag(
                "div",
                link(job),
                tag("span", words.size(job.stamp.size), class_="dim"),
                tag(
                    "a",
                    "Links",
                    href=f"/jobs/{job.id}#links",
                    aria_label=f"Links of {shown(job.name)}",
                ),
                class_="who",
            ),
        )
        for job in now.done
    ]
    return _list(rows, "Nothing is done yet.")
