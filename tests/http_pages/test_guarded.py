"""What keeps the pages: each sentence of what is promised of their safety has its test here."""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import re
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest

from http_pages.conftest import proof
from http_pages.site import DIRECT, TOKEN, Site, site
from megamax_sync.config import HttpAddress
from megamax_sync.http import auth, server
from megamax_sync.http.detail import _open
from megamax_sync.http.html import Html, tag

PAGES = ("/", "/jobs", "/jobs/1", "/metrics", "/api/status", "/api/events")
ORDERS = ("/api/pause", "/api/resume", "/api/jobs/1/retry", "/api/bwlimit")


def connect(made: Site) -> socket.socket:
    """A connection on which the test says what it likes."""
    assert made.pages is not None
    return socket.create_connection(("127.0.0.1", made.pages.port or 0), timeout=10)


def asked(made: Site, request: bytes) -> bytes:
    """What comes back for these bytes, until the server closes."""
    with connect(made) as wire:
        wire.sendall(request)
        return b"".join(iter(lambda: wire.recv(65536), b""))


# -- sign-in by the token, kept in a SameSite=Strict; HttpOnly cookie ----------------------------


def test_the_cookie_is_strict_and_no_scripts(kept_site: Site, signed_in: httpx.Client) -> None:
    """It goes to our own pages alone, no script reads it, and it is not the token."""
    with kept_site.client(headers={"accept": "text/html"}) as client:
        form = {"token": TOKEN, "proof": proof(client.get("/").text), "next": "/jobs"}
        answer = client.post("/sign-in", data=form, headers={"origin": kept_site.url})
    said = answer.headers["set-cookie"]
    assert answer.headers["location"] == "/jobs"
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(said.split("; "))
    assert TOKEN not in said
    assert signed_in.get("/").status_code == 200


def test_a_cookie_cannot_be_made_up_and_runs_out(kept_site: Site) -> None:
    """Neither another mark, nor a later date, nor one that is over lets anybody in."""
    keeper = auth.Keeper(TOKEN, kept_site.clock.wall)
    good = keeper.sign_in()
    until, _, mark = good.partition(".")
    old = auth.Keeper(TOKEN, lambda: time.time() - auth.COOKIE_SECONDS - 5).sign_in()
    other = auth.Keeper("another", time.time).sign_in()
    forged = [
        f"{int(until) + 9}.{mark}",
        f"{until}.{'0' * 64}",
        old,
        other,
        "",
        "x",
        "1.",
        "²." + mark,
    ]
    for cookie, status in [(good, 200), *((one, 401) for one in forged)]:
        with kept_site.client() as client:
            header = {b"cookie": f"{auth.COOKIE}={cookie}".encode()}
            assert client.get("/api/status", headers=header).status_code == status, cookie


def test_signing_out_takes_the_cookie_away(kept_site: Site, signed_in: httpx.Client) -> None:
    """What comes after it is the sign-in again."""
    form = {"proof": proof(signed_in.get("/").text)}
    answer = signed_in.post("/sign-out", data=form, headers={"origin": kept_site.url})
    assert answer.status_code == 303
    assert signed_in.get("/").status_code == 401


