"""What ``status --watch`` shows: one screen, problems first, for any width and height."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from megamax_sync.cli.output import one_line
from megamax_sync.job import Job, JobState
from megamax_sync.status import shown, to_send
from megamax_sync.status import status as status_document
from megamax_sync.units import human_seconds, human_size

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from megamax_sync.cli.instance import Instance
    from megamax_sync.store import Store

#: So many jobs of each kind are read; no screen shows more.
_MOST = 50
#: A conversion that takes longer is no longer an ordinary one, in seconds.
_LONG = 86400.0


@dataclass(frozen=True)
class Snapshot:
    """What there is to see at one moment. ``now`` is Unix time in seconds."""

    now: float
    document: dict[str, Any]
    #: Why the instance at work makes no progress.
    ailment: str | None = None
    uploads: list[dict[str, Any]] = field(default_factory=list)
    jobs: dict[int, Job] = field(default_factory=dict)
    converting: list[Job] = field(default_factory=list)
    queued: list[Job] = field(default_factory=list)
    failed: list[Job] = field(default_factory=list)
    #: Each with when it became done, Unix time.
    done: list[tuple[Job, float]] = field(default_factory=list)

    @classmethod
    def of(cls, store: Store | None, instance: Instance, now: float) -> Snapshot:
        """Read it from the queue, and from what the instance at work has answered."""
        document = status_document(store, instance.live, now=now, jobs=[])
        instance.put_into(document)
        if store is None:
            return cls(now, document, instance.ailment)
        uploads = list((instance.live or {}).get("uploads", []))
        jobs = {one["job"]: store.jobs.get(one["job"]) for one in uploads}

        def some(state: JobState) -> list[Job]:
            return store.views.select(states=[state], limit=_MOST)

        return cls(
            now,
            document,
            instance.ailment,
            uploads,
            {number: job for number, job in jobs.items() if job is not None},
            some(JobState.PROCESSING),
            store.views.next_up(_MOST),
            some(JobState.FAILED),
            store.pages.done_last(_MOST),
        )


class Board:
    """Draws snapshots. ``plain``: only ASCII, for terminals that show nothing else."""

    def __init__(self, *, plain: bool = False) -> None:
        self._plain = plain
        self._dot = " - " if plain else " · "

    def draw(self, seen: Snapshot, width: int, height: int) -> RenderableType:
        """Draw one screen of this size, in columns and lines."""
        from rich.console import Group

        head = [self._title(seen), *self._problems(seen), self._counts(seen)]
        blocks = [
            ("Uploading", [self._upload(seen, one) for one in seen.uploads], len(seen.uploads)),
            self._block(seen, "In conversion", _since(seen.converting), JobState.PROCESSING),
            self._block(seen, "Failed", _since(seen.failed), JobState.FAILED),
            self._block(seen, "Next", _since(seen.queued), JobState.QUEUED),
            self._block(seen, "Done last", seen.done, JobState.DONE),
        ]
        blocks = [block for block in blocks if block[1]]
        room = height - len(head) - 1 - 2 * len(blocks)
        lines: list[RenderableType] = [*head]
        for (title, rows, total), share in zip(
            blocks, _shares([len(rows) for _, rows, _ in blocks], room), strict=True
        ):
            more = f"{self._dot}{total - share} more" if total > share else ""
            lines += [self._text(""), self._text(f"{title}{more}", style="bold")]
            if share:
                lines.append(self._table(rows[:share], width, uploads=title == "Uploading"))
        if not blocks:
            lines += [self._text(""), self._text("nothing is in the queue yet")]
        lines.append(self._text("q leaves", style="dim"))
        return Group(*lines[: height + len(blocks)])

    # -- the head ----------------------------------------------------------------------------

    def _title(self, seen: Snapshot) -> Text:
        daemon = seen.document["daemon"]
        facts = ["megamax-sync"]
        if daemon["running"]:
            facts.append(f"running as process {daemon['pid']}")
        if daemon["observer"]:
            facts.append(daemon["observer"])
        if daemon["bwlimit"]:
            facts.append(f"limit {human_size(daemon['bwlimit'])}/s")
        return self._text(self._dot.join(facts), style="bold")

    def _problems(self, seen: Snapshot) -> list[Text]:
        daemon, lines = seen.document["daemon"], []
        if not daemon["running"]:
            lines.append(("not running: nothing is uploaded until megamax-sync is started", "red"))
        if seen.ailment:
            lines.append((seen.ailment, "bold red"))
        if daemon["problem"]:
            lines.append((f"{daemon['problem']}: {daemon['problem_detail']}", "bold red"))
        if daemon["paused"]:
            lines.append(("paused: no upload is begun until megamax-sync resume", "yellow"))
        return [self._text(f"! {line}", style=style) for line, style in lines]

    def _counts(self, seen: Snapshot) -> Text:
        counts, volume = seen.document["counts"], seen.document["bytes"]
        parts = [f"{count} {state}" for state, count in counts.items() if count]
        if volume["queued"] or volume["uploading"]:
            left = to_send(volume, seen.uploads)
            text = f"{human_size(left)} to send"
            if volume["sent_per_second"]:
                text += f" at {human_size(volume['sent_per_second'])}/s"
            if volume["eta_seconds"] is not None:
                text += f", {human_seconds(volume['eta_seconds'])} left"
            parts.append(text)
        return self._text(self._dot.join(parts))

    # -- the lists ---------------------------------------------------------------------------

    def _upload(self, seen: Snapshot, one: dict[str, Any]) -> list[RenderableType]:
        from rich.progress_bar import ProgressBar

        job, size = seen.jobs.get(one["job"]), max(1, one["size"])
        sent = min(one["sent"], size)
        left = (size - sent) / one["rate"] if one["rate"] > 0 else None
        return [
            self._text(shown(job.name) if job else f"job {one['job']}"),
            ProgressBar(total=size, completed=sent, width=14),
            self._text(f"{100 * sent // size}%", justify="right"),
            self._text(human_size(size), justify="right"),
            self._text(f"{human_size(one['rate'])}/s", justify="right"),
            self._text("-" if left is None else human_seconds(left), justify="right"),
        ]

    def _block(
        self, seen: Snapshot, title: str, jobs: Sequence[tuple[Job, float]], state: JobState
    ) -> tuple[str, list[list[RenderableType]], int]:
        rows = [self._row(job, seen.now - since) for job, since in jobs]
        return title, rows, max(len(rows), seen.document["counts"][state])

    def _row(self, job: Job, age: float) -> list[RenderableType]:
        """Name, what there is to say, and for how many seconds it has been like that."""
        said, style = "", ""
        if job.state is JobState.PROCESSING:
            said, style = job.remote_status or "", "yellow" if age > _LONG else ""
            if job.error:
                said, style = job.error, "red"
        elif job.state is JobState.FAILED:
            said, style = job.error or "", "red"
        elif job.state is JobState.QUEUED:
            said = job.error or ("" if job.ready else "still settling")
        elif job.hashid:
            said = job.hashid
        return [
            self._text(shown(job.name)),
            self._text(one_line(said), style=style),
            self._text(" ".join(human_seconds(max(0.0, age)).split(" ")[:2]), justify="right"),
        ]

    def _table(
        self, rows: Sequence[Sequence[RenderableType]], width: int, *, uploads: bool
    ) -> Table:
        from rich.table import Table

        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        overflow: Any = "crop" if self._plain else "ellipsis"
        table.add_column(ratio=3, no_wrap=True, overflow=overflow, min_width=10)
        if uploads:
            for _ in range(5):
                table.add_column(no_wrap=True)
        else:
            table.add_column(ratio=3 if width >= 100 else 2, no_wrap=True, overflow=overflow)
            table.add_column(no_wrap=True, width=6, justify="right")
        for row in rows:
            table.add_row(*row)
        return table

    def _text(self, text: str, style: str = "", justify: Any = None) -> Text:
        from rich.text import Text

        line = one_line(text)
        if self._plain:
            line = line.encode("ascii", "backslashreplace").decode()
        overflow: Any = "crop" if self._plain else "ellipsis"
        return Text(line, style=style, justify=justify, no_wrap=True, overflow=overflow)


def _since(jobs: Sequence[Job]) -> list[tuple[Job, float]]:
    """Pair each job with the Unix time since when it has been as it is."""
    return [(job, _moment(job)) for job in jobs]


def _moment(job: Job) -> float:
    if job.state is JobState.PROCESSING:
        return job.uploaded_at or job.created_at
    return job.created_at if job.state is JobState.QUEUED else job.updated_at


def _shares(wanted: Sequence[int], room: int) -> list[int]:
    """Divide lines among lists: each gets what it wants, or as much as the others."""
    shares = [0] * len(wanted)
    while room > 0 and any(has < wants for has, wants in zip(shares, wanted, strict=True)):
        for number, wants in enumerate(wanted):
            if shares[number] < wants and room > 0:
                shares[number] += 1
                room -= 1
    return shares
