"""``--scan --dry-run``: what would be done, file by file, without doing anything."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass
from typing import Protocol

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


@dataclass(frozen=True, slots=True)
class _Fate:
    """What would become of one path. Skipped for ``reason``; without one it would be uploaded."""

    path: bytes
    reason: str | None
    #: In bytes; None for what is no file that the rules want.
    size: int | None = None
    #: The Megamax folder that it would go to.
    folder: int | None = None


class _Writer(Protocol):
    def write(self, fate: _Fate) -> None: ...

    def end(self) -> None: ...


class _Lines:
    """One line each, for people and their pipes."""

    def write(self, fate: _Fate) -> None:
        """Write one file's line."""
        if fate.reason is not None:
            output.say(f"skip {shown(fate.path)}: {output.one_line(fate.reason)}")
            return
        output.say(f"upload {shown(fate.path)} ({target(fate.size or 0, fate.folder)})")

    def end(self) -> None:
        """Nothing is left to be said."""


class _Document:
    """One JSON document, written as it comes: a million files take no memory."""

    def __init__(self) -> None:
        self._counts = Counter[str](upload=0, skip=0)
        self._bytes = 0
        self._before = '{\n  "files": ['

    def write(self, fate: _Fate) -> None:
        """Write one file's object."""
        action = "upload" if fate.reason is None else "skip"
        self._counts[action] += 1
        self._bytes += (fate.size or 0) if fate.reason is None else 0
        row = {
            "path": readable_path(fate.path),
            "path_b64": path_b64(fate.path),
            "action": action,
            "reason": fate.reason,
            "size": fate.size,
            "folder": fate.folder,
        }
        output.say(f"{self._before}\n    {output.json_text(row)}", end="")
        self._before = ","

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
                fates = [*unwanted, *(_fate(judge, one, how) for one, how in verdicts)]
                if unwanted and found:
                    fates.sort(key=lambda fate: natural(fate.path))
                unwanted.clear()
                for fate in fates:
                    writer.write(fate)
                if until is not None and time.monotonic() >= until:
                    writer.end()
                    output.complain("--timeout has passed, and not every file was looked at")
                    return output.TRY_LATER
            for folder, why in walk.unreadable:
                writer.write(_Fate(folder, f"cannot be read ({why})"))
    writer.end()
    return output.DONE


def _fate(judge: Judge, one: Found, verdict: Verdict) -> _Fate:
    return _Fate(one.path, verdict.reason, one.stamp.size, judge.folder(one, verdict))
