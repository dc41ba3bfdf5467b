"""Builds all stages of an instance from its settings, and what they share.

Beside the daemon, only this module knows all stages; it hands each the plain values it needs.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from megamax_sync.aftermath import Aftermath
from megamax_sync.api.bandwidth import Bandwidth
from megamax_sync.api.client import MegamaxClient
from megamax_sync.api.pace import Gate, Pacer
from megamax_sync.api.retry import RetryPolicy
from megamax_sync.bwlimit import BandwidthLimit
from megamax_sync.clock import Clock
from megamax_sync.config import Settings
from megamax_sync.errors import MegamaxError
from megamax_sync.loop import Loop
from megamax_sync.meters import Meters
from megamax_sync.pruner import Pruner
from megamax_sync.recovery import Evidence, Keeper
from megamax_sync.recovery.opening import Loss
from megamax_sync.sidecar import Placement, account_mark
from megamax_sync.state import StateFolder
from megamax_sync.store import Store
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
from megamax_sync.watch.rules import Folders
from megamax_sync.watch.watcher import Watcher

_log = structlog.get_logger()

#: A probe of the upload host is a whole upload; the next worker tries when it takes longer.
_PROBE_SECONDS = 60.0


class Stages:
    """The loops of one instance, in the order of the flow; nothing is started.

    ``credentials`` gives login and key, ``problem`` what is wrong now. ``renewed`` is called when
    the state folder was made anew, ``on_pause`` when the service or the credentials make all wait,
    and when the queue is lost. For ``scan``, ``under`` and ``handed_in`` see
    :class:`~megamax_sync.daemon.Daemon`; ``loss`` is what the opening of the queue found.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        folder: StateFolder,
        *,
        clock: Clock,
        stop: threading.Event,
        troubles: Troubles,
        meters: Meters,
        credentials: Callable[[], tuple[str, str]],
        problem: Callable[[], Problem | None],
        renewed: Callable[[], None],
        on_pause: Callable[[], None],
        loss: Loss | None,
        scan: bool,
        under: Sequence[bytes] | None,
        handed_in: bool,
    ) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._troubles = troubles
        self._meters = meters
        self._credentials = credentials
        self._on_pause = on_pause
        self._scan = scan
        self._under = under
        self._pacer = Pacer(settings.api_rate, clock)
        self._policy = RetryPolicy(settings.retry_seconds, settings.retry_max_seconds)
        self._common: dict[str, Any] = {
            "clock": clock,
            "stop": stop,
            "on_error": self._report,
            "on_fine": troubles.fine,
        }
        self.clients: list[MegamaxClient] = []
        self.api_gate = self._gate("api")
        self.upload_gate = self._gate("upload", lease=_PROBE_SECONDS)
        self.limit = BandwidthLimit(store, settings.bwlimit, clock)
        self.bandwidth = Bandwidth(self.limit, clock)
        placement = placement_of(settings)
        self.evidence = Evidence(
            store,
            clock,
            folder,
            placement,
            service=settings.api_url,
            account=self._account,
            adopt=settings.adopt,
            loss=loss,
        )
        # Once at the start is enough for what ends by itself.
        rescan_seconds = 0.0 if scan else settings.rescan_seconds
        self.watcher = Watcher(
            store,
            rules(settings, watched=not handed_in),
            Folders(settings.folder, settings.folders),
            settle_seconds=settings.settle_seconds,
            allow_sparse=settings.allow_sparse,
            rescan_seconds=rescan_seconds,
            observer=None if scan else settings.observer,
            past=self.evidence,
            root_of=rules(settings).root_of,
            settled=meters.settled,
            **self._common,
        )
        self.uploaders = self._uploaders(placement)
        self.tracker = self._tracker(placement)
        self.keeper = Keeper(
            store=store,
            folder=folder,
            evidence=self.evidence,
            taken_in=self.watcher.taken_in,
            rescan_seconds=rescan_seconds,
            renewed=renewed,
            on_broken=on_pause,
            **self._common,
        )
        self.aftermath = Aftermath(
            settings, store=store, placement=placement, problem=problem, **self._common
        )
        self.loops: list[Loop] = [
            self.watcher,
            *self._comparers(placement),
            *self.uploaders,
            self.tracker,
            *self.aftermath.loops,
            self.keeper,
            *([] if scan else [Pruner(store, **self._common)]),
        ]

    def _comparers(self, placement: Placement) -> list[Comparer]:
        if not self._settings.dedupe:
            return []
        comparer = Comparer(
            self._store,
            ledger=self._ledger(),
            preflight=placement.check,
            lost=self.watcher.coverage.roots.lost,
            under=self._under,
            **self._common,
        )
        return [comparer]

    def _uploaders(self, placement: Placement) -> list[Uploader]:
        settings, store, clock = self._settings, self._store, self._clock
        owner = f"{os.getpid()}-{secrets.token_hex(4)}"
        listing = Listing(clock)
        return [
            Uploader(
                number,
                store=store,
                client=self._client(),
                api_gate=self.api_gate,
                upload_gate=self.upload_gate,
                policy=self._policy,
                ledger=self._ledger(),
                lookup=Lookup(store, clock, first=settings.retry_seconds),
                adoption=Adoption(store, clock, listing, first=settings.retry_seconds),
                may_look_up=self.watcher.taken_in.is_set,
                bandwidth=self.bandwidth,
                preflight=placement.check,
                owner=owner,
                under=self._under,
                dedupe=settings.dedupe,
                count=self._meters.sent,
                **self._common,
            )
            for number in range(1, settings.workers + 1)
        ]

    def _ledger(self) -> Ledger:
        return Ledger(
            self._store,
            policy=self._policy,
            max_attempts=self._settings.max_attempts,
            first_lookup=min(1.0, self._settings.retry_seconds),
            **self._common,
        )

    def _tracker(self, placement: Placement) -> Tracker:
        writer = SidecarWriter(
            self._store,
            placement,
            self._clock,
            service=self._settings.api_url,
            account=self._account,
            lost=self.watcher.coverage.roots.lost,
            on_error=self._troubles.report,
            on_fine=self._troubles.fine,
        )
        usual = Usual(self._store.settings)
        return Tracker(
            store=self._store,
            client=self._client(),
            gate=self.api_gate,
            policy=self._policy,
            usual=usual,
            cadence=Cadence(self._settings.poll_seconds, usual),
            writer=writer,
            refresh_links=self._settings.refresh_links,
            follow_done=not self._scan,
            under=self._under,
            **self._common,
        )

    def _account(self) -> str:
        return account_mark(self._credentials()[0])

    def _report(self, part: str, error: BaseException) -> None:
        self._troubles.report(part, error)
        self.keeper.hear(error)

    def _client(self) -> MegamaxClient:
        settings = self._settings
        client = MegamaxClient(
            settings.api_url,
            credentials=self._credentials,
            timeout=settings.timeout_seconds,
            verify_upload_tls=settings.upload_verify_tls,
            ca_file=settings.ca_file,
            proxy=settings.proxy.get_secret_value() if settings.proxy else None,
            pacer=self._pacer,
            min_rate=settings.min_rate,
            leave_after=settings.continue_seconds,
            now=self._clock.now,
        )
        client.on_call = self._meters.called
        self.clients.append(client)
        return client

    def _gate(self, part: str, lease: float = 900.0) -> Gate:
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

        return Gate(self._policy, self._clock, on_pause=paused, on_resume=resumed, lease=lease)
