"""Builds the stages, starts them, watches over them, and stops them in the order of the flow.

Only this module knows all stages; it hands each the plain values it needs.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from megamax_sync import __version__
from megamax_sync.aftermath import Aftermath
from megamax_sync.api.bandwidth import Bandwidth
from megamax_sync.api.client import MegamaxClient
from megamax_sync.api.pace import Gate, Pacer
from megamax_sync.api.retry import RetryPolicy
from megamax_sync.bwlimit import BandwidthLimit
from megamax_sync.clock import Clock, iso
from megamax_sync.config import Settings
from megamax_sync.control import ControlServer
from megamax_sync.errors import MegamaxError, StoreError
from megamax_sync.loop import Pulse
from megamax_sync.meters import Meters
from megamax_sync.pruner import Pruner
from megamax_sync.recovery.evidence import Evidence
from megamax_sync.recovery.keeper import Keeper
from megamax_sync.recovery.opening import open_queue
from megamax_sync.sidecar import account_mark
from megamax_sync.state import StateFolder
from megamax_sync.track.cadence import Cadence
from megamax_sync.track.tracker import Tracker
from megamax_sync.track.usual import Usual
from megamax_sync.track.writer import SidecarWriter
from megamax_sync.troubles import Problem, Troubles
from megamax_sync.upload.adoption import Adoption, Listing
from megamax_sync.upload.comparer import Comparer
from megamax_sync.upload.ledger import Ledger
from megamax_sync.upload.lookup import Lookup
from megamax_sync.upload.worker import Uploader
from megamax_sync.wanted import placement_of, rules
from megamax_sync.watch.rules import Folders, Rules
from megamax_sync.watch.watcher import Watcher

_log = structlog.get_logger()

#: Seconds for a clean stop: systemd's and Docker's patience ends at 10.
STOP_SECONDS = 8.0
#: A probe of the upload host is a whole upload; the next worker tries when it takes longer.
_PROBE_SECONDS = 60.0


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
        self._on_pause = on_pause
        self._owner = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._clients: list[MegamaxClient] = []
        login, key = settings.require_credentials()
        self._credentials = (login.get_secret_value(), key.get_secret_value())
        self._folder = folder
        self.store, self._loss = open_queue(folder.queue, self.clock, rules(settings).root_of)
        self._control = ControlServer(folder.socket, self._answer)
        try:
            self._build(settings, scan, under, rules(settings, watched=not handed_in))
        except BaseException:
            self._control.close()
            self.store.close()
            raise

    def _build(
        self, settings: Settings, scan: bool, under: Sequence[bytes] | None, wanted: Rules
    ) -> None:
        policy = RetryPolicy(settings.retry_seconds, settings.retry_max_seconds)
        self.api_gate = self._gate("api", policy)
        self.upload_gate = self._gate("upload", policy, lease=_PROBE_SECONDS)
        pacer = Pacer(settings.api_rate, self.clock)
        self.bandwidth = Bandwidth(
            BandwidthLimit(self.store, settings.bwlimit, self.clock), self.clock
        )
        placement = placement_of(settings)
        common: dict[str, Any] = {
            "clock": self.clock,
            "stop": self.stopping,
            "on_error": self._report,
            "on_fine": self.troubles.fine,
        }
        evidence = Evidence(
            self.store,
            self.clock,
            self._folder,
            placement,
            service=settings.api_url,
            account=lambda: account_mark(self._credentials[0]),
            adopt=settings.adopt,
            loss=self._loss,
        )
        self.watcher = Watcher(
            self.store,
            wanted,
            Folders(settings.folder, settings.folders),
            settle_seconds=settings.settle_seconds,
            allow_sparse=settings.allow_sparse,
            rescan_seconds=0.0 if scan else settings.rescan_seconds,
            observer=None if scan else settings.observer,
            past=evidence,
            settled=self.meters.settled,
            **common,
        )
        listing = Listing(self.clock)
        self.uploaders = [
            Uploader(
                number,
                store=self.store,
                client=self._client(settings, pacer),
                api_gate=self.api_gate,
                upload_gate=self.upload_gate,
                policy=policy,
                ledger=Ledger(
                    self.store,
                    policy=policy,
                    max_attempts=settings.max_attempts,
                    first_lookup=min(1.0, settings.retry_seconds),
                    **common,
                ),
                lookup=Lookup(self.store, self.clock, first=settings.retry_seconds),
                adoption=Adoption(self.store, self.clock, listing, first=settings.retry_seconds),
                may_look_up=self.watcher.taken_in.is_set,
                bandwidth=self.bandwidth,
                preflight=placement.check,
                owner=self._owner,
                under=under,
                dedupe=settings.dedupe,
                count=self.meters.sent,
                **common,
            )
            for number in range(1, settings.workers + 1)
        ]
        writer = SidecarWriter(
            self.store,
            placement,
            self.clock,
            service=settings.api_url,
            account=lambda: account_mark(self._credentials[0]),
            on_error=self.troubles.report,
            on_fine=self.troubles.fine,
        )
        usual = Usual(self.store.settings)
        self.tracker = Tracker(
            store=self.store,
            client=self._client(settings, pacer),
            gate=self.api_gate,
            policy=policy,
            usual=usual,
            cadence=Cadence(settings.poll_seconds, usual),
            writer=writer,
            refresh_links=settings.refresh_links,
            follow_done=not scan,
            under=under,
            **common,
        )
        comparer = Comparer(
            self.store,
            preflight=placement.check,
            lost=self.watcher.coverage.roots.lost,
            under=under,
            **common,
        )
        comparers = [comparer] if settings.dedupe else []
        self.keeper = Keeper(
            store=self.store,
            folder=self._folder,
            evidence=evidence,
            taken_in=self.watcher.taken_in,
            rescan_seconds=0.0 if scan else settings.rescan_seconds,
            renewed=self._control.open_again,
            on_broken=self._on_pause,
            **common,
        )
        pruners = [] if scan else [Pruner(self.store, **common)]
        self.aftermath = Aftermath(
            settings, store=self.store, placement=placement, problem=self.problem, **common
        )
        self.loops = [
            self.watcher,
            *comparers,
            *self.uploaders,
            self.tracker,
            *self.aftermath.loops,
            self.keeper,
            *pruners,
        ]

    def _report(self, part: str, error: BaseException) -> None:
        self.troubles.report(part, error)
        self.keeper.hear(error)

    def _client(self, settings: Settings, pacer: Pacer) -> MegamaxClient:
        client = MegamaxClient(
            settings.api_url,
            credentials=lambda: self._credentials,
            timeout=settings.timeout_seconds,
            verify_upload_tls=settings.upload_verify_tls,
            ca_file=settings.ca_file,
            proxy=settings.proxy.get_secret_value() if settings.proxy else None,
            pacer=pacer,
            min_rate=settings.min_rate,
            now=self.clock.now,
        )
        client.on_call = self.meters.called
        self._clients.append(client)
        return client

    def _gate(self, part: str, policy: RetryPolicy, lease: float = 900.0) -> Gate:
        def paused(reason: str, seconds: float, error: MegamaxError) -> None:
            _log.error(
                "service.paused",
                reason=reason,
                part=part,
                error=str(error),
                seconds=round(seconds, 1),
            )
            self._on_pause()

        def resumed(reason: str, failures: int) -> None:
            _log.info("service.resumed", reason=reason, part=part, failures=failures)

        return Gate(policy, self.clock, on_pause=paused, on_resume=resumed, lease=lease)

    # -- life --------------------------------------------------------------------------------

    def start(self) -> None:
        """Rescue what a dead instance left, and start all stages."""
        self.aftermath.open()
        self.store.journal.rescue()
        for job in self.store.jobs.rescue():
            _log.info("upload.rescued", job=job.id, path=job.path)
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
        with contextlib.suppress(StoreError):
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
                if gate.paused_reason != reason:
                    continue
                # Nobody probes the upload host while nothing is to be sent.
                due = self.store.jobs.next_claim(cleared=self.settings.dedupe)
                if gate is self.api_gate or due is not None:
                    return Problem(word, str(gate.error))
        unwatched = self.watcher.coverage.problem()
        return self.troubles.disk_full() or (Problem("watch", unwatched) if unwatched else None)

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
