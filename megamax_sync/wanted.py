"""Which files the settings want, and where their sidecars go."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from megamax_sync.config import Settings
from megamax_sync.sidecar import Placement
from megamax_sync.watch.rules import Rules


def rules(settings: Settings, *, watched: bool = True) -> Rules:
    """Return the rules of these settings; without watched folders if ``watched`` is False."""
    roots = tuple(os.fsencode(root) for root in settings.watched) if watched else ()
    own = [settings.state_dir, *([settings.sidecar_dir] if settings.sidecar_dir else [])]
    return Rules(
        roots=roots,
        private=tuple(path for folder in own for path in _below(os.fsencode(folder), roots)),
        extensions=settings.extensions,
        exclude=settings.exclude,
        min_size=settings.min_size,
    )


def as_watched(settings: Settings, path: bytes) -> bytes:
    """Name a path, which holds no link, as the watch does; as it is if it is not watched.

    The watch keeps links on the way to a watched folder, and has one name for each.
    """
    places = [
        (os.fsencode(os.path.realpath(folder)), os.fsencode(name))
        for folder, name in settings.counted_as.items()
    ]
    for real, name in sorted(places, key=lambda place: len(place[0]), reverse=True):
        if path == real:
            return name
        top = os.path.join(real, b"")
        if path.startswith(top):
            return os.path.join(name, path[len(top) :])
    return path


def placement_of(settings: Settings) -> Placement:
    """Say where the sidecars go."""
    return Placement(
        os.fsencode(settings.sidecar_dir) if settings.sidecar_dir else None,
        [os.fsencode(root) for root in settings.watched],
    )


def _below(folder: bytes, roots: Sequence[bytes]) -> Iterator[bytes]:
    """Name a folder as a walk of each watched folder comes to it, which follows no links."""
    real = os.path.realpath(folder)
    for root in roots:
        top = os.path.join(os.path.realpath(root), b"")
        if real.startswith(top):
            yield os.path.join(root, real[len(top) :])
