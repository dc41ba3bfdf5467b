"""The truth about a folder: what ``os.scandir`` finds in it.

The walk is a generator that yields after every folder, and inside large ones, so that its owner can
do other work in between, and stop.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from operator import itemgetter

from megamax_sync.job import FileStamp
from megamax_sync.watch.rules import Rules, Unwanted

_DIGITS = re.compile(rb"(\d+)")
_Key = list[tuple[int, int, bytes]]

#: Entries of one folder that are read, or judged, in one go.
PIECE = 2000


@dataclass(frozen=True, slots=True)
class Found:
    """A file that the rules want, and how it looked when it was listed."""

    path: bytes
    #: The watched folder; None for a file that was handed in.
    root: bytes | None
    stamp: FileStamp


@dataclass
class Walk:
    """One walk over a folder, with its figures."""

    rules: Rules
    top: bytes
    #: Enter the folders below it too.
    subtree: bool = True
    #: Told of each file that the rules leave out.
    on_unwanted: Callable[[bytes, Unwanted], None] | None = None
    #: Told of each folder that was listed.
    on_folder: Callable[[bytes], None] | None = None
    files: int = 0
    candidates: int = 0
    #: Folders that could not be read, with the reason.
    unreadable: list[tuple[bytes, str]] = field(default_factory=list)
    #: The watched folders that it has come to.
    roots: set[bytes] = field(default_factory=set)

    def __iter__(self) -> Iterator[list[Found]]:
        """Yield what is wanted, in natural order (``ep 2``, ``ep 10``) folder by folder.

        Each folder comes as one list; one of more than :data:`PIECE` entries as several, with
        empty ones while it is read.
        """
        folders = [self.top]
        while folders:
            below: list[bytes] = []
            yield from self._list(folders.pop(), below)
            if self.subtree:
                folders.extend(reversed(below))

    def _list(self, folder: bytes, below: list[bytes]) -> Iterator[list[Found]]:
        found: list[Found] = []
        # The innermost watched folder decides, also for one that is nested in another.
        root = folder if folder in self.rules.roots else self.rules.root_of(folder)
        if root is None:
            yield found
            return
        if folder == root:
            self.roots.add(root)
        for number, entry in enumerate((yield from self._read(folder))):
            if number and number % PIECE == 0:
                yield found
                found = []
            if entry.is_dir(follow_symlinks=False):
                watched = entry.path in self.rules.roots
                if watched or not self.rules.unwanted_folder(entry.path, root):
                    below.append(entry.path)
                continue
            self.files += 1
            one = self._judge(entry, root)
            if isinstance(one, Found):
                self.candidates += 1
                found.append(one)
            elif one is not None and self.on_unwanted is not None:
                self.on_unwanted(entry.path, one)
        yield found

    def _read(self, folder: bytes) -> Generator[list[Found], None, list[os.DirEntry[bytes]]]:
        """Return what is listed, in natural order; nothing for what cannot be."""
        entries: list[tuple[_Key, os.DirEntry[bytes]]] = []
        try:
            with os.scandir(folder) as listing:
                for entry in listing:
                    entries.append((natural(entry.name), entry))
                    if len(entries) % PIECE == 0:
                        yield []
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self.unreadable.append((folder, error.strerror or str(error)))
            return []
        if self.on_folder is not None:
            self.on_folder(folder)
        entries.sort(key=itemgetter(0))
        return [entry for _, entry in entries]

    def _judge(self, entry: os.DirEntry[bytes], root: bytes) -> Found | Unwanted | None:
        unwanted = self.rules.unwanted_name(entry.path, root)
        if unwanted:
            return unwanted
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            # Gone between the listing and now; its folder is dirty again by that.
            return None
        if stat.S_ISLNK(status.st_mode):
            return Unwanted("symlink", "a symbolic link, which is not followed")
        if not stat.S_ISREG(status.st_mode):
            return Unwanted("not-regular", "no regular file")
        unwanted = self.rules.unwanted_size(status.st_size)
        return unwanted or Found(entry.path, root, FileStamp.of(status))


def walks(
    rules: Rules,
    *,
    left_out: Callable[[bytes], bool] = lambda _root: False,
    on_unwanted: Callable[[bytes, Unwanted], None] | None = None,
    on_folder: Callable[[bytes], None] | None = None,
) -> Iterator[Walk]:
    """Yield the walks that come to every watched folder once; finish each before the next.

    A nested one is part of the outer one's walk, unless a folder between them is not entered.
    ``left_out`` says which folders are missing and not to be walked.
    """
    seen: set[bytes] = set()
    for root in sorted(rules.roots, key=len):
        if root not in seen and not left_out(root):
            walk = Walk(rules, root, on_unwanted=on_unwanted, on_folder=on_folder)
            yield walk
            seen |= walk.roots


def natural(name: bytes) -> _Key:
    """Sort key by which numbers inside names count as numbers."""
    return [
        (0, int(part), part) if part.isdigit() else (1, 0, part.lower())
        for part in _DIGITS.split(name)
        if part
    ]