@pytest.mark.parametrize("path", PAGES)
def test_with_a_token_every_page_needs_it(kept_site: Site, path: str) -> None:
    """Nothing is shown without it, or with a wrong one; browsers get the sign-in instead."""
    kept_site.failed("/media/secret name.mp4")
    with kept_site.client() as client:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {'x'}"}):
            answer = client.get(path, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "secret" not in answer.text
        page = client.get(path, headers={"accept": "text/html"})
        assert page.status_code == 401
        assert 'type="password"' in page.text
        assert "secret" not in page.text


def test_health_needs_no_token(kept_site: Site) -> None:
    """A probe knows none; a part that is stuck is named."""
    with kept_site.client() as client:
        assert client.get("/healthz").json()["healthy"] is True
        kept_site.live["parts"][3] |= {"stuck": True, "age": 70.0}
        answer = client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json() == {
        "healthy": False,
        "stuck": ["tracker"],
        "reason": "stuck: tracker (silent for 70 s)",
    }


def test_health_is_asked_without_what_may_hang(kept_site: Site) -> None:
    """All that an instance can say it says only with its queue."""
    with kept_site.client() as client:
        looks = kept_site.looks
        assert client.get("/healthz").json()["healthy"] is True
        assert kept_site.looks == looks


def test_the_token_is_compared_in_constant_time(
    kept_site: Site, bearer: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every comparison goes through hmac.compare_digest, of texts of one length."""
    lengths = []
    compare = hmac.compare_digest

    def watched(one: bytes, other: bytes) -> bool:
        lengths.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr("hmac.compare_digest", watched)
    assert bearer.get("/api/status").status_code == 200
    for token in ("b", "a", TOKEN[:-1], TOKEN + "x"):
        header = {b"authorization": f"Bearer {token}".encode()}
        assert bearer.get("/api/status", headers=header).status_code == 401
    assert len(lengths) >= 5
    assert set(lengths) == {(32, 32)}


# -- Host checked --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "[::1]", "10.1.2.3"],
)
def test_other_hosts_are_refused(open_site: Site, host: str) -> None:
    """A name that leads to us is not therefore ours (DNS rebinding)."""
    answer = asked(
        open_site, f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    )
    assert answer.startswith(b"HTTP/1.1 421 ")
    assert b"MEGAMAX_HTTP_HOSTS" in answer


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8765", "localhost", "LOCALHOST:1", "nas.example:443", "NAS.example."],
)
def test_own_hosts_are_served(tmp_path: Path, host: str) -> None:
    """The bound address, localhost, and what MEGAMAX_HTTP_HOSTS names, with any port."""
    with site(tmp_path, hosts=("nas.example",)) as made, made.client() as client:
        assert client.get("/", headers={"host": host}).status_code == 200


def test_every_address_of_the_machine_is_the_bound_one_for_a_wildcard(tmp_path: Path) -> None:
    """Behind [::], the address that was called is ours, in either family, and no name is."""
    where = HttpAddress(host="::", port=0)
    with site(tmp_path, address=where) as made:
        assert made.pages is not None
        for host, called in (("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")):
            url = f"http://{host}:{made.pages.port}/"
            with httpx.Client(trust_env=False) as client:
                assert client.get(url).status_code == 200
                answer = client.get(url, headers={"host": "evil.example"})
                assert answer.status_code == 421, called


# -- CSRF impossible -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ORDERS)
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "HERE"},
        {},
    ],
)
def test_no_other_site_can_order_anything(
    kept_site: Site, signed_in: httpx.Client, path: str, headers: dict[str, str]
) -> None:
    """Even with the cookie and the form's proof, what does not come from here is refused."""
    job = kept_site.failed("/media/a.mp4")
    form = {"proof": proof(signed_in.get("/").text), "limit": "1M"}
    given = {name: value.replace("HERE", kept_site.url) for name, value in headers.items()}
    assert signed_in.post(path, data=form, headers=given).status_code == 403
    assert kept_site.job(job.id).state == "failed"
    assert not kept_site.store.settings.paused
    assert kept_site.store.settings.bwlimit is None


@pytest.mark.parametrize("path", ORDERS)
def test_a_form_has_to_be_one_of_ours(kept_site: Site, signed_in: httpx.Client, path: str) -> None:
    """Without the proof, or with that of another browser, a cookie orders nothing."""
    kept_site.failed("/media/a.mp4")
    with kept_site.client(headers={"accept": "text/html"}) as other:
        foreign = proof(other.get("/").text)
    for form in ({}, {"proof": ""}, {"proof": foreign}, {"proof": "ä"}):
        answer = signed_in.post(path, data=form, headers={"origin": kept_site.url})
        assert answer.status_code == 403
        assert "load it again" in answer.text


def test_signing_in_and_out_are_kept_as_well(kept_site: Site, signed_in: httpx.Client) -> None:
    """Nobody is signed in, or out, by another site."""
    form = {"token": TOKEN, "proof": proof(signed_in.get("/").text)}
    for path in ("/sign-in", "/sign-out"):
        answer = signed_in.post(path, data=form, headers={"origin": "https://evil.example"})
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
        assert signed_in.post(path, data={}, headers={"origin": kept_site.url}).status_code == 403


@pytest.mark.parametrize("path", ORDERS)
def test_looking_changes_nothing(bearer: httpx.Client, path: str) -> None:
    """What changes anything is no GET."""
    assert bearer.get(path).status_code == 405


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "/\tx", "", "/api/pause"],
)
def test_a_form_leads_nowhere_else(kept_site: Site, signed_in: httpx.Client, target: str) -> None:
    """Where a form goes on is a page of ours, whatever it says."""
    form = {"proof": proof(signed_in.get("/").text), "next": target}
    answer = signed_in.post("/api/pause", data=form, headers={"origin": kept_site.url})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"


