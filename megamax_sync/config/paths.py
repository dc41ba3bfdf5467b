"""Paths, and what is said about names below them.

Paths stay surrogate-escaped ``str``: the bytes that the user wrote come back out of
``os.fsencode``, whatever their encoding.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from megamax_sync.config.form import Form, InvalidValueError, items, text_of
from megamax_sync.gitignore import UnknownClassError, compiled

_NO_EXTENSION = re.compile(r"[\s./*?\[\]]")
_MAX_FOLDER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class AfterDone:
    """What becomes of a video that is done. ``target`` is the folder of ``move``, else None."""

    action: Literal["keep", "delete", "move"]
    target: str | None = None


def absolute(path: str) -> str:
    """``~`` expanded and made absolute, symlinks left alone."""
    if "\0" in path:
        raise InvalidValueError(path, "holds a NUL byte", "write a path")
    return os.path.abspath(os.path.expanduser(path))


def inside(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies below it, symlinks resolved."""
    real, real_folder = os.path.realpath(path), os.path.realpath(folder)
    return os.path.commonpath((real, real_folder)) == real_folder


def default_state_dir(environ: Mapping[str, str]) -> str:
    """The state folder where none is set: systemd's, else XDG's, else the home folder's."""
    # systemd separates several with ":"; the first is the one for our own files.
    given = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return absolute(given)
    base = environ.get("XDG_STATE_HOME", "")
    # The XDG specification says to ignore a relative one.
    if not os.path.isabs(base):
        base = "~/.local/state"
    return absolute(os.path.join(base, "megamax-sync"))


def counted_once(folders: Sequence[str]) -> dict[str, str]:
    """Name each of the folders to watch by what it counts as; overlapping ones count once.

    One folder under two names (a symbolic link and what it leads to, two mounts of it) is the one
    that is named first. One that lies inside another, by way of a link, is called as a walk of the
    outer one comes to it.
    """
    names: dict[str, str] = {}
    #: What was taken so far, by its real path, and by device and inode.
    taken: dict[str, str] = {}
    seen: dict[tuple[int, int], str] = {}
    places = {folder: os.path.realpath(folder) for folder in folders}
    # An outer one comes before what it holds.
    for folder, real in sorted(places.items(), key=lambda pair: pair[1].rstrip("/").count("/")):
        name = _seen_from_outside(folder, real, taken)
        identity = _identity(real)
        if identity is not None:
            name = seen.setdefault(identity, name)
        taken.setdefault(real, name)
        names[folder] = name
    return {folder: names[folder] for folder in folders}


def _seen_from_outside(folder: str, real: str, taken: Mapping[str, str]) -> str:
    """Name a folder from the innermost of those that hold it, or that it is, by real paths."""
    above = real
    while above not in taken:
        if above == os.path.dirname(above):
            return folder
        above = os.path.dirname(above)
    return (
        os.path.join(taken[above], os.path.relpath(real, above)) if above != real else taken[real]
    )


def _identity(folder: str) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def path(thing: str) -> Form:
    """One path."""
    return Form(lambda value: absolute(str(value)), thing)


def state_dir() -> Form:
    """The state folder; nothing is the default one."""
    return Form(
        lambda value: absolute(str(value)) if value else default_state_dir(os.environ), "a folder"
    )


def folder_list() -> Form:
    """Folders separated by ``:``; a native sequence is taken as it is, so names may hold one."""

    def parse(value: object) -> tuple[str, ...]:
        if isinstance(value, (list, tuple)):
            given = [os.fsdecode(name) for name in value]
        else:
            given = str(value).split(":")
        found = tuple(dict.fromkeys(absolute(name) for name in given if name))
        if value and not found:
            raise InvalidValueError(value, "names no folder", "set folders, separated by ':'")
        return found

    return Form(parse, "folders, separated by ':'")


