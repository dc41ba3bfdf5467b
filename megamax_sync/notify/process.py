"""Running a program: without a shell, in a process group of its own, for a limited time."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from megamax_sync.loop import Loop
from megamax_sync.notify.courier import Interrupted, Undelivered

#: What is kept of a program's output, in bytes; the rest is read and dropped.
_KEPT = 4096
#: How often the pipe is read in a row.
_READS = 16
#: How often the stop and the time limit are looked at, in seconds.
_LOOK = 0.2
#: How long a program may take to end when it is asked to, in seconds.
_GRACE = 3.0


class TookTooLong(Undelivered):
    """It was killed when its time was over."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended: its exit status, -N for signal N, and the beginning of its output."""

    status: int
    output: bytes


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    seconds: float,
    loop: Loop,
    stdin: bytes = b"",
) -> Outcome:
    """Run a program to its end. ``loop`` is the one that waits for it.

    Raises :class:`Undelivered` if it cannot be started, :class:`TookTooLong` after ``seconds``, and
    :class:`Interrupted` if the loop's stop comes first; then all of its process group is ended.
    """
    with contextlib.ExitStack() as stack:
        given: int = subprocess.DEVNULL
        if stdin:
            # Never on a disk: it holds addresses that are secrets.
            given = os.memfd_create("stdin", os.MFD_CLOEXEC)
            stack.callback(os.close, given)
            os.write(given, stdin)
            os.lseek(given, 0, os.SEEK_SET)
        ours, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        stack.callback(os.close, ours)
        try:
            os.set_blocking(theirs, True)
            process = subprocess.Popen(  # noqa: S603 - started without a shell, so no file name is ever read as code; what runs is the command that the user has set in MEGAMAX_ON_DONE or MEGAMAX_ON_FAILED, or this package's own module
                list(argv),
                stdin=given,
                stdout=theirs,
                stderr=theirs,
                env=dict(env),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise Undelivered(f"cannot be started ({reason})") from error
        finally:
            os.close(theirs)
        try:
            return _wait(process, ours, seconds, loop)
        finally:
            # Only a program that has not ended by itself is still there.
            if process.returncode is None:
                _end(process)


def _wait(process: subprocess.Popen[bytes], pipe: int, seconds: float, loop: Loop) -> Outcome:
    until = loop.clock.monotonic() + seconds
    output, open_ = bytearray(), True
    while process.poll() is None:
        loop.beat()
        if loop.stop_event.is_set():
            raise Interrupted
        if loop.clock.monotonic() >= until:
            raise TookTooLong(f"did not end within {seconds:g} s, and was killed")
        if open_:
            select.select([pipe], [], [], _LOOK)
            open_ = _drain(pipe, output)
        else:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK)
    # Something that it has left running may hold the pipe: that is not waited for.
    _drain(pipe, output)
    return Outcome(process.returncode, bytes(output[:_KEPT]))


def _drain(pipe: int, output: bytearray) -> bool:
    """Read what is there; False at the end of all output."""
    # Not for ever: one that writes without end has to be looked at in between.
    for _ in range(_READS):
        try:
            part = os.read(pipe, 65536)
        except BlockingIOError:
            return True
        if not part:
            return False
        if len(output) < _KEPT:
            output += part
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole group: asked first, then killed."""
    _signal(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE)
    _signal(process, signal.SIGKILL)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
