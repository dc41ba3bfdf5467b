"""Is it getting on? One verdict for ``health``, ``/healthz`` and whoever else asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Health:
    """``stuck`` names the parts that make no progress; ``reason`` is a sentence for people."""

    healthy: bool
    stuck: tuple[str, ...]
    reason: str


def verdict(live: Mapping[str, Any] | None) -> Health:
    """Judge a running instance by its own answer (:meth:`megamax_sync.daemon.Daemon.parts`).

    None is one that does not run, or does not answer. A service in trouble, a pause and a full disk
    are no ill health: a restart would mend none of them.
    """
    if live is None:
        return Health(False, (), "no instance is running, or it does not answer")
    silent = {str(part["part"]): float(part["age"]) for part in live["parts"] if part["stuck"]}
    if silent:
        said = ", ".join(f"{part} (silent for {age:.0f} s)" for part, age in silent.items())
        return Health(False, tuple(silent), f"stuck: {said}")
    return Health(True, (), "all parts get on")
