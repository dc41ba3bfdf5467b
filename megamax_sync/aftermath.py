"""What follows a job's end: who is told, and what becomes of its video. Built from the settings."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from megamax_sync.after.putter import Putter
from megamax_sync.api.retry import RetryPolicy
from megamax_sync.clock import Clock
from megamax_sync.config import Settings
from megamax_sync.loop import Loop
from megamax_sync.notify.alarm import Alarm
from megamax_sync.notify.command import AT_A_TIME, Commands, Desk
from megamax_sync.sidecar import Placement
from megamax_sync.store import Store
from megamax_sync.store.outbox import AFTER, COMMAND, WEBHOOK
from megamax_sync.troubles import Problem

if TYPE_CHECKING:
    from megamax_sync.notify.message import Messages

_ALL = ("done", "failed", "problem", "recovery")
#: The first waits of what is delivered, and the longest, in seconds.
_FIRST, _LONGEST = 5.0, 3600.0


class Aftermath:
    """The loops that take from the outbox what is set; none where nothing is."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        placement: Placement,
        problem: Callable[[], Problem | None],
        clock: Clock,
        stop: threading.Event,
        on_error: Callable[[str, BaseException], None],
        on_fine: Callable[[str], None],
    ) -> None:
        """Start nothing. Raises :class:`~megamax_sync.errors.ConfigError` for addresses that
        Apprise does not understand.
        """
        self._store = store
        self._channels: dict[str, tuple[str, ...]] = {}
        self._messages: Messages | None = None
        self.loops: list[Loop] = []
        first = min(_FIRST, settings.retry_seconds)
        common: dict[str, Any] = {
            "store": store,
            "clock": clock,
            "stop": stop,
            "on_error": on_error,
            "on_fine": on_fine,
        }
        delivery = {**common, "backoff": RetryPolicy(first, _LONGEST).delay}
        self._commands(settings, delivery)
        self._webhook(settings, delivery)
        self._notify(settings, delivery)
        if any("problem" in events for events in self._channels.values()):
            self.loops.append(Alarm(problem=problem, **common))
        if settings.after_done.action != "keep":
            target = settings.after_done.target
            folder = None if target is None else os.fsencode(target)
            self._channels[AFTER] = ("done",)
            self.loops.append(Putter(target=folder, placement=placement, **delivery))

    def _commands(self, settings: Settings, delivery: Mapping[str, Any]) -> None:
        commands = {"done": settings.on_done, "failed": settings.on_failed}
        events = tuple(event for event, command in commands.items() if command)
        if not events:
            return
        self._channels[COMMAND] = events
        desk = Desk(self._store)
        self.loops += [
            Commands(
                number,
                desk=desk,
                commands={event: commands[event] for event in events},
                environ=os.environ,
                state_dir=settings.state_dir,
                **delivery,
            )
            for number in range(1, AT_A_TIME + 1)
        ]

    def _webhook(self, settings: Settings, delivery: Mapping[str, Any]) -> None:
        if settings.webhook is None:
            return
        from megamax_sync.api.transport import trust
        from megamax_sync.notify.webhook import Webhook

        self._channels[WEBHOOK] = _ALL
        secret = settings.webhook_secret
        self.loops.append(
            Webhook(
                url=settings.webhook.get_secret_value(),
                secret=secret.get_secret_value() if secret else None,
                tls=trust(settings.ca_file),
                trust_env=_trusts_environment(settings),
                **delivery,
            )
        )

    def _notify(self, settings: Settings, delivery: Mapping[str, Any]) -> None:
        if not settings.notify:
            return
        from megamax_sync.notify.message import Messages, channel_of

        urls = list(dict.fromkeys(url.get_secret_value() for url in settings.notify))
        self._channels |= dict.fromkeys(map(channel_of, urls), _ALL)
        trust_env = _trusts_environment(settings)
        self._messages = Messages(urls=urls, environ=os.environ, trust_env=trust_env, **delivery)
        self._messages.check()
        self.loops.append(self._messages)

    def open(self) -> None:
        """Have the queue write down what these loops are to deliver; before any job ends."""
        self._store.outbox.listen(self._channels)

    def settled(self) -> bool:
        """Tell whether all is told and done, now that no more jobs are going to end.

        What could not be delivered at the first try is left to the next run; commands are not.
        """
        if not self._store.outbox.owed():
            return True
        if self._messages is not None and not self._messages.hurry.is_set():
            self._messages.hurry.set()
            self._store.database.wake()
        return False


def _trusts_environment(settings: Settings) -> bool:
    return settings.proxy is not None and settings.proxy.get_secret_value() == "env"
