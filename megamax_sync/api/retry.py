"""How long to wait after a failure, and the one policy by which calls are repeated."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import tenacity
from tenacity.wait import wait_base

from megamax_sync.errors import (
    STOPPING,
    ServiceError,
    ServiceFault,
    ServiceUnreachable,
    UploadCancelled,
)

T = TypeVar("T")

#: The part of a step that is always waited: full jitter alone may come out as no wait at all.
_FLOOR = 0.1
#: Seconds of waiting that :meth:`RetryPolicy.call` puts up with before its caller has the error.
_PATIENCE = 60.0


class Stop(Protocol):
    """What is waited on: a :class:`threading.Event`, or anything like it."""

    def is_set(self) -> bool: ...

    def wait(self, timeout: float | None = None, /) -> bool: ...


class RetryPolicy:
    """Exponential back-off with full jitter; a longer ``Retry-After`` wins.

    ``first`` is the first step in seconds, doubled with each further failure up to ``maximum``.
    """

    def __init__(
        self, first: float = 5.0, maximum: float = 3600.0, rng: random.Random | None = None
    ) -> None:
        self._first = first
        self._maximum = maximum
        self._rng = rng or random.Random()

    def delay(self, failures: int, error: BaseException | None = None) -> float:
        """Seconds to wait after the ``failures``-th failure in a row (the first is 1)."""
        doublings = min(max(failures - 1, 0), 64)
        step = min(self._first * 2.0**doublings, self._maximum)
        wait = self._rng.uniform(step * _FLOOR, step)
        asked: float | None = getattr(error, "retry_after", None)
        return wait if asked is None else max(wait, asked)

    def call(self, fn: Callable[[], T], *, stop: Stop, attempts: int = 3) -> T:
        """Call ``fn``, which must be idempotent, until it succeeds or ``attempts`` are used up.

        Only "no answer" and "the service is at fault" are tried again, and the last error is raised
        as it is. Waits that would come to more than a minute in all are left to the caller, who
        knows what else there is to do. Setting ``stop`` raises
        :class:`~megamax_sync.errors.UploadCancelled` at once.
        """

        def sleep(seconds: float) -> None:
            if stop.wait(seconds):
                raise UploadCancelled("stopped while waiting to ask the service again")

        retrying = tenacity.Retrying(
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(attempts), tenacity.stop_before_delay(_PATIENCE)
            ),
            wait=_Wait(self),
            retry=tenacity.retry_if_exception_type((ServiceUnreachable, ServiceFault)),
            sleep=sleep,
            reraise=True,
        )
        return retrying(fn)


class _Wait(wait_base):
    """The policy in the form that tenacity asks for."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        return self._policy.delay(retry_state.attempt_number, error)


@contextlib.contextmanager
def unless_stopped(stop: Stop) -> Iterator[None]:
    """A call that has no answer while the program stops was ended by us: nobody is to blame."""
    try:
        yield
    except ServiceError as error:
        if error.answered or not stop.is_set():
            raise
        raise UploadCancelled(STOPPING) from error
