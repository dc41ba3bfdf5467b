"""Starts the stages, watches over them, and stops them in the order of the flow."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from megamax_sync import __version__
from megamax_sync.api.pace import Gate
from megamax_sync.clock import Clock, iso
from megamax_sync.config import Settings
from megamax_sync.control import ControlServer
from megamax_sync.errors import StoreError
from megamax_sync.job import JobState
from megamax_sync.loop import Pulse
from megamax_sync.meters import Meters
from megamax_sync.recovery import open_queue
from megamax_sync.stages import Stages
from megamax_sync.state import StateFolder
from megamax_sync.troubles import Problem, Troubles
from megamax_sync.wanted import rules

_log = structlog.get_logger()

#: Seconds for a clean stop: systemd's and Docker's patience ends at 10.
STOP_SECONDS = 8.0


class Daemon:
    """One instance at work on one state folder, whose lock the caller holds.

    ``scan``: for ``--scan`` and ``upload --wait``; no observer, no later looks at what is done.
    ``under``: send and track only what lies in these folders, or is one of these files.
    ``handed_in``: no folder is scanned; what is to be done is in the queue.
    ``on_pause`` is called, on any thread, when the service or the credentials make all wait, and
    when the queue is lost (``keeper.broken``): stop this one then, and make another.
    """

    def __init__(
        self,
        settings: Settings,
        folder: StateFolder,
        *,
        scan: bool = False,
        under: Sequence[bytes] | None = None,
        handed_in: bool = False,
        on_pause: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.clock = Clock()
        self.stopping = threading.Event()
        self.troubles = Troubles()
        self.meters = Meters()
        self.started_at = self.clock.wall()
        login, key = settings.require_credentials()
        self._credentials = (login.get_secret_value(), key.get_secret_value())
        self.store, loss = open_queue(folder.queue, self.clock, rules(settings).root_of)
        self._control = ControlServer(folder.socket, self._answer)
        try:
            stages = Stages(
                settings,
                self.store,
                folder,
                clock=self.clock,
                stop=self.stopping,
                troubles=self.troubles,
                meters=self.meters,
                credentials=lambda: self._credentials,
                problem=self.problem,
                renewed=self._control.open_again,
                on_pause=on_pause,
                loss=loss,
                scan=scan,
                under=under,
                handed_in=handed_in,
            )
        except BaseException:
            self._control.close()
            self.store.close()
            raise
        self.watcher, self.tracker = stages.watcher, stages.tracker
        self.uploaders, self._clients = stages.uploaders, stages.clients
        self.keeper, self.aftermath, self.loops = stages.keeper, stages.aftermath, stages.loops
        self.api_gate, self.upload_gate = stages.api_gate, stages.upload_gate
        self.bandwidth, self.limit, self._evidence = stages.bandwidth, stages.limit, stages.evidence

    # -- life --------------------------------------------------------------------------------

    def start(self) -> None:
        """Rescue what a dead instance left, and start all stages."""
        self.aftermath.open()
        self.store.journal.rescue()
        for job in self.store.jobs.rescue():
            _log.info("upload.rescued", job=job.id, path=job.path)
        self._evidence.open()
        try:
            self._control.open()
        except OSError as error:
            raise StoreError(f"the control socket cannot be made: {error.strerror}") from error
        _log.info("daemon.started", version=__version__, pid=os.getpid())
        for loop in self.loops:
            loop.start()

    def stop(self, budget: float = STOP_SECONDS) -> bool:
        """Stop in the order of the flow; True if every loop ended within ``budget`` seconds."""
        _log.info("daemon.stopping")
        until = time.monotonic() + budget
        self.stopping.set()
        self.store.database.wake()
        self.watcher.close(budget / 8)
        self._join(time.monotonic() + budget / 3)
        # Whoever still waits for the network is not going to hear anything useful in time.
        for uploader in self.uploaders:
            uploader.abort()
        self.tracker.abort()
        self._join(until)
        self._control.close()
        self.keeper.finish()
        clean = not any(loop.is_alive() for loop in self.loops)
        if clean:
            for client in self._clients:
                client.close()
            self.store.close()
        _log.info("daemon.stopped", clean=clean)
        return clean

    def _join(self, until: float) -> None:
        for loop in self.loops:
            loop.join(max(0.0, until - time.monotonic()))

    def renew_credentials(self, login: str, key: str) -> None:
        """Use other credentials from the next call on, and try them at once."""
        if (login, key) != self._credentials:
            self._credentials = (login, key)
            self.try_service_now()

    def try_service_now(self) -> None:
        """Ask once more, without delay, where all wait: somebody may have mended something."""
        self.api_gate.retry_now()
        self.upload_gate.retry_now()
        self.store.database.wake()

    # -- how it is ---------------------------------------------------------------------------

    def problem(self) -> Problem | None:
        """Return what is wrong now, the worst first."""
        for reason, word in (("credentials", "credentials"), ("service", "unreachable")):
            for gate in (self.api_gate, self.upload_gate):
                if gate.paused_reason == reason and not self._is_idle(gate):
                    return Problem(word, str(gate.error))
        unwatched = self.watcher.coverage.problem()
        return self.troubles.disk_full() or (Problem("watch", unwatched) if unwatched else None)

    def _is_idle(self, gate: Gate) -> bool:
        # Nobody probes the upload host while nothing is to be sent; what is claimed is the probe's.
        with contextlib.suppress(StoreError):
            return (
                gate is self.upload_gate
                and self.store.jobs.next_claim(cleared=self.settings.dedupe) is None
                and not self.store.views.counts()[JobState.UPLOADING]
            )
        return False

    def pulses(self) -> list[Pulse]:
        """Return the heartbeat of every loop."""
        return [loop.pulse() for loop in self.loops]

    def rate(self) -> float:
        """Return how fast all uploads together are, in bytes a second."""
        now = self.clock.monotonic()
        uploads = [up.progress for up in self.uploaders]
        return sum(one.rate(now) for one in uploads if one is not None)

    def live(self) -> dict[str, Any]:
        """Return what is only known while it happens; see :mod:`megamax_sync.status`."""
        problem, now = self.problem(), self.clock.monotonic()
        uploads = [up.progress for up in self.uploaders if up.progress is not None]
        return {
            "pid": os.getpid(),
            "since": iso(self.started_at),
            "problem": problem and problem.word,
            "problem_detail": problem and problem.detail,
            "observer": self.watcher.coverage.kind,
            "bwlimit": round(self.bandwidth.limit() or 0),
            "uploads": [
                {"job": one.job, "sent": one.sent, "size": one.size, "rate": one.rate(now)}
                for one in uploads
            ],
            **self.parts(),
        }

    def parts(self) -> dict[str, Any]:
        """Return how each loop is, as part of :meth:`live`; waits for nobody, whoever is stuck."""
        return {
            "parts": [
                {"part": pulse.part, "age": round(pulse.age, 1), "stuck": pulse.stuck}
                for pulse in self.pulses()
            ]
        }

    def _answer(self, question: str) -> dict[str, Any]:
        if question == "wake":
            self.store.database.wake()
            return {}
        return self.parts() if question == "parts" else self.live()
