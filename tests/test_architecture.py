"""Rules that hold over the whole of the code, above all who may import whom (ARCHITECTURE.md)."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "megamax_sync"
MAX_LINES = 320

#: Room → what it may import of the rest: rooms, or single modules of a room. All may import the
#: package itself, which holds the version and nothing else.
TABLE: dict[str, set[str]] = {
    "errors": set(),
    "clock": set(),
    "disguises": set(),
    "log": {"disguises"},
    "filesystem": set(),
    "fingerprint": set(),
    "gitignore": set(),
    "systemd": set(),
    "sandbox": set(),
    "loopback": set(),
    "childenv": set(),
    "units": set(),
    "config": {"errors", "loopback", "gitignore"},
    "job": {"errors"},
    "identity": {"job"},
    "loop": {"clock", "errors"},
    "control": {"errors", "clock"},
    "state": {"errors", "clock"},
    "troubles": {"errors"},
    "health": set(),
    "service": {"errors"},
    "meters": {"errors"},
    "status": {"job", "store", "clock"},
    "pruner": {"job", "store", "clock", "loop"},
    "bwlimit": {"config", "store", "errors", "clock"},
    "api": {"errors", "clock", "loopback", "disguises"},
    "store": {"job", "errors", "clock", "filesystem"},
    "sidecar": {"job", "api.models", "errors", "clock"},
    "watch": {
        "job",
        "store",
        "log",
        "errors",
        "clock",
        "loop",
        "filesystem",
        "fingerprint",
        "identity",
        "gitignore",
    },
    "upload": {"job", "store", "api", "log", "errors", "clock", "loop", "fingerprint", "identity"},
    "track": {"job", "store", "api", "sidecar", "log", "errors", "clock", "loop"},
    "recovery": {"job", "store", "api.models", "sidecar", "state", "errors", "clock", "loop"},
    "wanted": {"config", "sidecar", "watch"},
    "http": {
        "job",
        "store",
        "sidecar",
        "config",
        "errors",
        "clock",
        "loopback",
        "meters",
        "health",
        "status",
        "units",
    },
}
TABLE["doctor"] = {
    "job", "errors", "clock", "config", "state", "store", "api", "filesystem", "watch",
}  # fmt: skip
TABLE["after"] = {
    "job", "store", "sidecar", "log", "errors", "clock", "loop", "fingerprint",
}  # fmt: skip
TABLE["notify"] = {"job", "store", "status", "log", "errors", "clock", "loop", "childenv"}
TABLE["aftermath"] = {
    "config", "store", "api.retry", "api.transport", "after", "notify", "sidecar", "troubles",
    "clock", "loop",
}  # fmt: skip
TABLE["stages"] = {
    "aftermath",
    "api",
    "bwlimit",
    "clock",
    "config",
    "errors",
    "loop",
    "meters",
    "pruner",
    "recovery",
    "sidecar",
    "state",
    "store",
    "track",
    "troubles",
    "upload",
    "wanted",
    "watch",
}
TABLE["daemon"] = set(TABLE) - {"sandbox"}
TABLE["cli"] = set(TABLE)
TABLE["__main__"] = {"cli"}


def modules(package: Path) -> Iterator[tuple[str, Path]]:
    """Each module below ``package`` under its dotted name, as ``api.models``; a room's own is
    ``api``, the package's is empty.
    """
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(tree: ast.Module, importer: list[str], package: str) -> Iterator[str]:
    """Yield what a module imports of its own package, as dotted names below it.

    ``importer`` is the package that the module lies in, for relative imports. ``from x import y``
    gives ``x.y``, whether y is a module or not.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = importer[: len(importer) - node.level + 1] if node.level else []
            start = [*above, *([node.module] if node.module else [])]
            names = [".".join([*start, alias.name]) for alias in node.names]
        else:
            continue
        for name in names:
            head, _, rest = name.partition(".")
            if head == package and rest and not rest.startswith("__"):
                yield rest


def breaches(package: Path) -> list[str]:
    """Every import below ``package`` that the table does not allow."""
    found = []
    for name, path in modules(package):
        room = name.partition(".")[0]
        inside = [package.name, *path.relative_to(package).parts[:-1]]
        allowed = TABLE.get(room, set()) | ({room} if room else set())
        for target in imports(ast.parse(path.read_bytes()), inside, package.name):
            if not any(f"{target}.".startswith(f"{room}.") for room in allowed):
                found.append(f"{path.relative_to(package)} imports {target}")
    return found


