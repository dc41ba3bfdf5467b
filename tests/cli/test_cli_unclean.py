"""A part that does not stop in time: the state folder stays this process's."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from megamax_sync import daemon
from megamax_sync.cli import output, run, scan
from megamax_sync.cli.errand import INTERRUPTED
from megamax_sync.config import Settings, load
from megamax_sync.errors import MegamaxError
from megamax_sync.log import Redactor
from megamax_sync.state import StateFolder


class Stuck:
    """A daemon of which a part never stops."""

    clean = False
    store = SimpleNamespace(views=SimpleNamespace(mark=lambda: 0))

    def __init__(self, *_: object, **__: object) -> None: ...

    def start(self) -> None: ...

    def stop(self, *_: float) -> bool:
        return self.clean


class Kept(StateFolder):
    """Notes that it is to be kept."""

    kept = False

    def keep(self) -> None:
        self.kept = True


def settings(folder: Path) -> Settings:
    environ = {"MEGAMAX_STATE_DIR": str(folder), "MEGAMAX_WATCH": str(folder)}
    return load(environ={**environ, "MEGAMAX_LOGIN": "l", "MEGAMAX_KEY": "k"})


@pytest.mark.parametrize("clean", [True, False])
def test_a_scan_keeps_the_folder_of_what_still_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean: bool
) -> None:
    """And gives it up where all has ended."""
    monkeypatch.setattr(daemon, "Daemon", type("Daemon", (Stuck,), {"clean": clean}))
    folder = Kept(str(tmp_path))
    errand: Any = SimpleNamespace(
        folder=folder,
        places=[],
        handed_in=False,
        mark=0,
        signals=SimpleNamespace(wake=lambda: None),
        wait=lambda _look: INTERRUPTED,
    )
    assert scan._do_it(errand, settings(tmp_path)) is INTERRUPTED
    assert folder.kept is not clean


def test_the_daemon_keeps_the_folder_of_what_still_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At its end, and when new settings cannot be used for that reason."""
    monkeypatch.setattr(run, "Daemon", Stuck)
    known = settings(tmp_path)
    for ending in (True, False):
        folder = Kept(str(tmp_path))
        signals: Any = SimpleNamespace(wake=threading.Event().set, ending=15, wait=lambda _: set())
        service = run.Service(lambda: known, known, folder, Redactor(), signals)
        if ending:
            monkeypatch.setattr(service, "_notify", lambda: None)
            monkeypatch.setattr(service, "_patience", lambda: None)
            assert service.run() == output.FAILED
        else:
            service._daemon = Stuck()  # type: ignore[assignment]  # a daemon of which only what the service calls is there
            with pytest.raises(MegamaxError, match="did not stop"):
                service._rebuild(known)
        assert folder.kept
