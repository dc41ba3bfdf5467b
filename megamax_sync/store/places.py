"""Limiting a query to places: folders with all that is in them, and single files."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence, Set

#: The name under which every connection knows :func:`lies_in`.
FUNCTION = "lies_in"

#: So many places are written into the query, where the index on the path serves. Each takes three
#: variables, of which SQLite has 32,766.
_FEW = 1000
#: A program waits for one longer list of places, or two; older ones are let go.
_KEPT = 8
#: The number that stands for each in a query, the youngest last, and what it stands for.
_NUMBERS: dict[tuple[bytes, ...], int] = {}
_LISTS: dict[int, frozenset[bytes]] = {}
_COUNTER = itertools.count(1)
_LOCK = threading.Lock()


def inside(path: bytes, places: Set[bytes]) -> bool:
    """Tell whether ``path`` is one of the places, or inside one. They end in no slash."""
    while path:
        if path in places:
            return True
        path = path[: max(path.rfind(b"/"), 0)]
    # What is left of the root folder without its slash.
    return b"" in places


def places_of(given: Sequence[bytes]) -> frozenset[bytes]:
    """Return places as :func:`inside` takes them."""
    return frozenset(place.rstrip(b"/") for place in given)


def in_places(
    places: Sequence[bytes] | None, column: str = "path"
) -> tuple[str, list[bytes | int]]:
    """Render "this column is inside one of these folders, or exactly it" as SQL and values.

    None stands for everywhere, an empty list for nowhere. A folder's inside is a range of the
    index on the path: from ``folder/`` up to ``folder0``, as ``0`` follows ``/`` in ASCII.
    """
    if places is None:
        return "", []
    if len(places) > _FEW:
        return f" AND {FUNCTION}({column}, ?)", [_remember(tuple(places))]
    clauses, values = ["FALSE"] if not places else [], list[bytes | int]()
    for place in places:
        within = place.rstrip(b"/")
        clauses.append(f"({column} = ? OR ({column} >= ? AND {column} < ?))")
        values += [place, within + b"/", within + b"0"]
    # In pairs of pairs: SQLite takes a thousand ORs in a row for too deep an expression.
    while len(clauses) > 1:
        pairs = [clauses[at : at + 2] for at in range(0, len(clauses), 2)]
        clauses = [f"({' OR '.join(pair)})" for pair in pairs]
    return f" AND {clauses[0]}", values


def in_places_or_awaited(places: Sequence[bytes] | None) -> tuple[str, list[bytes | int]]:
    """Render the same for jobs, taking in those outside whose duplicates inside wait for them."""
    if places is None:
        return "", []
    inside_, values = in_places(places)
    waits, more = in_places(places, "twin.path")
    sql = (
        f" AND ((TRUE{inside_}) OR EXISTS (SELECT 1 FROM job AS twin "
        f"WHERE twin.original = job.id AND twin.state = 'queued'{waits}))"
    )
    return sql, [*values, *more]


def lies_in(path: bytes, number: int) -> bool:
    """Tell, in a query, whether a path is in the places of this number."""
    return inside(path, _LISTS[number])


def _remember(places: tuple[bytes, ...]) -> int:
    with _LOCK:
        number = _NUMBERS.pop(places, None) or next(_COUNTER)
        # Now the youngest.
        _NUMBERS[places] = number
        if number not in _LISTS:
            _LISTS[number] = places_of(places)
        if len(_NUMBERS) > _KEPT:
            del _LISTS[_NUMBERS.pop(next(iter(_NUMBERS)))]
    return number
