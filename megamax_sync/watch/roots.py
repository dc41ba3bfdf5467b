"""The watched folders themselves: are they still there, and still the same?"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from megamax_sync.filesystem import Mount, holder_of, mount_points
from megamax_sync.watch.canary import PREFIX
from megamax_sync.watch.unreadable import unlistable

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Place:
    """Which folder it is, and what mount holds it; None when nobody can tell."""

    #: Device and inode.
    folder: tuple[int, int]
    holder: Mount | None


class Roots:
    """Knows each watched folder by device and inode, and notices when another lies in its place.

    An unmounted disk leaves behind the folder that it was mounted over, which is no reason to call
    its files vanished: not if that is empty, and not if something lies in it, as a marker that
    says so does. What is mounted over a folder is watched from then on, and what it covers waits.
    """

    def __init__(
        self,
        roots: Sequence[bytes],
        expected: Callable[[bytes], bool] = lambda _root: False,
    ) -> None:
        """``expected`` tells whether files are known to wait in a folder.

        At the first look there is nothing to compare it with; but if it is empty, and files wait
        in it, its disk is not there.
        """
        self._expected = expected
        self._known: dict[bytes, _Place | None] = dict.fromkeys(roots)
        #: Where each has been before, in this run.
        self._before: dict[bytes, set[tuple[int, int]]] = {root: set() for root in roots}
        self._lost: dict[bytes, str] = {}
        #: What is mounted below each.
        self._mounts: dict[bytes, frozenset[Mount]] = {}
        #: The devices that each is on, with what is mounted below it; and all that it has been on.
        self._devices: dict[bytes, set[int]] = {}
        self._ever: dict[bytes, set[int]] = {root: set() for root in roots}

    def check(self) -> list[bytes]:
        """Look at each folder again; say what was lost, and what has come back.

        Returns those where something else lies now than before, or below which something was
        mounted or unmounted, to be watched and walked anew.
        """
        renewed = []
        mounts = mount_points()
        for root, known in self._known.items():
            try:
                status = os.stat(root)
            except OSError as error:
                self._lose(root, error.strerror or str(error))
                continue
            if not stat.S_ISDIR(status.st_mode):
                self._lose(root, "Not a folder")
                continue
            refusal = unlistable(root)
            if refusal is not None:
                self._lose(root, f"It cannot be read ({refusal.strerror})")
                continue
            place = _Place((status.st_dev, status.st_ino), holder_of(root, mounts))
            doubt = self._doubt(root, known, place, mounts)
            if doubt is not None:
                self._lose(root, doubt)
                continue
            self._known[root] = place
            another = known is not None and known.folder != place.folder
            if known is not None and another:
                self._before[root].add(known.folder)
                if known.holder != place.holder and known.holder in mounts:
                    self._lose(root, "Another file system lies over it; what it covers waits")
            back = self._lost.pop(root, None) is not None
            if back:
                _log.info("watch.recovered", path=root)
            mounted = self._mounted(root, mounts)
            self._devices[root] = {status.st_dev, *(mount[3] for mount in self._mounts[root])}
            self._ever[root] |= self._devices[root]
            if back or mounted or another:
                renewed.append(root)
        return renewed

    def _doubt(
        self, root: bytes, known: _Place | None, place: _Place, mounts: Sequence[Mount]
    ) -> str | None:
        """Say why what lies there now is not believed to be the folder that is meant."""
        if known is None:
            if _is_empty(root) and self._expected(root):
                return "It is empty, though files of it wait to be uploaded"
            return None
        if known.folder == place.folder:
            return None
        if _is_empty(root):
            return "Another, empty folder lies in its place"
        seen_before = place.folder in self._before[root]
        if not seen_before and known.holder not in mounts and _lies_beneath(place, known):
            return (
                "Its file system was unmounted, and what lies there now is the folder beneath it; "
                "mount it again, or restart if that folder is meant"
            )
        return None

    @property
    def all(self) -> list[bytes]:
        """The watched folders."""
        return list(self._known)

    def lost(self, root: bytes) -> bool:
        """Tell whether this folder was missing when it was last looked at.

        One that is watched no longer, of an older job, is looked at now.
        """
        return root in self._lost or (root not in self._known and not os.path.isdir(root))

    def unmounted(self, root: bytes, device: int) -> bool:
        """Tell whether this device was part of a watched folder in this run, and is not now."""
        return device in self._ever.get(root, ()) and device not in self._devices.get(root, ())

    def problem(self) -> str | None:
        """Say which folders are missing, in one sentence; None when all are there."""
        # Asked for on other threads: go through a copy.
        named = [f"{os.fsdecode(root)}: {why}" for root, why in list(self._lost.items())]
        if not named:
            return None
        return "watched folders are missing: " + "; ".join(named)

    def _mounted(self, root: bytes, mounts: Sequence[Mount]) -> bool:
        """Tell whether something was mounted or unmounted below a folder since the last look.

        What is mounted over a folder gives no event; the old watches are those of what it covers.
        """
        base = os.path.join(os.path.realpath(root), b"")
        now = frozenset(mount for mount in mounts if mount[0].startswith(base))
        before = self._mounts.get(root)
        self._mounts[root] = now
        return before is not None and before != now

    def _lose(self, root: bytes, why: str) -> None:
        if root not in self._lost:
            _log.error("watch.lost", path=root, error=why)
        self._lost[root] = why


def leads_to(outer: bytes, inner: bytes) -> bool:
    """Tell whether the events of ``outer`` name what happens in ``inner``: no link between."""
    base = outer.rstrip(b"/") + b"/"
    if not inner.startswith(base):
        return False
    return os.path.realpath(inner) == os.path.join(os.path.realpath(outer), inner[len(base) :])


def _lies_beneath(now: _Place, gone: _Place) -> bool:
    """Tell whether nothing was mounted where another mount has been."""
    return (
        now.holder is not None
        and gone.holder is not None
        and (len(now.holder[0]) < len(gone.holder[0]))
    )


def _is_empty(folder: bytes) -> bool:
    try:
        with os.scandir(folder) as listing:
            # What we have made ourselves to see whether events arrive is no content.
            return all(entry.name.startswith(PREFIX) for entry in listing)
    except OSError:
        # Nothing can be found in it, which is all that matters here.
        return True
