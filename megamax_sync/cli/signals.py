"""Signals, as something the main thread waits for.

Python runs a handler between any two instructions of the main thread, which may hold a lock just
then. So the handlers here do nothing: the number arrives through the wake-up pipe.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from types import FrameType, TracebackType
from typing import Self

#: These end the program; a second one of them kills it.
ENDING = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Catches SIGTERM and SIGINT while it is entered. For the main thread.

    ``reload``: SIGHUP too, for what reads its settings again; anything else leaves that to the
    terminal and to nohup.
    """

    def __init__(self, *, reload: bool = False) -> None:
        self._caught = (*ENDING, signal.SIGHUP) if reload else ENDING
        self._read, self._write = -1, -1
        #: The signal that ends the program, once it has come.
        self.ending: signal.Signals | None = None

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in self._caught:
            signal.signal(number, _nothing)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number in self._caught:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.set_wakeup_fd(-1)
        os.close(self._read)
        self._read, write = -1, self._write
        self._write = -1
        os.close(write)

    def wake(self) -> None:
        """End the wait that is under way; from any thread."""
        with contextlib.suppress(OSError):
            os.write(self._write, b"\0")

    def wait(self, timeout: float | None, *also: int) -> set[signal.Signals]:
        """Wait for signals, a :meth:`wake`, or ``timeout`` seconds; return what has come.

        ``also``: descriptors whose being readable ends the wait, too.
        """
        select.select([self._read, *also], [], [], timeout)
        try:
            arrived = {signal.Signals(number) for number in os.read(self._read, 512) if number}
        except BlockingIOError:
            return set()
        for number in ENDING:
            if number in arrived:
                self.ending = self.ending or number
                # Whoever asks twice does not want to wait for a clean stop.
                for each in ENDING:
                    signal.signal(each, signal.SIG_DFL)
        return arrived


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Be a handler, so that the signal reaches the pipe."""
