"""What the service usually takes, as it is learnt."""

from __future__ import annotations

from pathlib import Path

from megamax_sync.clock import Clock
from megamax_sync.store import Store
from megamax_sync.track.usual import Usual


def test_it_is_the_median_of_the_last_and_outlasts_a_restart(tmp_path: Path) -> None:
    """A few are needed; one that takes for ever changes nothing; old ones are forgotten."""
    with Store(str(tmp_path / "queue.db"), Clock()) as store:
        usual = Usual(store.settings)
        for seconds in (60.0, 61.0, 62.0, 86400.0):
            usual.add(seconds)
            assert usual() is None
        usual.add(-5.0)
        assert usual() == 61.0
        assert Usual(store.settings)() == 61.0
        for _ in range(60):
            usual.add(10.0)
        assert usual() == 10.0
        store.settings.put("conversion_seconds", "no list")
        assert Usual(store.settings)() is None
