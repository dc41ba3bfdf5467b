"""A sandbox, and the program that works on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.program import Program
from megamax_sync.sandbox import FaultScript, Sandbox


@pytest.fixture
def faults() -> FaultScript:
    """What goes wrong on the sandbox."""
    return FaultScript()


@pytest.fixture
def sandbox(faults: FaultScript) -> Iterator[Sandbox]:
    """An embedded Megamax that is quick."""
    with Sandbox(step=0.05, faults=faults) as running:
        yield running


@pytest.fixture
def program(tmp_path: Path, sandbox: Sandbox) -> Program:
    """The program, with an account on the sandbox."""
    return Program(tmp_path, sandbox)


@pytest.fixture
def stranger(tmp_path: Path) -> Program:
    """The program without an account."""
    return Program(tmp_path, None)
