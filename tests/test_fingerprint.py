"""The fingerprint of a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import xxhash

from megamax_sync.fingerprint import Content, fingerprint_of


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


def test_only_a_regular_file_has_a_content(tmp_path: Path) -> None:
    """A link in its place leads elsewhere, and a pipe would be waited at for ever."""
    path = tmp_path / "a"
    path.write_bytes(b"x")
    mark = f"xxh3-128:{xxhash.xxh3_128_hexdigest(b'x')}"
    (tmp_path / "link").symlink_to("a")
    os.mkfifo(tmp_path / "pipe")

    def content(name: str) -> str | None:
        return Content(os.fsencode(tmp_path / name), lambda: None)()

    assert content("a") == mark
    for name in ("link", "none", ".", "pipe"):
        assert content(name) is None


def test_a_content_is_read_when_somebody_asks_and_once(tmp_path: Path) -> None:
    """Whoever asks again gets what was read then; who may not read now is told so beforehand."""
    path = tmp_path / "a"
    path.write_bytes(b"x")
    asked: list[bool] = []
    content = Content(os.fsencode(path), lambda: None, lambda: asked.append(True))
    assert (content.was_read, asked) == (False, [])
    first = content()
    path.unlink()
    assert content() == first
    assert (content.was_read, asked) == (True, [True])
