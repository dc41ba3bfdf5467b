"""The doctor: each finding that a machine in good health does not give."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from watchdog.observers.inotify import InotifyObserver

from megamax_sync.config import Settings, load
from megamax_sync.doctor import Finding, Level, account, examine, folders, machine
from megamax_sync.state import StateFolder
from megamax_sync.watch import limits
from megamax_sync.watch.settle import Writers


def settings(tmp_path: Path, **more: str) -> Settings:
    """Settings for a state folder and a watched folder of the test's."""
    (tmp_path / "watch").mkdir(exist_ok=True)
    environ = {
        "MEGAMAX_STATE_DIR": str(tmp_path / "state"),
        "MEGAMAX_WATCH": str(tmp_path / "watch"),
        **{f"MEGAMAX_{name}": value for name, value in more.items()},
    }
    return load(environ=environ)


def only(findings: Any, level: Level) -> list[str]:
    """The texts of one level."""
    return [finding.text for finding in findings if finding.level is level]


def test_every_fault_comes_with_its_remedy(tmp_path: Path) -> None:
    """Whatever is no ok says what to do; nothing that was tried stays behind."""
    given = settings(tmp_path, BWLIMIT="1M", API_URL="http://127.0.0.1:9/api", LOGIN="l", KEY="k")
    findings = list(examine(given))
    assert all(finding.remedy for finding in findings if finding.level is not Level.OK)
    assert not any(finding.remedy for finding in findings if finding.level is Level.OK)
    assert any("no answer" in text for text in only(findings, Level.ERROR))
    assert os.listdir(tmp_path / "watch") == []
    assert not (tmp_path / "state").exists()


def test_settings_are_named_with_their_sources_and_without_values(tmp_path: Path) -> None:
    """What came from where; what is secret stays so."""
    key = tmp_path / "key"
    key.write_text("canary-canary-canary")
    first = next(iter(machine.settings_read(settings(tmp_path, KEY_FILE=str(key)))))
    assert "key (secret file)" in first.text
    assert "watch (environment)" in first.text
    assert "canary" not in first.text


