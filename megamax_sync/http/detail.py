"""One job's page: what became of it, and its links, ready to be pasted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from megamax_sync import sidecar
from megamax_sync.http import words
from megamax_sync.http.html import Child, Html, tag
from megamax_sync.http.layout import View, badge, page, progress, retry
from megamax_sync.job import Job, JobState
from megamax_sync.sidecar.document import Direct, Group, Mirror
from megamax_sync.status import shown
from megamax_sync.store import Attempt, Step, Store

_OUTCOMES = {"arrived": "arrived", "failed": "failed", "discarded": "set aside"}


@dataclass(frozen=True, slots=True)
class Detail:
    """All that is known of one job. ``outdated``: its file has a newer one."""

    job: Job
    history: list[Step]
    attempts: list[Attempt]
    outdated: bool


def find(store: Store, number: int) -> Detail | None:
    """Look a job up by its id."""
    job = store.jobs.get(number)
    if job is None:
        return None
    outdated = store.orders.is_outdated(job)
    return Detail(job, store.views.history(job), store.views.attempts(job), outdated)


def detail(
    view: View, found: Detail, upload: dict[str, Any] | None, now: float, *, direct: bool
) -> Html:
    """Make the page. ``direct``: direct links may be shown to whoever looks at this."""
    job = found.job
    name = shown(job.name)
    return page(
        view,
        name,
        tag(
            "div",
            tag("p", tag("a", "Jobs", href="/jobs"), " / ", f"{job.id}", class_="crumbs dim"),
            tag("h1", name),
            tag(
                "div",
                badge(job),
                tag("span", words.size(job.stamp.size), class_="dim"),
                retry(job)
                if view.can_change and job.state is JobState.FAILED and not found.outdated
                else None,
                class_="who",
            ),
            progress(job, upload) if upload else None,
            tag("p", words.said(job.error), class_="why") if job.error else None,
            id="job",
            data_reload=True,
            data_job=str(job.id),
        ),
        tag("div", _links(job, direct), id="links", data_reload=True),
        tag(
            "div",
            tag("section", tag("h2", "What happened"), _timeline(found), class_="card"),
            tag("section", tag("h2", "Facts"), _facts(job, now), class_="card"),
            class_="columns",
            id="story",
            data_reload=True,
        ),
    )


# -- links ---------------------------------------------------------------------------------------


def _links(job: Job, direct: bool) -> Html | None:
    groups, links = sidecar.mirrors_of(job.mirrors), sidecar.direct_of(job.direct)
    if not any(group.mirrors for group in groups) and not links:
        if job.state is not JobState.DONE:
            return None
        return tag(
            "section",
            tag("h2", "Links"),
            tag("p", "The service has no links for it yet.", class_="nothing"),
            class_="card",
        )
    return tag(
        "section",
        tag("h2", "Links"),
        [_group(group, number) for number, group in enumerate(groups) if group.mirrors],
        _direct(links, job, direct),
        class_="card links",
    )


def _group(group: Group, number: int) -> Html:
    about = f"Mirrors: {words.said(group.title)}"
    if group.size is not None:
        about += f" ({words.size(group.size)})"
    mirrors = [_mirror(mirror, f"{number}-{place}") for place, mirror in enumerate(group.mirrors)]
    return tag("div", tag("h3", about), mirrors)


def _mirror(mirror: Mirror, key: str) -> Html | None:
    if not (mirror.iframe or mirror.link):
        return None
    return tag(
        "div",
        tag(
            "div",
            tag("strong", words.said(mirror.driver)),
            _open("Player", mirror.iframe, mirror.driver),
            _open("Page", mirror.link, mirror.driver),
            class_="who",
        ),
        _field(f"Embed code of {mirror.driver}", _embed(mirror.iframe), f"embed-{key}"),
        _field(f"Link of {mirror.driver}", mirror.link, f"link-{key}"),
        class_="mirror",
    )


def _embed(iframe: str | None) -> str | None:
    """Return the code that puts a player into a page."""
    if iframe is None:
        return None
    return str(
        tag("iframe", src=iframe, width=640, height=360, frameborder=0, allowfullscreen=True)
    )


def _direct(links: Sequence[Direct], job: Job, allowed: bool) -> Html | None:
    if not links:
        if job.direct_error is None:
            return None
        return tag("p", f"No direct links: {words.said(job.direct_error)}", class_="dim")
    if not allowed:
        return tag(
            "p",
            "Direct links give the file to whoever has them. They are shown here once ",
            tag("code", "MEGAMAX_HTTP_TOKEN"),
            " is set; the sidecar has them, too.",
            class_="dim",
        )
    return tag("div", tag("h3", "Direct links"), [_signed(one, n) for n, one in enumerate(links)])


def _signed(link: Direct, number: int) -> Html:
    until = f"good until {link.expires_at}" if link.expires_at else None
    label = words.said(link.label)
    return tag(
        "div",
        tag(
            "div",
            tag("strong", label),
            _open("Stream", link.stream, label),
            _open("Download", link.download, label),
            tag("span", until, class_="dim") if until else None,
            class_="who",
        ),
        _field(f"Stream of {label}", link.stream, f"stream-{number}"),
        _field(f"Download of {label}", link.download, f"download-{number}"),
        class_="mirror",
    )


def _open(text: str, url: str | None, whose: str) -> Html | None:
    # The service's word is not to be trusted with a scheme that runs.
    if url is None or not url.lower().startswith(("https://", "http://")):
        return None
    return tag(
        "a",
        text,
        href=url,
        rel="noopener noreferrer",
        target="_blank",
        aria_label=f"{text}: {whose}",
    )


def _field(label: str, text: str | None, key: str) -> Html | None:
    """Show something to be copied: selected by hand, or by a button where scripts run."""
    if text is None:
        return None
    return tag(
        "div",
        tag("label", label, for_=key),
        tag("input", id=key, value=text, readonly=True),
        tag(
            "button", "Copy", type="button", data_copy=key, aria_label=f"Copy: {label}", hidden=True
        ),
        class_="copy",
    )


# -- history -------------------------------------------------------------------------------------


def _timeline(found: Detail) -> Html:
    entries: list[tuple[float, Html]] = [
        (
            step.at,
            tag(
                "li",
                words.moment(step.at),
                tag("strong", step.state),
                tag("span", words.said(step.reason)),
                class_=step.state if step.state in set(JobState) else None,
            ),
        )
        for step in found.history
    ]
    entries += [(attempt.begun_at, _attempt(attempt)) for attempt in found.attempts]
    # Both are in order by themselves, and sorting leaves equal moments so.
    return tag(
        "ol", *(entry for _, entry in sorted(entries, key=lambda e: e[0])), class_="timeline"
    )


def _attempt(attempt: Attempt) -> Html:
    outcome = _OUTCOMES.get(attempt.outcome or "", "under way")
    if attempt.outcome is None and attempt.unknown_at is not None:
        outcome = "outcome unknown, looked up in the account's list"
    took = ""
    if attempt.ended_at is not None:
        took = f", after {words.duration(attempt.ended_at - attempt.begun_at)}"
    error = f": {words.said(attempt.error)}" if attempt.error else ""
    return tag(
        "li",
        words.moment(attempt.begun_at),
        tag("strong", "attempt"),
        tag("span", f"{outcome}{took}{error}"),
        class_="attempt",
    )


def _facts(job: Job, now: float) -> Html:
    waits = job.state is JobState.QUEUED and job.next_attempt_at > now
    facts: list[tuple[str, Child]] = [
        ("Path", tag("code", shown(job.path))),
        ("Size", f"{words.size(job.stamp.size)} ({words.count(job.stamp.size)} bytes)"),
        ("Hashid", tag("code", job.hashid) if job.hashid else None),
        ("Name at the service", words.said(job.remote_name)),
        ("Status at the service", words.said(job.remote_status)),
        ("Folder", job.folder),
        ("Failed attempts", job.attempts or None),
        ("Next attempt", words.moment(job.next_attempt_at) if waits else None),
        ("Fingerprint", tag("code", job.fingerprint) if job.fingerprint else None),
        ("Sidecar", tag("code", shown(job.sidecar)) if job.sidecar else None),
        ("Found", words.moment(job.created_at)),
        ("Changed", words.moment(job.updated_at)),
    ]
    known = [(name, value) for name, value in facts if value not in {None, ""}]
    return tag("dl", [[tag("dt", name), tag("dd", value)] for name, value in known], class_="facts")