def tracked_files(git: str) -> list[Path]:
    """Every file of the repository that is committed, or about to be."""
    listing = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    paths = [ROOT / name.decode() for name in listing.stdout.split(b"\0") if name]
    return [path for path in paths if path.is_file()]


def test_rooms_import_only_what_the_table_allows() -> None:
    """No module reaches over the walls that keep the stages replaceable."""
    assert breaches(PACKAGE) == []


def test_every_room_has_its_line_in_the_table() -> None:
    """A new room has to say what it may import, and one that is gone says nothing."""
    rooms = {name.partition(".")[0] for name, _ in modules(PACKAGE)} - {""}
    assert rooms == set(TABLE)


def test_the_table_is_the_one_that_people_read() -> None:
    """ARCHITECTURE.md says of every room what this file allows it."""
    written: dict[str, set[str]] = {}
    for line in (ROOT / "ARCHITECTURE.md").read_text("utf-8").splitlines():
        row = re.fullmatch(r"\| `(\w+)(?:/|\.py)` \| [^|]+ \| ([^|]+) \|", line)
        if row is not None:
            room, allowed = row.groups()
            known = {"\u2013": set(), "all above": set(written)}
            written[room] = known.get(allowed, set(allowed.split(", ")))
    assert written == TABLE


def test_modules_that_the_architecture_names_are_there() -> None:
    """A module that was renamed is renamed there, too."""
    named = set(re.findall(r"`([\w/]+\.py)`", (ROOT / "ARCHITECTURE.md").read_text("utf-8")))
    paths = [path.as_posix() for path in [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")]]
    assert len(named) > 20
    assert {name for name in named if not any(p.endswith(f"/{name}") for p in paths)} == set()


def test_breaches_are_found_in_every_form_of_import(tmp_path: Path) -> None:
    """Absolute, relative, nested and single-module imports are all held to the table."""
    package = tmp_path / "megamax_sync"
    for name, code in {
        "__init__.py": "",
        "errors.py": "from . import store",
        "job.py": "from megamax_sync import __version__, errors\nimport megamax_sync.log",
        "sidecar.py": "from megamax_sync.api.models import File\nfrom .api import client",
        "store/__init__.py": "from .rows import Row\nfrom ..job import Job",
        "store/rows.py": "def late():\n    from ..watch.rules import wanted",
    }.items():
        path = package / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(code)
    assert breaches(package) == [
        "errors.py imports store",
        "job.py imports log",
        "sidecar.py imports api.client",
        "store/rows.py imports watch.rules.wanted",
    ]


def test_no_module_is_long() -> None:
    """A module that passes about 300 lines is probably two."""
    lengths = {name: len(path.read_text().splitlines()) for name, path in modules(PACKAGE)}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_nothing_sleeps() -> None:
    """Every wait can be ended by a stop, so the package never names time.sleep."""
    sleepers = [
        f"{name}:{node.lineno}"
        for name, path in modules(PACKAGE)
        for node in ast.walk(ast.parse(path.read_bytes()))
        if (isinstance(node, ast.Attribute) and ast.unparse(node) == "time.sleep")
        or (
            isinstance(node, ast.ImportFrom)
            and node.module == "time"
            and any(alias.name == "sleep" for alias in node.names)
        )
    ]
    assert sleepers == []


def test_every_test_states_the_behaviour() -> None:
    """Each test function has a docstring: what holds, in one line."""
    silent = [
        f"{path.relative_to(ROOT)}::{node.name}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_no_file_names_a_registry_or_a_build_machine(
    require_program: Callable[[str], str],
) -> None:
    """Where packages come from, and where the code was written, is no part of the project."""
    # In pieces, so that this file does not name them either.
    hosts = ["pypi" + r"\.org", "pythonhosted" + r"\.org", "npmjs" + r"\.(?:org|com)"]
    hosts += ["crates" + r"\.io", "deb" + r"\.debian\.org", "proxy" + r"\.golang\.org"]
    folders = ["/wo" + "rk/", "/ro" + "ot/", "/opt/" + "wheels", "/opt/" + "pypi", r"\.py" + "env/"]
    pattern = re.compile("|".join([*hosts, *(rf"(?<![\w.]){folder}" for folder in folders)]))
    named = {
        str(path.relative_to(ROOT)): found.group()
        for path in tracked_files(require_program("git"))
        if (found := pattern.search(path.read_bytes().decode(errors="replace")))
    }
    assert named == {}