# -- without a token nothing can be changed ------------------------------------------------------


@pytest.mark.parametrize("path", ORDERS)
def test_without_a_token_nothing_can_be_changed(
    open_site: Site, anybody: httpx.Client, path: str
) -> None:
    """No order is taken, whatever is sent along, and no page offers any."""
    job = open_site.failed("/media/a.mp4")
    made_up = auth.Keeper(None, time.time).form_proof(_Asked())  # type: ignore[arg-type]  # a request of which only what form_proof reads is there
    headers = {"origin": open_site.url, "authorization": "Bearer None"}
    for form in ({}, {"proof": made_up}):
        answer = anybody.post(path, data={**form, "limit": "1M"}, headers=headers)
        assert answer.status_code == 403
        assert "MEGAMAX_HTTP_TOKEN" in answer.text
    assert open_site.job(job.id).state == "failed"
    assert not open_site.store.settings.paused
    assert open_site.store.settings.bwlimit is None
    for page in ("/", "/jobs", f"/jobs/{job.id}"):
        assert 'method="post"' not in anybody.get(page).text
        assert "formaction" not in anybody.get(page).text


def test_there_is_nothing_to_sign_in_to_without_a_token(
    open_site: Site, anybody: httpx.Client
) -> None:
    """An empty token is not the right one."""
    answer = anybody.post("/sign-in", data={"token": ""}, headers={"origin": open_site.url})
    assert answer.status_code == 403


class _Asked:
    """A request without anything."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}


def test_direct_links_are_for_this_machine_or_for_those_with_the_token(tmp_path: Path) -> None:
    """A port that is open to others shows what is public anyway, and no signed links."""
    cases = [("127.0.0.1", None, True), ("0.0.0.0", TOKEN, True), ("0.0.0.0", None, False)]
    for number, (host, token, shown) in enumerate(cases):
        (tmp_path / str(number)).mkdir()
        where = HttpAddress(host=host, port=0)
        with site(tmp_path / str(number), token=token, address=where) as made:
            job = made.done("/media/a.mp4", direct=DIRECT)
            assert made.pages is not None
            with httpx.Client(trust_env=False) as client:
                headers = {b"authorization": f"Bearer {TOKEN}".encode()}
                url = f"http://127.0.0.1:{made.pages.port}/jobs/{job.id}"
                page = client.get(url, headers=headers if token else {}).text
        assert ("signature=5ec" in page) is shown
        assert "ok.ru/videoembed" in page
        assert ("MEGAMAX_HTTP_TOKEN" in page) is not shown or token is None


# -- no file outside the package -----------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/%2e%2e/cli/app.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/app.css/../../auth.py",
        "/static/",
        "/static",
        "/static/app.css%00",
        "/etc/passwd",
        "/../../../../etc/passwd",
        "/queue.db",
    ],
)
def test_no_other_file_is_served(open_site: Site, path: str) -> None:
    """Three names are known, and each is a file of the package; nothing is opened by a path."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = asked(open_site, request.encode())
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 307 ", b"HTTP/1.1 400 ")), answer
    assert b"root:" not in answer
    assert b"import" not in answer


def test_the_three_files_are_those_of_the_package(open_site: Site, anybody: httpx.Client) -> None:
    """They are served as what they are."""
    folder = Path(server.__file__).parent / "static"
    assert {path.name for path in folder.iterdir()} == {"app.css", "app.js", "icon.svg"}
    for path in folder.iterdir():
        answer = anybody.get(f"/static/{path.name}")
        assert answer.content == path.read_bytes()
        assert answer.headers["x-content-type-options"] == "nosniff"


# -- names from the disk are escaped everywhere --------------------------------------------------

