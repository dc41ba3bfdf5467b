"""Problems and recoveries: what lasts is told, what passes is not."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from recovery.test_space import fill, small_disk
from upload.pipeline import wait_for

from megamax_sync.clock import Clock
from megamax_sync.errors import StoreFull
from megamax_sync.notify.alarm import Alarm
from megamax_sync.notify.webhook import Webhook
from megamax_sync.store import Store
from megamax_sync.troubles import Problem

from .conftest import Post
from .receiver import receiver

FULL, AWAY = Problem("disk-full", "no space left"), Problem("unreachable", "no answer")


class World:
    """What is wrong, and what time it is."""

    def __init__(self, post: Post) -> None:
        self.problem: Problem | None = None
        self.time = 1000.0
        post.clock.monotonic = lambda: self.time  # type: ignore[method-assign]  # the clock is the test's own, so that no test waits for it
        post.clock.now = lambda: self.time  # type: ignore[method-assign]  # the clock is the test's own, so that no test waits for it
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


def use_up(store: Store) -> None:
    """Fill what room the journal of the queue has left."""
    while True:
        store.database.write("REPLACE INTO setting (name, value) VALUES ('room', ?)", "x" * 4096)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[tuple[World, Path]]:
    """A queue whose disk takes nothing more, and the file that takes the room."""
    clock = Clock()
    with small_disk(tmp_path / "state") as folder, Store(str(folder / "queue.db"), clock) as store:
        post = Post(store, clock)
        world = World(post)
        ballast = fill(folder)
        with pytest.raises(StoreFull):
            use_up(store)
        yield world, ballast
        post.stop.set()
        store.database.wake()
        for loop in post.loops:
            loop.join(10)


def test_a_full_disk_is_told_while_it_is_full(full: tuple[World, Path]) -> None:
    """Once, though it cannot be written down; later it is, so that its end is told as well."""
    world, ballast = full
    world.after(60, FULL)
    assert world.told() == [("problem", "disk-full")]
    world.after(100, FULL)
    assert world.told() == [("problem", "disk-full")]
    with receiver() as place:
        hook = Webhook(
            url=place.url,
            secret=None,
            tls=ssl.create_default_context(),
            trust_env=False,
            **world.post.common(),
        )
        world.post.run(hook)
        wait_for(lambda: place.requests)
        wait_for(lambda: not world.told())
        assert [one["problem"] for one in place.documents()] == ["disk-full"]
    ballast.unlink()
    world.after(0, FULL)
    world.alarm = world.made()
    world.after(100, FULL)
    assert world.post.left() == []
    world.after(60, None)
    assert world.post.left() == [("recovery", 0)]


def test_what_was_not_delivered_is_written_down_later(full: tuple[World, Path]) -> None:
    """With what is known of it, so that the receiver knows it again."""
    world, ballast = full
    world.after(60, FULL)
    (letter,) = world.post.store.outbox.due("webhook")
    # A `--scan` waits until it was tried once, as for what is written down.
    assert world.post.store.outbox.owed()
    assert not world.post.store.outbox.owed([b"/v"])
    world.post.store.outbox.postpone([letter], 50)
    assert not world.post.store.outbox.owed()
    assert world.told() == []
    assert world.post.store.outbox.next_due("webhook") == world.time + 50
    ballast.unlink()
    world.after(50, FULL)
    (written,) = world.post.store.outbox.due("webhook")
    assert world.post.left() == [("problem", 1)]
    assert (written.mark, written.error) == (letter.mark, "no space left")
