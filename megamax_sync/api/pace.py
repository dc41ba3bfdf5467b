"""How fast the service is asked, and who waits while it is in trouble."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from megamax_sync.api.retry import RetryPolicy, Stop
from megamax_sync.clock import Clock
from megamax_sync.errors import Blame, MegamaxError, ServiceError, UploadRefused

#: Seconds until rejected credentials are tried again: the first time, and at the most.
_CREDENTIALS_FIRST = 60.0
_CREDENTIALS_MOST = 300.0
#: How often those who wait look whether the gate has opened, in seconds.
_LOOK = 1.0


class Pacer:
    """At most ``rate`` calls a second over all threads; 0 for no limit.

    A burst of ``rate`` calls, rounded up, may go at once, but never more in any one second.
    """

    def __init__(self, rate: float, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._burst = max(1, math.ceil(rate))
        self._period = self._burst / rate if rate > 0 else 0.0
        self._granted: deque[float] = deque(maxlen=self._burst)

    def wait(self, stop: Stop | None = None) -> bool:
        """Wait for this caller's turn; False if ``stop`` was set before it came."""
        if not self._period:
            return True
        with self._lock:
            now = self._clock.monotonic()
            turn = now
            if len(self._granted) == self._burst:
                turn = max(now, self._granted[0] + self._period)
            self._granted.append(turn)
        if turn <= now:
            return True
        return not (stop or threading.Event()).wait(turn - now)


@dataclass(frozen=True, slots=True)
class Pass:
    """One caller's way through the gate; ``probe`` is its number, None while the gate was open."""

    round: int
    probe: int | None


class Gate:
    """The circuit breaker, shared by all threads that talk to the service.

    While it is open everybody passes. A failure of the service or of the credentials closes it for
    ``policy.delay``; then one caller is let through as a probe, whose success opens it and whose
    failure closes it for longer. Failures of calls that were under way when it closed count once.

    ``on_pause(reason, seconds, error)`` is called when it closes and when the reason changes, not
    for each failed probe; ``on_resume(reason, failures)`` when it opens. Reasons are ``service``
    and ``credentials``. A probe that takes longer than ``lease`` seconds (a big upload) no longer
    keeps the next one from trying.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        clock: Clock,
        *,
        on_pause: Callable[[str, float, MegamaxError], None] | None = None,
        on_resume: Callable[[str, int], None] | None = None,
        lease: float = 900.0,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._on_pause = on_pause
        self._on_resume = on_resume
        self._lease = lease
        self._lock = threading.Lock()
        self._failures = 0
        self._round = 0
        self._probe_until: float | None = None
        #: The probe that was let through last.
        self._probe = 0
        #: ``service``, ``credentials``, or None while the gate is open.
        self.paused_reason: str | None = None
        #: The failure that closed it, or the last probe's.
        self.error: MegamaxError | None = None
        #: When the next probe is due, by ``clock.now()``.
        self.until: float | None = None

    @contextmanager
    def pass_(self, stop: Stop, *, wait: bool = True) -> Iterator[Pass | None]:
        """Wait until the gate lets this caller through; yields None if ``stop`` was set first.

        Without ``wait`` it yields None also where it would have to wait.

        What happens inside the ``with`` block is the report: an exception with blame SERVICE or
        CREDENTIALS is a failure; a clean end, or an exception that can only come from an answer,
        is a success; any other (a file that cannot be read, a cancelled upload) says nothing.
        """
        entered = self._enter(stop, wait=wait)
        if entered is None:
            yield None
            return
        answered = False
        failure: MegamaxError | None = None
        try:
            yield entered
            answered = True
        except MegamaxError as exc:
            if exc.blame in (Blame.SERVICE, Blame.CREDENTIALS):
                failure = exc
            answered = failure is None and isinstance(exc, ServiceError | UploadRefused)
            raise
        finally:
            if failure is not None:
                self._failed(entered.round, failure)
            else:
                self._passed(entered.round, answered)

    @property
    def attempts(self) -> int:
        """How often a call that can be repeated is tried: a probe is one request, not three."""
        return 3 if self.paused_reason is None else 1

    def retry_now(self) -> None:
        """Let a probe through at once: the credentials are new, or somebody asked for it."""
        with self._lock:
            if self.paused_reason is not None:
                self.until = self._clock.now()
                self._probe_until = None

    def still_holds(self, entered: Pass) -> bool:
        """Tell whether a caller that has waited since for something else may go on.

        Not when the gate has closed meanwhile, or another one has become the probe. The probe's
        lease begins anew.
        """
        with self._lock:
            if self.until is None:
                return True
            if entered.probe is None or entered.probe != self._probe:
                return False
            self._probe_until = self._clock.now() + self._lease
            return True

    def _enter(self, stop: Stop, *, wait: bool) -> Pass | None:
        while not stop.is_set():
            with self._lock:
                now = self._clock.now()
                if self.until is None:
                    return Pass(self._round, None)
                left = max(self.until, self._probe_until or 0.0) - now
                if left <= 0:
                    self._probe_until = now + self._lease
                    self._probe += 1
                    return Pass(self._round, self._probe)
            if not wait:
                return None
            # Anything may open the gate before that: a probe, or retry_now.
            stop.wait(min(left, _LOOK))
        return None

    def _passed(self, entered: int, answered: bool) -> None:
        with self._lock:
            if self.paused_reason is None or entered != self._round:
                return
            self._probe_until = None
            if not answered:
                return
            reason, failures = self.paused_reason, self._failures
            self._round += 1
            self._failures = 0
            self.paused_reason = self.error = self.until = None
        if self._on_resume:
            self._on_resume(reason, failures)

    def _failed(self, entered: int, error: MegamaxError) -> None:
        reason = "credentials" if error.blame is Blame.CREDENTIALS else "service"
        with self._lock:
            if entered != self._round:
                if self.until is not None and error.retry_after is not None:
                    # It counts once, but who asks for a longer wait gets it.
                    self.until = max(self.until, self._clock.now() + error.retry_after)
                return
            said = reason == self.paused_reason
            self._failures = self._failures + 1 if said else 1
            seconds = self._pause(reason, error)
            self._round += 1
            self._probe_until = None
            self.paused_reason = reason
            self.error = error
            self.until = self._clock.now() + seconds
        if self._on_pause and not said:
            self._on_pause(reason, seconds, error)

    def _pause(self, reason: str, error: MegamaxError) -> float:
        if reason == "credentials":
            return min(_CREDENTIALS_FIRST * 2.0 ** min(self._failures - 1, 8), _CREDENTIALS_MOST)
        return self._policy.delay(self._failures, error)
