"""Finding a lost upload in the account's list, and when to stop looking. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from megamax_sync.api.models import RemoteFile
from megamax_sync.job import FileStamp, match_key
from megamax_sync.store import Attempt
from megamax_sync.upload.reconcile import MIN_LOOKUPS, Habits, Patience, find

BEGUN = 1_700_000_000.0
ATTEMPT = Attempt(
    id=1,
    job=1,
    path=b"/drop/EP 02.mp4",
    size=500,
    mtime_ns=1,
    ino=2,
    match_key=match_key(b"EP 02.mp4"),
    fingerprint=None,
    folder=None,
    step="sent",
    outcome=None,
    hashid=None,
    error=None,
    begun_at=BEGUN,
    service_time=BEGUN,
    unknown_at=BEGUN,
    lookups=0,
    ended_at=None,
)


def listed(
    hashid: str = "h1",
    *,
    name: str = "EP 02",
    size: int | None = 500,
    status: str = "onqueue",
    age: float | None = 0.0,
) -> RemoteFile:
    """A listed file; ``age`` is in seconds after the attempt."""
    made = None if age is None else datetime.fromtimestamp(BEGUN + age, UTC)
    return RemoteFile(hashid=hashid, name=name, size=size, status=status, created_at=made)


@pytest.mark.parametrize("name", ["EP 02.mp4", "EP 02", "ep-02.MP4", "EP_02"])
def test_what_services_do_to_names_is_allowed_for(name: str) -> None:
    """The same letters and digits are the same name, extension or not."""
    found = find(ATTEMPT, [listed(name=name), listed("other", name="x")], owned=(), rivals=3)
    assert found is not None
    assert found.hashid == "h1"


@pytest.mark.parametrize(
    "other",
    [
        listed(size=501),
        listed(size=None),
        listed(status="failed"),
        listed(age=-3.0),
        listed(age=None),
    ],
    ids=["size", "no size", "failed", "older", "no date"],
)
def test_what_cannot_be_ours_is_not_taken(other: RemoteFile) -> None:
    """Another size, a failed conversion, or a file from before the attempt is not ours."""
    assert find(ATTEMPT, [other], owned=(), rivals=0) is None


def test_a_date_in_whole_seconds_is_new_enough() -> None:
    """The service's dates are cut to seconds, so a little before the attempt is not before it."""
    assert find(ATTEMPT, [listed(age=-2.0)], owned=(), rivals=0) is not None


def test_without_the_services_clock_nothing_is_taken() -> None:
    """An attempt that never learnt the service's time cannot tell new from old."""
    blind = replace(ATTEMPT, service_time=None)
    assert find(blind, [listed()], owned=(), rivals=0) is None


def test_what_somebody_owns_is_not_taken() -> None:
    """A hashid of another job is never adopted."""
    assert find(ATTEMPT, [listed()], owned={"h1"}, rivals=0) is None


def test_of_two_of_our_name_the_older_is_taken() -> None:
    """The first one made after the attempt is the attempt's."""
    found = find(ATTEMPT, [listed("late", age=9), listed("first", age=1)], owned=(), rivals=0)
    assert found is not None
    assert found.hashid == "first"


def test_another_name_is_taken_only_if_nothing_else_explains_it() -> None:
    """One new, unowned file of this size under another name is ours, unless there is a rival."""
    strange = listed("s", name="untitled")
    assert find(ATTEMPT, [strange], owned=(), rivals=0) == strange
    assert find(ATTEMPT, [strange], owned=(), rivals=1) is None
    assert find(ATTEMPT, [strange, listed("t", name="video")], owned=(), rivals=0) is None


def test_another_name_is_not_ours_where_the_service_keeps_names() -> None:
    """Another program's upload is told by its name, once the service was seen to keep names."""
    strange, keeping = listed("s", name="untitled"), Habits(keeps_names=True)
    assert find(ATTEMPT, [strange], owned=(), rivals=0, habits=keeping) is None
    odd = replace(ATTEMPT, path="/drop/Серия\\1?.mp4".encode())
    assert find(odd, [strange], owned=(), rivals=0, habits=keeping) == strange


@pytest.mark.parametrize("name", ["xy", "x_y.mp4", "X Y"])
def test_a_backslash_is_another_character_to_the_service(name: str) -> None:
    """By that it is known again, whatever else is open, and by whichever version it was sent."""
    ours = replace(ATTEMPT, path=b"/drop/x\\y.mp4", match_key="y")
    shown, other = listed(name=name), listed("o", name="untitled")
    for rivals in (0, 1):
        assert find(ours, [other, shown], owned=(), rivals=rivals) == shown


