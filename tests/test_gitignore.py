"""Exclude patterns mean what git reads in them."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from megamax_sync.config import ConfigError, load
from megamax_sync.gitignore import UnknownClassError, compiled

#: One name for each character that a class may hold, and some paths of several parts.
NAMES = [
    *(f"x{chr(code)}y" for code in range(1, 127) if chr(code) not in "/\n\r"),
    *("x1", "x12", "xé", "a/b/c.mkv", "a/c.mkv", "c.mkv", "a/b", "raw/x.mkv", "raw/d/x.mkv"),
    *("x[:digit:]y", "[x", "x[:y", "a]", "a***b", "a**b"),
]
CLASSES = (
    "alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "xdigit",
)  # fmt: skip
PATTERNS = [
    *(f"x[[:{name}:]]y" for name in CLASSES),
    *(f"x[![:{name}:]]y" for name in CLASSES),
    "x[^[:digit:]]y",
    "x[a[:digit:]_]y",
    "x[[:lower:][:digit:]]y",
    "x[]a]y",
    "x[][:digit:]]y",
    r"x\[[:digit:]y",
    "x[[:digit:]]*",
    "*[[:punct:]]*",
    "[x",
    "***/c.mkv",
    "a/***/c.mkv",
    "a/****/c.mkv",
    "raw/***",
    "raw/**",
    "***",
    "a***b",
    "**/x*.mkv",
]


def ignored_by_git(git: str, folder: Path, pattern: str) -> set[str]:
    """Ask git which of the names it ignores by this pattern."""
    (folder / ".git/info/exclude").write_text(pattern + "\n", "utf-8")
    asked = subprocess.run(
        [git, "-C", str(folder), "check-ignore", "--no-index", "-z", "--stdin"],
        input="\0".join(NAMES).encode(),
        capture_output=True,
        check=False,
        env={"HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"},
    )
    assert asked.returncode in {0, 1}, asked.stderr
    return {name for name in asked.stdout.decode().split("\0") if name}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of which git is asked what it ignores there."""
    return tmp_path_factory.mktemp("repository")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_leaves_out_what_git_ignores(
    pattern: str, repository: Path, require_program: Callable[[str], str]
) -> None:
    """Classes, brackets and stars; and nothing is said on stderr."""
    git = require_program("git")
    if not (repository / ".git").exists():
        subprocess.run([git, "init", "-q", str(repository)], check=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spec = compiled([pattern])
    ours = {name for name in NAMES if spec.match_file(name)}
    assert ours == ignored_by_git(git, repository, pattern)


def test_a_class_that_there_is_not_is_a_fault_that_names_it() -> None:
    """To git it matches nothing, which nobody wants."""
    with pytest.raises(UnknownClassError, match="digits"):
        compiled(["x[[:digits:]]"])
    with pytest.raises(ConfigError) as caught:
        load(environ={"MEGAMAX_EXCLUDE": "*.tmp.*,x[[:digits:]]"})
    (fault,) = caught.value.faults
    assert fault.startswith("MEGAMAX_EXCLUDE: ")
    assert "there is no class [:digits:]" in fault
