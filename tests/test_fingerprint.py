"""The fingerprint of a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import xxhash

from megamax_sync.fingerprint import fingerprint_of


@pytest.mark.parametrize("size", [0, 5, (1 << 20) + 1])
def test_it_is_taken_from_the_whole_content(tmp_path: Path, size: int) -> None:
    """From the start, wherever the descriptor stands, with a beat for each MiB."""
    content = os.urandom(size)
    path = tmp_path / "a"
    path.write_bytes(content)
    beats: list[None] = []
    with open(path, "rb") as file:
        file.seek(size // 2)
        assert fingerprint_of(file.fileno(), lambda: beats.append(None)) == (
            f"xxh3-128:{xxhash.xxh3_128_hexdigest(content)}"
        )
        assert len(beats) == -(-size // (1 << 20))
        assert fingerprint_of(file.fileno()).startswith("xxh3-128:")


def test_a_beat_can_end_it(tmp_path: Path) -> None:
    """What it raises comes through."""
    path = tmp_path / "a"
    path.write_bytes(b"x")

    def stop() -> None:
        raise KeyError

    with open(path, "rb") as file, pytest.raises(KeyError):
        fingerprint_of(file.fileno(), stop)
