"""When to ask again. Pure: seconds in, seconds out."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

#: Conversion: this many looks at MEGAMAX_POLL_SECONDS, then ever more rarely.
_STEADY_LOOKS = 20
_GROWTH = 1.25
_LONGEST_POLL = 900.0
#: What is in conversion for long is asked about each time it has grown older by this part of its
#: age, whatever its status does: that is 900 s after a day, and six hours after 24 days.
_OF_AGE = 1 / 96
_LONGEST_OF_AGE = 6 * 3600.0
#: Denials of a hashid: each wait is this many times the one before, 85 polls in all for five.
_DENIAL_GROWTH = 4.0

#: A converted job without mirrors is done after this time, with them at once.
MIRRORS_DUE = 600.0
#: Later mirrors are added for this long.
MIRRORS_WATCHED = 7 * 86400.0
_FIRST_MIRRORS, _LONGEST_MIRRORS = 60.0, 6 * 3600.0

#: Around the time that conversions usually take, from this part of it to that one, files are asked
#: about this often in it.
_NEAR_FROM, _NEAR_TO, _NEAR_LOOKS = 0.8, 1.5, 20

#: Direct links are renewed when a part of their time is left that lies between these two: links
#: that expire at one moment are renewed over a quarter of their time.
_RENEW_FIRST, _RENEW_LAST = 0.5, 0.25
#: What is good for a year is asked for sooner: a start takes no date beyond
#: :data:`~megamax_sync.store.jobs.LONGEST_CHECK` for a true one.
_LONGEST_RENEWAL = 60 * 86400.0
#: Refused links of many thousand files are no stream of calls.
_LONGEST_REFUSED = 7 * 86400.0


@dataclass(frozen=True)
class Cadence:
    """The intervals of one configuration. ``poll``: MEGAMAX_POLL_SECONDS.

    ``usual`` gives the seconds that a conversion usually takes, None while nobody knows.
    """

    poll: float
    usual: Callable[[], float | None] = lambda: None
    rng: random.Random = field(default_factory=random.Random)

    def conversion(self, looks: int, age: float = 0.0) -> float:
        """Seconds until a file in conversion is asked about again, after ``looks`` times.

        ``age``: seconds since it arrived.
        """
        later = min(max(0, looks - _STEADY_LOOKS), 64)
        by_age = min(age * _OF_AGE, _LONGEST_OF_AGE)
        wait = max(self.poll, min(self.poll * _GROWTH**later, _LONGEST_POLL), by_age)
        return max(self.poll, min(wait, self._near(age)))

    def _near(self, age: float) -> float:
        """The longest wait, so that none leads past the time at which it is usually through."""
        usual = self.usual()
        if usual is None or age > usual * _NEAR_TO:
            return math.inf
        return max(usual * _NEAR_FROM - age, usual / _NEAR_LOOKS)

    def within_one_poll(self) -> float:
        """Seconds until one of many that are asked about again within one interval."""
        return self.rng.uniform(0.0, self.poll)

    def denial(self, denials: int) -> float:
        """Seconds until a hashid that was denied ``denials`` times in a row is asked for again."""
        return self.poll * _DENIAL_GROWTH ** (denials - 1)

    def first_mirrors(self, looks: int) -> float:
        """Seconds until the mirrors of a converted file that has none are asked for again."""
        return min(self.poll * _GROWTH ** min(looks, 64), _FIRST_MIRRORS)

    def later_mirrors(self, looks: int, age: float) -> float | None:
        """Seconds until a done job's mirrors are asked for again; None once a week has passed.

        ``age``: seconds since its conversion.
        """
        if age >= MIRRORS_WATCHED:
            return None
        return min(_FIRST_MIRRORS * 2.0 ** min(looks, 32), _LONGEST_MIRRORS)

    def renewal(self, left: float, looks: int) -> float:
        """Seconds until direct links that are good for ``left`` more seconds are renewed.

        Spread at random, so that the links of a season are not all renewed at one moment.
        ``looks``: how often they were asked for since anything was new.
        """
        if left <= 0:
            # The service hands out links that have expired.
            return self._ever_rarer(looks, _LONGEST_MIRRORS)
        wait = left * (1.0 - self.rng.uniform(_RENEW_LAST, _RENEW_FIRST))
        return max(1.0, self.poll, min(wait, _LONGEST_RENEWAL))

    def refused(self, looks: int) -> float:
        """Seconds until direct links are asked for again that were refused ``looks`` times.

        It may have been for a moment, or until the account has another plan.
        """
        return self._ever_rarer(looks, _LONGEST_REFUSED)

    def _ever_rarer(self, looks: int, longest: float) -> float:
        return max(1.0, self.poll, min(_FIRST_MIRRORS * 2.0 ** min(looks, 32), longest))
