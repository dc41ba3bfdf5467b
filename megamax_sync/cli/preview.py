"""``--scan --dry-run``: what would be done, file by file, without doing anything."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from megamax_sync.cli import output
from megamax_sync.cli.context import Root, reading
from megamax_sync.cli.folders import watched_folders
from megamax_sync.cli.judge import Judge, target
from megamax_sync.cli.likeness import Verdict
from megamax_sync.state import StateFolder
from megamax_sync.status import path_b64, readable_path, shown
from megamax_sync.wanted import rules
from megamax_sync.watch.rules import Unwanted
from megamax_sync.watch.scanner import Found, natural, walks


class _Fate(NamedTuple):
    """What would become of one path. Skipped for ``reason``; without one it would be uploaded."""

    path: bytes
    reason: str | None
    #: In bytes; None for what is no file that the rules want.
    size: int | None = None
    #: The Megamax folder that it would go to.
    folder: int | None = None


class _Writer(Protocol):
    def write(self, fates: Iterable[_Fate]) -> None: ...

    def end(self) -> None: ...


class _Lines:
    """One line each, for people and their pipes."""

    def write(self, fates: Iterable[_Fate]) -> None:
        """Write these files' lines, all at once: stdout may well be unbuffered."""
        output.say(
            "".join(
                f"upload {shown(path)} ({target(size or 0, folder)})\n"
                if reason is None
                else f"skip {shown(path)}: {output.one_line(reason)}\n"
                for path, reason, size, folder in fates
            ),
            end="",
        )

    def end(self) -> None:
        """Nothing is left to be said."""


class _Document:
    """One JSON document, written as it comes: a million files take no memory."""

    def __init__(self) -> None:
        self._counts = Counter[str](upload=0, skip=0)
        self._bytes = 0
        self._before = '{\n  "files": ['

    def write(self, fates: Iterable[_Fate]) -> None:
        """Write these files' objects, all at once."""
        rows = [self._row(fate) for fate in fates]
        if rows:
            output.say(self._before + ",".join(rows), end="")
            self._before = ","

    def _row(self, fate: _Fate) -> str:
        path, reason, size, folder = fate
        action = "skip"
        if reason is None:
            action = "upload"
            self._bytes += size or 0
        self._counts[action] += 1
        row = {
            "path": readable_path(path),
            "path_b64": path_b64(path),
            "action": action,
            "reason": reason,
            "size": size,
            "folder": folder,
        }
        return f"\n    {output.json_text(row)}"

    def end(self) -> None:
        """Close the list, and sum up."""
        start = self._before if self._before != "," else ""
        sums = json.dumps({"counts": self._counts, "bytes": self._bytes})
        output.say(f"{start}\n  ],\n  {sums[1:-1]}\n}}")


def preview(root: Root) -> int:
    """Say what would become of each file; return the exit status."""
    settings = root.settings()
    watched_folders(settings)
    wanted = rules(settings)
    until = None if root.timeout is None else time.monotonic() + root.timeout
    writer: _Writer = _Document() if root.json else _Lines()
    with reading(StateFolder(settings.state_dir)) as store:
        judge = Judge(settings, store)
        unwanted: list[_Fate] = []

        def leave_out(path: bytes, why: Unwanted) -> None:
            unwanted.append(_Fate(path, why.reason))

        for walk in walks(wanted, on_unwanted=leave_out):
            for found in walk:
                verdicts = zip(found, judge.verdicts(found), strict=True)
                fates = [_fate(judge, one, how) for one, how in verdicts]
                if unwanted:
                    fates = _merged(unwanted, fates)
                    unwanted.clear()
                writer.write(fates)
                if until is not None and time.monotonic() >= until:
                    writer.end()
                    output.complain("--timeout has passed, and not every file was looked at")
                    return output.TRY_LATER
            writer.write(
                _Fate(folder, f"cannot be read ({why})") for folder, why in walk.unreadable
            )
    writer.end()
    return output.DONE


def _merged(unwanted: list[_Fate], wanted: list[_Fate]) -> list[_Fate]:
    """Put what lies in one folder in order."""
    if not wanted:
        return [*unwanted]
    name = wanted[0].path.rindex(b"/") + 1
    return sorted([*unwanted, *wanted], key=lambda fate: natural(fate.path[name:]))


def _fate(judge: Judge, one: Found, verdict: Verdict) -> _Fate:
    return _Fate(one.path, verdict.reason, one.stamp.size, judge.folder(one, verdict))
