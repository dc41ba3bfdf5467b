"""What is known about a file that has no job: has it been uploaded, by whom it matters to?

A sidecar of this account and service proves the upload of exactly the file that it describes. Where
a queue was lost, files without one may have been uploaded all the same: the account's list is asked
about those before they are sent.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import datetime

import structlog

from megamax_sync import sidecar
from megamax_sync.api.models import usable_hashid
from megamax_sync.clock import Clock
from megamax_sync.job import REMOTE_CONVERTED, FileStamp
from megamax_sync.recovery.gathering import Gathering
from megamax_sync.recovery.opening import Loss
from megamax_sync.sidecar import Placement, Sidecar
from megamax_sync.state import StateFolder
from megamax_sync.store import Proof, Store

_log = structlog.get_logger()

#: The links of files that are done are asked for again over this time, in seconds, so that those of
#: a whole library are not asked for at one moment; the sooner, the sooner they expire.
_SPREAD, _SPREAD_EXPIRED = 86400.0, 3600.0
#: The mark of a queue that was made before queues were given any; see 0003_loss.sql.
_BEFORE_MARKS = "0"


class Evidence:
    """Of one instance at work."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        folder: StateFolder,
        placement: Placement,
        *,
        service: str,
        account: Callable[[], str],
        adopt: bool,
        loss: Loss | None,
    ) -> None:
        """``account`` gives the login's mark. ``adopt``: every new file may have been uploaded.

        ``loss`` is what the opening of the queue found.
        """
        self._store = store
        self._clock = clock
        self._folder = folder
        self._placement = placement
        self._service = service
        self._account = account
        self._adopt = adopt
        self._loss = loss
        self._ties = Gathering(store, placement)
        self._lost_at: float | None = None
        #: The queue was lost, and what the first scan finds is not in it yet.
        self.rebuilding = False
        #: This queue is new, and its first scan is not through.
        self._new = False
        self._rng = random.Random()

    # -- is this the first start? ------------------------------------------------------------

    def open(self) -> None:
        """Find out whether this is an earlier copy of the queue, which somebody has put there.

        Before any job may be claimed: what the copy has queued may have been sent since.
        """
        lineage, born = self._store.lineage, self._store.settings.born
        noted = self._folder.noted()
        ahead = noted is not None and noted > lineage.steps
        # A queue in a place where none was has been brought there. One of before there were marks
        # has none.
        strange = noted is None and born != _BEFORE_MARKS
        with self._store.transaction():
            if noted is not None and ahead:
                # Whoever puts the same copy there once more is found out once more.
                lineage.outgrow(noted)
            if born is not None and (ahead or strange):
                lineage.doubt()
                self._note(Loss("an earlier copy of it was put in its place"))

    def prepare(self, beat: Callable[[], None]) -> None:
        """Find out whether a queue was lost; before any file is put into this one.

        ``beat`` is called now and then, and may raise to end it.
        """
        settings = self._store.settings
        if settings.born is None:
            self._new = True
            loss = self._loss
            if loss is None and self._folder.had_queue():
                loss = Loss("it was deleted")
            if loss is None and self._is_known(beat):
                loss = Loss("it is not there, and there are sidecars of this account")
            with self._store.transaction():
                if loss is not None:
                    self._note(loss)
                settings.put("born", repr(self._clock.wall()))
        self._folder.note_queue(self._store.lineage.steps)
        # A clock that was wrong by years must not have us ask about files for ever.
        now = self._clock.now()
        if settings.lost_at is not None and settings.lost_at > now:
            settings.lost_at = now
        self._lost_at = settings.lost_at
        self.rebuilding = settings.rebuilding is not None
        if self.rebuilding:
            self._ties.gather(beat, self._is_ours)

    def rebuilt(self) -> None:
        """What the first scan has found is in the queue: say so, once, if there was a loss."""
        said = self._store.settings.rebuilding
        if said is not None:
            counts = {state.value: n for state, n in self._store.views.counts().items() if n}
            to_look_up = self._store.jobs.rests_of_lookups()
            self._store.settings.rebuilding = None
            self._store.ties.tidy()
            _log.warning("queue.rebuilt", **json.loads(said), jobs=counts, to_look_up=to_look_up)
        self.rebuilding = self._new = False

    def _note(self, loss: Loss) -> None:
        self._store.settings.lost_at = self._lost_at = self._clock.now()
        self._store.settings.rebuilding = loss.encode()
        self.rebuilding = True
        # Whatever has been queued by then.
        self._store.jobs.to_look_up(every=True)
        _log.warning("queue.lost", reason=loss.reason, set_aside=loss.set_aside, **loss.saved)

    def _is_known(self, beat: Callable[[], None]) -> bool:
        """Look for any sidecar of this account: by names alone, until one is found."""
        return any(self._is_ours(found) for _, found in self._ties.read_all(beat))

    # -- one file ----------------------------------------------------------------------------

    def proof(
        self,
        path: bytes,
        root: bytes | None,
        stamp: FileStamp,
        content: Callable[[], str | None],
    ) -> Proof | None:
        """Return what proves that this file has been uploaded; None for nothing.

        Its sidecar does if the file has the times of the one that was sent. Else the content tells:
        ``content`` reads it, if there is any sidecar that may be its own.
        """
        places = self._placement.may_be(path, root)
        beside: list[tuple[bytes, Sidecar]] = []
        for where in places:
            found = self._told(where)
            if found is None or found.source.size != stamp.size:
                continue
            if found.source.mtime_ns == str(stamp.mtime_ns):
                return self._proof(found, where, outdated=where != places[0])
            beside.append((where, found))
        # It stays the upload of that content if it is not this one.
        self._ties.note(beside)
        if not self._store.ties.has_size(stamp.size):
            return None
        fingerprint = content()
        if fingerprint is None:
            return None
        for where, found in [*beside, *self._ties.left_behind(stamp.size, fingerprint, self._told)]:
            if found.source.fingerprint == fingerprint:
                return self._proof(found, where, outdated=True)
        return None

    def _told(self, where: bytes) -> Sidecar | None:
        """Return the sidecar that stands there, if it tells of an upload that nobody knows.

        What is, or was, a job's proves nothing of another file: that is a copy, or was moved, or
        its job was dropped.
        """
        found = sidecar.read(where)
        if found is None or not self._is_ours(found) or not usable_hashid(found.hashid):
            return None
        return None if self._store.journal.owned([found.hashid]) else found

    def unsure(self, stamp: FileStamp, *, replaced: bool) -> bool:
        """Tell whether a file without a proof may have been uploaded before.

        ``replaced``: another version of it has a job.
        """
        if replaced or self.rebuilding:
            # An earlier copy of the queue knows versions that have been replaced since.
            return self.rebuilding
        if self._adopt:
            return True
        # Who puts its disk back, or moves it in, a week after the loss, has the older files again.
        oldest = min(stamp.mtime_ns, stamp.ctime_ns) / 1e9
        return self._lost_at is not None and oldest < self._lost_at

    def proven(self) -> None:
        """A sidecar has proven an upload of which the queue knew nothing.

        In a queue that is new, and without any other sign of a loss so far, it is one: other files
        may have been uploaded, too. Later it came in with its video.
        """
        if self._new and self._lost_at is None:
            with self._store.transaction():
                self._note(Loss("there are sidecars of this account"))

    def _is_ours(self, found: Sidecar) -> bool:
        return found.service == self._service and found.account == self._account()

    def _proof(self, found: Sidecar, where: bytes, *, outdated: bool) -> Proof:
        return Proof(
            hashid=found.hashid,
            status=found.status,
            name=found.name,
            size=found.size,
            poster=found.poster,
            uploaded_at=_unix(found.uploaded_at),
            converted_at=_unix(found.converted_at) if found.status == REMOTE_CONVERTED else None,
            mirrors=sidecar.parts_json(found.mirrors),
            direct=sidecar.parts_json(found.direct),
            direct_error=found.direct_error,
            fingerprint=found.source.fingerprint,
            sidecar=where,
            outdated=outdated,
            look_in=self._look_in(found),
            complete=any(group.mirrors for group in found.mirrors),
        )

    def _look_in(self, found: Sidecar) -> float:
        ends = [end for end in (_unix(link.expires_at) for link in found.direct) if end is not None]
        left = min(ends, default=self._clock.now() + 2 * _SPREAD) - self._clock.now()
        most = min(_SPREAD, left / 2) if left > 0 else _SPREAD_EXPIRED
        return self._rng.uniform(0.0, most)


def _unix(moment: str | None) -> float | None:
    try:
        return None if moment is None else datetime.fromisoformat(moment).timestamp()
    except (ValueError, OverflowError):
        return None
