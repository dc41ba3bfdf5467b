"""What lies beside a file and says that it is still being fetched."""

from __future__ import annotations

import os
import re

from megamax_sync.watch.rules import COMPANION_SUFFIXES

#: The companion's name holds the name of the file: ``movie.mkv.part``, rsync's
#: ``.movie.mkv.Ab3dE9``, yt-dlp's fragments (``movie.mp4.part-Frag3``).
_COMPANION = re.compile(
    rb"(?P<download>.+)(?:%s|\.part-Frag[0-9]+)|\.(?P<rsync>.+)\.[0-9A-Za-z]{6}"
    % b"|".join(re.escape(suffix) for suffix in COMPANION_SUFFIXES),
    re.DOTALL,
)
#: What yt-dlp makes of a finished ``movie.mp4``, to put it in its place: ``movie.temp.mp4``.
_REMADE = re.compile(rb"(?P<stem>.+)\.temp(?P<extension>\.[^.]+)", re.DOTALL)
#: aria2 keeps one control file for a whole torrent, beside the torrent's folder.
_CONTROL = b".aria2"
#: Of a longer name rsync takes what has room beside its dots and random characters, or less.
_RSYNC_NAME = 246


class Companions:
    """The companions of many files, by one listing of each folder instead of many questions a file.

    A listing is made when a folder is first asked for, and holds for this object's life. So one is
    made for each batch, *after* all else has been looked at: what has appeared until then counts.
    """

    def __init__(self) -> None:
        self._beside: dict[bytes, dict[bytes, bytes]] = {}
        self._controls: dict[bytes, bytes | None] = {}

    def of(self, path: bytes, root: bytes | None) -> str | None:
        """Name what lies beside the file, or beside a folder of it below ``root``.

        Raises OSError when that cannot be found out now.
        """
        folder, name = os.path.split(path)
        beside = self._beside.get(folder)
        if beside is None:
            try:
                beside = _listed(folder)
            except PermissionError:
                return _asked(path)
            self._beside[folder] = beside
        found = beside.get(name)
        if found is None and len(name) > _RSYNC_NAME:
            found = next((beside[start] for start in beside if name.startswith(start)), None)
        if found is None and root is not None:
            found = self._control(folder, root)
        return None if found is None else os.fsdecode(found)

    def _control(self, folder: bytes, root: bytes) -> bytes | None:
        if len(folder) <= len(root):
            return None
        if folder not in self._controls:
            there = os.path.lexists(folder + _CONTROL)
            self._controls[folder] = (
                os.path.basename(folder) + _CONTROL
                if there
                else self._control(os.path.dirname(folder), root)
            )
        return self._controls[folder]


def companion_of(name: bytes) -> bytes | None:
    """Return the name of the file that a file of this name is a companion of."""
    found = _COMPANION.fullmatch(name)
    if found is not None:
        return found["download"] or found["rsync"]
    remade = _REMADE.fullmatch(name)
    return None if remade is None else remade["stem"] + remade["extension"]


def _listed(folder: bytes) -> dict[bytes, bytes]:
    """Return the companions in a folder, by the names of their files."""
    beside: dict[bytes, bytes] = {}
    try:
        with os.scandir(folder) as listing:
            for entry in listing:
                name = entry.name
                of = companion_of(name)
                if of is not None:
                    beside[of] = min(name, beside.get(of, name))
    except (FileNotFoundError, NotADirectoryError):
        # The file has gone with it, which is found out elsewhere.
        return {}
    return beside


def _asked(path: bytes) -> str | None:
    """Ask for each name in turn, in a folder that may be entered and not listed."""
    for suffix in COMPANION_SUFFIXES:
        if os.path.lexists(path + suffix):
            return os.fsdecode(os.path.basename(path) + suffix)
    return None
