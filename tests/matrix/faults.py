"""The faults, and what each of them is to lead to."""

from __future__ import annotations

import enum
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from matrix.double import Act, Asked, Double, answer, envelope, http_date, reset


class Kind(enum.Enum):
    """Whose trouble a fault is."""

    FINE = "odd, but an answer"
    LOST = "carried out, and nothing of it heard"
    MUTE = "no answer"
    SERVICE = "the service's"
    CREDENTIALS = "the credentials'"
    REFUSED = "the file's, for good"
    MISSING = "not known"
    WRONG_SIZE = "another size"
    #: No answer can come from there: a host that is none.
    NOWHERE = "nowhere"


@dataclass(frozen=True)
class Fault:
    """``act`` answers the request; ``big`` needs a body that no buffer holds."""

    name: str
    act: Act
    kind: Kind
    #: What a failed job's or a paused daemon's text has to say.
    says: str = ""
    big: bool = False


def _says(data: Callable[[], bytes] | bytes) -> Act:
    """Read the request, do nothing, and send this."""

    def act(_: Double, asked: Asked) -> None:
        asked.body()
        asked.conn.sendall(data if isinstance(data, bytes) else data())

    return act


def _status(code: int, *lines: str) -> Act:
    return _says(lambda: answer(code, envelope(None, "error", f"number {code}"), *lines))


def _reset(_: Double, asked: Asked) -> None:
    reset(asked.conn)


def _close(_: Double, asked: Asked) -> None:
    asked.body()


def _lost(service: Double, asked: Asked) -> None:
    service.do(asked)
    reset(asked.conn)


