"""When to ask again. Pure."""

from __future__ import annotations

import random
from collections import Counter

from megamax_sync.store.jobs import LONGEST_CHECK
from megamax_sync.track.cadence import MIRRORS_WATCHED, Cadence

CADENCE = Cadence(15.0, rng=random.Random(1))


def test_conversion_is_asked_about_steadily_then_ever_more_rarely() -> None:
    """Twenty looks at the configured interval, then growing ones, up to a quarter of an hour."""
    waits = [CADENCE.conversion(n) for n in range(200)]
    assert set(waits[:21]) == {15.0}
    assert waits == sorted(waits)
    assert waits[22] == 15.0 * 1.25**2
    assert waits[-1] == 900.0


def test_what_is_in_conversion_for_days_is_asked_about_by_its_age() -> None:
    """Whatever its status does: every quarter of an hour after a day, every six hours at last."""
    assert CADENCE.conversion(0, 86400.0) == 900.0
    assert CADENCE.conversion(0, 1e9) == 6 * 3600.0
    looks, age = 0, 0.0
    while age < 7 * 86400.0:
        age += CADENCE.conversion(looks % 2, age)
        looks += 1
    assert looks < 800


def test_denials_are_spread_over_longer_than_a_hiccup() -> None:
    """Five of them, at ever longer intervals, take more than twenty minutes."""
    assert sum(CADENCE.denial(n) for n in range(1, 5)) > 20 * 60


def test_a_poll_longer_than_the_longest_is_kept() -> None:
    """Who configured an hour gets an hour."""
    assert Cadence(3600.0).conversion(100) == 3600.0


def test_first_mirrors_are_asked_for_within_a_minute() -> None:
    """The interval grows from the poll's to a minute."""
    waits = [CADENCE.first_mirrors(n) for n in range(70)]
    assert waits[0] == 15.0
    assert waits == sorted(waits)
    assert waits[-1] == 60.0


def test_later_mirrors_are_asked_for_for_a_week() -> None:
    """From a minute to six hours, and never once a week has passed."""
    assert CADENCE.later_mirrors(0, 0.0) == 60.0
    assert CADENCE.later_mirrors(3, 1000.0) == 480.0
    assert CADENCE.later_mirrors(1000, 1000.0) == 6 * 3600.0
    assert CADENCE.later_mirrors(0, MIRRORS_WATCHED) is None


def test_links_are_renewed_before_they_expire_but_not_all_at_once() -> None:
    """Between a half and three quarters of their time, spread at random."""
    waits = {CADENCE.renewal(1000.0, 5) for _ in range(100)}
    assert len(waits) > 50
    assert min(waits) >= 500.0
    assert max(waits) <= 750.0


def test_expired_links_cause_no_storm() -> None:
    """A service whose links have expired already is asked ever more rarely."""
    assert [CADENCE.renewal(-1e6, looks) for looks in (0, 1, 2, 1000)] == [60, 120, 240, 6 * 3600]
    assert [CADENCE.refused(looks) for looks in (0, 1, 1000)] == [60, 120, 7 * 86400]
    assert Cadence(0.1).renewal(0.5, 9) == 1.0


def test_no_renewal_is_beyond_what_a_start_believes() -> None:
    """Links that are good for years would be asked for at each start."""
    assert CADENCE.renewal(10 * 365 * 86400.0, 0) < LONGEST_CHECK


def test_what_expires_at_one_moment_is_renewed_evenly() -> None:
    """Ten thousand links over a quarter of their time: no hour of it has more than its part."""
    ttl = 4 * 86400.0
    hours = Counter(int(CADENCE.renewal(ttl, 0) // 3600) for _ in range(10_000))
    assert len(hours) == 24
    assert max(hours.values()) < 1.3 * 10_000 / 24


def test_near_the_usual_time_it_is_asked_more_often() -> None:
    """No wait leads past it, and near it there are many looks, never faster than the poll."""
    cadence = Cadence(15.0, lambda: 3600.0)
    assert cadence.conversion(100, 0.0) == 900.0
    assert cadence.conversion(100, 2700.0) == 180.0
    assert cadence.conversion(100, 2500.0) == 380.0
    assert cadence.conversion(100, 3600.0) == 180.0
    assert cadence.conversion(100, 6000.0) == 900.0
    assert Cadence(15.0, lambda: 20.0).conversion(100, 20.0) == 15.0
    assert Cadence(1000.0, lambda: 3600.0).conversion(0, 3500.0) == 1000.0
