"""What can be ordered from the pages. Each order says what has become of it."""

from __future__ import annotations

from starlette.requests import Request

from megamax_sync.config import read_timetable
from megamax_sync.http.instance import Instance

#: The longest timetable that is taken, in characters.
_LONGEST = 500


class Refused(Exception):
    """An order that cannot be carried out, and why. ``status`` is HTTP's."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Orders:
    """Written into the queue, which wakes whom they concern."""

    def __init__(self, instance: Instance) -> None:
        self._store = instance.store

    def pause(self, _request: Request, _form: dict[str, str]) -> str:
        """Hold uploads, over restarts too."""
        self._store.settings.paused = True
        return "uploads are paused"

    def resume(self, _request: Request, _form: dict[str, str]) -> str:
        """Let uploads go on."""
        self._store.settings.paused = False
        return "uploads go on"

    def retry(self, request: Request, _form: dict[str, str]) -> str:
        """Put a failed job back to work."""
        job = self._store.jobs.get(request.path_params["job"])
        if job is None:
            raise Refused(404, "there is no job of this number")
        if not self._store.orders.retry(job):
            why = f"it is {job.state.value}"
            if self._store.orders.is_outdated(job):
                why = "its file has changed and has a newer job"
            raise Refused(409, f"job {job.id} is not to be tried again: {why}")
        return f"job {job.id} is tried again"

    def bwlimit(self, _request: Request, form: dict[str, str]) -> str:
        """Set a bandwidth limit in place of the configured one, or go back to that."""
        text = " ".join(form.get("limit", "").split())
        if text.lower() == "config":
            self._store.settings.bwlimit = None
            return "the configured limit holds again"
        if not text:
            raise Refused(422, "no limit is given: 10M, off, a timetable, or config")
        if len(text) > _LONGEST:
            raise Refused(422, "this timetable is too long")
        try:
            read_timetable(text)
        except ValueError as error:
            raise Refused(422, f"the limit {error}") from None
        self._store.settings.bwlimit = text
        return f"the limit is {text}"
