"""A watched folder, a queue, and a watcher over both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .field import Field


@pytest.fixture
def field(tmp_path: Path) -> Iterator[Field]:
    """Give a field whose watchers are stopped afterwards."""
    with Field(tmp_path) as made:
        yield made
