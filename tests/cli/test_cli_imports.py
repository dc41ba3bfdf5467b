"""What a quick command does not import, and that nothing is missing for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from megamax_sync import __version__
from megamax_sync.cli import main
from megamax_sync.cli.app import COMMANDS, build

#: What takes long to import, and is for the daemon, or for those who look.
HEAVY = ("structlog", "httpx", "rich", "watchdog", "starlette", "uvicorn", "tenacity", "pathspec")


def names(app: typer.Typer) -> list[str | None]:
    """The commands of this command line."""
    return [command.name for command in app.registered_commands]


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["status"], HEAVY),
        (["--config", "/dev/null", "--watch", "v", "status", "--path", "v"], HEAVY),
        (["--help"], (*HEAVY, "sqlite3", "megamax_sync.config")),
        (["--version"], (*HEAVY, "typer", "pydantic")),
        (["--watch", ".", "--scan", "--dry-run"], HEAVY),
    ],
)
def test_a_quick_command_imports_nothing_heavy(
    tmp_path: Path, words: list[str], heavy: tuple[str, ...]
) -> None:
    """Most of its time would be spent on that."""
    code = (
        f"import sys; from megamax_sync.cli import main; status = main({words}); "
        f"print(sorted({set(heavy)} & sys.modules.keys())); sys.exit(status)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={"MEGAMAX_STATE_DIR": str(tmp_path / "state")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("words", [["--version"], ["--json", "--version"], ["--version", "status"]])
def test_the_version_is_the_same_by_either_way(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Alone it is said without the command line."""
    assert main(words) == 0
    assert capsys.readouterr().out == f"megamax-sync {__version__}\n"


@pytest.mark.parametrize("module", COMMANDS)
def test_a_command_finds_its_module(module: str) -> None:
    """Each module has the commands that the table says, and only they are made for their words."""
    for name in COMMANDS[module]:
        assert names(build(["--watch", "dir", name, "--json"])) == list(COMMANDS[module])


@pytest.mark.parametrize("words", [["--help"], ["stats"], ["status", "--help"]])
def test_whoever_might_ask_for_any_command_gets_all(words: list[str]) -> None:
    """Help, and words that are no command."""
    assert names(build(words)) == [name for names in COMMANDS.values() for name in names]


@pytest.mark.parametrize("words", [[], ["--scan", "--watch", "dir"], ["--sandbox"]])
def test_without_a_command_none_is_imported(words: list[str]) -> None:
    """The daemon and --scan have enough to import."""
    assert names(build(words)) == []
