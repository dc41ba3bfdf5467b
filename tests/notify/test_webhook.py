"""MEGAMAX_WEBHOOK: what is posted, how it is signed, and what becomes of what fails."""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from upload.pipeline import wait_for

from megamax_sync.api.transport import trust
from megamax_sync.notify import courier, webhook
from megamax_sync.notify.webhook import Webhook

from .conftest import Post
from .receiver import Receiver

DOCS = Path(__file__).parents[2] / "docs"
SECRET = "a shared secret"


def hook(post: Post, url: str, secret: str | None = SECRET) -> Webhook:
    """One who posts."""
    post.store.outbox.listen({"webhook": ["done", "failed", "problem", "recovery"]})
    return Webhook(url=url, secret=secret, tls=trust(None), trust_env=False, **post.common())


def test_each_event_is_posted(post: Post, listener: Receiver) -> None:
    """In their order, with the facts; the links of what is done, the word of a problem."""
    poster = hook(post, listener.url)
    post.job(b"/v/\xff.mkv")
    post.job(b"/v/b.mkv", error="broken")
    post.store.outbox.tell_problem("disk-full", "no space left")
    post.store.outbox.tell_recovery("disk-full")
    assert poster.step() is None
    done, failed, problem, recovery = listener.documents()
    assert {one["schema"] for one in listener.documents()} == {1}
    assert (done["event"], done["job"], done["hashid"], done["path"], done["path_b64"]) == (
        "done", 1, "H1", "/v/\ufffd.mkv", "L3Yv/y5ta3Y=",
    )  # fmt: skip
    assert (done["folder"], done["size"], done["error"], done["direct"]) == (12, 10, None, [])
    assert done["mirrors"] == [{"title": "source", "size": 1, "mirrors": []}]
    assert (failed["event"], failed["error"], failed["mirrors"]) == ("failed", "broken", [])
    assert (problem["event"], problem["problem"], problem["error"], problem["job"]) == (
        "problem", "disk-full", "no space left", None,
    )  # fmt: skip
    assert (recovery["event"], recovery["problem"]) == ("recovery", "disk-full")
    assert post.left() == []
    path, headers, body = listener.requests[0]
    assert path == "/hook?token=s3cr3t-t0ken"
    assert headers["Content-Type"] == "application/json"
    assert (headers["X-Megamax-Event"], headers["X-Megamax-Id"]) == ("done", done["id"])
    signed = headers["X-Megamax-Timestamp"].encode() + b"." + body
    wanted = "sha256=" + hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["X-Megamax-Signature"] == wanted
    assert re.fullmatch(r"\d{10}", headers["X-Megamax-Timestamp"])


def test_without_a_secret_nothing_is_signed(post: Post, listener: Receiver) -> None:
    """And of a job that was dropped there is what the letter says."""
    poster = hook(post, listener.url, None)
    post.store.orders.forget(post.job())
    poster.step()
    ((_, headers, _),) = listener.requests
    assert "X-Megamax-Signature" not in headers
    (document,) = listener.documents()
    assert (document["hashid"], document["size"], document["mirrors"]) == ("H1", None, [])


def test_the_documented_check_holds(post: Post, listener: Receiver) -> None:
    """The code in docs/hooks.md takes what we send, and refuses what is old or was changed."""
    text = (DOCS / "hooks.md").read_text("utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(snippet, names)
    poster = hook(post, listener.url)
    post.job()
    poster.step()
    ((_, headers, body),) = listener.requests
    sent = float(headers["X-Megamax-Timestamp"])
    verify = names["verify"]
    assert verify(SECRET, headers, body, now=sent + 10)
    assert not verify(SECRET, headers, body, now=sent + 1000)
    assert not verify(SECRET, headers, body + b" ", now=sent)
    assert not verify("another", headers, body, now=sent)
    assert not verify(SECRET, {**headers, "X-Megamax-Timestamp": str(int(sent) + 1)}, body, sent)


def test_the_documented_fields_are_those_that_are_sent(post: Post, listener: Receiver) -> None:
    """docs/hooks.md has a row for each, and no others."""
    text = (DOCS / "hooks.md").read_text("utf-8")
    table = text.split("| field |")[1].split("\n\n")[0]
    named = set(re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in
                                               table.splitlines()[2:])))  # fmt: skip
    poster = hook(post, listener.url)
    post.job()
    poster.step()
    assert named == set(listener.documents()[0])


