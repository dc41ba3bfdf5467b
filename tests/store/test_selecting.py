"""Lists of jobs as people ask for them."""

from __future__ import annotations

import pytest

from megamax_sync.job import JobState
from megamax_sync.store import Store
from megamax_sync.store.views import ORDERS

from .conftest import Add, TurnedClock, fetch
from .test_moves import bring

S = JobState


def test_by_state_place_and_number(store: Store, add: Add) -> None:
    """Any of the states, in any of the places, the first so many; all of them unless told."""
    bring(store, add(b"/v/a.mp4"), S.FAILED)
    bring(store, add(b"/v/b.mp4"), S.SKIPPED)
    add(b"/w/c.mp4")

    def names(**wanted: object) -> list[bytes]:
        return [job.path for job in store.views.select(**wanted)]  # type: ignore[arg-type]  # one dict for filters of several types; a wrong one fails in the query

    assert sorted(names()) == [b"/v/a.mp4", b"/v/b.mp4", b"/w/c.mp4"]
    assert names(states=[S.FAILED]) == [b"/v/a.mp4"]
    assert sorted(names(states=[S.FAILED, S.QUEUED])) == [b"/v/a.mp4", b"/w/c.mp4"]
    assert names(states=[S.FAILED, S.QUEUED], under=[b"/w"]) == [b"/w/c.mp4"]
    assert names(order="path", limit=2) == [b"/v/a.mp4", b"/v/b.mp4"]


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("changed", b"acb"),
        ("created", b"cba"),
        ("path", b"abc"),
        ("size", b"bac"),
        ("state", b"cba"),
    ],
)
def test_orders(store: Store, add: Add, clock: TurnedClock, order: str, names: bytes) -> None:
    """What people sort by; states with those first that are under way."""
    assert order in ORDERS
    first = add(b"/v/a.mp4", size=20)
    clock.time += 1
    add(b"/v/b.mp4", size=30, ready=False)
    clock.time += 1
    third = add(b"/v/c.mp4", size=10)
    assert store.jobs.claim("me", [third.path])
    clock.time += 1
    store.jobs.fail(fetch(store, first), "broken")
    found = store.views.select(order=order)
    assert b"".join(job.name[:1] for job in found) == names


def test_what_comes_next(store: Store, add: Add) -> None:
    """In the order in which it is sent; what is not known to be finished comes last."""
    add(b"/v/open.mp4", ready=False)
    first, _second = add(b"/v/a.mp4"), add(b"/v/b.mp4")
    claimed = store.jobs.claim("me", [first.path])
    assert claimed is not None
    store.jobs.release(claimed, "no answer", failed=True)
    assert [job.name for job in store.views.next_up(10)] == [b"b.mp4", b"a.mp4", b"open.mp4"]
    assert [job.name for job in store.views.next_up(1)] == [b"b.mp4"]
