"""``status``: the queue, and the instance that works on it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer

from megamax_sync.cli import output
from megamax_sync.cli.context import Root, reading
from megamax_sync.cli.instance import Instance, look_at
from megamax_sync.job import Job, JobState
from megamax_sync.state import StateFolder
from megamax_sync.status import shown, to_send
from megamax_sync.status import status as status_document
from megamax_sync.units import human_seconds, human_size

Order = Literal["changed", "created", "path", "size", "state"]
_HEAD = ("ID", "STATE", "SIZE", "HASHID", "PATH")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(status)


def status(
    ctx: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    live_view: Annotated[
        bool, typer.Option("--watch", help="Show it live; q or Ctrl-C leaves.")
    ] = False,
    state: Annotated[
        list[JobState] | None,
        typer.Option(help="Only the jobs in this state; repeatable.", show_default=False),
    ] = None,
    path: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH", help="Only this file, or the files in this folder; repeatable."
        ),
    ] = None,
    sort: Annotated[
        Order, typer.Option(help="Sort by the newest change, or by something else.")
    ] = "changed",
    limit: Annotated[
        int, typer.Option(metavar="N", min=0, help="The first N jobs; 0 for all.")
    ] = 100,
) -> None:
    """Show the queue, and the instance that works on it, if one runs."""
    root: Root = ctx.obj
    folder = root.folder()
    wanted = _Wanted(tuple(state or ()), _places(path), sort, limit)
    if live_view:
        if as_json:
            raise output.BadUsage("status: --watch and --json do not go together; give one of them")
        from megamax_sync.cli.watching import watch

        raise typer.Exit(watch(folder, lambda: "\n".join(_plain(_look(folder, wanted)))))
    seen = _look(folder, wanted)
    if as_json:
        output.say_json(seen.document)
    elif sys.stdout.isatty():
        for line in _summary(seen):
            output.say(line)
        if seen.jobs:
            output.say()
            _table(_HEAD, _rows(seen))
    else:
        for line in _plain(seen):
            output.say(line)


@dataclass(frozen=True)
class _Wanted:
    """Which jobs are to be listed, and how."""

    states: tuple[JobState, ...]
    places: list[bytes] | None
    order: Order
    limit: int


@dataclass(frozen=True)
class _Seen:
    """The document, the jobs in it, and the instance at work."""

    document: dict[str, Any]
    jobs: list[Job]
    instance: Instance


def _places(given: list[str] | None) -> list[bytes] | None:
    return [os.path.abspath(os.fsencode(os.path.expanduser(one))) for one in given or ()] or None


def _look(folder: StateFolder, wanted: _Wanted) -> _Seen:
    instance = look_at(folder)
    with reading(folder) as store:
        jobs = []
        if store is not None:
            jobs = store.views.select(
                states=wanted.states, under=wanted.places, order=wanted.order, limit=wanted.limit
            )
        document = status_document(store, instance.live, now=time.time(), jobs=jobs)
    instance.put_into(document)
    return _Seen(document, jobs, instance)


def _plain(seen: _Seen) -> Iterator[str]:
    yield from _summary(seen)
    if seen.jobs:
        yield ""
        yield from output.columns(_HEAD, _rows(seen))


def _summary(seen: _Seen) -> Iterator[str]:
    document = seen.document
    daemon, volume = document["daemon"], document["bytes"]
    if daemon["running"]:
        since = f" since {daemon['since']}" if daemon["since"] else ""
        yield f"running as process {daemon['pid']}{since}"
    else:
        yield "not running"
    if seen.instance.ailment:
        yield f"problem: {seen.instance.ailment}"
    if daemon["problem"]:
        yield f"problem: {daemon['problem']}: {output.one_line(daemon['problem_detail'])}"
    if daemon["paused"]:
        yield "paused: no upload is begun until megamax-sync resume"
    if daemon["bwlimit"]:
        yield f"bandwidth limit: {human_size(daemon['bwlimit'])}/s"
    yield ", ".join(f"{count} {state}" for state, count in document["counts"].items())
    if volume["queued"] or volume["uploading"]:
        left = to_send(volume, (seen.instance.live or {}).get("uploads", ()))
        line = f"{human_size(left)} to send"
        if volume["sent_per_second"]:
            line += f" at {human_size(volume['sent_per_second'])}/s"
        if volume["eta_seconds"] is not None:
            line += f", {human_seconds(volume['eta_seconds'])} left"
        yield line


def _rows(seen: _Seen) -> list[tuple[str, ...]]:
    uploads = {one["job"]: one for one in (seen.instance.live or {}).get("uploads", [])}
    return [
        (
            str(job.id),
            _state(job, uploads.get(job.id)),
            human_size(job.stamp.size),
            job.hashid or "-",
            shown(job.path) + (f"  ({output.one_line(job.error)})" if job.error else ""),
        )
        for job in seen.jobs
    ]


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