def test_the_state_folder_has_to_be_usable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in its place is an error, a network share a warning, an instance on it is told."""
    (tmp_path / "file").touch()
    blocked = settings(tmp_path, STATE_DIR=str(tmp_path / "file" / "state"))
    assert "cannot be written" in only(machine.state(blocked), Level.ERROR)[0]
    given = settings(tmp_path)
    folder = StateFolder(given.state_dir)
    folder.make()
    folder.lock()
    try:
        assert any(
            f"process {os.getpid()}" in text for text in only(machine.state(given), Level.OK)
        )
    finally:
        folder.unlock()
    monkeypatch.setattr(machine, "is_remote", lambda _path: True)
    assert "power cuts" in only(machine.state(given), Level.WARNING)[0]


def test_the_queue_is_opened(tmp_path: Path) -> None:
    """Damage is an error, an empty file is none."""
    given = settings(tmp_path)
    folder = StateFolder(given.state_dir)
    folder.make()
    sqlite3.connect(folder.queue).close()
    Path(folder.queue).touch()
    assert "empty yet" in only(machine.state(given), Level.OK)
    Path(folder.queue).write_bytes(b"no database at all" * 500)
    assert "damaged" in only(machine.state(given), Level.ERROR)[0]


@pytest.mark.parametrize(
    ("free", "level"), [(1 << 30, Level.OK), (100 << 20, Level.WARNING), (1 << 20, Level.ERROR)]
)
def test_space_is_judged(monkeypatch: pytest.MonkeyPatch, free: int, level: Level) -> None:
    """Plenty, little, and too little for the queue to be written."""
    real = os.statvfs("/")
    values = list(real)
    values[1], values[4] = 1, free

    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result(values))
    assert machine.space("space", "/").level is level


def test_space_that_cannot_be_told_is_a_warning() -> None:
    """As in a folder that is not there."""
    assert machine.space("space", "/nowhere").level is Level.WARNING


@pytest.mark.parametrize(
    ("limit", "count", "level"),
    [
        ("100", 10, Level.OK),
        ("100", 60, Level.WARNING),
        ("100", 200, Level.WARNING),
        (None, 1, Level.WARNING),
    ],
)
def test_watches_are_compared_with_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None, count: int, level: Level
) -> None:
    """Half of it is where it gets tight, as others share it."""
    monkeypatch.setattr(limits, "watches", lambda: limit)
    (finding,) = machine.watches(settings(tmp_path), count)
    assert finding.level is level
    (finding,) = machine.watches(settings(tmp_path, OBSERVER="polling"), count)
    assert finding.level is Level.OK


def look(tmp_path: Path, **more: str) -> list[Finding]:
    """Examine the watched folder of a test."""
    return list(folders.examine(folders.Tree(str(tmp_path / "watch")), settings(tmp_path, **more)))


def test_how_a_folder_is_watched_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By events that were seen to arrive, by polling as wanted, or because of the mount."""
    assert any("events arrive" in text for text in only(look(tmp_path), Level.OK))
    assert any("MEGAMAX_OBSERVER" in finding.text for finding in look(tmp_path, OBSERVER="polling"))
    monkeypatch.setattr(folders, "is_remote", lambda _path: True)
    assert any("scanned every 10 s" in text for text in only(look(tmp_path), Level.OK))
    monkeypatch.setattr(folders, "is_remote", lambda _path: False)
    monkeypatch.setattr(folders, "_PATIENCE", 0.1)
    monkeypatch.setattr(folders._Ear, "on_any_event", lambda _self, _event: None)
    assert any("no event arrived" in text for text in only(look(tmp_path), Level.WARNING))

    def none_left(_self: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(InotifyObserver, "start", none_left)
    assert any("cannot be watched" in text for text in only(look(tmp_path), Level.WARNING))


def test_a_folder_that_cannot_be_written_or_read_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sidecars would have no place; and what cannot be read cannot be sent."""
    real = os.open

    def read_only(path: Any, flags: int, *more: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(30, "Read-only file system")
        return real(path, flags, *more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", read_only)
        found = look(tmp_path)
        assert any("sidecars cannot be written" in text for text in only(found, Level.ERROR))
        assert any("it is read-only" in text for text in only(found, Level.OK))
    tree = folders.Tree(str(tmp_path / "watch"))
    tree.unreadable.append(PermissionError(13, "Permission denied", "/x"))
    found = list(folders.examine(tree, settings(tmp_path)))
    assert any("such as /x" in text for text in only(found, Level.ERROR))


@pytest.mark.parametrize("where", ["watch", "links"])
def test_what_has_a_sidecars_name_and_is_no_file_is_found(tmp_path: Path, where: str) -> None:
    """Before an upload fails for it; sidecars themselves, and links to some, are fine."""
    given = settings(
        tmp_path, **({} if where == "watch" else {"SIDECAR_DIR": str(tmp_path / where)})
    )
    season = tmp_path / where / "season"
    season.mkdir(parents=True)
    (season / "a.mkv.megamax.json").write_text("{}")
    (season / "b.mkv.megamax.json").symlink_to("a.mkv.megamax.json")

    def errors() -> list[str]:
        found = [*folders.examine(folders.Tree(str(tmp_path / "watch")), given)]
        return only([*found, *folders.sidecar_folder(given)], Level.ERROR)

    assert errors() == []
    (season / "c.mkv.megamax.json").mkdir()
    assert [f"{season}/c.mkv.megamax.json has a sidecar's name" in text for text in errors()] == [
        True
    ]
    os.mkfifo(season / "d.mkv.megamax.json")
    assert ["and 1 more like it" in text for text in errors()] == [True]


def test_sidecars_of_their_own_folder_are_tried_there(tmp_path: Path) -> None:
    """Where it is to be made, as it is not there yet; the videos may then be read-only."""
    given = settings(tmp_path, SIDECAR_DIR=str(tmp_path / "far" / "away"))
    found = list(folders.sidecar_folder(given))
    assert [finding.check for finding in found] == ["sidecar folder"] * 2
    assert only(found, Level.OK)
    assert not (tmp_path / "far").exists()
    assert list(folders.sidecar_folder(settings(tmp_path))) == []
    found = look(tmp_path, SIDECAR_DIR=str(tmp_path / "far"))
    assert not any("sidecars" in finding.text for finding in found)


def test_the_lease_is_tried_on_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Had, not had on others' files, or nothing to try it on."""
    assert any("no file" in text for text in only(look(tmp_path), Level.OK))
    (tmp_path / "watch" / "a.mp4").write_bytes(b"x")
    (tmp_path / "watch" / "dangling").symlink_to("nowhere")
    assert any("(write lease)" in text for text in only(look(tmp_path), Level.OK))
    monkeypatch.setattr(folders, "lease", lambda _fd: Writers.UNKNOWN)
    assert any("no write lease on 1 of 1" in text for text in only(look(tmp_path), Level.WARNING))


@pytest.mark.parametrize(
    ("offset", "level"),
    [(0.4, Level.OK), (-59.0, Level.OK), (90.0, Level.WARNING), (None, Level.WARNING)],
)
def test_the_clock_is_compared(offset: float | None, level: Level) -> None:
    """Within a minute of the service's; where that says what time it is."""
    assert account._clock(offset).level is level


def test_a_user_without_a_name_is_told_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs as any user."""
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    assert machine._user() == "user 4000000"
