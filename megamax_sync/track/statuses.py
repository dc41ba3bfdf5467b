"""What the service says of many files, in few calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from megamax_sync.api.models import RemoteFile
from megamax_sync.errors import RemoteFileMissing, ServiceError
from megamax_sync.job import REMOTE_UNFINISHED, Job

#: Up to this many files are asked about one by one: as many calls as the lists would take.
_FEW = len(REMOTE_UNFINISHED)

#: A file's description, None when the service does not know it, or what went wrong.
Said = RemoteFile | ServiceError | None
ListCall = Callable[[int | None, str | None], list[RemoteFile]]
FileCall = Callable[[str], RemoteFile]


def ask(
    jobs: Sequence[Job], list_files: ListCall, get_file: FileCall
) -> Iterator[tuple[Job, Said]]:
    """Yield each job with what the service says of its file.

    More than a few cost one list for each unfinished status, and one call for each file that has
    left them. An answer that fails for one file says nothing about the others; no answer at all
    is raised.
    """
    try:
        listed = _listed(jobs, list_files) if len(jobs) > _FEW else {}
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
                said = get_file(hashid)
            except RemoteFileMissing:
                said = None
            except ServiceError as error:
                if not error.answered:
                    raise
                said = error
        yield job, said


def _listed(jobs: Sequence[Job], list_files: ListCall) -> dict[str, RemoteFile]:
    found = {
        remote.hashid: remote for status in REMOTE_UNFINISHED for remote in list_files(None, status)
    }
    # The document does not say whether a list without a folder shows what lies in folders.
    missing = Counter(job.folder for job in jobs if (job.hashid or "") not in found)
    for folder, count in missing.items():
        if folder is not None and count > _FEW:
            # One list of all that is in the folder tells of those that have left as well.
            for remote in list_files(folder, None):
                found[remote.hashid] = remote
    return found
