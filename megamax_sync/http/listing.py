"""The list of all jobs: searched, filtered, page by page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from megamax_sync.http import words
from megamax_sync.http.html import Html, join, tag
from megamax_sync.http.layout import View, badge, folder, link, page, retry
from megamax_sync.job import Job, JobState
from megamax_sync.store import Place, Store

#: Jobs a page.
PAGE = 50
#: A longer search is no search.
_LONGEST = 200

_NAMES = {
    JobState.QUEUED: "Queued",
    JobState.UPLOADING: "Uploading",
    JobState.PROCESSING: "In conversion",
    JobState.DONE: "Done",
    JobState.FAILED: "Failed",
    JobState.SKIPPED: "Skipped",
}


@dataclass(frozen=True, slots=True)
class Query:
    """What of the list is asked for."""

    text: str = ""
    state: JobState | None = None
    place: Place | None = None
    back: bool = False

    @classmethod
    def of(cls, given: dict[str, str]) -> Query:
        """Read a page's query; what cannot be understood counts as not given."""
        state = given.get("state")
        after, before = _place(given.get("after")), _place(given.get("before"))
        return cls(
            text=given.get("q", "").strip()[:_LONGEST],
            state=JobState(state) if state in set(JobState) else None,
            place=after or before,
            back=after is None and before is not None,
        )

    def path(self, **changes: str | None) -> str:
        """Return the path of this list, with these changes; from its first page, unless said."""
        given = {"q": self.text or None, "state": self.state and self.state.value, **changes}
        query = urlencode({name: value for name, value in given.items() if value})
        return f"/jobs?{query}" if query else "/jobs"


@dataclass(frozen=True, slots=True)
class Listed:
    """One page of the list. ``newer`` and ``older``: there is more in this direction."""

    jobs: list[Job]
    newer: bool
    older: bool


def find(store: Store, query: Query) -> Listed:
    """Look one page up."""
    # One more than is shown tells whether there is another page.
    jobs = store.pages.jobs(
        state=query.state, text=query.text, place=query.place, back=query.back, limit=PAGE + 1
    )
    more = len(jobs) > PAGE
    if query.back:
        return Listed(jobs[-PAGE:], newer=more, older=True)
    return Listed(jobs[:PAGE], newer=query.place is not None, older=more)


def listing(
    view: View,
    query: Query,
    listed: Listed,
    *,
    counts: dict[JobState, int],
    uploads: dict[int, Any],
    now: float,
) -> Html:
    """Make the page. ``uploads``: the progress of those under way, by job."""
    return page(
        view,
        "Jobs",
        tag("h1", "Jobs"),
        _search(query),
        _filters(query, counts),
        tag(
            "div",
            _table(view, listed.jobs, uploads, now) if listed.jobs else _nothing(query),
            _pager(query, listed),
            id="list",
            data_reload=True,
        ),
    )


def _search(query: Query) -> Html:
    return tag(
        "form",
        tag("label", "Search", for_="q"),
        tag(
            "input",
            type="search",
            id="q",
            name="q",
            value=query.text or None,
            placeholder="part of a path, or a hashid",
            maxlength=_LONGEST,
            autocomplete="off",
            spellcheck="false",
        ),
        tag("input", type="hidden", name="state", value=query.state.value) if query.state else None,
        tag("button", "Search"),
        tag("a", "Clear", href=Query(state=query.state).path()) if query.text else None,
        action="/jobs",
        role="search",
        class_="search",
    )


def _filters(query: Query, counts: dict[JobState, int]) -> Html:
    def one(name: str, state: JobState | None, number: int) -> Html:
        return tag(
            "a",
            name,
            " ",
            tag("span", words.count(number), class_="number"),
            href=Query(text=query.text, state=state).path(),
            aria_current="true" if state is query.state else None,
        )

    return tag(
        "nav",
        one("All", None, sum(counts.values())),
        [one(_NAMES[state], state, counts[state]) for state in JobState],
        class_="filters",
        aria_label="Filter by state",
        id="filters",
        data_reload=True,
    )


def _table(view: View, jobs: list[Job], uploads: dict[int, Any], now: float) -> Html:
    head = tag(
        "tr", *(tag("th", name, scope="col") for name in ("File", "State", "Size", "Changed"))
    )
    rows = [_row(view, job, uploads.get(job.id), now) for job in jobs]
    return tag(
        "table",
        tag("caption", "The newest change comes first", class_="unseen"),
        tag("thead", head),
        tag("tbody", *rows),
        class_="jobs",
    )


def _row(view: View, job: Job, upload: dict[str, Any] | None, now: float) -> Html:
    state: list[Html] = [badge(job)]
    if upload and upload["size"]:
        state.append(tag("span", f"{100 * upload['sent'] // upload['size']} %", class_="dim"))
    if view.can_change and job.state is JobState.FAILED:
        state.append(retry(job))
    why = words.said(job.error)
    return tag(
        "tr",
        tag(
            "td",
            tag("div", link(job), folder(job), class_="who"),
            tag("p", why, class_="why") if why else None,
        ),
        tag("td", *state),
        tag("td", words.size(job.stamp.size), class_="size"),
        tag("td", words.ago(job.updated_at, now), class_="when"),
        data_key=str(job.id),
    )


def _nothing(query: Query) -> Html:
    if query.text:
        return tag("p", "No job matches ", tag("strong", query.text), ".", class_="nothing")
    return tag("p", "There are no jobs here.", class_="nothing")


def _pager(query: Query, listed: Listed) -> Html | None:
    if not (listed.jobs and (listed.newer or listed.older)):
        return None
    first, last = _mark(listed.jobs[0]), _mark(listed.jobs[-1])
    return tag(
        "nav",
        join(
            tag("a", "Newest", href=query.path()),
            tag("a", "Newer", href=query.path(before=first), rel="prev"),
        )
        if listed.newer
        else None,
        tag("a", "Older", href=query.path(after=last), rel="next") if listed.older else None,
        class_="pager",
        aria_label="Pages of the list",
    )


def _mark(job: Job) -> str:
    # repr gives a float back exactly.
    return f"{job.updated_at!r}-{job.id}"


def _place(mark: str | None) -> Place | None:
    at, dash, job = (mark or "").rpartition("-")
    try:
        place = Place(float(at), int(job)) if dash and len(mark or "") < 60 else None
    except ValueError:
        return None
    # What no index has: NaN, and ids beyond SQLite's integers.
    return place if place and place.updated_at == place.updated_at and place.id < 1 << 63 else None
