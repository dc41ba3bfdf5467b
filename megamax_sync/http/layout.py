"""The frame of every page, and the pieces that several of them have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from megamax_sync import __version__
from megamax_sync.http import words
from megamax_sync.http.auth import FORM_FIELD
from megamax_sync.http.html import Child, Html, join, tag
from megamax_sync.job import Job, JobState
from megamax_sync.status import shown

#: The form that all buttons belong to. It stands once on a page, so that the lists which live
#: events replace are the same for everybody.
FORM = "act"
_NAV = (("/", "Overview"), ("/jobs", "Jobs"))
_MARKS = {
    JobState.QUEUED: "waiting",
    JobState.UPLOADING: "sending",
    JobState.PROCESSING: "converting",
    JobState.DONE: "done",
    JobState.FAILED: "failed",
    JobState.SKIPPED: "skipped",
}


@dataclass(frozen=True, slots=True)
class View:
    """For whom a page is made: its path, and whether changes can be made from it.

    ``has_token``: a token is set, so whoever signs in can make changes. ``proof`` goes into forms.
    ``signed_in``: there is something to sign out of.
    """

    path: str
    can_change: bool
    has_token: bool
    proof: str
    signed_in: bool


def page(view: View, title: str, *main: Child, live: bool = True) -> Html:
    """Make a whole page. ``live``: have the script listen for changes."""
    return tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            # With no referrer at all, browsers would not say where a form comes from.
            tag("meta", name="referrer", content="same-origin"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("title", f"{title} · megamax-sync"),
            tag("link", rel="icon", href="/static/icon.svg", type="image/svg+xml"),
            tag("link", rel="stylesheet", href="/static/app.css"),
            tag("script", src="/static/app.js", defer=True),
        ),
        tag(
            "body",
            tag("a", "Skip to the content", class_="skip", href="#main"),
            _header(view, live),
            tag("main", *main, id="main", tabindex="-1"),
            _footer(view),
            _the_form(view),
            tag("div", id="said", class_="toast", role="status"),
            data_live="on" if live else None,
        ),
        lang="en",
    )


def _header(view: View, live: bool) -> Html:
    links = [
        tag("a", text, href=path, aria_current="page" if path == view.path else None)
        for path, text in _NAV
    ]
    return tag(
        "header",
        tag(
            "div",
            tag(
                "a",
                tag("img", src="/static/icon.svg", alt="", width=28, height=28),
                tag("span", "megamax-sync"),
                href="/",
                class_="brand",
            ),
            tag("nav", links, aria_label="Pages"),
            tag("span", "Live", id="live", class_="live", hidden=True) if live else None,
            tag(
                "form",
                _hidden(FORM_FIELD, view.proof),
                tag("button", "Sign out", class_="quiet"),
                method="post",
                action="/sign-out",
            )
            if view.signed_in
            else None,
            class_="bar",
        ),
    )


def _footer(view: View) -> Html:
    note = None
    if not view.has_token:
        note = tag(
            "span", "This page only shows. Set ", tag("code", "MEGAMAX_HTTP_TOKEN"), " to steer it."
        )
    return tag("footer", tag("span", f"megamax-sync {__version__}"), note)


def _the_form(view: View) -> Html | None:
    if not view.can_change:
        return None
    return tag(
        "form",
        _hidden(FORM_FIELD, view.proof),
        _hidden("next", view.path),
        id=FORM,
        method="post",
        hidden=True,
    )


def _hidden(name: str, value: str) -> Html:
    return tag("input", type="hidden", name=name, value=value)


def button(text: str, action: str, *, label: str | None = None, class_: str = "") -> Html:
    """Make a button that orders something; ``label`` says what, where the text alone does not."""
    return tag(
        "button", text, form=FORM, formaction=action, aria_label=label, class_=class_ or None
    )


def retry(job: Job) -> Html:
    """Make the button that puts a failed job back to work."""
    return button("Retry", f"/api/jobs/{job.id}/retry", label=f"Retry {shown(job.name)}")


def badge(job: Job) -> Html:
    """Show a job's state in a word or two; the colour only repeats what the word says."""
    text = _MARKS[job.state]
    if job.state is JobState.PROCESSING and job.remote_status not in {None, "processing"}:
        text = words.said(job.remote_status)
    return tag("span", text, class_=f"badge {job.state.value}")


def link(job: Job) -> Html:
    """Lead to a job's page by its file's name."""
    return tag("a", shown(job.name), href=f"/jobs/{job.id}", class_="name")


def folder(job: Job) -> Html:
    """Show where a job's file lies, below its watched folder."""
    where = job.path[: -len(job.name)].rstrip(b"/") or b"/"
    if job.root is not None and (where + b"/").startswith(job.root.rstrip(b"/") + b"/"):
        where = where[len(job.root.rstrip(b"/")) :].lstrip(b"/")
    return tag("span", shown(where), class_="dim path")


def progress(job: Job, one: dict[str, Any]) -> Html:
    """Show how far an upload is."""
    sent, total, speed = int(one["sent"]), int(one["size"]), float(one["rate"])
    left = f", {words.duration((total - sent) / speed)} left" if speed > 0 else ""
    percent = 100 * sent // total if total else 100
    return tag(
        "div",
        tag("progress", value=sent, max=max(total, 1), aria_label=f"Sent of {shown(job.name)}"),
        tag(
            "span",
            f"{percent} % · {words.size(sent)} of {words.size(total)} · {words.rate(speed)}{left}",
            class_="dim",
        ),
        class_="progress",
        id=f"upload-{job.id}",
    )


def region(name: str, *children: Child, class_: str = "") -> Html:
    """Make a part of a page that live events replace as a whole."""
    return tag("div", *children, id=name, class_=class_ or None)


def notice(kind: str, title: str, *text: Child) -> Html:
    """Make a box that stands out. ``kind``: ``bad``, ``warn`` or ``good``."""
    return tag("div", tag("strong", title), join(*text), class_=f"notice {kind}")
