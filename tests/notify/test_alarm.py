"""Problems and recoveries: what lasts is told, what passes is not."""

from __future__ import annotations

from upload.pipeline import wait_for

from megamax_sync.notify.alarm import Alarm
from megamax_sync.troubles import Problem

from .conftest import Post

FULL, AWAY = Problem("disk-full", "no space left"), Problem("unreachable", "no answer")


class World:
    """What is wrong, and what time it is."""

    def __init__(self, post: Post) -> None:
        self.problem: Problem | None = None
        self.time = 1000.0
        post.clock.monotonic = lambda: self.time  # type: ignore[method-assign]
        post.clock.now = lambda: self.time  # type: ignore[method-assign]
        self.post = post
        post.store.outbox.listen({"webhook": ["problem", "recovery"]})
        self.alarm = self.made()

    def made(self) -> Alarm:
        """Another one, as after a restart."""
        common = self.post.common()
        del common["backoff"]
        return Alarm(problem=lambda: self.problem, look=0.01, hold=60, **common)

    def after(self, seconds: float, problem: Problem | None) -> None:
        """Let time pass, in which the problem was this one."""
        self.problem = problem
        self.alarm.look()
        self.time += seconds
        self.alarm.look()

    def told(self) -> list[tuple[str, str | None]]:
        """What was told."""
        return [(one.event, one.problem) for one in self.post.store.outbox.due("webhook")]


def test_a_blip_is_not_told(post: Post) -> None:
    """Neither a problem that passes, nor a recovery that does."""
    world = World(post)
    world.after(59, FULL)
    world.after(100, None)
    assert world.told() == []
    world.after(60, FULL)
    assert world.told() == [("problem", "disk-full")]
    world.after(59, None)
    world.after(10, FULL)
    world.after(59, None)
    assert world.told() == [("problem", "disk-full")]
    world.after(1, None)
    assert world.told() == [("problem", "disk-full"), ("recovery", "disk-full")]
    world.after(1000, None)
    assert len(world.told()) == 2


def test_one_problem_after_another(post: Post) -> None:
    """The second is told, too; the end of both is one recovery."""
    world = World(post)
    world.after(60, FULL)
    world.after(60, AWAY)
    world.after(60, None)
    assert world.told() == [
        ("problem", "disk-full"), ("problem", "unreachable"), ("recovery", "unreachable"),
    ]  # fmt: skip


def test_a_restart_remembers_what_was_told(post: Post) -> None:
    """The same problem is not told again, and its end is."""
    world = World(post)
    world.after(60, FULL)
    world.alarm = world.made()
    world.after(100, FULL)
    assert len(world.told()) == 1
    world.alarm = world.made()
    world.after(60, None)
    assert world.told()[1:] == [("recovery", "disk-full")]


def test_it_looks_by_itself(post: Post) -> None:
    """On its own thread, until the stop."""
    world = World(post)
    world.problem = FULL
    post.run(world.alarm)
    wait_for(lambda: world.alarm._news)
    world.time += 61
    wait_for(world.told)
