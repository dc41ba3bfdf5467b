"""A process that has imported the program, and becomes it again and again: one fork a start.

An interpreter takes half a second to start and import; a fork takes milliseconds. What runs after
it is ``megamax_sync.cli.main``, as in the installed command. :class:`Zygote` is the harness's side.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class Victim:
    """A program that runs, and is going to be killed."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        # The zygote reaps it only when told, so the number stays this process's.
        self._fd = os.pidfd_open(pid)

    def wait(self, seconds: float) -> bool:
        """Wait for its end; True when it came."""
        return bool(select.select([self._fd], [], [], seconds)[0])

    def kill(self) -> None:
        """End it as kill -9 does."""
        signal.pidfd_send_signal(self._fd, signal.SIGKILL)

    def close(self) -> None:
        """Forget it."""
        os.close(self._fd)


class Zygote:
    """Starts victims, one at a time."""

    def __init__(self) -> None:
        # Nobody measures what is killed: it would be slow, and the figures would be lost.
        environ = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "chaos.zygote"],
            cwd=Path(__file__).parent.parent,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def start(
        self,
        arguments: list[str],
        environ: Mapping[str, str],
        log: Path,
        trap: tuple[str, int] | None,
    ) -> Victim:
        """Start the program; its log goes to the end of ``log``."""
        order = {"arguments": arguments, "environ": dict(environ), "log": str(log), "trap": trap}
        return Victim(self._ask(order))

    def reap(self, victim: Victim) -> int:
        """Take note of a victim's end; return its exit status, negative for a signal."""
        victim.close()
        return self._ask(None)

    def _ask(self, order: Any) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


def main() -> None:
    """Fork when told, reap when told, end when nobody is left to tell."""
    # What each victim has then, and need not import.
    for name in ("app", "run", "scan"):
        importlib.import_module(f"megamax_sync.cli.{name}")
    pid = 0
    for line in sys.stdin:
        order = json.loads(line)
        if order is None:
            pid, status = os.waitpid(pid, 0)
            number = os.waitstatus_to_exitcode(status)
        else:
            pid = number = os.fork()
            if pid == 0:
                _become(**order)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


def _become(
    arguments: list[str], environ: dict[str, str], log: str, trap: tuple[str, int] | None
) -> None:
    status = 70
    try:
        os.environ.update(environ)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for fd, number in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(fd, number)
        if trap is not None:
            from chaos.points import set_trap

            set_trap(*trap)
        from megamax_sync.cli import main as program

        status = program(arguments)
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
