"""What is written from the code is in step with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from megamax_sync.cli import render

DOCS = Path(__file__).parent.parent / "docs"


def test_the_command_reference_is_in_step() -> None:
    """docs/cli.md is what the commands' own help says."""
    assert (DOCS / "cli.md").read_text("utf-8") == render.markdown(), (
        "run: python -m megamax_sync.cli.render > docs/cli.md"
    )


def test_every_command_of_this_version_is_in_the_reference() -> None:
    """The contract's commands, so far as they exist, each with a line of its own."""
    names = {name.removeprefix("megamax-sync").strip() for name, _ in render.commands()}
    assert names == {
        "", "sandbox", "status", "show", "explain", "upload", "retry", "forget", "pause", "resume",
        "ls", "links", "check", "health", "backup", "install-service",
    }  # fmt: skip


def test_the_reference_does_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes it gets the same text."""
    before = render.markdown()
    monkeypatch.setenv("COLUMNS", "40")
    assert render.markdown() == before
