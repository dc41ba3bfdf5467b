"""Which files the settings want, and where their sidecars go."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from megamax_sync.config import Settings
from megamax_sync.sidecar import Placement
from megamax_sync.watch.rules import Rules


def rules(settings: Settings, *, watched: bool = True) -> Rules:
    """Return the rules of these settings; without watched folders if ``watched`` is False."""
    roots = tuple(os.fsencode(root) for root in settings.watch) if watched else ()
    own = [settings.state_dir, *([settings.sidecar_dir] if settings.sidecar_dir else [])]
    return Rules(
        roots=roots,
        private=tuple(path for folder in own for path in _below(os.fsencode(folder), roots)),
        extensions=settings.extensions,
        exclude=settings.exclude,
        min_size=settings.min_size,
    )


def placement_of(settings: Settings) -> Placement:
    """Say where the sidecars go."""
    return Placement(
        os.fsencode(settings.sidecar_dir) if settings.sidecar_dir else None,
        [os.fsencode(root) for root in settings.watch],
    )


def _below(folder: bytes, roots: Sequence[bytes]) -> Iterator[bytes]:
    """Name a folder as a walk of each watched folder comes to it, which follows no links."""
    real = os.path.realpath(folder)
    for root in roots:
        top = os.path.join(os.path.realpath(root), b"")
        if real.startswith(top):
            yield os.path.join(root, real[len(top) :])
