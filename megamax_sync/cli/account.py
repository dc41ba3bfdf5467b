"""``ls`` and ``links``: what the service says, asked for now."""

from __future__ import annotations

import contextlib
import html
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from megamax_sync.cli import output
from megamax_sync.cli.context import Root, quiet_log, reading
from megamax_sync.clock import Clock, iso
from megamax_sync.errors import DirectLinksRefused
from megamax_sync.job import REMOTE_FAILED, JobState
from megamax_sync.state import StateFolder
from megamax_sync.status import readable_path
from megamax_sync.units import human_size

if TYPE_CHECKING:
    from megamax_sync.api import MegamaxClient, RemoteFile
    from megamax_sync.store import Store

Format = Literal["plain", "embed", "bbcode", "markdown"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("ls")(ls)
    app.command("links")(links)


@contextlib.contextmanager
def _client(root: Root) -> Iterator[MegamaxClient]:
    settings = root.settings()
    quiet_log(settings)
    with contextlib.ExitStack() as stack:
        if root.sandbox:
            from megamax_sync.cli import embedded

            settings = stack.enter_context(embedded.reachable(settings))
        login, key = settings.require_credentials()
        from megamax_sync.api import MegamaxClient, Pacer

        yield stack.enter_context(
            MegamaxClient(
                settings.api_url,
                login.get_secret_value(),
                key.get_secret_value(),
                timeout=settings.timeout_seconds,
                ca_file=settings.ca_file,
                proxy=settings.proxy.get_secret_value() if settings.proxy else None,
                pacer=Pacer(settings.api_rate, Clock()),
            )
        )


def ls(
    ctx: typer.Context,
    folder: Annotated[
        int | None, typer.Option(metavar="ID", min=1, help="Only this Megamax folder.")
    ] = None,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="Only this status, such as converted.")
    ] = None,
    orphans: Annotated[
        bool,
        typer.Option(
            "--orphans", help="Only what our own attempts left behind, to delete by hand."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the account's files, as the service lists them."""
    root: Root = ctx.obj
    left = _left_behind(root) if orphans else {}
    with _client(root) as client:
        files = client.files(folder=folder, status=status)
    if orphans:
        files = [file for file in files if file.hashid in left]
    if as_json:
        output.say_json([_row(file) | left.get(file.hashid, {}) for file in files])
        return
    head = ("HASHID", "STATUS", "SIZE", "CREATED", "FOLDER", "NAME")
    rows = [
        (
            file.hashid,
            file.status or "-",
            "-" if file.size is None else human_size(file.size),
            "-" if file.created_at is None else iso(file.created_at.timestamp()),
            "-" if file.folder is None else str(file.folder),
            file.name + (f"  ({left[file.hashid]['reason']})" if file.hashid in left else ""),
        )
        for file in files
    ]
    output.say_columns(head, [[output.one_line(cell) for cell in row] for row in rows])


def _row(file: RemoteFile) -> dict[str, Any]:
    return {
        "hashid": file.hashid,
        "name": file.name,
        "status": file.status,
        "size": file.size,
        "folder": file.folder,
        "views": file.views,
        "poster": file.poster,
        "created_at": file.created_at and iso(file.created_at.timestamp()),
    }


def _left_behind(root: Root) -> dict[str, dict[str, Any]]:
    """Return, by hashid, whose attempt left it behind, and why."""
    with reading(StateFolder(root.settings().state_dir)) as store:
        return _orphans_of(store) if store else {}


def _orphans_of(store: Store) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for attempt in store.journal.orphans():
        if attempt.hashid:
            reason = attempt.error or "its conversion failed"
            found[attempt.hashid] = {"path": readable_path(attempt.path), "reason": reason}
    for job in store.views.in_states([JobState.FAILED], None):
        if job.hashid and job.remote_status == REMOTE_FAILED:
            reason = job.error or "its conversion failed"
            found[job.hashid] = {"path": readable_path(job.path), "reason": reason}
    return found


def links(
    ctx: typer.Context,
    hashid: Annotated[str, typer.Argument(metavar="HASHID", help="The file, as ls names it.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    form: Annotated[
        Format, typer.Option("--format", help="How links are written; embed is HTML.")
    ] = "plain",
) -> None:
    """Show mirrors and direct links, asked for now.

    Direct links need a premium plan; without one there are the mirrors alone.
    """
    from megamax_sync import sidecar

    root: Root = ctx.obj
    with _client(root) as client:
        mirrors = json.loads(sidecar.mirrors_json(client.mirrors(hashid)))
        try:
            direct = json.loads(sidecar.direct_json(client.direct(hashid)))
            refused = None
        except DirectLinksRefused as error:
            direct, refused = [], error.server_message or str(error)
    if as_json:
        document = {"hashid": hashid, "mirrors": mirrors, "direct": direct, "direct_error": refused}
        output.say_json(document)
        return
    found = list(_urls(mirrors, direct, embed=form == "embed"))
    for kind, name, url in found:
        output.say(output.one_line(_written(form, kind, name, url)))
    if not found:
        output.complain("there are no such links yet; mirrors may come some time after conversion")
    if refused is not None:
        output.complain(f"no direct links: {refused}")


def _urls(
    mirrors: list[dict[str, Any]], direct: list[dict[str, Any]], *, embed: bool
) -> Iterator[tuple[str, str, str]]:
    """Yield kind, name and URL of each link; only what can be embedded, if ``embed``."""
    for group in mirrors:
        for mirror in group["mirrors"]:
            for kind in ("iframe",) if embed else ("iframe", "link"):
                if mirror[kind]:
                    yield kind, f"{mirror['driver']} {group['title']}".strip(), mirror[kind]
    for one in direct:
        for kind in () if embed else ("stream", "download"):
            if one[kind]:
                yield kind, one["label"], one[kind]


def _written(form: Format, kind: str, name: str, url: str) -> str:
    if form == "embed":
        return (
            f'<iframe src="{html.escape(url)}" title="{html.escape(name)}" '
            "allowfullscreen></iframe>"
        )
    label = f"{name} {kind}".strip()
    if form == "bbcode":
        # Brackets would end the tag; nobody needs them in a URL as they are.
        safe = url.replace("[", "%5B").replace("]", "%5D")
        return f"[url={safe}]{label.replace('[', '(').replace(']', ')')}[/url]"
    if form == "markdown":
        safe = url.replace("<", "%3C").replace(">", "%3E").replace(" ", "%20")
        text = "".join(f"\\{char}" if char in "\\`*_[]<>" else char for char in label)
        return f"[{text}](<{safe}>)"
    return f"{kind:<8}  {url}"