HOSTILE = [
    b"<img src=x onerror=alert(1)>.mp4",
    b'"><script>alert(1)</script>.mp4',
    b"' onmouseover='alert(1).mp4",
    b"caf\xe9 \xff.mp4",
    "abc\u202egpj.mp4".encode(),
    b"line\nbreak\x1b[31m.mp4",
    b"]]>&amp;<!--.mp4",
    b"</title><svg onload=alert(1)>.mp4",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_escaped_everywhere(kept_site: Site, bearer: httpx.Client, name: bytes) -> None:
    """On each page, in JSON and in live events, in whatever state the job is."""
    path = b"/media/" + name
    error = f"cannot read {name.decode('utf-8', 'backslashreplace')}"
    made = kept_site
    jobs = [
        made.failed(path, error),
        made.done(path, direct_error=f"no premium for {name.decode('latin-1')}", direct="[]"),
        made.processing(path, status=name.decode("latin-1")),
        made.uploading(path),
        made.add(path),
    ]
    made.live["uploads"] = [{"job": jobs[3].id, "sent": 1, "size": 1000, "rate": 1.0}]
    made.live |= {"problem": "watch", "problem_detail": name.decode("latin-1")}
    texts = [bearer.get(page).text for page in ("/", "/jobs", *(f"/jobs/{j.id}" for j in jobs))]
    with bearer.stream("GET", "/api/events?parts=1") as events:
        lines = events.iter_lines()
        data = next(line for line in lines if line.startswith("data:") and "upload-" in line)
        texts += json.loads(data.removeprefix("data:")).values()
    texts.append(bearer.get("/jobs", params={"q": name.decode("latin-1")}).text)
    for text in texts:
        tags = {found.lower() for found in re.findall(r"<\s*([a-zA-Z!][a-zA-Z0-9-]*)", text)}
        assert not tags & {"img src", "svg onload"}
        assert "<img src=x" not in text
        assert "<svg onload" not in text
        assert "<script>" not in text
        assert "<!--" not in text
        assert "\u202e" not in text
        assert not re.search("[\ud800-\udfff\x1b]", text)
        # No attribute has ended early: quotes in text are escaped, so those that are left are ours.
        assert not re.search(r"<[^>]*\son\w+\s*=", re.sub(r'"[^"]*"', "", text))
    said = bearer.get("/api/status").json()
    assert said["jobs"][0]["path"] == path.decode("utf-8", "replace")


def test_markup_cannot_be_made_from_text() -> None:
    """There is no way around the escaping but the module's own."""
    with pytest.raises(TypeError):
        Html("<b>")
    assert (
        str(tag("p", "<b>", title="\"'<>&")) == '<p title="&quot;&#x27;&lt;&gt;&amp;">&lt;b&gt;</p>'
    )
    for name in ("p onclick", "", "1", 'p"'):
        with pytest.raises(ValueError, match="is no name"):
            tag(name)
        with pytest.raises(ValueError, match="is no name"):
            tag("p", **{name: "x"})


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "https://ok.ru/<'\">"])
def test_links_of_the_service_run_nothing(kept_site: Site, bearer: httpx.Client, url: str) -> None:
    """A link is followed only where it leads to a page; its code is shown as text."""
    mirrors = json.dumps(
        [
            {
                "title": "<b>",
                "size": 1,
                "mirrors": [
                    {
                        "driver": "<i>",
                        "iframe": "https://ok.ru/<'\">",
                        "link": "https://ok.ru/<'\">",
                        "uploaded_at": None,
                        "checked_at": None,
                    }
                ],
            }
        ]
    )
    job = kept_site.done("/media/a.mp4", mirrors=mirrors)
    text = bearer.get(f"/jobs/{job.id}").text
    assert "<i>" not in text
    assert "<iframe" not in text
    assert 'href="javascript' not in text
    assert (_open("Player", url, "x") is None) is not url.startswith("https:")


# -- headers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/nothing", "/static/app.js", "/healthz", "/api/pause"])
def test_every_answer_has_the_headers(open_site: Site, anybody: httpx.Client, path: str) -> None:
    """Also those that refuse: strict policy, no sniffing, no referrer, no frame, no cache."""
    for answer in (anybody.get(path), anybody.get(path, headers={"host": "evil.example"})):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers


def test_pages_have_nothing_inline_and_nothing_from_elsewhere(
    kept_site: Site, signed_in: httpx.Client
) -> None:
    """No script, style or handler in the HTML; every source is a path of ours."""
    job = kept_site.done("/media/a.mp4")
    for path in ("/", "/jobs", f"/jobs/{job.id}", "/nothing"):
        text = signed_in.get(path).text
        assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", text)
        sources = re.findall(r'<(?:script|link|img)[^>]*\s(?:src|href)="([^"]*)"', text)
        assert len(sources) >= 4
        assert all(source.startswith("/static/") for source in sources)


