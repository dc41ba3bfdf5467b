"""Orders about jobs: ``retry``, ``forget``, ``pause``, ``resume``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from megamax_sync.cli import output
from megamax_sync.cli.context import Root, say_if_nobody_works, writing
from megamax_sync.job import Job, JobState
from megamax_sync.state import StateFolder
from megamax_sync.status import shown

if TYPE_CHECKING:
    from megamax_sync.store import Store

_Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID", help="Jobs, by id, hashid or path.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("retry")(retry)
    app.command("forget")(forget)
    app.command("pause")(pause)
    app.command("resume")(resume)


def retry(
    ctx: typer.Context,
    ids: _Ids = None,
    failed: Annotated[bool, typer.Option("--failed", help="All jobs that have failed.")] = False,
) -> None:
    """Put failed jobs back to work.

    One that the service holds resumes its tracking; one whose conversion failed is uploaded anew.
    """
    if bool(ids) == failed:
        raise output.BadUsage("retry: give the IDs of jobs, or --failed; status lists them")
    folder = _queue_of(ctx)
    with writing(folder) as store:
        jobs, status = _named(store, ids or [])
        if failed:
            every = store.views.in_states([JobState.FAILED], None)
            jobs = [job for job in every if not store.orders.is_outdated(job)]
        for job in jobs:
            if not store.orders.retry(job):
                why = "has not failed, it is " + job.state
                if job.state is JobState.FAILED:
                    why = "is outdated, its file has changed and has a newer job"
                output.complain(f"job {job.id} {why}: {shown(job.path)}")
                status = output.FAILED
                continue
            again = store.jobs.get(job.id)
            how = "is followed again" if again and again.hashid else "is uploaded again"
            output.say(f"job {job.id} {how}: {shown(job.path)}")
    if failed and not jobs:
        output.say("no job has failed")
    elif jobs:
        say_if_nobody_works(folder)
    raise typer.Exit(status)


def forget(ctx: typer.Context, ids: _Ids = None) -> None:
    """Drop jobs, cancelling their uploads.

    Neither the file nor the remote copy is touched. A file whose job was dropped is not found
    again, unless it changes or is handed in by upload.
    """
    if not ids:
        raise output.BadUsage("forget: give the IDs of jobs; status lists them")
    with writing(_queue_of(ctx)) as store:
        jobs, status = _named(store, ids)
        for job in jobs:
            store.orders.forget(job)
            output.say(f"job {job.id} is dropped: {shown(job.path)}")
    raise typer.Exit(status)


def pause(ctx: typer.Context) -> None:
    """Hold uploads, also over restarts; tracking goes on.

    An upload that is under way is finished; no other one is begun until resume.
    """
    _set_paused(ctx, True)


def resume(ctx: typer.Context) -> None:
    """Let uploads go on."""
    _set_paused(ctx, False)


def _set_paused(ctx: typer.Context, paused: bool) -> None:
    root: Root = ctx.obj
    with writing(root.folder()) as store:
        store.settings.paused = paused
    output.say("uploads are paused" if paused else "uploads go on")


def _queue_of(ctx: typer.Context) -> StateFolder:
    """Return the state folder; an order about jobs makes no queue where there is none."""
    root: Root = ctx.obj
    folder = root.folder()
    if not os.path.lexists(folder.queue):
        output.complain(f"there is no queue in {folder.path} yet")
        raise typer.Exit(output.FAILED)
    return folder


def _named(store: Store, ids: list[str]) -> tuple[list[Job], int]:
    """Find the jobs of these names; complain of those that lead to none."""
    jobs: dict[int, Job] = {}
    status = output.DONE
    for name in ids:
        job = store.views.find(name)
        if job is None:
            output.complain(f"'{name}' is no job's id, hashid or path; status lists them")
            status = output.FAILED
        else:
            jobs[job.id] = job
    return list(jobs.values()), status
