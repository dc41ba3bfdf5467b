"""Writes what was planned, keeps a list of it, and takes exactly that away again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from dataclasses import dataclass, field

from megamax_sync.errors import ConfigError
from megamax_sync.service.plan import File, Places, Plan


@dataclass
class _Known:
    """What is on the list: files, with a checksum where a change of theirs matters, and folders."""

    files: dict[str, str | None]
    folders: set[str]


@dataclass
class Outcome:
    """What happened to which file."""

    written: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    #: Left as they are, since they are the user's.
    left: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


def install(places: Places, planned: Plan) -> Outcome:
    """Write the files of a plan; a second time changes nothing.

    Raises :class:`ConfigError` before anything is written, when a file is there that no
    installation of ours has written, and OSError.
    """
    known = _read_manifest(places)
    foreign = [file.path for file in planned.files if _is_foreign(places, file, known)]
    if foreign:
        raise ConfigError(
            *(
                f"install-service: '{path}' exists and was not written by it; move it away first"
                for path in foreign
            )
        )
    outcome = Outcome()
    _make_folder(places, places.config, known.folders)
    for file in planned.files:
        real = places.real(file.path)
        if file.kept and os.path.lexists(real):
            outcome.left.append(file.path)
            continue
        _make_folder(places, os.path.dirname(file.path), known.folders)
        known.files[file.path] = _mark(file.content) if file.kept else None
        # Before the file: whatever happens in between, all that may have been written is listed.
        _write_manifest(places, known)
        if _holds(real, file):
            outcome.unchanged.append(file.path)
        else:
            _write(real, file.content, file.mode)
            outcome.written.append(file.path)
    _take_away_older(places, planned, known, outcome)
    return outcome


def _take_away_older(places: Places, planned: Plan, known: _Known, outcome: Outcome) -> None:
    """Remove what an earlier call wrote and nothing needs now; credentials stay in force."""
    for path in sorted(set(known.files) - {file.path for file in planned.files}):
        if os.path.dirname(path) == places.config:
            continue
        with contextlib.suppress(FileNotFoundError):
            os.unlink(places.real(path))
        del known.files[path]
        outcome.removed.append(path)
    _write_manifest(places, known)


def listed(places: Places) -> list[str]:
    """Return the files that installations have written."""
    return sorted(_read_manifest(places).files)


def remove(places: Places) -> Outcome:
    """Take away what was written, and the folders that were made for it.

    The settings, which are the user's, are left once they have been changed. Raises OSError.
    """
    known, outcome = _read_manifest(places), Outcome()
    for path, mark in sorted(known.files.items()):
        real = places.real(path)
        if not os.path.lexists(real):
            continue
        if mark is not None and _mark_of(real) != mark:
            outcome.left.append(path)
            continue
        os.unlink(real)
        outcome.removed.append(path)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(places.real(places.manifest))
    for folder in sorted(known.folders, key=len, reverse=True):
        # Not empty: somebody else has put something there.
        with contextlib.suppress(OSError):
            os.rmdir(places.real(folder))
    return outcome


def _is_foreign(places: Places, file: File, known: _Known) -> bool:
    real = places.real(file.path)
    if file.kept or file.path in known.files or not os.path.lexists(real):
        return False
    return not _holds(real, file)


def _holds(real: str, file: File) -> bool:
    try:
        with open(real, "rb") as there:
            return there.read() == file.content and os.stat(real).st_mode & 0o7777 == file.mode
    except OSError:
        return False


def _mark(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _mark_of(real: str) -> str:
    with open(real, "rb") as file:
        return _mark(file.read())


def _make_folder(places: Places, path: str, made: set[str]) -> None:
    """Make a folder and what is missing above it, and note what was made."""
    if os.path.isdir(places.real(path)):
        return
    _make_folder(places, os.path.dirname(path), made)
    # The user's own is nobody else's; the system's settings have to be readable for the service.
    os.mkdir(places.real(path), 0o700 if places.user else 0o755)
    made.add(path)


def _write(real: str, content: bytes, mode: int) -> None:
    """Put a file in its place at once, with its mode from the first moment."""
    temporary = f"{real}.{secrets.token_hex(4)}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            os.fchmod(fd, mode)
            file.write(content)
            file.flush()
            os.fsync(fd)
        os.replace(temporary, real)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _read_manifest(places: Places) -> _Known:
    try:
        with open(places.real(places.manifest), "rb") as file:
            document = json.load(file)
            return _Known(dict(document["files"]), set(document["folders"]))
    except FileNotFoundError:
        return _Known({}, set())
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"install-service: '{places.manifest}' is no list of an installation; move it away"
        ) from error


def _write_manifest(places: Places, known: _Known) -> None:
    document = {"files": known.files, "folders": sorted(known.folders)}
    text = json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"
    _write(places.real(places.manifest), text, 0o644)
