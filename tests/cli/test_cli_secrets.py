"""A run with everything said that can be said, for the search at the end of all tests."""

from __future__ import annotations

from pathlib import Path

from canary import KEY, LOGIN

from megamax_sync.sandbox import Fault, FaultScript, Sandbox

from .program import Program, wait_until


def test_nothing_that_a_debug_run_writes_holds_a_secret(tmp_path: Path) -> None:
    """Logs at debug level, errors that repeat the request, the queue, the sidecar, every command.

    What is found fails the whole run: see the end of it.
    """
    faults = FaultScript()
    echo = f'{{"status": "error", "message": "login={LOGIN}&key={KEY} {KEY.encode().hex()}"}}'
    for call in ("generate", "upload", "files", "file", "mirrors", "direct"):
        faults.add(call, Fault.raw(400, echo.encode(), "application/json"), (1, 2))
        faults.add(call, Fault.raw(401, f"<p>{LOGIN} {KEY}</p>".encode()), 3)
        faults.add(call, Fault.redirect(f"https://elsewhere.example/?login={LOGIN}"), 4)
    with Sandbox(tmp_path / "service", step=0.05, faults=faults) as sandbox:
        home = tmp_path / "home"
        home.mkdir()
        program = Program(home, sandbox, {"MEGAMAX_LOG_LEVEL": "debug"})
        program.video("a.mp4")
        program.video("b.mkv")
        with program.daemon() as running:
            wait_until(lambda: running.saw("service.paused"), "a fault")
            for command in (("status", "--json"), ("check",), ("show", "1", "--json"), ("ls",)):
                program.run(*command)
        faults.clear()
        assert program.run("--scan", "--timeout", "60").status == 0
        logs = [path for path in home.iterdir() if path.name.startswith(("log-", "output-"))]
        text = "".join(path.read_text("utf-8") for path in logs)
        assert '"level": "debug"' in text
        assert KEY not in text