def _cut(service: Double, asked: Asked) -> None:
    """The head announces all of it, and half of it comes."""
    whole = service.do(asked)
    body = whole.partition(b"\r\n\r\n")[2]
    asked.conn.sendall(whole[: len(whole) - len(body) // 2])


def _stall(service: Double, asked: Asked) -> None:
    asked.body()
    service.closing.wait(20)


def _wait_then(seconds: float) -> Act:
    def act(service: Double, asked: Asked) -> None:
        said = service.do(asked)
        service.closing.wait(seconds)
        asked.conn.sendall(said)

    return act


def _drip(service: Double, asked: Asked) -> None:
    said = service.do(asked)
    for start in range(0, len(said), 40):
        asked.conn.sendall(said[start : start + 40])
        service.closing.wait(0.01)


def _echo(_: Double, asked: Asked) -> None:
    """A page that repeats what it was asked, the query and the form included."""
    text = f"{asked.query} {asked.body()[:500]!r}"
    asked.conn.sendall(answer(400, envelope(None, "error", text)))


def _huge(_: Double, asked: Asked) -> None:
    asked.body()
    size = 3 << 20
    asked.conn.sendall(answer(200, b"", f"Content-Length: {size}"))
    asked.conn.sendall(b" " * size)


def _elsewhere(code: int) -> Act:
    # Nobody listens at port 1 of this machine; what went there would be seen as "refused".
    return _says(
        lambda: answer(code, b"", "Location: http://127.0.0.1:1/caught?login=x", "X-Odd: 1")
    )


HTML = b"<html><body><h1>Bad Gateway</h1></body></html>"

#: These can happen to every call.
COMMON = (
    Fault("reset before anything", _reset, Kind.MUTE),
    Fault("closed without an answer", _close, Kind.MUTE),
    Fault("answer lost", _lost, Kind.LOST),
    Fault("answer cut off", _cut, Kind.LOST),
    Fault("no answer at all", _stall, Kind.MUTE),
    Fault("answer later than the time-out", _wait_then(1.7), Kind.LOST),
    Fault("slow answer", _wait_then(0.3), Kind.FINE),
    Fault("answer in drips", _drip, Kind.FINE),
    Fault("400", _status(400), Kind.SERVICE),
    Fault("400 that repeats the request", _echo, Kind.SERVICE),
    Fault("401", _status(401), Kind.CREDENTIALS),
    Fault("403", _status(403), Kind.CREDENTIALS),
    Fault("404", _status(404), Kind.MISSING),
    Fault("408", _status(408), Kind.SERVICE),
    Fault("409", _status(409), Kind.SERVICE),
    Fault("422", _status(422), Kind.REFUSED, "HTTP 422"),
    Fault("429, Retry-After: 1", _status(429, "Retry-After: 1"), Kind.SERVICE),
    Fault(
        "429, Retry-After as a date",
        _says(lambda: answer(429, HTML, f"Retry-After: {http_date(1)}")),
        Kind.SERVICE,
    ),
    Fault("500", _status(500), Kind.SERVICE),
    Fault("502, an HTML page", _says(answer(502, HTML, "Content-Type: text/html")), Kind.SERVICE),
    Fault("503, Retry-After: 1", _status(503, "Retry-After: 1"), Kind.SERVICE),
    Fault("504", _status(504), Kind.SERVICE),
    Fault("200, an HTML page", _says(answer(200, HTML, "Content-Type: text/html")), Kind.SERVICE),
    Fault("200, cut JSON", _says(answer(200, b'{"status": "success", "resu')), Kind.SERVICE),
    Fault("200, empty", _says(answer(200, b"")), Kind.SERVICE),
    Fault(
        "200 with status: error", _says(answer(200, envelope(None, "error", "no"))), Kind.SERVICE
    ),
    Fault("result of another type", _says(answer(200, envelope(42))), Kind.SERVICE),
    Fault("envelope of another type", _says(answer(200, b'["success"]')), Kind.SERVICE),
    Fault("302 to another host", _elsewhere(302), Kind.SERVICE),
    Fault("an answer without an end", _huge, Kind.SERVICE),
    Fault(
        "chunks that are none",
        _says(answer(200, b"zz\r\nwhat?\r\n", "Transfer-Encoding: chunked")),
        Kind.MUTE,
    ),
    Fault("impossible Content-Length", _says(answer(200, b"{}", "Content-Length: -5")), Kind.MUTE),
    Fault("no HTTP", _says(b"\x16\x03\x01\x00\x2a*** hello ***\r\n\r\n"), Kind.MUTE),
    Fault(
        "packed, and not as it says",
        _says(answer(200, b"\x1f\x8b\x08 no", "Content-Encoding: gzip")),
        Kind.SERVICE,
    ),
)


def _early(code: int) -> Act:
    """Answer after 100 kB of the body, and go."""

    def act(_: Double, asked: Asked) -> None:
        asked.body(100_000)
        asked.conn.sendall(answer(code, envelope(None, "error", f"number {code}")))

    return act


def _reset_in_the_middle(_: Double, asked: Asked) -> None:
    asked.body(100_000)
    reset(asked.conn)


def _never_reads(service: Double, _: Asked) -> None:
    service.closing.wait(20)


def _reads_a_trickle(service: Double, asked: Asked) -> None:
    while not service.closing.wait(0.05) and asked.conn.recv(2000):
        pass


def _wrong_size(service: Double, asked: Asked) -> None:
    one = service.store(asked)
    one.size -= 1
    asked.conn.sendall(answer(200, envelope({"hashid": one.hashid, "size": one.size})))


def _no_hashid(service: Double, asked: Asked) -> None:
    service.store(asked)
    asked.conn.sendall(answer(200, envelope({"name": "what?"})))


#: These need a body.
OF_A_BODY = (
    Fault("413", _status(413), Kind.REFUSED, "HTTP 413"),
    Fault("415", _status(415), Kind.REFUSED, "HTTP 415"),
    Fault("307 to another host", _elsewhere(307), Kind.SERVICE),
    Fault("413 in the middle of the body", _early(413), Kind.REFUSED, "HTTP 413", big=True),
    Fault("401 in the middle of the body", _early(401), Kind.CREDENTIALS, big=True),
    Fault("503 in the middle of the body", _early(503), Kind.SERVICE, big=True),
    Fault("reset in the middle of the body", _reset_in_the_middle, Kind.MUTE, big=True),
    Fault("body never read", _never_reads, Kind.MUTE, big=True),
    Fault("body read at a trickle", _reads_a_trickle, Kind.MUTE, big=True),
    Fault("another size confirmed", _wrong_size, Kind.WRONG_SIZE),
    Fault("confirmed without a hashid", _no_hashid, Kind.LOST),
)


def _url(url: str) -> Act:
    return _says(answer(200, envelope(url)))


def _plain_port(service: Double, asked: Asked) -> None:
    url = f"https://127.0.0.1:{service.port}/in/0"
    asked.conn.sendall(answer(200, envelope(url)))


#: These lead the upload astray.
OF_A_URL = (
    Fault("a URL whose host has no address", _url("https://no.such.host.invalid/1"), Kind.NOWHERE),
    Fault("a URL where nobody listens", _url("http://127.0.0.1:1/in/1"), Kind.NOWHERE),
    Fault("a URL where TLS fails", _plain_port, Kind.NOWHERE),
    Fault("a URL over plain HTTP", _url("http://upload.invalid/1"), Kind.SERVICE),
    Fault("a URL that is none", _url("upload here please"), Kind.SERVICE),
)

FAULTS: dict[str, tuple[Fault, ...]] = {
    "file": COMMON,
    "files": COMMON,
    "generate": (*COMMON, *OF_A_URL),
    "upload": (*COMMON, *OF_A_BODY),
    "mirrors": COMMON,
    "direct": COMMON,
}

WHEN: dict[str, Callable[[int], bool]] = {
    "first": lambda number: number == 1,
    "second": lambda number: number == 2,
    "always": lambda number: True,
}


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition; tell whether it came."""
    end, rest = time.monotonic() + seconds, threading.Event()
    while not condition():
        if time.monotonic() > end:
            return False
        rest.wait(0.02)
    return True
