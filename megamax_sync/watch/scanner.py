"""The truth about a folder: what ``os.scandir`` finds in it.

The walk is a generator that yields after every folder, and inside large ones, so that its owner can
do other work in between, and stop.

A library is walked again and again, and next to nothing in it is new. So what a name tells is told
first, by one pattern (:attr:`Rules.plain`); of a file no more is made than the
:data:`~megamax_sync.store.resting.Version` that the queue is asked by; only what is left after that
becomes a :class:`Found` and is put in order. What a rescan need not ask again, it has from
:mod:`~megamax_sync.watch.memory`.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from megamax_sync.job import FileStamp
from megamax_sync.store.resting import Version
from megamax_sync.watch.memory import Memory, Passed
from megamax_sync.watch.rules import Rules, Unwanted

_DIGITS = re.compile(rb"(\d+)")
_Key = list[tuple[int, int, bytes]]

#: Entries of one folder that are read, or offered, in one go.
PIECE = 2000

_LINK = Unwanted("symlink", "a symbolic link, which is not followed")
_NO_FILE = Unwanted("not-regular", "no regular file")


class Found(NamedTuple):
    """A file that the rules want, and how it looked when it was listed."""

    path: bytes
    #: The watched folder; None for a file that was handed in.
    root: bytes | None
    stamp: FileStamp

    @property
    def version(self) -> Version:
        """What the queue is asked by."""
        return self.path, self.stamp.size, self.stamp.mtime_ns, self.stamp.ino


@dataclass(slots=True)
class _Listing:
    """What one folder holds, as far as it has been read."""

    folder: bytes
    root: bytes
    #: The folders to be entered.
    below: list[bytes] = field(default_factory=list)
    #: Name, path, and what is to be offered, or why it is not wanted.
    rest: list[tuple[bytes, bytes, Found | Unwanted]] = field(default_factory=list)
    files: int = 0
    candidates: int = 0
    #: A file went while it was looked at: there may be other changes.
    restless: bool = False
    #: The hash of all that the rules want; none of a folder that comes in pieces.
    content: int = 0


@dataclass
class Walk:
    """One walk over a folder, with its figures."""

    rules: Rules
    top: bytes
    #: Enter the folders below it too.
    subtree: bool = True
    #: Told of each file that the rules leave out, and of each folder, with a slash at its end.
    on_unwanted: Callable[[bytes, Unwanted], None] | None = None
    #: Told of each folder that was listed.
    on_folder: Callable[[bytes], object] | None = None
    #: Tells about which of these files, by path, something may have to be done; the others are
    #: left out. None to have them all.
    fresh: Callable[[Sequence[Version]], set[bytes]] | None = None
    #: What need not be asked again, by a walk that asks ``fresh``.
    memory: Memory | None = None
    files: int = 0
    candidates: int = 0
    #: Folders that could not be read, with the reason.
    unreadable: list[tuple[bytes, str]] = field(default_factory=list)
    #: What a folder names and the disk does not give, with the reason.
    unlooked: list[tuple[bytes, str]] = field(default_factory=list)
    #: The watched folders that it has come to.
    roots: set[bytes] = field(default_factory=set)

    def __iter__(self) -> Iterator[list[Found]]:
        """Yield what is wanted, in natural order (``ep 2``, ``ep 10``) folder by folder.

        Each folder comes as one list; one with more than :data:`PIECE` to offer as several, and
        with empty ones while a large one is read.
        """
        folders = [self.top]
        while folders:
            below = yield from self._visit(folders.pop())
            if self.subtree:
                folders.extend(reversed(below))

    def _visit(self, folder: bytes) -> Generator[list[Found], None, Sequence[bytes]]:
        """Offer what lies in one folder; return the folders to be entered."""
        # The innermost watched folder decides, also for one that is nested in another.
        root = folder if folder in self.rules.roots else self.rules.root_of(folder)
        if root is None:
            yield []
            return ()
        if folder == root:
            self.roots.add(root)
        look = None if self.memory is None else self.memory.look(folder)
        holds = None if look is None else look.passed
        rest: list[tuple[bytes, bytes, Found | Unwanted]] = []
        if holds is None:
            listing = yield from self._list(folder, root)
            if listing is None:
                yield []
                return ()
            rest = listing.rest
            holds = Passed(listing.files, listing.candidates, tuple(listing.below))
            if self.on_folder is not None:
                self.on_folder(folder)
            if look is not None and self.memory is not None and not (rest or listing.restless):
                self.memory.keep(folder, look, listing.content, holds)
        self.files += holds.files
        self.candidates += holds.candidates
        yield from self._in_order(rest)
        return holds.below

    def _list(self, folder: bytes, root: bytes) -> Generator[list[Found], None, _Listing | None]:
        """Read one folder; None if that cannot be done."""
        listing = _Listing(folder, root)
        try:
            with os.scandir(folder) as entries:
                piece = list(islice(entries, PIECE))
                whole = len(piece) < PIECE
                while piece:
                    self._sort_out(piece, listing, whole=whole)
                    if len(piece) == PIECE:
                        yield []
                    piece = list(islice(entries, PIECE))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self.unreadable.append((folder, error.strerror or str(error)))
            return None
        if len(listing.below) > 1:
            listing.below.sort(key=lambda path: natural(os.path.basename(path)))
        return listing

    def _sort_out(self, piece: list[os.DirEntry[bytes]], listing: _Listing, *, whole: bool) -> None:
        """Judge these entries; the cheapest first."""
        rules, told = self.rules, self.on_unwanted is not None
        plain_name, excludes, least = rules.plain.match, bool(rules.exclude), max(1, rules.min_size)
        asked = self.fresh is not None
        seen: list[Version] = []
        entries: list[os.DirEntry[bytes]] = []
        listing.files += len(piece)
        for entry in piece:
            name = entry.name
            plain = plain_name(name)
            if excludes or not plain:
                if entry.is_dir(follow_symlinks=False):
                    self._enter(entry.path, listing)
                    continue
                # Of most names the pattern is certain, and nobody asks for the reason.
                if not plain and not told and name[name.rfind(b".") + 1 :].isascii():
                    continue
                unwanted = rules.unwanted_name(entry.path, listing.root)
                if unwanted is not None:
                    if told:
                        what = _LINK if entry.is_symlink() else unwanted
                        listing.rest.append((name, entry.path, what))
                    continue
            try:
                status = entry.stat(follow_symlinks=False)
            except PermissionError:
                # A folder that may be listed and not entered: nothing in it can be found.
                raise
            except OSError as error:
                self._without(entry, error, listing)
                continue
            mode = status.st_mode
            if stat.S_ISREG(mode) and status.st_size >= least:
                if asked:
                    seen.append((entry.path, status.st_size, status.st_mtime_ns, status.st_ino))
                entries.append(entry)
            elif stat.S_ISDIR(mode):
                self._enter(entry.path, listing)
            elif told:
                listing.rest.append((name, entry.path, self._no_video(status)))
        listing.candidates += len(entries)
        self._leave_known(seen, entries, listing, whole=whole)

    def _without(self, entry: os.DirEntry[bytes], error: OSError, listing: _Listing) -> None:
        """Go on without one entry: it is gone since, or the disk does not give it."""
        # Its folder is dirty again by the one, and is listed again for the other.
        listing.restless = True
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            why = error.strerror or str(error)
            self.unlooked.append((entry.path, why))
            if self.on_unwanted is not None:
                what = Unwanted("unreadable", f"cannot be looked at: {why}")
                listing.rest.append((entry.name, entry.path, what))

    def _enter(self, folder: bytes, listing: _Listing) -> None:
        listing.files -= 1
        watched = folder in self.rules.roots
        unwanted = None if watched else self.rules.unwanted_folder(folder, listing.root)
        if unwanted is None:
            listing.below.append(folder)
        elif self.on_unwanted is not None:
            listing.rest.append((os.path.basename(folder), folder + b"/", unwanted))

    def _no_video(self, status: os.stat_result) -> Unwanted:
        if stat.S_ISLNK(status.st_mode):
            return _LINK
        unwanted = self.rules.unwanted_size(status.st_size)
        return unwanted if stat.S_ISREG(status.st_mode) and unwanted else _NO_FILE

    def _leave_known(
        self,
        seen: list[Version],
        entries: list[os.DirEntry[bytes]],
        listing: _Listing,
        *,
        whole: bool,
    ) -> None:
        """Have what is left after the queue, or the memory, was asked offered."""
        if self.memory is not None and whole:
            listing.content = hash(tuple(seen))
            if self.memory.holds(listing.folder, listing.content):
                return
        fresh = None if self.fresh is None or not seen else self.fresh(seen)
        if fresh is not None and not fresh:
            return
        for entry in entries:
            path = entry.path
            if fresh is None or path in fresh:
                # As it was looked at: an entry asks the disk only once.
                stamp = FileStamp.of(entry.stat(follow_symlinks=False))
                listing.rest.append((entry.name, path, Found(path, listing.root, stamp)))

    def _in_order(self, rest: list[tuple[bytes, bytes, Found | Unwanted]]) -> Iterator[list[Found]]:
        if len(rest) > 1:
            rest.sort(key=lambda one: natural(one[0]))
        for start in range(0, len(rest) or 1, PIECE):
            found: list[Found] = []
            for _, path, what in rest[start : start + PIECE]:
                if isinstance(what, Found):
                    found.append(what)
                elif self.on_unwanted is not None:
                    self.on_unwanted(path, what)
            yield found


def walks(
    rules: Rules,
    *,
    left_out: Callable[[bytes], bool] = lambda _root: False,
    on_unwanted: Callable[[bytes, Unwanted], None] | None = None,
    on_folder: Callable[[bytes], object] | None = None,
    fresh: Callable[[Sequence[Version]], set[bytes]] | None = None,
    memory: Memory | None = None,
) -> Iterator[Walk]:
    """Yield the walks that come to every watched folder once; finish each before the next.

    A nested one is part of the outer one's walk, unless a folder between them is not entered.
    ``left_out`` says which folders are missing and not to be walked.
    """
    seen: set[bytes] = set()
    for root in sorted(rules.roots, key=len):
        if root not in seen and not left_out(root):
            walk = Walk(
                rules,
                root,
                on_unwanted=on_unwanted,
                on_folder=on_folder,
                fresh=fresh,
                memory=memory,
            )
            yield walk
            seen |= walk.roots


def natural(name: bytes) -> _Key:
    """Sort key by which numbers inside names count as numbers."""
    return [
        (0, int(part), part) if part.isdigit() else (1, 0, part.lower())
        for part in _DIGITS.split(name)
        if part
    ]
