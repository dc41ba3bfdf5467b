"""The state folder: private, and owned by one."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from megamax_sync.errors import ConfigError, StateFolderInUse, StoreError, StoreFull
from megamax_sync.state import StateFolder


def test_it_is_made_private(tmp_path: Path) -> None:
    """With its parents, for its user alone; again is no error."""
    folder = StateFolder(str(tmp_path / "a/b"))
    folder.make()
    folder.make()
    assert stat.S_IMODE(os.stat(folder.path).st_mode) == 0o700


def test_what_cannot_be_made_or_written_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The remedy goes along."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"MEGAMAX_STATE_DIR.*cannot be made"):
        StateFolder(str(tmp_path / "file")).make()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ConfigError, match=r"MEGAMAX_STATE_DIR.*cannot be written"):
        StateFolder(str(tmp_path)).make()


HOLD = """
import sys
from megamax_sync.state import StateFolder
StateFolder(sys.argv[1]).lock()
print("locked", flush=True)
sys.stdin.readline()
"""


def test_one_process_owns_it_until_its_death(tmp_path: Path) -> None:
    """Others are told who; a killed owner leaves nothing to clean up."""
    folder = StateFolder(str(tmp_path))
    assert not folder.in_use()
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"locked\n"
    assert folder.in_use()
    assert folder.owner() == child.pid
    with pytest.raises(StateFolderInUse, match=f"process {child.pid}"):
        folder.lock()
    child.kill()
    child.communicate()
    assert not folder.in_use()
    folder.lock()
    assert folder.owner() == os.getpid()
    folder.unlock()
    folder.unlock()
    assert not folder.in_use()


def test_who_owns_it_may_be_unknown(tmp_path: Path) -> None:
    """A lock that names nobody is no number."""
    folder = StateFolder(str(tmp_path))
    assert folder.owner() is None
    (tmp_path / "lock").write_bytes(b"\xff")
    assert folder.owner() is None


def test_a_lock_that_cannot_be_made_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a full disk is called one."""
    (tmp_path / "lock").mkdir()
    with pytest.raises(StoreError, match="Is a directory") as caught:
        StateFolder(str(tmp_path)).lock()
    assert not isinstance(caught.value, StoreFull)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(StoreFull):
        StateFolder(str(tmp_path)).lock()


KEEP = """
import sys
from megamax_sync.state import StateFolder
folder = StateFolder(sys.argv[1])
folder.lock()
folder.keep()
folder.unlock()
print("kept", flush=True)
sys.stdin.readline()
"""


def test_a_folder_that_is_kept_is_given_up_by_death_alone(tmp_path: Path) -> None:
    """Unlocking does not give it up while part of the process may still write."""
    with subprocess.Popen(
        [sys.executable, "-c", KEEP, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"kept\n"
        assert StateFolder(str(tmp_path)).in_use()
        child.communicate()
    assert not StateFolder(str(tmp_path)).in_use()
