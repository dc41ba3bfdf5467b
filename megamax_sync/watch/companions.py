"""What lies beside a file and says that it is still being fetched."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

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
#: What all of these have, and few other names: a search for it takes a fourth of their time.
_HINT = re.compile(
    rb"\.(?:(?<!..)|(?:%s|part-Frag[0-9]+)\Z|temp\.)"
    % b"|".join(re.escape(suffix[1:]) for suffix in COMPANION_SUFFIXES),
    re.DOTALL,
)
#: A stream that yt-dlp is going to merge with another: ``movie.fhls-1204.mp4``. By its name alone
#: it may be a video of its own (``movie.french.mp4``).
_STREAM = re.compile(rb"(?P<stem>.+)\.f[^.]+\.[^.]+", re.DOTALL)
#: aria2 keeps one control file for a whole torrent, beside the torrent's folder.
_CONTROL = b".aria2"
#: Of a longer name rsync takes what has room beside its dots and random characters, or less.
_RSYNC_NAME = 246


@dataclass(slots=True)
class _Beside:
    """The companions in a folder: by the names of their files, and by what streams begin with."""

    files: dict[bytes, bytes] = field(default_factory=dict)
    streams: dict[bytes, bytes] = field(default_factory=dict)

    def add(self, name: bytes) -> None:
        """Sort in an entry of the folder; nothing happens if it is no companion."""
        of = companion_of(name)
        if of is None:
            return
        self.files[of] = min(name, self.files.get(of, name))
        # While one stream is fetched, or all are merged, none of them is a video of its own.
        stream, remade = _STREAM.fullmatch(of), _REMADE.fullmatch(name)
        stem = stream["stem"] if stream else remade["stem"] if remade else None
        if stem is not None:
            self.streams[stem] = min(name, self.streams.get(stem, name))

    def of(self, name: bytes) -> bytes | None:
        """Return a companion of the file of this name."""
        found = self.files.get(name)
        if found is None and self.streams:
            stream = _STREAM.fullmatch(name)
            found = None if stream is None else self.streams.get(stream["stem"])
        if found is None and len(name) > _RSYNC_NAME:
            starts = (start for start in self.files if name.startswith(start))
            found = next((self.files[start] for start in starts), None)
        return found


class Companions:
    """The companions of many files, by one listing of each folder instead of many questions a file.

    A listing is made when a folder is first asked for, and holds for this object's life. So one is
    made for each batch, *after* all else has been looked at: what has appeared until then counts.
    """

    def __init__(self) -> None:
        self._beside: dict[bytes, _Beside] = {}
        self._controls: dict[bytes, bytes | None] = {}

    def of(self, path: bytes, root: bytes | None) -> str | None:
        """Name what lies beside the file, or beside a folder of it below ``root``.

        Raises OSError when that cannot be found out now.
        """
        folder, name = os.path.split(path)
        try:
            beside = self._in(folder)
        except PermissionError:
            return _asked(path)
        found = beside.of(name)
        if found is None and root is not None:
            found = self._control(folder, root)
        return None if found is None else os.fsdecode(found)

    def none_in(self, folder: bytes, root: bytes | None) -> bool:
        """Tell whether no file that lies in this folder has any: what holds for most folders.

        False, too, when that cannot be found out.
        """
        try:
            return not self._in(folder).files and (
                root is None or self._control(folder, root) is None
            )
        except OSError:
            return False

    def _in(self, folder: bytes) -> _Beside:
        beside = self._beside.get(folder)
        if beside is None:
            beside = self._beside[folder] = _listed(folder)
        return beside

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


def _listed(folder: bytes) -> _Beside:
    """Return the companions in a folder."""
    beside = _Beside()
    try:
        for name in filter(_HINT.search, os.listdir(folder)):
            beside.add(name)
    except (FileNotFoundError, NotADirectoryError):
        # The file has gone with it, which is found out elsewhere.
        return _Beside()
    return beside


def _asked(path: bytes) -> str | None:
    """Ask for each name in turn, in a folder that may be entered and not listed."""
    for suffix in COMPANION_SUFFIXES:
        if os.path.lexists(path + suffix):
            return os.fsdecode(os.path.basename(path) + suffix)
    return None
