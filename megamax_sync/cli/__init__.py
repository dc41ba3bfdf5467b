"""The command line: one file a group of commands, and the exit statuses of CONTRACT section 1."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

from megamax_sync.cli import output


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``megamax-sync`` with these arguments, or the process's own; return the exit status.

    Whatever the user, the disk or the network did wrong is said in one line a fault on stderr.
    """
    output.prepare()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        # As the command line says it, whose import alone takes four times as long.
        output.say_version()
        return output.finish(output.DONE)
    # What is imported stays: to look for garbage in it takes a tenth of a quick command's time.
    gc.disable()
    from megamax_sync.cli.app import run

    return output.finish(run(words))
