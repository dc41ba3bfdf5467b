"""MEGAMAX_NOTIFY: when a message goes out, what it says, and to whom. With the real Apprise."""

from __future__ import annotations

import builtins
import logging
import os
from typing import Any

import pytest
from structlog.testing import capture_logs

from megamax_sync.errors import ConfigError
from megamax_sync.notify import apprise_child, message, process
from megamax_sync.notify.courier import Undelivered
from megamax_sync.notify.message import Messages, channel_of, compose

from .conftest import Post
from .receiver import Receiver

EVENTS = ["done", "failed", "problem", "recovery"]


def messages(post: Post, *urls: str, quiet: float = 0.0, oldest: float = 100.0) -> Messages:
    """One who sends."""
    post.store.outbox.listen({channel_of(url): EVENTS for url in urls})
    return Messages(
        urls=urls, environ=os.environ, trust_env=False, quiet=quiet, oldest=oldest, **post.common()
    )


def json_url(listener: Receiver) -> str:
    """Apprise's address for it."""
    return f"json://user:passw0rd@127.0.0.1:{listener.port}/notify"


def test_a_season_is_one_message(post: Post, listener: Receiver) -> None:
    """All that has gathered, by name, and the rest counted; failures come first."""
    sender = messages(post, json_url(listener))
    for number in range(23):
        post.job(b"/v/Show/e%02d.mkv" % number)
    post.job(b"/v/bad.mkv", error="too large")
    assert sender.step() is None
    (document,) = listener.documents()
    assert document["title"] == "megamax-sync: 23 done, 1 failed"
    lines = document["message"].split("\n")
    assert lines[:2] == ["failed: bad.mkv: too large", "done: e00.mkv"]
    assert lines[-1] == "… and 3 more done"
    assert post.left() == []


def test_each_address_has_its_own_letters(post: Post, listener: Receiver) -> None:
    """One that fails is tried again alone; what is said does not name it."""
    good, bad = json_url(listener), "json://127.0.0.1:9/s3cr3t"
    sender = messages(post, bad, good)
    post.job()
    with capture_logs() as events:
        sender.step()
    assert len(listener.requests) == 1
    assert post.left() == [("done", 1)]
    (said,) = [one for one in events if one["event"] == "hook.failed"]
    assert (said["hook"], said["job"]) == ("notify", 1)
    assert "s3cr3t" not in str(events)
    assert "9" not in channel_of(bad) or "127" not in channel_of(bad)


def test_it_waits_for_quiet(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """While anything is on its way, but not for ever; a hurry, a problem or a retry ends it."""
    sent: list[int] = []
    monkeypatch.setattr(Messages, "_send", lambda _self, _given: sent.append(1))
    now = [post.clock.now()]
    monkeypatch.setattr(post.clock, "now", lambda: now[0])
    sender = messages(post, "json://127.0.0.1/", quiet=20)
    post.job()
    assert 15 < (sender.step() or 0) <= 20
    now[0] += 20
    busy = post.store.jobs.add(
        b"/v/next.mkv", post.job(b"/v/b.mkv").stamp, root=None, folder=None, ready=True,
        reason="found",
    )  # fmt: skip
    assert 0 < (sender.step() or 0) <= 20
    now[0] += 60
    assert sender.step() == 20.0
    now[0] += 20
    assert (sender.step(), len(sent)) == (None, 1)
    post.job(b"/v/c.mkv")
    job = post.store.jobs.get(busy)
    assert job is not None
    post.store.jobs.skip(job, "vanished")
    now[0] += 20
    assert (sender.step(), len(sent)) == (None, 2)
    post.job(b"/v/d.mkv")
    sender.hurry.set()
    sender.step()
    sender.hurry.clear()
    post.store.outbox.tell_problem("watch", "gone")
    sender.step()
    assert len(sent) == 4

    def refuse(_self: Messages, _given: Any) -> None:
        raise Undelivered("no")

    monkeypatch.setattr(Messages, "_send", refuse)
    post.store.outbox.tell_recovery("watch")
    sender.step()
    assert post.left() == [("recovery", 1)]
    post.due_now()
    monkeypatch.setattr(Messages, "_send", lambda _self, _given: sent.append(1))
    sender.step()
    assert len(sent) == 5


def test_what_a_message_says(post: Post) -> None:
    """One event is its title; problems are sentences; odd names do no harm."""
    post.store.outbox.listen({"x": EVENTS})

    def said() -> tuple[str, str]:
        letters = post.store.outbox.due("x")
        post.store.outbox.delivered(letters)
        return compose(letters)

    post.job(b"/v/a\x1b\xff.mkv")
    name = "a\ufffd\ufffd.mkv"
    assert said() == (f"megamax-sync: done: {name}", f"done: {name}")
    post.store.outbox.tell_problem("unreachable", "no answer")
    assert said() == ("megamax-sync: problem: unreachable", "problem: unreachable: no answer")
    post.store.outbox.tell_recovery("unreachable")
    post.job(error="broken")
    title, text = said()
    assert title == "megamax-sync: 1 failed, recovery: unreachable"
    assert text == "recovery: unreachable is over\nfailed: a.mkv: broken"


def test_addresses_are_checked_at_the_start(post: Post, listener: Receiver) -> None:
    """By their number, as they are secrets; nothing is sent."""
    messages(post, json_url(listener)).check()
    wrong = messages(post, json_url(listener), "nosuchservice://s3cr3t", "tgram://s3cr3t")
    with pytest.raises(ConfigError) as caught:
        wrong.check()
    assert [fault[:34] for fault in caught.value.faults] == [
        "MEGAMAX_NOTIFY: address 2 of 3 is ",
        "MEGAMAX_NOTIFY: address 3 of 3 is ",
    ]
    assert "s3cr3t" not in str(caught.value)
    assert listener.requests == []


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(apprise_child.NOT_INSTALLED, "pip install 'megamax-sync[notify]'"), (1, "status 1")],
)
def test_without_apprise_the_remedy_is_said(
    post: Post, monkeypatch: pytest.MonkeyPatch, status: int, remedy: str
) -> None:
    """An error of the configuration, before anything is done."""
    monkeypatch.setattr(message, "run", lambda *_args, **_more: process.Outcome(status, b""))
    with pytest.raises(ConfigError) as caught:
        messages(post, "json://127.0.0.1/").check()
    assert remedy in str(caught.value)


def test_an_apprise_that_hangs(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended, and that is said."""
    monkeypatch.setattr(message, "_SECONDS", 0.3)
    monkeypatch.setattr(message, "_COMMAND", ("sh", "-c", "sleep 60"))
    with pytest.raises(ConfigError, match="did not end within"):
        messages(post, "json://127.0.0.1/").check()


def test_proxies_only_where_they_are_wanted(post: Post) -> None:
    """The environment's are left out, unless MEGAMAX_PROXY says env."""
    environ = {"https_proxy": "http://p", "MEGAMAX_KEY": "k", "HOME": "/h"}
    assert message._environment(environ, trust_env=False) == {"HOME": "/h"}
    assert "https_proxy" in message._environment(environ, trust_env=True)


def test_the_child_without_apprise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its exit status says so."""
    load = builtins.__import__

    def missing(name: str, *args: Any, **more: Any) -> Any:
        if name == "apprise":
            raise ImportError
        return load(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    monkeypatch.setattr(logging, "disable", lambda _level: None)
    assert apprise_child.main([]) == apprise_child.NOT_INSTALLED
