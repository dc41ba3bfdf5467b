"""A watched folder, a queue, and a watcher over both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from megamax_sync.watch.coverage import Coverage

from .field import Field


@pytest.fixture
def field(tmp_path: Path) -> Iterator[Field]:
    """Give a field whose watchers are stopped afterwards."""
    with Field(tmp_path) as made:
        yield made


@pytest.fixture
def no_canaries(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that turn the clock faster than any event can arrive."""
    monkeypatch.setattr(Coverage, "_proves", lambda _self, _eye: False)
