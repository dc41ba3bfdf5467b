"""A place where programs write and a daemon watches."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import RequireProgram
from upload.pipeline import rig

from .place import Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Give a place whose daemon runs."""
    with rig(tmp_path) as made:
        place = Place(made)
        place.start()
        yield place


@pytest.fixture
def elsewhere(tmp_path: Path, require_program: RequireProgram) -> Iterator[Path]:
    """Give a folder on another file system than the watched one."""
    require_program("mv")
    folder = Path(tempfile.mkdtemp(prefix="megamax-", dir="/dev/shm"))
    try:
        if os.stat(folder).st_dev == os.stat(tmp_path).st_dev:
            pytest.skip("/dev/shm and the temporary folder are one file system")
        yield folder
    finally:
        shutil.rmtree(folder)
