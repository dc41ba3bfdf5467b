"""The state of everything, as ``status --json`` and the pages show it (CONTRACT section 3)."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from megamax_sync.clock import iso
from megamax_sync.job import Job, JobState

if TYPE_CHECKING:
    from megamax_sync.store import Store


def status(
    store: Store | None,
    live: dict[str, Any] | None,
    *,
    now: float,
    state: JobState | None = None,
    limit: int = 100,
    jobs: Sequence[Job] | None = None,
) -> dict[str, Any]:
    """Build the document. ``store`` None: no queue yet. ``live``: the running instance's answer.

    ``now`` is Unix time in seconds. ``jobs``: these, in place of the newest.
    """
    uploads = {one["job"]: one for one in (live or {}).get("uploads", [])}
    rate = sum(one["rate"] for one in uploads.values())
    counts = store.views.counts() if store else dict.fromkeys(JobState, 0)
    queued = store.views.bytes_in(JobState.QUEUED) if store else 0
    uploading = store.views.bytes_in(JobState.UPLOADING) if store else 0
    left = to_send({"queued": queued, "uploading": uploading}, uploads.values())
    if jobs is None:
        jobs = store.views.jobs(state=state, limit=limit) if store else []
    return {
        "daemon": {
            "running": live is not None,
            "pid": (live or {}).get("pid"),
            "since": (live or {}).get("since"),
            "paused": store.settings.paused if store else False,
            "problem": (live or {}).get("problem"),
            "problem_detail": (live or {}).get("problem_detail"),
            "observer": (live or {}).get("observer"),
            "bwlimit": (live or {}).get("bwlimit"),
        },
        "counts": {name.value: count for name, count in counts.items()},
        "bytes": {
            "queued": queued,
            "uploading": uploading,
            "sent_per_second": round(rate) if live else None,
            "eta_seconds": round(left / rate) if rate > 0 else None,
        },
        "jobs": [job_row(job, uploads.get(job.id), now=now) for job in jobs],
    }


def to_send(volume: Mapping[str, int], uploads: Iterable[Mapping[str, Any]]) -> int:
    """Return how many bytes are left: of ``volume``, the document's, less what ``uploads`` sent."""
    sent = sum(int(one["sent"]) for one in uploads)
    return volume["queued"] + max(0, volume["uploading"] - sent)


def job_row(job: Job, upload: dict[str, Any] | None = None, *, now: float) -> dict[str, Any]:
    """Render one job. ``upload``: its progress, while it is being sent; ``now``: Unix time."""
    sent = upload["sent"] if upload else None
    if job.hashid is not None:
        sent = job.stamp.size
    waits = job.state is JobState.QUEUED and job.next_attempt_at > now
    return {
        "id": job.id,
        "path": readable_path(job.path),
        "path_b64": path_b64(job.path),
        "state": job.state.value,
        "remote_status": job.remote_status,
        "hashid": job.hashid,
        "folder": job.folder,
        "size": job.stamp.size,
        "sent": sent,
        "attempts": job.attempts,
        "next_attempt_at": iso(job.next_attempt_at) if waits else None,
        "error": job.error,
        "created_at": iso(job.created_at),
        "updated_at": iso(job.updated_at),
        "sidecar": None if job.sidecar is None else readable_path(job.sidecar),
    }


def readable_path(path: bytes) -> str:
    """Decode a path; what is no UTF-8 becomes U+FFFD."""
    return path.decode("utf-8", "replace")


def path_b64(path: bytes) -> str | None:
    """Return the path's bytes in base64 if they are no UTF-8, else None."""
    try:
        path.decode("utf-8")
    except UnicodeDecodeError:
        return base64.b64encode(path).decode()
    return None


def shown(path: bytes) -> str:
    """Render a path for a terminal: valid UTF-8, one line, no control characters."""
    # Not os.fsdecode: what a name looks like must not depend on the locale.
    try:
        text = path.decode()
    except UnicodeDecodeError:
        text = path.decode("utf-8", "surrogateescape").encode("utf-8", "backslashreplace").decode()
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