def known(age: float, name: str = "EP 01") -> tuple[list[RemoteFile], dict[str, Attempt]]:
    """A listed file that an attempt made whose answer we had."""
    return [listed("known", name=name, age=age, size=7)], {
        "known": replace(ATTEMPT, hashid="known", size=7, match_key=match_key("EP 01.mp4"))
    }


def test_what_the_list_shows_of_the_service() -> None:
    """Its clock as far as it lags, the grain of its dates, and whether it keeps names."""
    assert Habits.of(*known(1.5)) == Habits(0.0, 0.0, keeps_names=True)
    assert Habits.of(*known(-4.5, "x7q")) == Habits(4.5, 0.0, keeps_names=False)
    assert Habits.of([], {}) == Habits()


def test_a_database_that_lags_behind_its_web_server_is_found_out() -> None:
    """So is one whose dates are of another zone; a file from before the attempt stays one."""
    for lag in (7.0, 5 * 3600.0):
        others, arrived = known(-lag)
        habits = Habits.of([*others, listed(age=1 - lag)], arrived)
        assert find(ATTEMPT, [listed(age=1 - lag)], owned=(), rivals=0, habits=habits)
        before = listed(age=-lag - 5.0)
        assert find(ATTEMPT, [before], owned=(), rivals=0, habits=habits) is None


@pytest.mark.parametrize(("text", "grain"), [("2023-11-14 22:13", 60.0), ("2023-11-14", 86400.0)])
def test_dates_that_name_only_the_minute_or_the_day(text: str, grain: float) -> None:
    """They lie before the attempt, and are new enough; those of yesterday are not."""
    ours = RemoteFile.model_validate(
        {"hashid": "h1", "name": "EP 02", "size": 500, "created_at": text}
    )
    habits = Habits.of([ours], {})
    assert habits.grain == grain
    assert find(ATTEMPT, [ours], owned=(), rivals=0, habits=habits) == ours
    old = replace(ATTEMPT, service_time=BEGUN + 2 * grain)
    assert find(old, [ours], owned=(), rivals=0, habits=habits) is None


def test_patience_ends_after_enough_looks_and_enough_time() -> None:
    """Neither many looks in no time nor a long time with few looks are proof."""
    patience = Patience(5.0)
    often = replace(ATTEMPT, lookups=MIN_LOOKUPS)
    assert not patience.exhausted(often, BEGUN + 10)
    assert not patience.exhausted(replace(often, lookups=MIN_LOOKUPS - 1), BEGUN + 1e6)
    assert patience.exhausted(often, BEGUN + 35)


def test_patience_of_an_attempt_that_died_counts_from_its_beginning() -> None:
    """An attempt whose end nobody noted is as old as its beginning."""
    died = replace(ATTEMPT, unknown_at=None, lookups=MIN_LOOKUPS)
    assert Patience(5.0).exhausted(died, BEGUN + 35)


def test_looks_come_at_growing_intervals_that_add_up() -> None:
    """Three looks later the whole span has passed, so that the third can be the last."""
    patience = Patience(2.0)
    waits = [patience.next_lookup(replace(ATTEMPT, lookups=n)) for n in range(1, 5)]
    assert waits == [4.0, 8.0, 16.0, 16.0]
    assert patience.exhausted(replace(ATTEMPT, lookups=3), BEGUN + 2.0 + waits[0] + waits[1])


def test_large_files_are_waited_for_longer_but_not_for_ever() -> None:
    """The time grows with the size, up to an hour for one wait."""
    small, large = Patience(1.0), replace(ATTEMPT, size=10 << 30, lookups=1)
    assert small.next_lookup(large) > small.next_lookup(replace(ATTEMPT, lookups=1)) * 10
    assert small.next_lookup(replace(ATTEMPT, size=1 << 50, lookups=9)) == 3600.0


def test_an_attempt_knows_which_version_it_sent() -> None:
    """Size, time and inode tell; the device and ctime do not."""
    assert ATTEMPT.sent_version(FileStamp(500, 1, 77, 88, 2))
    assert not ATTEMPT.sent_version(FileStamp(500, 3, 77, 88, 2))
