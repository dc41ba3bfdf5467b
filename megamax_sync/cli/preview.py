"""``--scan --dry-run``: what would be done, one line a file, without doing anything."""

from __future__ import annotations

from megamax_sync.cli import output
from megamax_sync.cli.context import Root, quiet_log, reading
from megamax_sync.cli.judge import Judge
from megamax_sync.cli.likeness import Verdict
from megamax_sync.cli.scan import watched_folders
from megamax_sync.state import StateFolder
from megamax_sync.status import shown
from megamax_sync.wanted import rules
from megamax_sync.watch.rules import Unwanted
from megamax_sync.watch.scanner import Found, natural, walks


def preview(root: Root) -> int:
    """Print one line for each file; return the exit status."""
    settings = root.settings()
    watched_folders(settings)
    quiet_log(settings)
    wanted = rules(settings)
    with reading(StateFolder(settings.state_dir)) as store:
        judge = Judge(settings, store)
        unwanted: list[tuple[bytes, str]] = []

        def leave_out(path: bytes, why: Unwanted) -> None:
            unwanted.append((path, _skip(path, why.reason)))

        for walk in walks(wanted, on_unwanted=leave_out):
            for found in walk:
                verdicts = zip(found, judge.verdicts(found), strict=True)
                lines = [*unwanted, *((one.path, _line(judge, one, how)) for one, how in verdicts)]
                if unwanted and found:
                    lines.sort(key=lambda pair: natural(pair[0]))
                unwanted.clear()
                for _, line in lines:
                    output.say(line)
            for folder, why in walk.unreadable:
                output.say(_skip(folder, f"cannot be read ({why})"))
    return output.DONE


def _line(judge: Judge, one: Found, verdict: Verdict) -> str:
    if verdict.reason is not None:
        return _skip(one.path, verdict.reason)
    return f"upload {shown(one.path)} ({judge.target(one, verdict)})"


def _skip(path: bytes, reason: str) -> str:
    return f"skip {shown(path)}: {output.one_line(reason)}"
