"""``status --watch``: the state of everything, live on a terminal, or as plain text in a pipe."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator

from megamax_sync.cli import output
from megamax_sync.cli.board import Board, Snapshot
from megamax_sync.cli.context import reading
from megamax_sync.cli.instance import look_at
from megamax_sync.cli.signals import Signals
from megamax_sync.errors import StoreError
from megamax_sync.state import StateFolder

#: How often it looks, in seconds; and in a pipe, where each change is a page.
_LOOK, _PIPE_LOOK = 0.5, 2.0
#: The keys that leave.
_LEAVE = b"qQ\x04"


def watch(folder: StateFolder, snapshot: Callable[[], str]) -> int:
    """Show until it is left; return the exit status. ``snapshot`` renders plain text."""
    with Signals() as signals:
        if sys.stdout.isatty():
            from rich.console import Console

            console = Console(highlight=False)
            if not console.is_dumb_terminal:
                return _on_terminal(folder, signals, console)
        return _in_pipe(snapshot, signals)


def _in_pipe(snapshot: Callable[[], str], signals: Signals) -> int:
    """Print the state, and again whenever it has changed."""
    before = None
    while signals.ending is None:
        text = snapshot()
        if text != before:
            output.say_now(text if before is None else f"\n{text}")
            before = text
        signals.wait(_PIPE_LOOK)
        if _nobody_reads():
            return output.DONE
    return output.INTERRUPTED


def _nobody_reads() -> bool:
    """Tell whether the pipe has been closed at its other end."""
    import select

    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError):
        return True


def _on_terminal(folder: StateFolder, signals: Signals, console: object) -> int:
    from rich.console import Console
    from rich.live import Live

    assert isinstance(console, Console)
    board = Board(plain=not (console.encoding or "").lower().startswith("utf"))
    with (
        _keys() as keys,
        Live(console=console, screen=True, auto_refresh=False, redirect_stderr=False) as live,
    ):
        while signals.ending is None:
            seen = _look(folder)
            if seen is not None:
                width, height = console.size
                live.update(board.draw(seen, width, height), refresh=True)
            signals.wait(_LOOK, *keys)
            if any(_left(fd) for fd in keys):
                break
    # That is how one leaves.
    return output.DONE


def _look(folder: StateFolder) -> Snapshot | None:
    """Look once; None if the queue cannot be read at this moment."""
    instance = look_at(folder, timeout=_LOOK)
    try:
        with reading(folder) as store:
            return Snapshot.of(store, instance, time.time())
    except StoreError:
        return None


@contextlib.contextmanager
def _keys() -> Iterator[list[int]]:
    """Take single keys from the terminal; yields its descriptor, or none."""
    import termios
    import tty

    fd = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    if fd is None:
        yield []
        return
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)
    try:
        yield [fd]
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _left(fd: int) -> bool:
    """Tell whether a key that leaves was pressed."""
    import select

    if not select.select([fd], [], [], 0)[0]:
        return False
    pressed = os.read(fd, 64)
    # Nothing at all: the terminal is gone.
    return not pressed or any(key in pressed for key in _LEAVE)
