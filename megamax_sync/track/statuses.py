"""What the service says of many files, in few calls."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from megamax_sync.api.models import RemoteFile
from megamax_sync.errors import RemoteFileMissing, ServiceError
from megamax_sync.job import REMOTE_CONVERTED, REMOTE_UNFINISHED, Job

#: Up to this many files are asked about one by one: as many calls as the lists would take.
_FEW = len(REMOTE_UNFINISHED)
#: The list of what is converted is as long as the account is old. It is asked for when at least so
#: many files have left the others, and one for so many of its entries: as large as a call each.
_MANY, _ENTRIES = 20, 250

#: A file's description, None when the service does not know it, or what went wrong.
Said = RemoteFile | ServiceError | None
Keep = Callable[[RemoteFile], bool]
ListCall = Callable[[int | None, str | None, Keep], list[RemoteFile]]
FileCall = Callable[[str], RemoteFile]


class Statuses:
    """Asks, by lists where that takes fewer calls."""

    def __init__(self, list_files: ListCall, get_file: FileCall) -> None:
        self._list = list_files
        self._get = get_file
        #: How long the list of what is converted was, when it was last asked for.
        self._converted = 0.0

    def ask(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Said]]:
        """Yield each job with what the service says of its file.

        More than a few cost one list for each unfinished status, and one call for each file that
        has left them, or one more list if many have. What goes wrong with one file says nothing
        about the others; two calls in a row without an answer are raised.
        """
        mute = False
        try:
            listed = self._listed(jobs) if len(jobs) > _FEW else {}
        except ServiceError as error:
            if not error.answered:
                raise
            # Lists are a saving, no need.
            listed = {}
        for job in jobs:
            hashid = job.hashid or ""
            said: Said
            if hashid in listed:
                said = listed[hashid]
            else:
                try:
                    said, mute = self._get(hashid), False
                except RemoteFileMissing:
                    said, mute = None, False
                except ServiceError as error:
                    if mute and not error.answered:
                        raise
                    said, mute = error, not error.answered
            yield job, said

    def _listed(self, jobs: Sequence[Job]) -> dict[str, RemoteFile]:
        # What a list says of others is of no use to anybody, and takes memory.
        wanted = {job.hashid or "" for job in jobs}

        def keep(remote: RemoteFile) -> bool:
            return remote.hashid in wanted

        found = {
            remote.hashid: remote
            for status in REMOTE_UNFINISHED
            for remote in self._list(None, status, keep)
        }
        # The document does not say whether a list without a folder shows what lies in folders.
        missing = Counter(job.folder for job in jobs if (job.hashid or "") not in found)
        for folder, count in missing.items():
            if folder is not None and count > _FEW:
                # One list of all that is in the folder tells of those that have left as well.
                for remote in self._list(folder, None, keep):
                    found[remote.hashid] = remote
        left = sum((job.hashid or "") not in found for job in jobs)
        if left >= max(_MANY, self._converted / _ENTRIES):
            found |= {remote.hashid: remote for remote in self._converted_of(wanted)}
        return found

    def _converted_of(self, wanted: set[str]) -> list[RemoteFile]:
        length = 0

        def keep(remote: RemoteFile) -> bool:
            nonlocal length
            length += 1
            return remote.hashid in wanted

        try:
            converted = self._list(None, REMOTE_CONVERTED, keep)
        except ServiceError:
            # Refused, or too long for anybody to send or read in time: the other lists hold, and
            # this one is let be.
            self._converted = math.inf
            return []
        self._converted = length
        return converted
