"""The real program with pages: where it listens, how it begins, reloads and ends."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cli.program import PATIENCE, Program, Running, wait_until

from megamax_sync.config import ConfigError, HttpAddress
from megamax_sync.http.server import listen
from megamax_sync.sandbox import Sandbox


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """The program, with an account on a sandbox that is quick."""
    with Sandbox(step=0.05) as sandbox:
        yield Program(tmp_path, sandbox)


def where(running: Running) -> str:
    """The address that the log names last."""
    (*_, started) = [one for one in running.events() if one["event"] == "http.started"]
    host = f"[{started['host']}]" if ":" in started["host"] else started["host"]
    return f"http://{host}:{started['port']}"


def get(url: str, path: str) -> httpx.Response:
    """Ask once."""
    return httpx.get(url + path, trust_env=False, timeout=PATIENCE)


def test_the_daemon_serves_and_ends_with_viewers(program: Program) -> None:
    """From its start to its end, which somebody who watches does not hold up."""
    program.video("a.mp4")
    with program.running(env={"MEGAMAX_HTTP": "127.0.0.1:0"}, until="http.started") as running:
        url = where(running)
        wait_until(lambda: get(url, "/api/status").json()["counts"]["done"] == 1)
        assert get(url, "/healthz").json() == {
            "healthy": True,
            "stuck": [],
            "reason": "all parts get on",
        }
        assert "a.mp4" in get(url, "/").text
        with (
            httpx.Client(trust_env=False, timeout=PATIENCE) as client,
            client.stream("GET", f"{url}/api/events") as answer,
        ):
            next(answer.iter_lines())
            began = time.monotonic()
            assert running.end() == 0
            assert time.monotonic() - began < 9.5


def test_on_every_address_with_a_warning(program: Program) -> None:
    """[::] is both families; without a token it is said that others may look."""
    with program.running(env={"MEGAMAX_HTTP": "[::]:0"}, until="http.started") as running:
        port = where(running).rpartition(":")[2]
        for host in ("127.0.0.1", "[::1]", "localhost"):
            assert get(f"http://{host}:{port}", "/healthz").status_code == 200
        running.wait_for("http.open")


def test_on_a_socket_that_a_killed_instance_has_left(program: Program) -> None:
    """The left-over is taken away, the new one serves, and a clean end leaves none."""
    path = program.home / "pages.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with program.running(env={"MEGAMAX_HTTP": f"unix:{path}"}, until="http.started") as running:
        transport = httpx.HTTPTransport(uds=str(path))
        with httpx.Client(transport=transport) as client:
            assert client.get("http://localhost/healthz").status_code == 200
            assert client.get("http://evil.example/").status_code == 421
        assert running.end() == 0
    assert not path.exists()


def test_an_address_that_cannot_be_used_ends_the_start(program: Program) -> None:
    """Exit 2, with the variable, what is wrong, and the remedy; nothing else has begun."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        ended = program.run(env={"MEGAMAX_HTTP": taken})
    assert ended.status == 2, ended.err
    (fault,) = ended.faults()
    assert fault == (
        f"megamax-sync: MEGAMAX_HTTP: '{taken}' cannot be used (Address already in use); "
        "something else listens there; set another one"
    )
    assert "daemon.started" not in ended.err


def test_each_such_address_has_its_remedy(tmp_path: Path) -> None:
    """No address of this machine, a folder that is missing, a file that is no socket."""
    file = tmp_path / "a file"
    file.write_text("kept")
    for address, remedy in (
        (HttpAddress(host="192.0.2.1", port=8765), "an address of this machine"),
        (HttpAddress(path=str(tmp_path / "missing" / "s")), "make the folder"),
        (HttpAddress(path=str(file)), "something else listens there"),
        (HttpAddress(host="::ffff:0:0:1", port=1), "another one|an address of this machine"),
    ):
        with pytest.raises(ConfigError, match=remedy):
            listen(address)
    assert file.read_text() == "kept"


def test_a_socket_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    """Somebody answers there: it is not ours to take away."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        with pytest.raises(ConfigError, match="something else listens there"):
            listen(HttpAddress(path=path))


def test_a_reload_moves_the_pages(program: Program) -> None:
    """SIGHUP: another address, another token; one that cannot be used leaves all as it was."""
    config = program.home / "config.env"
    config.write_text("MEGAMAX_HTTP=127.0.0.1:0\n")
    with program.running("--config", str(config), until="http.started") as running:
        first = where(running)
        assert get(first, "/").status_code == 200
        config.write_text("MEGAMAX_HTTP=127.0.0.1:0\nMEGAMAX_HTTP_TOKEN=secret\n")
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: where(running) != first)
        second = where(running)
        assert get(second, "/").status_code == 401
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            config.write_text(f"MEGAMAX_HTTP=127.0.0.1:{other.getsockname()[1]}\n")
            running.process.send_signal(signal.SIGHUP)
            running.wait_for("config.rejected")
        wait_until(lambda: where(running) != second)
        assert get(where(running), "/").status_code == 401
        assert running.end() == 0


def test_a_scan_serves_nothing(program: Program) -> None:
    """It ends by itself, and does not ask for the address that a daemon has."""
    program.video("a.mp4")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        ended = program.run("--scan", env={"MEGAMAX_HTTP": address})
    assert ended.status == 0
    assert "http.started" not in ended.err
