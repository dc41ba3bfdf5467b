"""The verdict on an instance."""

from __future__ import annotations

from megamax_sync.health import verdict


def part(name: str, *, stuck: bool, age: float = 1.0) -> dict[str, object]:
    """What an instance says of one of its parts."""
    return {"part": name, "age": age, "stuck": stuck}


def test_an_instance_whose_parts_get_on_is_healthy() -> None:
    """Whatever troubles the service, progress is what counts."""
    health = verdict({"problem": "unreachable", "parts": [part("tracker", stuck=False)]})
    assert (health.healthy, health.stuck) == (True, ())


def test_a_stuck_part_is_named() -> None:
    """The one that is silent, and for how long; not the others."""
    parts = [part("watcher", stuck=False), part("uploader-2", stuck=True, age=61.2)]
    health = verdict({"parts": parts})
    assert (health.healthy, health.stuck) == (False, ("uploader-2",))
    assert health.reason == "stuck: uploader-2 (silent for 61 s)"


def test_none_at_all_is_not_healthy() -> None:
    """It does not run, or does not answer."""
    assert not verdict(None).healthy
