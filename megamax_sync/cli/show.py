"""``status`` and ``show``: what is known, for people and for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from megamax_sync.cli import output
from megamax_sync.cli.context import Root, reading
from megamax_sync.clock import iso
from megamax_sync.control import ask
from megamax_sync.job import Job, JobState
from megamax_sync.status import job_row, path_b64, readable_path, shown
from megamax_sync.status import status as status_document
from megamax_sync.store import Store


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("status")(status)
    app.command("show")(show)


def status(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    state: Annotated[
        JobState | None, typer.Option(help="Only the jobs in this state.", show_default=False)
    ] = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=0, help="The newest N jobs; 0 for all.")
    ] = 100,
) -> None:
    """Show the queue, and the instance that works on it, if one runs."""
    root: Root = ctx.obj
    folder = root.folder()
    live = ask(folder.socket, "live") if folder.in_use() else None
    with reading(folder) as store:
        document = status_document(store, live, now=time.time(), state=state, limit=limit)
        jobs = store.views.jobs(state=state, limit=limit) if store and not as_json else []
    if live is None and folder.in_use():
        # It owns the folder and is too busy to answer; that is running, too.
        document["daemon"] |= {"running": True, "pid": folder.owner()}
    if as_json:
        output.say_json(document)
        return
    _say_status(document)
    if jobs:
        output.say()
        _say_jobs(jobs, {one["job"]: one for one in (live or {}).get("uploads", [])})


def _say_status(document: dict[str, Any]) -> None:
    daemon, volume = document["daemon"], document["bytes"]
    if daemon["running"]:
        since = f" since {daemon['since']}" if daemon["since"] else ""
        output.say(f"running as process {daemon['pid']}{since}")
    else:
        output.say("not running")
    if daemon["paused"]:
        output.say("paused: no upload is begun until megamax-sync resume")
    if daemon["problem"]:
        output.say(f"problem: {daemon['problem']}: {output.one_line(daemon['problem_detail'])}")
    if daemon["bwlimit"]:
        output.say(f"bandwidth limit: {output.human_size(daemon['bwlimit'])}/s")
    output.say(", ".join(f"{count} {state}" for state, count in document["counts"].items()))
    if volume["queued"] or volume["uploading"]:
        line = f"{output.human_size(volume['queued'] + volume['uploading'])} to send"
        if volume["sent_per_second"]:
            line += f" at {output.human_size(volume['sent_per_second'])}/s"
        if volume["eta_seconds"] is not None:
            line += f", {output.human_seconds(volume['eta_seconds'])} left"
        output.say(line)


def _say_jobs(jobs: Sequence[Job], uploads: dict[int, dict[str, Any]]) -> None:
    head = ("ID", "STATE", "SIZE", "HASHID", "PATH")
    rows = [
        (
            str(job.id),
            _state(job, uploads.get(job.id)),
            output.human_size(job.stamp.size),
            job.hashid or "-",
            shown(job.path) + (f"  ({output.one_line(job.error)})" if job.error else ""),
        )
        for job in jobs
    ]
    if sys.stdout.isatty():
        _table(head, rows)
    else:
        output.say_columns(head, rows)


def _state(job: Job, upload: dict[str, Any] | None) -> str:
    if upload and upload["size"]:
        return f"uploading {100 * upload['sent'] // upload['size']}%"
    if job.state is JobState.PROCESSING and job.remote_status not in {None, "processing"}:
        return f"processing ({output.one_line(job.remote_status or '')})"
    return str(job.state)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in head[:-1]:
        table.add_column(name, no_wrap=True)
    table.add_column(head[-1], overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    Console(highlight=False).print(table)


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
        ("size", f"{output.human_size(job.stamp.size)} ({job.stamp.size} bytes)"),
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
    output.say("history")
    for step in document["history"]:
        output.say(f"  {step['at']}  {step['state']:<10}  {output.one_line(step['reason'])}")
    _say_attempts(document["attempts"])
    _say_links(document)


def _likenesses(document: dict[str, Any]) -> list[tuple[str, object]]:
    original = [document["original"]] if document["original"] else []
    named = [("original", one) for one in original]
    named += [("duplicate", one) for one in document["duplicates"]]
    return [(name, f"{one['path']} (job {one['id']}, {one['state']})") for name, one in named]


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