def folder_ids() -> Form:
    """``anime=12,movies/4k=15``: pairs of a subfolder and a folder ID."""
    remedy = "write SUBFOLDER=ID pairs separated by commas, as anime=12,movies/4k=15"

    def parse(value: object) -> tuple[tuple[str, int], ...]:
        found: dict[str, int] = {}
        for item in items(value, ","):
            name, separator, number = item.rpartition("=")
            folder = os.path.normpath(name.strip()) if name.strip() else ""
            if not separator or not folder or not re.fullmatch(r"\s*[0-9]{1,19}", number):
                raise InvalidValueError(value, f"has {item!r}, which is no SUBFOLDER=ID", remedy)
            if os.path.isabs(folder) or folder.split("/")[0] in {".", ".."}:
                problem = f"has {item!r}, which is not below a watched folder"
                raise InvalidValueError(value, problem, "write the path from the watched folder on")
            if not 1 <= int(number) <= _MAX_FOLDER:
                problem = f"has {item!r}, which is no folder ID"
                raise InvalidValueError(value, problem, "write an ID of 1 or more")
            if found.setdefault(folder, int(number)) != int(number):
                problem = f"gives {folder!r} two folder IDs"
                raise InvalidValueError(value, problem, "leave one of the two out")
        return tuple(found.items())

    return Form(parse, "SUBFOLDER=ID pairs, separated by commas")


def extensions() -> Form:
    """File name endings, without the dot."""

    def parse(value: object) -> frozenset[str]:
        found = frozenset(item.lower().lstrip(".") for item in items(value, ","))
        wrong = sorted(item for item in found if not item or _NO_EXTENSION.search(item))
        if wrong:
            problem = f"has {wrong[0]!r}, which is no extension"
            raise InvalidValueError(
                value, problem, "write extensions alone, separated by commas, as mkv,mp4"
            )
        if not found:
            raise InvalidValueError(
                value, "names no extension", "write some, separated by commas, as mkv,mp4"
            )
        return found

    return Form(parse, "extensions, separated by commas")


def patterns() -> Form:
    """gitignore patterns."""

    def parse(value: object) -> tuple[str, ...]:
        given = items(value, ",")
        for pattern in given:
            problem = _fault_of(pattern)
            if problem is not None:
                raise InvalidValueError(
                    value, problem, "write gitignore patterns, separated by commas"
                )
        return tuple(given)

    return Form(parse, "gitignore patterns, separated by commas")


def _fault_of(pattern: str) -> str | None:
    """Say what is wrong with a pattern; None when nothing is."""
    wrong = f"has {pattern!r}, which is no pattern"
    try:
        spec = compiled([pattern])
    except UnknownClassError as error:
        return f"has {pattern!r}, and there is no class [:{error.name}:]"
    except (ValueError, re.error):
        return wrong
    # A comment, or a pattern that git too takes to match nothing.
    return None if all(one.include is not None for one in spec.patterns) else wrong


def ca_bundle() -> Form:
    """A file of certificates, tried at once: found out later it would look like a dead service."""

    def parse(value: object) -> str:
        # Here and not above: it takes 15 ms to import, and few have a bundle of their own.
        import ssl

        bundle = absolute(str(value))
        try:
            ssl.create_default_context(cafile=bundle)
        except ssl.SSLError:
            raise InvalidValueError(
                value, "holds no certificates", "name a file in PEM format"
            ) from None
        except OSError as error:
            problem = f"cannot be read ({error.strerror})"
            raise InvalidValueError(value, problem, "name a readable file in PEM format") from None
        return bundle

    return Form(parse, "a file in PEM format")


def after_done() -> Form:
    """``keep``, ``delete`` or ``move:/folder``."""

    def parse(value: object) -> AfterDone:
        text = text_of(value)
        if text == "keep":
            return AfterDone("keep")
        if text == "delete":
            return AfterDone("delete")
        action, _, target = text.partition(":")
        if action != "move" or not target:
            problem = "is not keep, delete or move:/folder"
            raise InvalidValueError(value, problem, "set one of the three")
        return AfterDone("move", absolute(target))

    return Form(parse, "keep, delete or move:/folder")


def command() -> Form:
    """A command line, split as a shell would, and run without one."""

    def parse(value: object) -> tuple[str, ...]:
        if not isinstance(value, str):
            return tuple(items(value, None))
        try:
            argv = tuple(shlex.split(value))
        except ValueError:
            raise InvalidValueError(value, "has a quote that is not closed", "close it") from None
        if value and not (argv and argv[0]):
            raise InvalidValueError(value, "names no command", "write a program and its arguments")
        return argv

    return Form(parse, "a command and its arguments, quoted as for a shell")
