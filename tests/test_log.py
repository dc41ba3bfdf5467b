"""The log: its shape, its manners towards terminals and broken streams, and what it never says."""

from __future__ import annotations

import base64
import gc
import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
import threading
import urllib.parse
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st
from watchdog.observers.api import EventQueue, ObservedWatch
from watchdog.observers.inotify import InotifyEmitter

from megamax_sync.log import Gathered, Redactor, configure, readable
from megamax_sync.log.render import Json

LOGIN, KEY = "some.one+x@exämple.org", 'IUPM/"sMj\\rAHzdj TBo'
SECRETS = (LOGIN, KEY)


def encodings(secret: str) -> dict[str, str]:
    """A secret as it may appear in requests, answers and errors."""
    data = secret.encode()
    quote = urllib.parse.quote
    forms = {
        "plain": secret,
        "quoted": quote(secret, safe=""),
        "quoted, lower case": re.sub("%..", lambda m: m[0].lower(), quote(secret, safe="")),
        "quoted in part": quote(secret, safe="@+"),
        "form": urllib.parse.quote_plus(secret),
        "quoted twice": quote(quote(secret, safe=""), safe=""),
        "json": json.dumps(secret)[1:-1],
        "json, not ASCII": json.dumps(secret, ensure_ascii=False)[1:-1],
        "json in json": json.dumps(json.dumps(secret)[1:-1])[1:-1],
        "php json": json.dumps(secret).replace("/", r"\/")[1:-1],
        "repr": repr(secret)[1:-1],
        "ascii": ascii(secret)[1:-1],
        "bytes": repr(data)[2:-1],
        "hex": data.hex(),
        "HEX": data.hex().upper(),
    }
    for before in ("", "a", "ab", "abc:"):
        text = f"{before}{secret}"
        for after in ("", ":z"):
            whole = (text + after).encode()
            forms[f"base64 {before}…{after}"] = base64.b64encode(whole).decode()
            forms[f"base64 url {before}…{after}"] = base64.urlsafe_b64encode(whole).decode()
    return forms


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Logging is the process's: give it back as it was."""
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    yield
    logging.captureWarnings(False)
    root.handlers, logging.raiseExceptions = handlers, raising
    root.setLevel(level)
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def secrets() -> Redactor:
    """A redactor that knows the login and the key."""
    redactor = Redactor()
    for secret in SECRETS:
        redactor.add(secret)
    return redactor


class Log:
    """A configured log, and what has been written to it."""

    def __init__(self, secrets: Redactor) -> None:
        self.secrets = secrets
        self.stream = io.StringIO()

    def start(self, fmt: Any = "json", level: str = "info") -> Any:
        """Configure, and return a logger."""
        configure(fmt=fmt, level=level, stream=self.stream, secrets=self.secrets)
        return structlog.get_logger()

    @property
    def text(self) -> str:
        """All of it."""
        return self.stream.getvalue()

    @property
    def events(self) -> list[dict[str, Any]]:
        """Its lines, as JSON."""
        assert self.text.endswith("\n") or not self.text
        return [json.loads(line) for line in self.text.splitlines()]

    def only(self) -> dict[str, Any]:
        """The one event there is."""
        (event,) = self.events
        return event


@pytest.fixture
def log(secrets: Redactor) -> Log:
    """A log in memory."""
    return Log(secrets)


