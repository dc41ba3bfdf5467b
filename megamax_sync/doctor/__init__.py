"""Looks at everything that has to be right: the settings, the account, the folders, the machine.

Each part yields :class:`Finding`: ok, a warning or an error, with its remedy. Nothing here changes
anything that stays.
"""

from __future__ import annotations

from collections.abc import Iterator

from megamax_sync.config import Settings
from megamax_sync.doctor import account, folders, machine
from megamax_sync.doctor.finding import Finding, Level

__all__ = ["Finding", "Level", "examine"]


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield what is found, in the order in which one would look by hand."""
    yield from machine.settings_read(settings)
    yield from machine.state(settings)
    yield from account.examine(settings)
    trees = [folders.Tree(root) for root in settings.watched]
    for tree in trees:
        yield from folders.examine(tree, settings)
    yield from folders.sidecar_folder(settings)
    yield from machine.watches(settings, sum(tree.folders for tree in trees))
