"""What the last scans saw, so that a rescan need not ask the queue about every file again.

Of a folder in which nothing was to be done it is remembered, in this process only,

- *what lay in it*: a hash of path, size, mtime and inode of all its files that the rules want,
  which is all that the queue is asked by. A rescan lists the folder and looks at every file; if
  the hash is the same, the queue's answer would be, too, unless the queue itself has changed.
- *which folder it was*: device, inode, mtime and ctime, taken before it was listed. A folder of
  which these are the same still holds the same names. Then it is neither listed nor are its files
  looked at, only its subfolders are walked, **but for one rescan in three**: files that were
  changed in place do not show by their folder. So a change of which no event came is found by
  the third rescan at the latest.

Passing over a folder needs more than the hash does:

- A time stamp is worth something once it is older than the clock's and the disk's granularity: a
  folder that changes twice within one tick shows the first change only. So the younger of mtime
  and ctime must be :data:`_OLD_ENOUGH` before the listing. mtime may be set back, ctime cannot be.
- The file system must keep these times, and nobody else may change it: :data:`_TRUSTED`. Not FAT,
  which does not move them, nor what is remote or layered.
- The kernel has to be watching that very folder now: changes in place then give events as a rule,
  and the rescan is only the second net. Whatever is polled is looked at, file by file.

What is remembered of a folder goes

- at the end of every whole scan that did not confirm it: that found something in it to offer, as a
  file that waits is at every scan, or a file that vanished just then, or could not read it, or did
  not come to it;
- when an event has named it. The walk that follows asks the queue about all of it, and remembers
  nothing: it neither reads this memory nor writes it;
- with all below a watched folder, when that is marked as a whole: events were lost, it is polled,
  or it is another one than before (lost, renewed, over-mounted);
- when the queue changed for one of its files: a job was queued, or skipped as vanished. All of it
  goes after a commit of another process, as ``forget`` or ``retry`` make it.

The rules are those of the one walker that owns the memory. A restart begins with none.

For each folder there are its path, about 60 bytes of its own, and its place in two dictionaries:
less than 30 MiB for 100,000 folders. It remembers no more than :data:`_MOST`; the rest is asked
about every time.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from megamax_sync.clock import Clock
from megamax_sync.filesystem import filesystem_type

#: Seconds after which two changes of a folder have two time stamps: FAT's tick, the coarsest.
_OLD_ENOUGH = 2.0
#: File systems of this machine alone, whose folders' times move with every entry.
_TRUSTED = frozenset({"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "tmpfs", "xfs", "zfs"})
_MOST = 100_000
#: One rescan in so many lists a folder whatever its times say.
_TURNS = 3

#: The scan that came to it last, identity, hash of the content, files, candidates.
_RECORD = struct.Struct("<Bqqii")


@dataclass(frozen=True, slots=True)
class Passed:
    """What a listing of a folder would find: how much of it, and which folders to enter."""

    files: int
    candidates: int
    below: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """A folder as it was before it was listed; ``passed`` if it need not be."""

    identity: int
    passed: Passed | None = None


#: The identity of a folder of which nobody can tell later whether it is the same.
_DOUBTED = Look(0)


class Memory:
    """Of one walker, and used by its thread only."""

    def __init__(self, clock: Clock, watched: Callable[[bytes], bool]) -> None:
        """``watched`` tells whether the kernel reports what happens in a folder."""
        self._clock = clock
        self._watched = watched
        self._records: dict[bytes, bytes] = {}
        self._below: dict[bytes, tuple[bytes, ...]] = {}
        self._scan = 0
        self._trusted: dict[int, bool] = {}

    def __len__(self) -> int:
        return len(self._records)

    def begin_scan(self, stirred: Iterable[bytes] | None) -> None:
        """A scan begins. ``stirred``: paths whose jobs have changed; None for who knows which."""
        # What is mounted where may have changed.
        self._trusted.clear()
        if stirred is None:
            self._records.clear()
            self._below.clear()
        else:
            for path in stirred:
                self.drop(os.path.dirname(path))

    def end_scan(self) -> None:
        """It came to the end of all folders."""
        current = self._scan & 0xFF
        for folder in [k for k, record in self._records.items() if record[0] != current]:
            self.drop(folder)
        # Only now: of a scan that is cut short, nobody knows which folders it came to.
        self._scan += 1

    def look(self, folder: bytes) -> Look:
        """Look at a folder before it is listed."""
        try:
            status = os.stat(folder)
        except OSError:
            return _DOUBTED
        newest = max(status.st_mtime, status.st_ctime)
        if newest > self._clock.wall() - _OLD_ENOUGH or not self._trusts(status.st_dev, folder):
            return _DOUBTED
        identity = hash((status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns))
        record = self._records.get(folder)
        # Each folder has its own turn, so that every scan costs about the same.
        its_turn = (hash(folder) + self._scan) % _TURNS == 0
        if record is None or its_turn or not self._watched(folder):
            return Look(identity)
        _, then, content, files, candidates = _RECORD.unpack(record)
        if then != identity:
            return Look(identity)
        passed = Passed(files, candidates, self._below.get(folder, ()))
        self._put(folder, identity, content, passed)
        return Look(identity, passed)

    def holds(self, folder: bytes, content: int) -> bool:
        """Tell whether this lay in the folder when nothing in it was to be done."""
        record = self._records.get(folder)
        return record is not None and _RECORD.unpack(record)[2] == content

    def keep(self, folder: bytes, look: Look, content: int, passed: Passed) -> None:
        """Remember a folder in which nothing is to be done. ``look`` is from before its listing."""
        if folder not in self._records and len(self._records) >= _MOST:
            return
        self._put(folder, look.identity, content, passed)
        if passed.below:
            self._below[folder] = passed.below
        else:
            self._below.pop(folder, None)

    def _put(self, folder: bytes, identity: int, content: int, passed: Passed) -> None:
        self._records[folder] = _RECORD.pack(
            self._scan & 0xFF, identity, content, passed.files, passed.candidates
        )

    def drop(self, folder: bytes) -> None:
        """Forget a folder."""
        self._records.pop(folder, None)
        self._below.pop(folder, None)

    def drop_below(self, top: bytes) -> None:
        """Forget a folder and all that lies in it."""
        base = top.rstrip(b"/") + b"/"
        for folder in [k for k in self._records if k == top or k.startswith(base)]:
            self.drop(folder)

    def _trusts(self, device: int, folder: bytes) -> bool:
        trusted = self._trusted.get(device)
        if trusted is None:
            trusted = self._trusted[device] = filesystem_type(folder) in _TRUSTED
        return trusted
