"""What is shipped: the wheel, the locks, and the papers that go with them."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from megamax_sync import __version__

ROOT = Path(__file__).parent.parent
PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[\w,-]+\])?==(\S+) \\$", re.MULTILINE)


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """The ``project`` table of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The wheel's files, built from this tree without a network: name → content."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, folder, ROOT], check=True)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pins(lock: str) -> dict[str, Version]:
    """The versions that a lock file pins, by canonical name."""
    found = PINNED.findall((ROOT / lock).read_text())
    return {str(canonicalize_name(name)): Version(version) for name, version in found}


def test_wheel_holds_the_package_with_its_data(wheel: dict[str, bytes]) -> None:
    """Everything below the package is shipped, SQL, schemas and the type marker included."""
    package = ROOT / "megamax_sync"
    sources = {
        str(path.relative_to(ROOT))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "megamax_sync/py.typed" in wheel
    assert {name for name in wheel if name.startswith("megamax_sync/")} == sources


def test_wheel_says_what_it_is(wheel: dict[str, bytes], project: dict[str, Any]) -> None:
    """Version, licence text and the console script are in the wheel's own papers."""
    papers = f"megamax_sync-{__version__}.dist-info"
    metadata = BytesParser().parsebytes(wheel[f"{papers}/METADATA"])
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == project["license"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert b"megamax-sync = megamax_sync.cli:main" in wheel[f"{papers}/entry_points.txt"]
    assert wheel[f"{papers}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()


def test_changelog_tells_of_this_version() -> None:
    """The version that the program prints has its section in CHANGELOG.md."""
    assert f"\n## [{__version__}] - " in (ROOT / "CHANGELOG.md").read_text()


def test_locks_satisfy_the_project(project: dict[str, Any]) -> None:
    """Every requirement of pyproject.toml is pinned, within its bounds, to the same version."""
    runtime, dev = pins("requirements.lock"), pins("requirements-dev.lock")
    assert runtime.items() <= dev.items()
    groups = [(runtime, project["dependencies"]), (dev, project["optional-dependencies"]["dev"])]
    for lock, requirements in groups:
        for requirement in map(Requirement, requirements):
            assert lock[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_the_image_can_have_apprise(project: dict[str, Any]) -> None:
    """A lock of its own adds it to the runtime's, and the Dockerfile takes either."""
    runtime, notify = pins("requirements.lock"), pins("requirements-notify.lock")
    assert runtime.items() <= notify.items() <= pins("requirements-dev.lock").items()
    for requirement in map(Requirement, project["optional-dependencies"]["notify"]):
        assert notify[canonicalize_name(requirement.name)] in requirement.specifier, requirement
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "ARG REQUIREMENTS=requirements.lock\n" in dockerfile
    assert '--requirement "${REQUIREMENTS}"' in dockerfile
    (copied,) = re.findall(r"^COPY (requirements.*) \./$", dockerfile, re.MULTILINE)
    let_in = (ROOT / ".dockerignore").read_text().splitlines()
    assert {f"!{name}" for name in copied.split()} <= set(let_in)
    assert "requirements-notify.lock" in copied


@pytest.mark.parametrize(
    "lock",
    [
        "requirements.lock",
        "requirements-build.lock",
        "requirements-dev.lock",
        "requirements-notify.lock",
    ],
)
def test_locks_hold_hashes_and_no_place(lock: str) -> None:
    """Each pin has hashes, and where the packages come from is left to pip's own settings."""
    lines = [
        line.strip()
        for line in (ROOT / lock).read_text().splitlines()
        if line and not line.lstrip().startswith("#")
    ]
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        pinned = PINNED.fullmatch(line)
        assert pinned or re.fullmatch(r"--hash=sha256:[0-9a-f]{64}( \\)?", line), line
        assert not pinned or following.startswith("--hash="), line
