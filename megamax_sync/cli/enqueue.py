"""``upload``: files that are handed in by name."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from megamax_sync.cli import output
from megamax_sync.cli.context import Root, quiet_log, say_if_nobody_works, writing
from megamax_sync.state import StateFolder
from megamax_sync.status import shown

if TYPE_CHECKING:
    from megamax_sync.config import Settings
    from megamax_sync.store import Store
    from megamax_sync.watch.rules import Rules
    from megamax_sync.watch.scanner import Found


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("upload")(upload)


def upload(
    ctx: typer.Context,
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Files, or folders of files.")],
    folder: Annotated[
        int | None,
        typer.Option(metavar="ID", min=1, help="The Megamax folder; instead of MEGAMAX_FOLDER(S)."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until they are done, as --scan does.")
    ] = False,
) -> None:
    """Enqueue files by hand, also from outside the watched folders.

    A file that cannot be taken is named, and then nothing is enqueued at all. A file that still
    has to settle is waited for. With --wait and no running instance, this process does the work.
    Without --folder, the settings of the instance that sends a file decide where it goes.
    """
    root: Root = ctx.obj
    settings = root.settings()
    quiet_log(settings)
    found, places = _find(settings, paths)
    queue = StateFolder(settings.state_dir)
    with writing(queue) as store:
        failed = _Desk(store, folder).take(found)
    if wait:
        from megamax_sync.cli.scan import wait_for

        raise typer.Exit(wait_for(root, settings, places, handed_in=True))
    say_if_nobody_works(queue)
    raise typer.Exit(output.FAILED if failed else output.DONE)


def _find(settings: Settings, paths: list[str]) -> tuple[list[Found], list[bytes]]:
    """Return the files, and the places to wait for. Raises :class:`BadUsage` naming each fault."""
    from megamax_sync.wanted import as_watched, rules

    wanted = rules(settings)
    found: list[Found] = []
    places: list[bytes] = []
    faults: list[str] = []
    for given in paths:
        path = as_watched(settings, os.path.realpath(os.fsencode(os.path.expanduser(given))))
        try:
            status = os.stat(path)
        except OSError as error:
            faults.append(f"'{given}' cannot be read ({error.strerror}); name a file or a folder")
            continue
        places.append(path)
        if stat.S_ISDIR(status.st_mode):
            inside = _inside(wanted, path)
            found += inside
            if not inside:
                faults.append(f"'{given}' holds no file that MEGAMAX_EXTENSIONS and the like want")
            continue
        one = _one(wanted, path, status)
        if isinstance(one, str):
            faults.append(f"'{given}' {one}")
        else:
            found.append(one)
    if faults:
        raise output.BadUsage(*faults)
    return found, places


def _inside(wanted: Rules, folder: bytes) -> list[Found]:
    """Walk a folder by the rules, as if it were watched."""
    from megamax_sync.watch.scanner import Walk

    root = wanted.root_of(folder + b"/x")
    walked = wanted if root is not None else replace(wanted, roots=(*wanted.roots, folder))
    return [
        # In which watched folder it lies, the instance that sends it knows.
        one._replace(root=None)
        for found in Walk(walked, folder)
        for one in found
    ]


def _one(wanted: Rules, path: bytes, status: os.stat_result) -> Found | str:
    """Return the file, or say why it cannot be taken."""
    from megamax_sync.job import FileStamp
    from megamax_sync.watch.rules import unwanted_always
    from megamax_sync.watch.scanner import Found

    if not stat.S_ISREG(status.st_mode):
        return "is no regular file; name a file or a folder"
    unwanted = unwanted_always(path)
    if unwanted is not None:
        return f"is never uploaded ({unwanted.reason}); rename it, if it is a finished video"
    extension = os.fsdecode(os.path.splitext(path)[1][1:]).lower()
    if extension not in wanted.extensions:
        return f"has an ending that MEGAMAX_EXTENSIONS lacks ('{extension}'); add it there"
    if status.st_size == 0:
        return "is empty; there is nothing to upload"
    return Found(path, None, FileStamp.of(status))


class _Desk:
    """Takes files in, and says of each what becomes of it."""

    def __init__(self, store: Store, folder: int | None) -> None:
        from megamax_sync.watch.intake import Intake
        from megamax_sync.watch.rules import Folders

        self._folder = folder
        self._store = store
        self._intake = Intake(store, Folders(folder, ()), lambda: None)

    def take(self, found: list[Found]) -> int:
        """Queue them; return how many have failed before, and so stay as they are."""
        from megamax_sync.job import JobState

        failed = 0
        for one in found:
            before = self._store.jobs.latest(one.path)
            self._store.orders.recall(one.path)
            self._intake.take([one], ready=False)
            job = self._store.jobs.latest(one.path)
            assert job is not None
            path = shown(one.path)
            new = before is None or (job.id, job.state) != (before.id, before.state)
            if new:
                output.say(f"job {job.id} queued: {path}")
            elif job.state is JobState.FAILED:
                failed += 1
                output.say(
                    f"job {job.id} failed before ({output.one_line(job.error or '')}); "
                    f"megamax-sync retry {job.id} tries again: {path}"
                )
            elif job.state is JobState.DONE:
                output.say(f"job {job.id} is done already, as {job.hashid}: {path}")
            else:
                output.say(f"job {job.id} is {job.state} already: {path}")
            if not new and self._folder not in {None, job.folder}:
                output.say(f"  its folder stays {job.folder or 'none'}: that was decided before")
        return failed
