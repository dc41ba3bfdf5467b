"""All sidecars there are, read once after a loss: which upload is of which content.

A video may have been renamed, moved or replaced since its sidecar was written, with nobody to see
it. So the sidecar under a file's present name is not all that there is to ask, and no upload that a
sidecar ties to a content may be taken for another one's.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence

from megamax_sync import sidecar
from megamax_sync.api.models import usable_hashid
from megamax_sync.job import SIDECAR_SUFFIX
from megamax_sync.sidecar import Placement, Sidecar
from megamax_sync.store import Store, Tie

#: Sidecars whose ties are written down in one commit.
_PIECE = 500

#: Where a sidecar stands, and what it says.
_Found = tuple[bytes, Sidecar]


class Gathering:
    """What sidecars tell, kept in the queue."""

    def __init__(self, store: Store, placement: Placement) -> None:
        self._store = store
        self._placement = placement

    def gather(self, beat: Callable[[], None], is_ours: Callable[[Sidecar], bool]) -> None:
        """Read all sidecars; note what they tell of uploads that the queue does not know."""
        ours = (one for one in self.read_all(beat) if is_ours(one[1]))
        while piece := [_tie(*one) for one in itertools.islice(ours, _PIECE)]:
            ties = [one for one in piece if one is not None]
            known = self._store.journal.owned(one.hashid for one in ties)
            self._store.ties.note([one for one in ties if one.hashid not in known])

    def note(self, found: Sequence[_Found]) -> None:
        """Note what these tell."""
        ties = [tie for where, one in found if (tie := _tie(where, one)) is not None]
        if ties:
            self._store.ties.note(ties)

    def left_behind(
        self, size: int, fingerprint: str, read: Callable[[bytes], Sidecar | None]
    ) -> Iterator[_Found]:
        """Yield what is still told of uploads of this content whose video is not there any more.

        Where that is still there, this is a copy of it. ``read`` returns what is still believed.
        """
        for tie in self._store.ties.of_content(size, fingerprint):
            found = read(tie.sidecar)
            if found is not None and found.source.size == size and self._was_left(tie, found):
                yield tie.sidecar, found

    def read_all(self, beat: Callable[[], None]) -> Iterator[_Found]:
        """Yield each sidecar of anybody's, from all folders in which ours are or were put.

        ``beat`` is called now and then, and may raise to end it.
        """
        folders = self._placement.places()
        while folders:
            folder = folders.pop()
            beat()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.name.endswith(SIDECAR_SUFFIX):
                            beat()
                            found = sidecar.read(entry.path)
                            if found is not None:
                                yield entry.path, found
                        elif entry.is_dir(follow_symlinks=False):
                            folders.append(entry.path)
            except OSError:
                # What cannot be listed proves nothing.
                continue

    def _was_left(self, tie: Tie, found: Sidecar) -> bool:
        """Tell whether the video that was sent is gone from where its sidecar says it lay."""
        try:
            status = os.lstat(self._placement.video_of(tie.sidecar, found))
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return True
        except OSError:
            return False
        there = status.st_size, str(status.st_mtime_ns)
        return there != (found.source.size, found.source.mtime_ns)


def _tie(where: bytes, found: Sidecar) -> Tie | None:
    """Return what a sidecar tells; None if it does not say the content, or is no use as it is."""
    fingerprint = found.source.fingerprint
    if fingerprint is None or not usable_hashid(found.hashid):
        return None
    return Tie(found.hashid, fingerprint, found.source.size, where)
