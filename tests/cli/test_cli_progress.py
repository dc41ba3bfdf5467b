"""What is shown on a terminal, and how figures are written."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from cli.program import Program
from megamax_sync.sandbox import Fault, FaultScript
from megamax_sync.units import human_seconds, human_size

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def on_terminal(
    program: Program, *arguments: str, env: dict[str, str] | None = None, width: int = 80
) -> tuple[int, str]:
    """Run it on a terminal of its own; return the exit status and all that was written there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    terminal = {"TERM": "xterm", "COLUMNS": "", "LINES": ""}
    with program.popen(
        *arguments, env={**terminal, **(env or {})}, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        written = bytearray()
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            if not part:
                break
            written += part
        process.wait(30)
    os.close(ours)
    return process.returncode, written.decode()


def test_scan_shows_bars_and_states(program: Program, faults: FaultScript) -> None:
    """A bar for each upload and one for the whole, a line for each state, within 80 columns."""
    # Long enough for the display to see it.
    faults.add("upload", Fault.delay(1.0), nth=None)
    for number in range(2):
        program.video(f"[bold]{number} {'long ' * 30}\x1b[31m.mp4", 8_000_000)
    status, text = on_terminal(program, "--scan")
    plain = _ESCAPES.sub("", text)
    assert status == 0
    assert "all files" in plain
    assert "[bold]0 long" in plain
    for state in ("queued", "uploading", "processing", "done", "failed", "skipped"):
        assert re.search(rf"{state} +\d+ ", plain), state
    assert "2 done, 0 failed, 0 skipped" in plain
    assert max(len(line) for line in re.split(r"[\r\n]+", plain)) <= 80
    assert '"event"' not in plain
    assert "\x1b[31m.mp4" not in text


def test_warnings_do_not_tear_the_display(program: Program, faults: FaultScript) -> None:
    """The log's worse lines go through the display, and the problem stands below the bars."""
    faults.add("generate", Fault.status(503), nth=None)
    program.video("a.mp4")
    env = {"NO_COLOR": "1", "MEGAMAX_LOG_FORMAT": "console"}
    status, text = on_terminal(program, "--timeout", "2", "--scan", env=env)
    assert status == 75
    assert "service.paused" in text
    assert "unreachable: " in text
    assert "daemon.started" not in text
    assert not re.search(r"\x1b\[[0-9;]*3[1-7]m", text)


def test_a_log_level_that_was_asked_for_is_kept(program: Program) -> None:
    """With MEGAMAX_LOG_LEVEL set, a terminal shows those lines too."""
    program.video("a.mp4")
    env = {"MEGAMAX_LOG_LEVEL": "info", "MEGAMAX_LOG_FORMAT": "json"}
    status, text = on_terminal(program, "--scan", env=env)
    assert (status, "daemon.started" in _ESCAPES.sub("", text)) == (0, True)


def test_a_dumb_terminal_gets_the_log(program: Program) -> None:
    """Where nothing can be drawn, nothing is."""
    program.video("a.mp4")
    status, text = on_terminal(program, "--scan", env={"TERM": "dumb"})
    assert (status, "all files" in text, "job.done" in text) == (0, False, True)


def test_status_on_a_terminal_is_a_table(program: Program) -> None:
    """Odd names are shown as they are, and long ones folded, not cut."""
    program.video(f"[red]{'x' * 150}.mp4")
    assert program.run("--scan").status == 0
    status, text = on_terminal(program, "status")
    assert status == 0
    assert f"[red]{'x' * 150}.mp4" in re.sub(r"\s+", "", _ESCAPES.sub("", text))


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (24_700, "24.1 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (5 * 1024**4, "5.0 TiB"),
        (1024**7, "1024.0 EiB"),
    ],
)
def test_sizes_are_readable(size: float, text: str) -> None:
    """Three or four digits and a unit."""
    assert human_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (60, "1 min 0 s"),
        (7500, "2 h 5 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    """The two largest units."""
    assert human_seconds(seconds) == text


def test_asking_is_cheap(program: Program) -> None:
    """status loads nothing of the network, the sandbox or the display."""
    code = (
        "import sys; from megamax_sync.cli import main; main(['status']); "
        "print([m for m in ('httpx', 'starlette', 'uvicorn', 'rich.live', 'watchdog', 'tenacity') "
        "if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **program.env},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.splitlines()[-1] == "[]"
