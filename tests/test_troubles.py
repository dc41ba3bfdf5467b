"""Troubles are said once, and the full disk is remembered until it is over."""

from __future__ import annotations

import structlog

from megamax_sync.errors import ServiceError, StoreError, StoreFull
from megamax_sync.troubles import Problem, Troubles


def test_each_trouble_is_said_once() -> None:
    """Again only after another one, or after all was well; the unexpected with its traceback."""
    troubles = Troubles()
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            troubles.report("a", StoreError("locked"))
        troubles.report("b", StoreError("locked"))
        troubles.report("a", ServiceError("odd"))
        troubles.report("a", ZeroDivisionError("0"))
        troubles.fine("a")
        troubles.fine("none")
        troubles.report("a", ZeroDivisionError("0"))
    assert [(log["event"], log["part"], "exc_info" in log) for log in logs] == [
        ("queue.failed", "a", False),
        ("queue.failed", "b", False),
        ("loop.failed", "a", False),
        ("loop.failed", "a", True),
        ("loop.failed", "a", True),
    ]


def test_a_full_disk_is_a_problem_until_every_part_is_fine() -> None:
    """One part's success says nothing about another's place."""
    troubles = Troubles()
    assert troubles.disk_full() is None
    for part in ("a", "b"):
        troubles.report(part, StoreFull(f"no space for {part}"))
    troubles.fine("a")
    assert troubles.disk_full() == Problem("disk-full", "no space for b")
    troubles.fine("b")
    assert troubles.disk_full() is None
