"""Which paths are wanted. Pure: looks at names and sizes, never at the disk."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from megamax_sync.gitignore import compiled
from megamax_sync.job import SIDECAR_SUFFIX

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

#: What downloaders put behind the name of a file that is not finished, or beside it.
UNFINISHED_SUFFIXES = (
    b".!bt",
    b".!qb",
    b".!ut",
    b".aria2",
    b".bc!",
    b".crdownload",
    b".download",
    b".filepart",
    b".incomplete",
    b".opdownload",
    b".part",
    b".partial",
    b".temp",
    b".tmp",
    b".unfinished",
)

#: Beside ``movie.mkv``, one of these says that it is still being fetched. Lower case is not
#: enough here: the name has to be looked up as the downloader writes it.
COMPANION_SUFFIXES = (
    b".aria2",
    b".part",
    b".!qB",
    b".!ut",
    b".crdownload",
    b".filepart",
    b".partial",
    b".tmp",
    b".ytdl",
    b".st",
)

#: yt-dlp's streams before they are merged (``movie.f137.mp4``), its intermediate files
#: (``movie.temp.mp4``) and its fragments (``movie.mp4.part-Frag3``), in the case that it writes:
#: ``race.F1.mkv`` is a video. Streams whose ids are no numbers may be one, too, by their names:
#: those wait while there are others; see :mod:`.companions`.
_INTERMEDIATE = re.compile(rb"\.(?:(?:f[0-9]+(?:-[0-9a-z]+)?|temp)\.[^.]+$|part-Frag[0-9]+)")


@dataclass(frozen=True, slots=True)
class Unwanted:
    """Why a path is not uploaded: the rule's name, and a sentence that gives its value."""

    rule: str
    reason: str


@dataclass(frozen=True)
class Rules:
    """The rules of one configuration.

    ``roots`` are the watched folders, absolute; ``extensions`` in lower case without dots;
    ``exclude`` gitignore patterns on the path below the watched folder; ``min_size`` in bytes;
    ``private`` folders of the program's own, named as a walk comes to them, that are not entered.
    """

    roots: tuple[bytes, ...]
    extensions: frozenset[str]
    exclude: tuple[str, ...] = ()
    min_size: int = 1
    private: tuple[bytes, ...] = ()

    @cached_property
    def _spec(self) -> GitIgnoreSpec | None:
        if not self.exclude:
            return None
        return compiled(self.exclude)

    @cached_property
    def plain(self) -> re.Pattern[bytes]:
        """Matches a file's own name if nothing but an exclude may be against it.

        The other way round it holds as well, but for an extension with letters beyond ASCII. So
        whoever sees many names needs :meth:`unwanted_name` for few of them.
        """
        # Names are compared in lower case, and their extensions hold no dot.
        able = [one for one in self.extensions if one.isascii() and one == one.lower()]
        known = {one.encode() for one in able if one and "." not in one}
        # Each part begins with the dot: a search that knows what comes next skips to it.
        endings = [
            *([rb"\.(?:%b)" % b"|".join(map(re.escape, sorted(known)))] if known else []),
            *([rb"\.", rb"\A[^.]*"] if "" in self.extensions else []),
        ]
        never = [
            s for s in (SIDECAR_SUFFIX, *UNFINISHED_SUFFIXES) if s[s.rindex(b".") + 1 :] in known
        ]
        return re.compile(
            rb"\A(?!\.|.*(?-i:%b))(?:%b)\Z%b"
            % (
                _INTERMEDIATE.pattern,
                b"|".join(rb".*" + one for one in endings) or b"(?!)",
                b"".join(b"(?<!%b)" % re.escape(suffix) for suffix in never),
            ),
            re.IGNORECASE | re.DOTALL,
        )

    def root_of(self, path: bytes) -> bytes | None:
        """Return the innermost watched folder that holds ``path``."""
        holding = [r for r in self.roots if path.startswith(r.rstrip(b"/") + b"/")]
        return max(holding, key=len, default=None)

    def unwanted_folder(self, path: bytes, root: bytes) -> Unwanted | None:
        """Tell why nothing below this folder is wanted; None when it is to be entered."""
        return _hidden(path) or self._private(path) or self._excluded(path, root, folder=True)

    def unwanted_name(self, path: bytes, root: bytes) -> Unwanted | None:
        """Tell why a file of this path is not wanted; None when it is."""
        return unwanted_always(path) or self._extension(path) or self._excluded(path, root)

    def unwanted_size(self, size: int) -> Unwanted | None:
        """Tell why a file of this many bytes is not wanted; None when it is."""
        if size == 0:
            return Unwanted("empty", "empty file")
        if size < self.min_size:
            return Unwanted(
                "min-size", f"{size} bytes are less than MEGAMAX_MIN_SIZE {self.min_size}"
            )
        return None

    def unwanted(self, path: bytes, root: bytes) -> Unwanted | None:
        """Judge a whole path: every folder between ``root`` and the file, then its name."""
        return self.unwanted_way(os.path.dirname(path), root) or self.unwanted_name(path, root)

    def unwanted_way(self, folder: bytes, root: bytes) -> Unwanted | None:
        """Tell why a walk of ``root`` does not come to this folder; None when it does."""
        part = root.rstrip(b"/")
        for name in folder[len(part) + 1 :].split(b"/"):
            part += b"/" + name
            unwanted = self.unwanted_folder(part, root) if name else None
            if unwanted:
                return unwanted
        return None

    def _private(self, path: bytes) -> Unwanted | None:
        if path in self.private:
            return Unwanted("private", f"the state or sidecar folder {_show(path)}")
        return None

    def _extension(self, path: bytes) -> Unwanted | None:
        extension = os.path.splitext(path)[1][1:]
        if os.fsdecode(extension).lower() in self.extensions:
            return None
        named = f"extension {_show(extension)} is" if extension else "no extension, or one"
        return Unwanted("extension", f"{named} not in MEGAMAX_EXTENSIONS")

    def _excluded(self, path: bytes, root: bytes, *, folder: bool = False) -> Unwanted | None:
        if self._spec is None:
            return None
        relative = os.fsdecode(path[len(root.rstrip(b"/")) + 1 :]) + ("/" if folder else "")
        result = self._spec.check_file(relative)
        if not result.include or result.index is None:
            return None
        return Unwanted(
            "exclude", f"excluded by MEGAMAX_EXCLUDE pattern '{self.exclude[result.index]}'"
        )