def test_an_answer_of_failure_is_tried_again(post: Post, listener: Receiver) -> None:
    """The same id and body; the rest waits without being sent; said once; Retry-After is kept."""
    poster = hook(post, listener.url)
    listener.answers, listener.headers = [503, 503], {"Retry-After": "1000"}
    post.job()
    post.job(b"/v/b.mkv")
    with capture_logs() as events:
        wait = poster.step()
        assert 50 < (wait or 0) <= 1000
        assert post.left() == [("done", 1), ("done", 1)]
        rows = post.store.database.read("SELECT due_at FROM outbox ORDER BY id")
        assert rows[0]["due_at"] - post.clock.now() > 900
        post.due_now()
        poster.step()
        assert post.left() == [("done", 2), ("done", 2)]
        post.due_now()
        poster.step()
    (said,) = [one for one in events if one["event"] == "hook.failed"]
    assert (said["hook"], said["error"]) == ("webhook", "the answer was HTTP 503")
    assert post.left() == []
    assert len({one["id"] for one in listener.documents()}) == 2
    assert len(listener.requests) == 4
    assert len({body for _, _, body in listener.requests}) == 2


def test_redirects_are_not_followed(post: Post, listener: Receiver) -> None:
    """What is signed for one address goes to no other."""
    poster = hook(post, listener.url)
    listener.answers, listener.headers = [302], {"Location": listener.url + "&again"}
    post.job()
    with capture_logs() as events:
        poster.step()
    assert len(listener.requests) == 1
    (said,) = [one for one in events if one["event"] == "hook.failed"]
    assert said["error"] == "the answer was HTTP 302, and redirects are not followed"


def test_a_refusal_holds_nobody_up(post: Post, listener: Receiver) -> None:
    """The others are sent; after five of them it is given up."""
    poster = hook(post, listener.url)
    listener.answers = [400]
    post.job()
    post.job(b"/v/b.mkv")
    poster.step()
    assert post.left() == [("done", 1)]
    listener.answers = [400] * 4
    with capture_logs() as events:
        for _ in range(4):
            post.due_now()
            poster.step()
    assert post.left() == []
    (said,) = [one for one in events if one["event"] == "hook.failed"]
    assert said["given_up"] == 1


def test_what_could_not_be_sent_was_not_refused(post: Post, listener: Receiver) -> None:
    """After an outage a receiver that is being set up still has five times."""
    poster = hook(post, listener.url)
    post.job()
    post.job(b"/v/b.mkv")
    listener.answers = [503] * 6
    for _ in range(6):
        poster.step()
        post.due_now()
    assert post.left() == [("done", 6), ("done", 6)]
    listener.answers = [404] * 8
    for _ in range(4):
        poster.step()
        post.due_now()
    assert len(post.left()) == 2
    poster.step()
    assert post.left() == []
    assert len(listener.documents()) == 6 + 8 + 2


def test_after_a_day_it_is_given_up(
    post: Post, listener: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said for each, and nothing is left."""
    poster = hook(post, listener.url)
    listener.answers = [500]
    post.job()
    monkeypatch.setattr(courier, "GIVE_UP_SECONDS", 0.0)
    with capture_logs() as events:
        poster.step()
    assert [one["given_up"] for one in events if one["event"] == "hook.failed"] == [1]
    assert post.left() == []


def test_nobody_there(post: Post) -> None:
    """Said without the address, which is a secret."""
    poster = hook(post, "http://127.0.0.1:9/hook?token=s3cr3t-t0ken")
    post.job()
    with capture_logs() as events:
        poster.step()
    (said,) = [one for one in events if one["event"] == "hook.failed"]
    assert said["error"] == "no answer (Connection refused)"
    assert "s3cr3t" not in str(events)


def test_a_receiver_that_speaks_something_else(post: Post) -> None:
    """Its certificate is verified, its nonsense an error of its own name."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"this is no HTTP\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        poster = hook(post, f"http://127.0.0.1:{server.getsockname()[1]}/")
        post.job()
        with capture_logs() as events:
            poster.step()
        thread.join()
    (said,) = [one for one in events if one["event"] == "hook.failed"]
    assert said["error"] == "no answer (RemoteProtocolError)"


@pytest.mark.parametrize("where", ["receiver", "thread"])
def test_one_that_does_not_answer_is_left(
    post: Post, listener: Receiver, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """When its time is over, and not sooner, whatever it may still say."""
    monkeypatch.setattr(webhook, "_SECONDS", 0.4)
    if where == "receiver":
        listener.open.clear()
    else:
        monkeypatch.setattr(webhook._Post, "run", lambda self: self.ended.wait(2))
    poster = hook(post, listener.url)
    post.job()
    with capture_logs() as events:
        poster.step()
    (said,) = [one for one in events if one["event"] == "hook.failed"]
    assert said["error"] == "no answer within 0.4 s"


def test_the_stop_does_not_wait_for_an_answer(post: Post, listener: Receiver) -> None:
    """The connection is cut, and the letter is sent again by the next start."""
    listener.open.clear()
    post.run(hook(post, listener.url))
    post.job()
    wait_for(lambda: listener.requests)
    before = threading.active_count()
    post.end()
    assert post.left() == [("done", 0)]
    wait_for(lambda: threading.active_count() < before)
