"""Places: the same answers for few and for many."""

from __future__ import annotations

import pytest

from megamax_sync.job import JobState
from megamax_sync.store import Store, places
from megamax_sync.store.places import in_places, inside, places_of

from .conftest import Add, fetch

#: More than SQLite takes variables in one query.
MANY = [b"/elsewhere/%d.mp4" % number for number in range(40_000)]
NAMES = [b"/a/b/c.mp4", b"/a/b/d/e.mp4", b"/a/bc/f.mp4", b"/a/b0", b"/a/b.mp4"]


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (b"/a/b", {b"/a/b/c.mp4", b"/a/b/d/e.mp4"}),
        (b"/a/b/", {b"/a/b/c.mp4", b"/a/b/d/e.mp4"}),
        (b"/a/b/c.mp4", {b"/a/b/c.mp4"}),
        (b"/", set(NAMES)),
        (b"/x", set()),
    ],
)
def test_many_places_hold_what_few_hold(
    store: Store, add: Add, place: bytes, expected: set[bytes]
) -> None:
    """Folders with all below them and single files, in queries and beside them."""
    for size, name in enumerate(NAMES):
        add(name, size=size + 1)
    for under in ([place], [*MANY, place]):
        assert {job.path for job in store.views.in_states(list(JobState), under)} == expected
        assert {name for name in NAMES if inside(name, places_of(under))} == expected
        assert store.views.counts(under)[JobState.QUEUED] == len(expected)
        assert (store.jobs.next_claim(under) is not None) is bool(expected)
    claimed = set()
    while job := store.jobs.claim("me", [*MANY, place]):
        claimed.add(job.path)
    assert claimed == expected


def test_only_the_latest_long_lists_are_kept(store: Store, add: Add) -> None:
    """A process that makes list after list does not grow, and one in use is not lost."""
    add(b"/a/0.mp4")
    kept = [*MANY, b"/a"]
    for number in range(20):
        assert store.views.counts([*MANY, b"/x%d" % number])[JobState.QUEUED] == 0
        assert store.views.counts(kept)[JobState.QUEUED] == 1
    assert len(places._LISTS) == len(places._NUMBERS) <= 8
    assert in_places(list(kept)) == in_places(kept)


def test_any_number_of_paths_can_be_asked_for(store: Store, add: Add) -> None:
    """The newest jobs and the dropped files of a folder of 40,000."""
    job = add(MANY[-1])
    dropped = add(MANY[0], size=11)
    store.orders.forget(dropped)
    assert store.jobs.latest_each(MANY) == {job.path: fetch(store, job)}
    assert store.orders.forgotten(MANY) == {dropped.path: dropped.stamp}
    assert store.jobs.latest_each([]) == {}
