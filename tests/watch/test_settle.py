"""Which files are finished, on a clock of the test's own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from megamax_sync.job import FileStamp
from megamax_sync.watch.settle import Finished, Settling, Signs, Waits, Writers

WALL = 1_700_000_000.0


def stamp(at: float, *, size: int = 1, ctime: float | None = None, ino: int = 1) -> FileStamp:
    """A stamp whose times are ``at`` seconds from the start of the test."""
    moved = at if ctime is None else ctime
    return FileStamp(size, int((WALL + at) * 1e9), int((WALL + moved) * 1e9), 1, ino)


def left(settling: Settling, seen: FileStamp, now: float) -> float | None:
    waits = settling.quiet(seen, monotonic=now, wall=WALL + now)
    return None if waits is None else waits.seconds


def make(*, settle: float = 5.0, allow_sparse: bool = False) -> Settling:
    return Settling(settle, allow_sparse=allow_sparse)


def test_an_old_file_is_not_waited_for() -> None:
    """A file that has lain there longer than the quiet period is quiet at once."""
    assert left(make(), stamp(-10), 0) is None


def test_a_young_file_waits_for_the_rest_of_its_quiet_period() -> None:
    """The file's own times count, not the moment it was found."""
    settling = make()
    waits = settling.quiet(stamp(-2), monotonic=0, wall=WALL)
    assert waits is not None
    assert (waits.kind, waits.reason) == ("quiet", "3 s of quiet left")
    assert waits.seconds == pytest.approx(3.0, abs=1e-3)
    assert left(settling, stamp(-2), 3.01) is None


def test_a_time_set_back_is_seen_by_ctime() -> None:
    """Programs set mtime back, nobody sets ctime."""
    assert left(make(), stamp(-1000, ctime=-1), 0) == pytest.approx(4.0, abs=1e-3)


def test_times_in_the_future_are_not_believed() -> None:
    """A file from the future waits one quiet period from now on, not until its time has come."""
    settling = make()
    assert left(settling, stamp(9999), 0) == 5.0
    assert left(settling, stamp(9999), 5.0) is None
    assert left(make(), stamp(1.0), 0) == 5.0


def test_a_change_begins_the_quiet_period_anew_whatever_its_times() -> None:
    """A change that was noticed now happened now, even if mtime and ctime say otherwise."""
    settling = make()
    left(settling, stamp(-1), 0)
    assert left(settling, stamp(-999, size=2), 3) == 5.0


def test_a_file_that_grew_again_has_to_be_quiet_longer() -> None:
    """Each time that it seemed finished and was not doubles the quiet period."""
    settling = make()
    assert left(settling, stamp(-10), 0) is None
    assert left(settling, stamp(6, size=2), 6) == 10.0
    assert left(settling, stamp(6, size=2), 16) is None
    assert left(settling, stamp(20, size=3), 20) == 20.0


def test_patience_ends_at_ten_minutes() -> None:
    """However often it grew, a file is finished after ten quiet minutes."""
    settling, now, waits = make(), 0.0, []
    assert left(settling, stamp(-10), now) is None
    for size in range(2, 12):
        waits.append(left(settling, stamp(now, size=size), now) or 0.0)
        now += waits[-1]
        assert left(settling, stamp(now - waits[-1], size=size), now) is None
    assert waits[:3] == [10.0, 20.0, 40.0]
    assert waits[-2:] == [600.0, 600.0]


def test_patience_is_forgotten_after_a_long_peace() -> None:
    """What is changed an hour after it was finished was finished."""
    settling = make()
    assert left(settling, stamp(-10), 0) is None
    assert left(settling, stamp(3600, size=2), 3600) == 5.0


def test_another_file_in_its_place_is_judged_afresh() -> None:
    """A replaced file did not grow: its own age counts."""
    settling = make()
    assert left(settling, stamp(-10), 0) is None
    assert left(settling, stamp(-10, size=2, ino=2), 6) is None


def test_a_chmod_is_no_growth() -> None:
    """Only ctime moved: one more quiet period, not a longer one."""
    settling = make()
    assert left(settling, stamp(-10), 0) is None
    assert left(settling, stamp(-10, ctime=6), 6) == 5.0


def test_without_a_quiet_period_growth_still_makes_patient() -> None:
    """MEGAMAX_SETTLE_SECONDS=0 asks the closer look alone, until it was wrong."""
    settling = make(settle=0)
    assert left(settling, stamp(0), 0) is None
    assert left(settling, stamp(1, size=2), 1) == 1.0


def test_a_quiet_file_without_bad_signs_is_finished() -> None:
    """Nobody writes it, or nobody can tell: then the quiet period decides."""
    assert make().judge(Signs(Writers.NONE)) == Finished()
    assert make().judge(Signs(Writers.UNKNOWN)) == Finished()


def test_where_nobody_knows_of_writers_only_our_own_clock_counts() -> None:
    """A file server's clock may be slow: what is written now then looks as if it were old."""
    settling = make(settle=5.0)
    old = FileStamp(1000, int(990e9), int(990e9), 1, 1)
    assert settling.quiet(old, monotonic=100.0, wall=1000.0) is None
    assert settling.judge(Signs(Writers.NONE), monotonic=100.0) == Finished()
    waits = settling.judge(Signs(Writers.UNKNOWN), monotonic=100.0)
    assert isinstance(waits, Waits)
    assert (waits.kind, waits.seconds) == ("quiet", 5.0)
    more = FileStamp(2000, int(991e9), int(991e9), 1, 1)
    assert settling.quiet(more, monotonic=105.0, wall=1005.0) is not None
    assert settling.judge(Signs(Writers.UNKNOWN), monotonic=200.0) == Finished()


@pytest.mark.parametrize(
    ("signs", "kind", "reason"),
    [
        (Signs(Writers.SOME), "open", "open for writing"),
        (Signs(Writers.SOME, "pid 7, qb"), "open", "open for writing (pid 7, qb)"),
        (Signs(Writers.NONE, companion="a.aria2"), "companion", "companion a.aria2"),
        (Signs(Writers.NONE, holes=True), "holes", "has unwritten holes"),
    ],
)
def test_each_bad_sign_has_its_reason(signs: Signs, kind: str, reason: str) -> None:
    """A file that waits says for what."""
    verdict = make().judge(signs)
    assert isinstance(verdict, Waits)
    assert verdict.kind == kind
    assert verdict.reason.startswith(reason)


def test_holes_are_allowed_to_those_who_keep_sparse_files() -> None:
    """MEGAMAX_ALLOW_SPARSE takes holes for content, and nothing else."""
    sparse = Signs(Writers.NONE, holes=True)
    assert make(allow_sparse=True).judge(sparse) == Finished()
    writing = make(allow_sparse=True).judge(replace(sparse, writers=Writers.SOME))
    assert isinstance(writing, Waits)


def test_looks_become_rarer_and_frequent_again_after_a_change() -> None:
    """What gives no event is looked at in growing steps, every half minute at the last."""
    settling = make(settle=0.1)
    left(settling, stamp(-10), 0)
    seconds = []
    for _ in range(30):
        waits = settling.judge(Signs(Writers.SOME))
        assert isinstance(waits, Waits)
        seconds.append(waits.seconds)
    assert seconds[0] == 1.0
    assert seconds == sorted(seconds)
    assert seconds[-1] == 30.0
    left(settling, stamp(1, size=2), 1)
    again = settling.judge(Signs(Writers.SOME))
    assert isinstance(again, Waits)
    assert again.seconds == 1.0
