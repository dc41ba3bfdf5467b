"""What has to be done about a finished file. Pure: by its stamp and the newest job of its path."""

from __future__ import annotations

import enum

from megamax_sync.job import VANISHED, FileStamp, Job, JobState


class Need(enum.Enum):
    """What has to be done about a file, given the newest job of its path."""

    NOTHING = "known"
    ADD = "new"
    UPDATE = "replaced while it was queued"
    RETURN = "returned"
    COMPARE = "touched or replaced"
    LATER = "being sent"


def need(job: Job | None, stamp: FileStamp) -> Need:
    """Decide from what is known without reading the file."""
    if job is None:
        return Need.ADD
    if job.state is JobState.SKIPPED and job.error == VANISHED:
        return Need.RETURN
    if job.state is JobState.QUEUED and not job.ready:
        # Handed in, or handed back by the upload: it waits for this very look.
        return Need.UPDATE
    if job.stamp.same_version(stamp):
        return Need.NOTHING
    if job.state is JobState.QUEUED:
        return Need.UPDATE
    if job.state is JobState.UPLOADING:
        # The upload notices by itself, and hands the file back.
        return Need.LATER
    if job.stamp.size != stamp.size:
        return Need.ADD
    if job.fingerprint is not None:
        return Need.COMPARE
    # Some file systems number their files anew at every mount; the times are then all there is.
    return Need.NOTHING if job.stamp.mtime_ns == stamp.mtime_ns else Need.ADD
