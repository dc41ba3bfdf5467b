"""Watched folders that are one, or lie in one another."""

from __future__ import annotations

from pathlib import Path

from megamax_sync.config import load
from megamax_sync.config.paths import counted_once


def test_folders_that_have_nothing_in_common_keep_their_names(tmp_path: Path) -> None:
    """Also those that are not there, and nested ones, also below the root folder."""
    (tmp_path / "a/in").mkdir(parents=True)
    names = [str(tmp_path / name) for name in ("a/in", "a", "gone", "gone/in")]
    assert counted_once(names) == {name: name for name in names}
    assert counted_once([names[0], "/"]) == {names[0]: names[0], "/": "/"}


def test_a_link_between_two_does_not_make_them_one(tmp_path: Path) -> None:
    """One that is reached by a link out of the other is walked by itself."""
    (tmp_path / "a").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "a/link").symlink_to(tmp_path / "elsewhere")
    names = [str(tmp_path / "a"), str(tmp_path / "a/link")]
    assert counted_once(names) == {name: name for name in names}


def test_of_several_names_one_is_chosen_at_every_depth(tmp_path: Path) -> None:
    """An inner folder is called as a walk of the outer one comes to it."""
    (tmp_path / "a/in/deep").mkdir(parents=True)
    (tmp_path / "one").symlink_to(tmp_path / "a")
    (tmp_path / "two").symlink_to(tmp_path / "a/in")
    settings = load(
        environ={
            "MEGAMAX_WATCH": f"{tmp_path}/a/in/deep:{tmp_path}/two:{tmp_path}/one:{tmp_path}/a"
        }
    )
    one = f"{tmp_path}/one"
    assert settings.watched == (f"{one}/in/deep", f"{one}/in", one)
    assert settings.counted_as[f"{tmp_path}/a"] == one
