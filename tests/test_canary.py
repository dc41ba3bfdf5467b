"""The search for the tests' own secrets finds them in every form."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote, quote_plus, urlencode

import pytest
from canary import KEY, LOGIN, canary_forms, search

from megamax_sync.sandbox import Sandbox

WAYS = {
    "plain": KEY.encode(),
    "in a query": urlencode({"login": LOGIN, "key": KEY}).encode(),
    "quoted": f"x={quote(LOGIN)}".encode(),
    "quoted twice": quote(quote(KEY, safe=""), safe="").encode(),
    "quoted in lower case": re.sub("%..", lambda one: one[0].lower(), quote_plus(KEY)).encode(),
    "base64": base64.b64encode(f"{LOGIN}:{KEY}".encode()),
    "base64 for URLs": base64.urlsafe_b64encode(KEY.encode()),
    "hex": LOGIN.encode().hex().encode(),
    "JSON": json.dumps({"key": KEY}).encode(),
    "a repr of bytes": repr(LOGIN.encode()).encode(),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_form_is_found(way: str) -> None:
    """Somewhere in a large binary file, deep in a folder."""
    # Outside of what is searched at the end of this very run.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "deep", "er", "queue.db")
        path.parent.mkdir(parents=True)
        path.write_bytes(os.urandom(100_000) + WAYS[way] + os.urandom(100_000))
        (path.parent / "harmless").write_bytes(b"login and key")
        (path.parent / "empty").touch()
        os.mkfifo(path.parent / "pipe")
        found = {path for path, _ in search(os.fsencode(folder), canary_forms())}
        assert found == {os.fsencode(path)}


@pytest.mark.parametrize("processes", ["0", "1"])
def test_a_run_that_leaks_fails(processes: str) -> None:
    """A test that writes a canary into its folder, or prints one, fails the whole run."""
    with tempfile.TemporaryDirectory() as folder:
        for name, leak in (
            ("test_writes.py", "(tmp_path / 'log').write_text('?' + canary.KEY)"),
            ("test_prints.py", "print('as ' + canary.LOGIN)"),
            ("test_is_silent.py", "pass"),
        ):
            code = f"import canary\n\ndef test_it(tmp_path):\n    {leak}\n"
            Path(folder, name).write_text(code)
        ends = {name: _run(folder, name, processes) for name in ("writes", "prints", "is_silent")}
    assert {name: end.returncode for name, end in ends.items()} == {
        "writes": 1,
        "prints": 1,
        "is_silent": 0,
    }, ends
    assert "what they wrote: 1" in ends["writes"].stdout


def _run(folder: str, name: str, processes: str) -> subprocess.CompletedProcess[str]:
    plugins = ["-p", "canary", "-p", "no:cacheprovider", "--numprocesses", processes]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", *plugins, "-c", os.devnull),
            *(f"--basetemp={folder}/base-{name}", f"{folder}/test_{name}.py"),
        ],
        env={**environ, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_sandboxes_of_the_tests_have_the_canaries() -> None:
    """What is searched for is what the program is given."""
    with Sandbox() as sandbox:
        assert (sandbox.login, sandbox.key) == (LOGIN, KEY)