# -- secrets -------------------------------------------------------------------------------------


def test_the_token_is_on_no_page_and_in_no_log(
    kept_site: Site, signed_in: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither as it is, nor in a form, an error, a metric, an event, or a line of the log."""
    caplog.set_level(logging.DEBUG)
    job = kept_site.failed("/media/a.mp4")
    texts = [
        signed_in.get(path).text for path in ("/", "/jobs", f"/jobs/{job.id}", "/metrics", "/x")
    ]
    form = {"proof": proof(texts[0]), "token": TOKEN + "x", "next": "/"}
    texts.append(signed_in.post("/sign-in", data=form, headers={"origin": kept_site.url}).text)
    for text in (*texts, caplog.text):
        assert TOKEN not in text
        assert "ümlauts" not in text


# -- bounds --------------------------------------------------------------------------------------


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds are tenths."""
    monkeypatch.setattr(server, "PATIENCE", 0.4)


@pytest.mark.usefixtures("short_patience")
@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ",
        b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nab",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HT",
    ],
)
def test_who_sends_slowly_is_cut_off(open_site: Site, beginning: bytes) -> None:
    """A request has to be whole in some seconds, however it drips; the others are served."""
    began = time.monotonic()
    with connect(open_site) as wire, contextlib.suppress(OSError):
        wire.sendall(beginning)
        for _ in range(100):
            wire.settimeout(0.1)
            try:
                if not wire.recv(65536):
                    break
            except TimeoutError:
                wire.sendall(b"x" if beginning and not beginning.endswith(b"ab") else b"")
    assert time.monotonic() - began < 5
    with open_site.client() as client:
        assert client.get("/healthz").status_code == 200


@pytest.mark.usefixtures("short_patience")
def test_who_does_not_read_is_cut_off(open_site: Site) -> None:
    """An answer that nobody takes in holds its connection for some seconds, no longer."""
    open_site.fill(60)
    with connect(open_site) as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = b"GET /jobs HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with contextlib.suppress(OSError):
            wire.sendall(request * 1000)
        assert open_site.pages is not None
        state = open_site.pages._server._server.server_state
        until = time.monotonic() + 40
        while state.connections and time.monotonic() < until:
            threading.Event().wait(0.05)
        assert not state.connections


def test_long_bodies_are_refused(open_site: Site) -> None:
    """By their length where it is said, else as they come."""
    head = b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    kind = b"Content-Type: application/x-www-form-urlencoded\r\n"
    said = asked(open_site, head + kind + b"Content-Length: 99999999999999999999\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 413 ")
    chunk = b"1000\r\n" + b"a" * 4096 + b"\r\n"
    said = asked(open_site, head + kind + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 5)
    assert said.startswith(b"HTTP/1.1 413 ")
    # What is not read to its end may come back as a reset instead of the answer.
    with contextlib.suppress(ConnectionError):
        long = asked(open_site, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 300000)
        assert long.startswith(b"HTTP/1.1 400 ")


def test_only_so_many_connect_at_a_time(open_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Further connections are closed, and there is room again when some have gone."""
    monkeypatch.setattr(server, "_MOST_CONNECTIONS", 3)
    wires = [connect(open_site) for _ in range(3)]
    try:
        with pytest.raises(httpx.TransportError), open_site.client() as client:
            client.get("/healthz")
    finally:
        for wire in wires:
            wire.close()
    _wait_served(open_site)


def _wait_served(made: Site) -> None:
    until = time.monotonic() + 10
    while True:
        with contextlib.suppress(httpx.TransportError), made.client() as client:
            assert client.get("/healthz").status_code == 200
            return
        assert time.monotonic() < until


def test_only_pages_without_a_token_say_how_to_steer(
    kept_site: Site, anybody: httpx.Client
) -> None:
    """Where one is set, and whoever looks has not shown it, the sign-in is what is missing."""
    note = "This page only shows"
    assert note in anybody.get("/").text
    assert note in anybody.get("/nowhere").text
    with kept_site.client(headers={"accept": "text/html"}) as client:
        asked = client.get("/")
        refused = client.post("/sign-in", data={"token": TOKEN}, headers={"origin": "http://evil"})
    assert "Sign in" in asked.text
    assert refused.status_code == 403
    assert note not in asked.text + refused.text