def unwanted_always(path: bytes) -> Unwanted | None:
    """The rules that hold for every file, also for one that is handed in by name."""
    name = os.path.basename(path)
    lower = name.lower()
    if lower.endswith(SIDECAR_SUFFIX):
        return Unwanted("sidecar", "a sidecar of ours")
    hidden = _hidden(path)
    if hidden:
        return hidden
    for suffix in UNFINISHED_SUFFIXES:
        if lower.endswith(suffix):
            return Unwanted("unfinished", f"the name of an unfinished download ({_show(suffix)})")
    if _INTERMEDIATE.search(name):
        return Unwanted("unfinished", "the name of an unfinished download (yt-dlp)")
    return None


class Folders:
    """Which Megamax folder an upload goes to: by subfolder, the longest match wins."""

    def __init__(self, default: int | None, by_subfolder: Sequence[tuple[str, int]]) -> None:
        self._default = default
        # Longest first, counted in parts: "movies/4k" is more exact than "documentaries".
        self._rows = sorted(
            ((tuple(os.fsencode(sub).strip(b"/").split(b"/")), id_) for sub, id_ in by_subfolder),
            key=lambda row: len(row[0]),
            reverse=True,
        )

    def of(self, path: bytes, root: bytes | None) -> int | None:
        """Return the folder ID for a file at ``path`` found below ``root``."""
        if root is not None and self._rows:
            parts = tuple(path[len(root.rstrip(b"/")) + 1 :].split(b"/")[:-1])
            for prefix, folder in self._rows:
                if parts[: len(prefix)] == prefix:
                    return folder
        return self._default


def _hidden(path: bytes) -> Unwanted | None:
    name = os.path.basename(path)
    return Unwanted("hidden", f"hidden name {_show(name)}") if name.startswith(b".") else None


def _show(name: bytes) -> str:
    return os.fsdecode(name).encode("utf-8", "backslashreplace").decode()
