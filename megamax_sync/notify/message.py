"""MEGAMAX_NOTIFY: messages by Apprise, so many events in one that a season is one message."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence

from megamax_sync.childenv import child_environment
from megamax_sync.clock import Clock
from megamax_sync.errors import ConfigError
from megamax_sync.notify import apprise_child
from megamax_sync.notify.apprise_child import NOT_INSTALLED, NOT_SENT, NOT_UNDERSTOOD
from megamax_sync.notify.courier import Courier, Undelivered
from megamax_sync.notify.process import run
from megamax_sync.store import Letter, Store
from megamax_sync.store.outbox import NOTIFY

#: A message goes out once nothing more is on its way and nothing has come for so long, or when its
#: oldest event is that old, in seconds.
QUIET_SECONDS, OLDEST_SECONDS = 20.0, 1800.0
#: How long Apprise may take for one message, in seconds.
_SECONDS = 60.0
#: Files that are named in one message; the others are counted.
_NAMED = 20
#: More than fits in any message.
_MOST = 5000
_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})

_COMMAND = (sys.executable, "-P", "-m", apprise_child.__name__)


def channel_of(url: str) -> str:
    """Name an address without showing it."""
    return NOTIFY + hashlib.sha256(b"megamax-sync notify\0" + url.encode()).hexdigest()[:12]


class Messages(Courier):
    """Sends each address what has gathered for it."""

    kind = "notify"

    def __init__(
        self,
        *,
        urls: Sequence[str],
        environ: Mapping[str, str],
        trust_env: bool,
        quiet: float = QUIET_SECONDS,
        oldest: float = OLDEST_SECONDS,
        store: Store,
        backoff: Callable[[int], float],
        clock: Clock,
        stop: threading.Event,
        on_error: Callable[[str, BaseException], None],
        on_fine: Callable[[str], None],
    ) -> None:
        """``trust_env``: let Apprise go through the proxies that the environment names."""
        self._urls = {channel_of(url): url for url in urls}
        super().__init__(
            "notify", store=store, channels=list(self._urls), backoff=backoff, clock=clock,
            stop=stop, on_error=on_error, on_fine=on_fine,
        )  # fmt: skip
        self._env = _environment(environ, trust_env=trust_env)
        self._quiet = quiet
        self._oldest = oldest
        #: Nothing more will come: send what there is.
        self.hurry = threading.Event()

    def deliver_due(self, channel: str) -> float | None:
        """Send the gathered events, if the time has come."""
        letters = self.store.outbox.due(channel, limit=_MOST)
        if not letters:
            return None
        wait = self._patience(letters)
        if wait > 0:
            return wait
        title, text = compose(letters)
        try:
            self._send({"urls": [self._urls[channel]], "title": title, "body": text})
        except Undelivered as error:
            self.failed(letters, error)
        else:
            self.store.outbox.delivered(letters)
        return None

    def _send(self, given: Mapping[str, object]) -> None:
        stdin = json.dumps(given).encode()
        outcome = run(_COMMAND, env=self._env, seconds=_SECONDS, loop=self, stdin=stdin)
        if outcome.status != 0:
            # What Apprise says of it may hold the address.
            raise Undelivered(_meaning(outcome.status))

    def _patience(self, letters: Sequence[Letter]) -> float:
        """Return for how many seconds more events are waited for."""
        if self.hurry.is_set() or any(one.job is None or one.attempts for one in letters):
            return 0.0
        now = self.clock.now()
        oldest = letters[0].at + self._oldest - now
        quiet = letters[-1].at + self._quiet - now
        # A queue that moves wakes this loop; one that stands still is looked at now and then.
        return max(0.0, min(oldest, self._quiet if self.store.outbox.busy() else quiet))

    def check(self) -> None:
        """Find out whether Apprise is there and understands each address.

        Raises :class:`ConfigError`. Call it before the loop is started.
        """
        urls = list(self._urls.values())
        given = json.dumps({"urls": urls}).encode()
        try:
            outcome = run(
                [*_COMMAND, "check"], env=self._env, seconds=_SECONDS, loop=self, stdin=given
            )
        except Undelivered as error:
            raise ConfigError(f"MEGAMAX_NOTIFY: Apprise {error}; try again") from error
        if outcome.status == NOT_INSTALLED:
            raise ConfigError(
                "MEGAMAX_NOTIFY: needs Apprise, which is not installed; "
                "pip install 'megamax-sync[notify]' (docs/hooks.md for the image), or take this "
                "setting away"
            )
        if outcome.status == NOT_UNDERSTOOD:
            raise ConfigError(
                *(
                    f"MEGAMAX_NOTIFY: address {number} of {len(urls)} is none that Apprise "
                    "understands; see Apprise's list of services for how it is written"
                    for number in outcome.output.decode().split()
                )
            )
        if outcome.status != 0:
            raise ConfigError(f"MEGAMAX_NOTIFY: {_meaning(outcome.status)}; see its installation")


def _environment(environ: Mapping[str, str], *, trust_env: bool) -> dict[str, str]:
    env = child_environment(environ, {})
    if not trust_env:
        env = {name: value for name, value in env.items() if name.lower() not in _PROXIES}
    return env


def _meaning(status: int) -> str:
    if status == NOT_SENT:
        return "the service behind an address of MEGAMAX_NOTIFY did not take the message"
    return f"Apprise ended with status {status}"


def compose(letters: Sequence[Letter]) -> tuple[str, str]:
    """Write a message about these events: its title and its text."""
    done = [one for one in letters if one.event == "done"]
    failed = [one for one in letters if one.event == "failed"]
    others = [one for one in letters if one.job is None]
    parts = [f"{len(done)} done"] if done else []
    parts += [f"{len(failed)} failed"] if failed else []
    parts += [f"{one.event}: {one.problem}" for one in others[-3:]]
    if len(letters) == 1 and not others:
        parts = [f"{letters[0].event}: {_name(letters[0])}"]
    lines = [_sentence(one) for one in others[-_NAMED:]]
    lines += [f"failed: {_name(one)}: {one.error}" for one in failed[:_NAMED]]
    lines += _more(failed, "failed")
    lines += [f"done: {_name(one)}" for one in done[:_NAMED]]
    lines += _more(done, "done")
    return f"megamax-sync: {', '.join(parts)}", "\n".join(lines)


def _sentence(letter: Letter) -> str:
    if letter.event == "recovery":
        return f"recovery: {letter.problem} is over"
    return f"problem: {letter.problem}: {letter.error}"


def _more(letters: Sequence[Letter], event: str) -> list[str]:
    left = len(letters) - _NAMED
    return [f"… and {left} more {event}"] if left > 0 else []


def _name(letter: Letter) -> str:
    name = os.path.basename(letter.path or b"").decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in name)
