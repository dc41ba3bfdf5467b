"""``show``: one job, its history and its links."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from megamax_sync.cli import output
from megamax_sync.cli.context import Root, reading
from megamax_sync.clock import iso
from megamax_sync.control import ask
from megamax_sync.job import Job
from megamax_sync.status import job_row, path_b64, readable_path, shown
from megamax_sync.units import human_seconds, human_size

if TYPE_CHECKING:
    from megamax_sync.store import Store


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("show")(show)


def show(
    ctx: typer.Context,
    job: Annotated[
        str | None,
        typer.Argument(metavar="PATH|HASHID|ID", help="The job.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of sidecars instead.")
    ] = False,
) -> None:
    """Show one job: its state, its history, its links."""
    if schema:
        from megamax_sync import sidecar

        output.say_json(sidecar.schema())
        return
    if job is None:
        raise output.BadUsage("show: name a job by its path, hashid or id, or give --schema")
    root: Root = ctx.obj
    folder = root.folder()
    with reading(folder) as store:
        found = store.views.find(job) if store else None
        if store is None or found is None:
            output.complain(f"'{job}' is no job's path, hashid or id; status lists them")
            raise typer.Exit(output.FAILED)
        live = (ask(folder.socket, "live") if folder.in_use() else None) or {}
        uploads = {one["job"]: one for one in live.get("uploads", [])}
        document = job_row(found, uploads.get(found.id), now=time.time()) | _details(store, found)
    if as_json:
        output.say_json(document)
    else:
        _say_job(found, document)


def _details(store: Store, job: Job) -> dict[str, Any]:
    original = store.twins.original(job)
    # A duplicate has the links of what was sent in its stead.
    sent = original or job
    return {
        "history": [
            {"at": iso(step.at), "state": step.state, "reason": step.reason}
            for step in store.views.history(job)
        ],
        "attempts": [
            {
                "begun_at": iso(attempt.begun_at),
                "ended_at": None if attempt.ended_at is None else iso(attempt.ended_at),
                "outcome": attempt.outcome,
                "hashid": attempt.hashid,
                "error": attempt.error,
            }
            for attempt in store.views.attempts(job)
        ],
        "original": None if original is None else _named(original),
        "duplicates": [_named(one) for one in store.twins.duplicates(job)],
        "mirrors": json.loads(sent.mirrors or "[]"),
        "direct": json.loads(sent.direct or "[]"),
        "direct_error": sent.direct_error,
    }


def _named(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "path": readable_path(job.path),
        "path_b64": path_b64(job.path),
        "state": job.state.value,
        "hashid": job.hashid,
    }


def _say_job(job: Job, document: dict[str, Any]) -> None:
    output.say(shown(job.path))
    facts = [
        ("job", job.id),
        ("state", document["state"]),
        ("error", document["error"]),
        ("size", f"{human_size(job.stamp.size)} ({job.stamp.size} bytes)"),
        ("hashid", document["hashid"]),
        ("remote status", document["remote_status"]),
        ("folder", document["folder"]),
        ("attempts", job.attempts or None),
        ("next attempt", document["next_attempt_at"]),
        ("fingerprint", job.fingerprint),
        ("sidecar", None if job.sidecar is None else shown(job.sidecar)),
        *_likenesses(document),
    ]
    for name, value in facts:
        if value is not None:
            output.say(f"  {name}: {output.one_line(str(value))}")
    _say_history(document["history"])
    _say_attempts(document["attempts"])
    _say_links(document)


def _likenesses(document: dict[str, Any]) -> list[tuple[str, object]]:
    original = [document["original"]] if document["original"] else []
    named = [("original", one) for one in original]
    named += [("duplicate", one) for one in document["duplicates"]]
    return [(name, f"{one['path']} (job {one['id']}, {one['state']})") for name, one in named]


def _say_history(steps: list[dict[str, Any]]) -> None:
    """Write a timeline: when, how long after the step before, what, and why."""
    output.say("history")
    before: datetime | None = None
    for step in steps:
        at = datetime.fromisoformat(step["at"])
        # A clock that was set back in between has no say in how long it took.
        passed = "" if before is None or at < before else _passed((at - before).total_seconds())
        before = at
        reason = output.signs(output.one_line(step["reason"]))
        output.say(f"  {step['at']}  {passed:>12}  {step['state']:<10}  {reason}")


def _passed(seconds: float) -> str:
    return f"+{human_seconds(seconds)}"


def _say_attempts(attempts: list[dict[str, Any]]) -> None:
    if attempts:
        output.say("attempts")
    for attempt in attempts:
        outcome = attempt["outcome"] or "outcome unknown"
        why = ": " + output.one_line(attempt["error"]) if attempt["error"] else ""
        output.say(f"  {attempt['begun_at']}  {outcome}{why}")


def _say_links(document: dict[str, Any]) -> None:
    links = [
        (group["title"], mirror["driver"], mirror[kind])
        for group in document["mirrors"]
        for mirror in group["mirrors"]
        for kind in ("iframe", "link")
        if mirror[kind]
    ]
    if links:
        output.say("mirrors")
    for title, driver, url in links:
        output.say(f"  {title} {driver}  {url}")
    if document["direct"] or document["direct_error"]:
        output.say("direct links")
    for one in document["direct"]:
        for kind in ("stream", "download"):
            if one[kind]:
                output.say(f"  {one['label']} {kind}, until {one['expires_at']}  {one[kind]}")
    if document["direct_error"]:
        output.say(f"  none: {output.one_line(document['direct_error'])}")
