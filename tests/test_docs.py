"""What is written from the code is in step with it."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import RequireProgram

from megamax_sync.cli import man, render

DOCS = Path(__file__).parent.parent / "docs"
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
EVENT = re.compile(r"[a-z]+\.[a-z_]+")


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
        "bwlimit", "ls", "links", "check", "health", "backup", "install-service",
    }  # fmt: skip


def test_the_manual_page_is_in_step() -> None:
    """It is made of the same help and settings, and no reader of man pages complains of it."""
    page = DOCS.parent / "deploy/man/megamax-sync.1"
    assert page.read_text("utf-8") == man.page(), "run: make docs"


def test_the_manual_page_is_well_formed(require_program: RequireProgram) -> None:
    """mandoc finds no fault, and man shows all of its parts."""
    page = str(DOCS.parent / "deploy/man/megamax-sync.1")
    lint = [require_program("mandoc"), "-Tlint", "-W", "error", page]
    assert subprocess.run(lint, capture_output=True, text=True, check=False).stdout == ""
    shown = subprocess.run([lint[0], "-Tutf8", page], capture_output=True, text=True, check=True)
    for word in ("install-service", "MEGAMAX_WATCH", "EXIT STATUS", "--dry-run"):
        # What is bold is written, gone back over, and written again.
        assert word in re.sub(".\b", "", shown.stdout)


def events_in_code() -> set[str]:
    """Every event that the code can log: the first argument of a logger's method."""
    found: set[str] = set()
    for path in (DOCS.parent / "megamax_sync").rglob("*.py"):
        tree = ast.parse(path.read_bytes())
        assigned: dict[str, set[str]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                assigned.setdefault(node.targets[0].id, set()).update(_texts(node.value))
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr in LEVELS and node.args:
                first = node.args[0]
                if isinstance(first, ast.Name):
                    found |= assigned.get(first.id, set())
                found.update(_texts(first))
    return {text for text in found if EVENT.fullmatch(text)}


def _texts(node: ast.expr) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value


def test_every_event_is_explained() -> None:
    """docs/operations.md has each event that the code logs, and no other."""
    text = (DOCS / "operations.md").read_text("utf-8")
    explained = re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|", text, re.MULTILINE)
    assert len(explained) == len(set(explained))
    assert set(explained) == events_in_code()


def test_links_between_the_documents_lead_somewhere() -> None:
    """Every relative link in the README and in docs/ names a file that is there."""
    broken = [
        f"{path.name}: {target}"
        for path in [*DOCS.parent.glob("*.md"), *DOCS.glob("*.md")]
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text("utf-8"))
        if not (path.parent / target).exists()
    ]
    assert broken == []


def test_the_reference_does_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever writes it gets the same text."""
    before = render.markdown()
    monkeypatch.setenv("COLUMNS", "40")
    assert render.markdown() == before