def test_an_event_is_one_json_object(log: Log) -> None:
    """Timestamp in UTC, level, event, then the fields, in this order."""
    log.start().info("job.done", job=3, path="/x/é.mkv", ok=True, ratio=0.5, none=None)
    event = log.only()
    assert list(event)[:3] == ["timestamp", "level", "event"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", event.pop("timestamp"))
    assert event == {
        "level": "info", "event": "job.done",
        "job": 3, "path": "/x/é.mkv", "ok": True, "ratio": 0.5, "none": None,
    }  # fmt: skip


def test_values_of_all_kinds_become_plain(log: Log) -> None:
    """Bytes, paths, sets, odd numbers, errors and objects are all readable."""
    loop: list[object] = []
    loop.append(loop)
    log.start().info(
        "x", raw=b"/m/\xff", name="/m/\udcff", lone="\ud800", path=Path("/p"), some={1},
        odd=float("inf"), error=ValueError("bad"), silent=KeyError(), deep=loop, map={b"a": [b"b"]},
        thing=re.compile("a"), long="x" * 9000, nested=Path(os.fsdecode(b"/\xfe")),
    )  # fmt: skip
    event = log.only()
    assert (event["raw"], event["name"], event["lone"]) == ("/m/\\xff", "/m/\\xff", "\\ud800")
    assert (event["path"], event["nested"], event["some"]) == ("/p", "/\\xfe", [1])
    assert (event["odd"], event["error"], event["silent"]) == ("inf", "bad", "KeyError")
    assert event["map"] == {"b'a'": ["b"]}
    assert event["thing"] == "re.compile('a')"
    assert len(event["long"]) == 8193
    assert "[[[" in log.text


@pytest.mark.parametrize("utf8", [True, False])
@pytest.mark.parametrize("name", ["path", "Login", "key", "login=abc", KEY])
@pytest.mark.parametrize(
    "value",
    [
        *(f"a{form}z" for secret in SECRETS for form in encodings(secret).values()),
        "/m/plain.mkv", b"/m/\xff", b"/m/\xc3\xa9.mkv", "x" * 9000, "k" * 5000, "\ud800",
        "a\nlogin=abc", "?login=abc", "\u017fignature=abc&", 'say "key": "abc"', "{'key': 'abc'}",
        "\u2028\x9b", None, True, 7, 0.5, float("inf"), float("nan"),
    ],
)  # fmt: skip
def test_events_of_plain_values_are_rendered_as_all_others_are(
    secrets: Redactor, *, utf8: bool, name: str, value: object
) -> None:
    """They go a shorter way to the same end: a further field that is not plain changes nothing."""
    render = Json(secrets, ascii_only=not utf8)
    short = json.loads(render(None, "", {"event": value, name: value}))
    careful = json.loads(render(None, "", {"event": value, name: value, "not_plain": [1]}))
    assert careful.pop("not_plain") == [1]
    assert short == careful


def test_an_event_that_cannot_be_shown_ends_nothing(log: Log) -> None:
    """A value that raises when it is looked at costs its own line, no more."""

    class Shy:
        def __str__(self) -> str:
            raise RuntimeError("no")

    logger = log.start()
    logger.info("lost", thing=Shy())
    logger.info("said")
    assert log.only()["event"] == "said"


def test_context_is_part_of_the_event(log: Log) -> None:
    """What is bound, to the logger or the context, is in every event."""
    logger = log.start().bind(job=1)
    with structlog.contextvars.bound_contextvars(worker=2):
        logger.info("x")
    event = log.only()
    assert (event["job"], event["worker"]) == (1, 2)


@pytest.mark.parametrize(
    ("level", "expected"),
    [("debug", "diwe"), ("info", "iwe"), ("warning", "we"), ("ERROR", "e")],
)
def test_the_level_holds_for_events_and_libraries(log: Log, level: str, expected: str) -> None:
    """Nothing less severe is written, whoever says it."""
    logger = log.start(level=level)
    for said in (logger, logging.getLogger("some.library")):
        said.debug("d")
        said.info("i")
        said.warning("w")
        said.error("e")
    assert [event["event"] for event in log.events] == [*expected, *expected]


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_many_events_are_the_same_lines_as_one_by_one(log: Log, fmt: str) -> None:
    """With their context, without secrets; one that cannot be shown leaves the others alone."""

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    logger = log.start(fmt=fmt)
    fields: list[dict[str, object]] = [
        {"path": "/x/é"},
        {"path": b"/\xff\n"},
        {"key": "x", "path": f"/{KEY}/y"},
    ]
    with structlog.contextvars.bound_contextvars(worker=2, path="/z"):
        for one in fields:
            logger.info("file.queued", **one)
        fields.insert(0, {"path": Broken()})
        gathered = Gathered()
        for one in fields:
            gathered.info("file.queued", **one)
        gathered.say()
        gathered.say()
    lines = [re.sub(r"\d\d\S+Z", "", line) for line in log.text.splitlines()]
    assert len(lines) == 6
    assert lines[:3] == lines[3:]
    assert KEY not in log.text


def test_many_events_are_heard_as_one_by_one(log: Log) -> None:
    """The level holds, and who listens in hears them."""

    def say() -> None:
        gathered = Gathered()
        gathered.info("file.queued", job=1)
        gathered.say()

    log.start(level="warning")
    say()
    assert log.text == ""
    with structlog.testing.capture_logs() as said:
        say()
    log.start()
    with structlog.testing.capture_logs() as said_at_info:
        say()
    assert said == []
    assert said_at_info == [{"event": "file.queued", "log_level": "info", "job": 1}]
    assert log.text == ""


def test_libraries_speak_in_the_same_form(log: Log) -> None:
    """What comes through logging has the same keys, its logger's name, and no secrets."""
    log.start()
    logging.getLogger("uvicorn.error").warning("refused %s", KEY)
    event = log.only()
    assert (event["event"], event["logger"]) == ("refused ***", "uvicorn.error")
    assert event["level"] == "warning"


@pytest.mark.parametrize("name", ["httpx", "httpcore.http11", "watchdog.observers"])
def test_libraries_chatter_is_left_out(log: Log, name: str) -> None:
    """Lines for each request or event are silent even at debug; warnings come through."""
    log.start(level="debug")
    logging.getLogger(name).info("GET https://h/?key=abc&x=1")
    logging.getLogger(name).warning("w")
    assert [event["event"] for event in log.events] == ["w"]


def test_the_end_of_a_watch_is_no_error(log: Log) -> None:
    """watchdog says so of itself, when an event was on its way."""
    log.start()
    emitter = InotifyEmitter(EventQueue(), ObservedWatch("/", recursive=False))
    emitter.queue_events(0.0)
    logging.getLogger(InotifyEmitter.__module__).error("another")
    assert [event["event"] for event in log.events] == ["another"]


def test_warnings_are_logged(log: Log) -> None:
    """warnings.warn goes to the log instead of raw to stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        log.start()
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)
        # catch_warnings puts back the function that captureWarnings had replaced.
        logging.captureWarnings(False)
    event = log.only()
    assert event["logger"] == "py.warnings"
    assert "DeprecationWarning: old ways" in event["event"]


def fail(secret: str) -> None:
    """Raise an error that has a cause, and a secret in it and in a local."""
    held = secret
    try:
        open(f"/nowhere/{held}", "rb").close()
    except OSError as error:
        raise ValueError(f"outer\n{held}") from error


def test_an_exception_is_structured_without_locals(log: Log) -> None:
    """`error` is its message, `exception` a list of plain data; no locals, no secrets."""
    logger = log.start()
    try:
        fail(KEY)
    except ValueError as error:
        logger.exception("x")
        logger.critical("y", error="own words", exc_info=error)
        logger.critical("z", exc_info=(ValueError, error, None))
        logging.getLogger("lib").exception("l")
    logger.critical("none", exc_info=sys.exc_info())
    first, second, third, fourth, none = log.events
    assert first["error"] == "outer\n***"
    assert [item["exc_type"] for item in first["exception"]] == ["ValueError", "FileNotFoundError"]
    assert second["error"] == "own words"
    assert third["exception"][0]["exc_value"] == fourth["exception"][0]["exc_value"] == "outer\n***"
    assert "exception" not in none
    assert "held" not in log.text
    assert_clean(log.text)


def test_a_crash_is_logged(log: Log) -> None:
    """Threads, the main program and destructors that fail leave an event, no raw traceback."""
    log.start()

    class Broken:
        def __del__(self) -> None:
            raise ValueError(KEY)

    def quit_quietly() -> None:
        sys.exit(3)

    for target in (lambda: fail(KEY), quit_quietly):
        thread = threading.Thread(target=target, name="worker-1")
        thread.start()
        thread.join()
    sys.excepthook(ValueError, ValueError(KEY), None)
    Broken()
    gc.collect()
    thread_event, program, unraisable = log.events
    assert (thread_event["event"], thread_event["thread"]) == ("thread.crashed", "worker-1")
    assert (program["event"], program["level"]) == ("program.crashed", "critical")
    assert unraisable["event"] == "program.unraisable"
    assert_clean(log.text)


def test_ctrl_c_is_no_crash(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    """KeyboardInterrupt goes to Python's own hook."""
    log.start()
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert log.text == ""
    assert "KeyboardInterrupt" in capsys.readouterr().err


def test_configuring_again_replaces(log: Log) -> None:
    """No event is written twice, and other people's handlers stay."""
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    log.start()
    log.start(level="debug").info("once")
    assert log.only()["event"] == "once"
    assert other in logging.getLogger().handlers


def test_console_lines_cannot_be_forged(log: Log) -> None:
    """Line breaks, escapes and direction marks in values and tracebacks are shown, not obeyed."""
    logger = log.start("console")
    evil = "a\n2026-01-01 [error] forged\r\x1b[31m\x9b\u202e\u2028\t"
    logger.info(evil, path=evil.encode(), other=evil)
    logging.getLogger("lib").warning(evil)
    try:
        fail(f"{evil}{KEY}")
    except ValueError:
        logger.exception("boom")
    assert not set("\r\x1b\x9b\u202e\u2028\t") & set(log.text)
    lines = log.text.splitlines()
    assert r"a\n2026-01-01 [error] forged\r\x1b[31m\x9b\u202e\u2028\t" in lines[0]
    assert sum(not line.startswith("    ") for line in lines) == 3
    assert any("ValueError: outer" in line for line in lines)
    assert_clean(log.text)


def test_json_lines_hold_no_raw_controls(log: Log) -> None:
    """Nothing that a terminal obeys or that ends a line is raw in JSON; it decodes to itself."""
    evil = "\n\x1b\x7f\x9b\u202e\u2028"
    log.start().info("x", path=evil)
    assert not set(evil) & set(log.text.removesuffix("\n"))
    assert log.only()["path"] == evil


def test_auto_is_json_without_a_terminal(log: Log) -> None:
    """Pipes, files and journals get JSON."""
    log.start("auto").info("x")
    assert log.only()["event"] == "x"


@pytest.mark.parametrize(
    ("environ", "colored"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_auto_is_console_on_a_terminal(
    secrets: Redactor, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], colored: bool
) -> None:
    """With colours, unless NO_COLOR or a dumb terminal says otherwise."""
    for name, value in {"TERM": "xterm", "NO_COLOR": "", **environ}.items():
        monkeypatch.setenv(name, value)
    master, slave = pty.openpty()
    with open(slave, "w", encoding="utf-8") as stream, open(master, "rb", buffering=0) as reader:
        configure(fmt="auto", level="info", stream=stream, secrets=secrets)
        structlog.get_logger().info("job.done", path="/x")
        written = reader.read(4096).decode()
    assert "job.done" in written
    assert not written.startswith("{")
    assert ("\x1b[" in written) is colored


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_other_encodings_cannot_fail(secrets: Redactor, fmt: Any) -> None:
    """In a C locale names are escaped; JSON stays JSON."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors="strict")
    configure(fmt=fmt, level="info", stream=stream, secrets=secrets)
    structlog.get_logger().info("x", path="アニメ")
    text = raw.getvalue().decode("ascii")
    assert r"\u30a2\u30cb\u30e1" in text
    if fmt == "json":
        assert json.loads(text)["path"] == "アニメ"


def closed_file() -> TextIO:
    """A stream that has been closed."""
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("fmt", ["auto", "console"])
def test_a_closed_stream_does_not_stop_the_program(secrets: Redactor, fmt: Any) -> None:
    """Logging to a closed stream is lost, and nothing is raised."""
    configure(fmt=fmt, level="info", stream=closed_file(), secrets=secrets)
    structlog.get_logger().info("x")
    logging.getLogger("lib").warning("y")


@pytest.mark.parametrize("target", ["/dev/full", "pipe", "closed"])
def test_a_program_outlives_its_stderr(target: str) -> None:
    """ENOSPC, EPIPE and a missing descriptor 2 leave the exit status alone."""
    code = (
        "import sys, structlog; from megamax_sync.log import Redactor, configure\n"
        "configure(fmt='auto', level='info', secrets=Redactor())\n"
        "for i in range(2000): structlog.get_logger().info('x', i=i, pad='y' * 100)\n"
        "print('alive')"
    )
    command = [sys.executable, "-c", code]
    if target == "closed":
        command = ["/bin/sh", "-c", 'exec "$0" "$@" 2>&-', *command]
    if target == "pipe":
        reader, stderr = os.pipe()
        os.close(reader)
    else:
        stderr = os.open("/dev/full", os.O_WRONLY)
    try:
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, check=False)
    finally:
        os.close(stderr)
    assert (run.returncode, run.stdout) == (0, b"alive\n")


def stable_base64(secret: str, offset: int) -> str:
    """The characters that a secret alone decides, at an offset; computed apart from the code."""
    variants = [
        base64.b64encode(bytes([fill]) * offset + secret.encode() + bytes([fill]) * 3).decode()
        for fill in (0, 255)
    ]
    first, second = variants
    same = [a if a == b else " " for a, b in zip(first, second, strict=True)]
    return max("".join(same).split(), key=len)


def assert_clean(text: str, secrets: tuple[str, ...] = SECRETS) -> None:
    """No encoding of any secret is in the text."""
    for secret in secrets:
        for name, form in encodings(secret).items():
            if not name.startswith("base64"):
                assert form not in text, name
        for offset in range(3):
            stable = stable_base64(secret, offset)
            assert stable not in text
            assert stable.replace("+", "-").replace("/", "_") not in text


@pytest.mark.parametrize("form", sorted(encodings("x")))
@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("fmt", ["json", "console"])
def test_no_encoding_of_a_secret_is_logged(log: Log, form: str, secret: str, fmt: Any) -> None:
    """As event, field, name of a field, nested, in an error and its traceback."""
    text = f"before {encodings(secret)[form]} after"
    logger = log.start(fmt)
    logger.info(text, field=text, raw=text.encode(), deep=[{"a": (text,)}], **{text: 1})
    try:
        fail(text)
    except ValueError as error:
        logger.exception("x", error=error)
    assert_clean(log.text)
    assert "***" in log.text
    assert "before" in log.text
    assert "after" in log.text


@example(secret="000%", before="", after="")
@given(
    secret=st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="<>|"),
        min_size=4,
        max_size=40,
    ),
    before=st.text("<>|", max_size=3),
    after=st.text("<>|", max_size=3),
)
def test_any_secret_is_found(secret: str, before: str, after: str) -> None:
    """Whatever characters it is made of (controls are refused), all of it and nothing else."""
    redactor = Redactor()
    redactor.add(secret)
    for name, form in encodings(secret).items():
        if not name.startswith("base64"):
            assert redactor.scrub(before + form + after) == f"{before}***{after}", name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://h/a?login=me&x=1&key=abc#f", "https://h/a?login=***&x=1&key=***#f"),
        ("https://h/f?expires=1&signature=abc", "https://h/f?expires=1&signature=***"),
        ('{"key": "a\'b", "status": "ok"}', '{"key": "***", "status": "ok"}'),
        ("{'login': 'a', 'x': 1}", "{'login': '***', 'x': 1}"),
        (r'"{\"key\":\"abc\",\"x\":1}"', r'"{\"key\":\"***\",\"x\":1}"'),
        ('name="key"\r\n\r\nabc\r\n--b', 'name="key"\r\n\r\n***\r\n--b'),
        (r'b"name=\"login\"\r\n\r\nabc\r\n--b"', r'b"name=\"login\"\r\n\r\n***\r\n--b"'),
        ("login=me&key=abc", "login=***&key=***"),
        (r"https:\/\/h\/?key=a\/bc\n x", r"https:\/\/h\/?key=***\n x"),
        ("/movies/monkey=1.mkv", "/movies/monkey=1.mkv"),
        ("/movies/key=1.mkv", "/movies/key=1.mkv"),
        ("the key: none", "the key: none"),
        ("?\u017fignature=abc", "?\u017fignature=***"),
        ("?KEY=abc&Login=me", "?KEY=***&Login=***"),
    ],
)
def test_secrets_are_masked_by_the_names_they_travel_under(text: str, expected: str) -> None:
    """In queries, forms, JSON and multipart bodies, also when the value is not known."""
    assert Redactor().scrub(text) == expected


def test_fields_named_like_secrets_are_masked(log: Log) -> None:
    """A field called key or login shows nothing, at any depth; numbers stay."""
    logger = log.start()
    logger.info("x", key="k1", deep={"Login": b"l1", "key": 3})
    logger.info("long", key="k" * 5000)
    event, long = log.events
    assert long["key"] == "***"
    assert (event["key"], event["deep"]) == ("***", {"Login": "***", "key": 3})


def test_short_values_do_not_shred_the_log() -> None:
    """A secret under four characters is masked by its name alone."""
    redactor = Redactor()
    redactor.add("")
    redactor.add("abc")
    assert redactor.scrub("abcdef ?key=abc") == "abcdef ?key=***"


def test_of_two_overlapping_secrets_nothing_is_left() -> None:
    """A secret that begins with another is masked whole, in whichever order they came."""
    for order in (("user", "user1234"), ("user1234", "user")):
        redactor = Redactor()
        for secret in order:
            redactor.add(secret)
        assert redactor.scrub("user1234 user") == "*** ***"


def test_a_secret_spelt_like_json_leaves_json(secrets: Redactor, log: Log) -> None:
    """If masking breaks the line, the event is masked whole rather than written broken."""
    secrets.add("nxyz")
    log.start().info("secret", path="a\nxyz")
    event = log.only()
    assert (event["level"], event["event"]) == ("info", "***")
    assert "path" not in event


def test_a_secret_over_two_values_is_masked(secrets: Redactor, log: Log) -> None:
    """The line as a whole is masked too."""
    secrets.add('one", "two')
    log.start().info("x", words=["one", "two"])
    assert log.only()["words"] == ["***"]


@pytest.mark.timeout(20)
def test_hostile_text_takes_no_time(secrets: Redactor) -> None:
    """No answer of a server, and no secret, makes the search go on for ever."""
    secrets.add("\\" * 12 + "aaaa")
    for text in ("\\", '"key": "', "%25", '\\"key\\": ', 'name="key"' + "\r\n" * 20):
        assert secrets.scrub(text * 10_000)


def test_secrets_may_be_added_while_others_log(secrets: Redactor) -> None:
    """Threads add and scrub at once without an error or a miss."""
    missed: list[str] = []

    def add(number: int) -> None:
        for i in range(8):
            secret = f"secret-{number}-{i}-"
            secrets.add(secret)
            if secret in secrets.scrub(f"a {secret} b"):
                missed.append(secret)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert missed == []
    assert secrets.scrub("secret-0-0- secret-3-7-") == "*** ***"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(b"/a/\xff\xc3\xa9", "/a/\\xffé"), ("/a/\udcff", "/a/\\xff"), ("\ud800", "\\ud800")],
)
def test_readable_is_always_valid_unicode(value: str | bytes, expected: str) -> None:
    """Bytes and surrogates become something that every encoder takes."""
    assert readable(value) == expected
    readable(value).encode()
