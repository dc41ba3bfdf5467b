"""A torrent of several files, its tracker, a seeder and those who download it: all on loopback."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from conftest import RequireProgram

from .place import Place, Started
from .web import serve

#: aria2c and transmission: no traffic but with the tracker and the peers that it names.
_ARIA2 = (
    "--no-conf",
    "--enable-dht=false",
    "--enable-dht6=false",
    "--bt-enable-lpd=false",
    "--enable-peer-exchange=false",
    "--disable-ipv6=true",
    "--interface=127.0.0.1",
    "--seed-ratio=0.0",
    "--summary-interval=0",
)
_TRANSMISSION = {
    "bind-address-ipv4": "127.0.0.1",
    "bind-address-ipv6": "::1",
    "blocklist-enabled": False,
    "cache-size-mb": 0,
    "dht-enabled": False,
    "lpd-enabled": False,
    "pex-enabled": False,
    "port-forwarding-enabled": False,
    "rpc-enabled": False,
    "utp-enabled": False,
}
DIRECT = {"NO_PROXY": "*", "no_proxy": "*"}


class Swarm:
    """Make it inside :func:`swarm`."""

    def __init__(self, place: Place, require_program: RequireProgram, tracker: str) -> None:
        self._place = place
        self._require = require_program
        self._name = "Some Show S01"
        self._seed = place.aside / "seed"
        self.torrent = place.aside / "show.torrent"
        #: What the torrent holds, by path below the folder that it is downloaded to.
        self.files: dict[Path, bytes] = {}
        for number, size in enumerate((700_000, 1_200_000, 900_001)):
            path = Path(self._name, f"disc {number % 2}", f"ep {number}.mkv")
            self.files[path] = os.urandom(size)
            (self._seed / path).parent.mkdir(parents=True, exist_ok=True)
            (self._seed / path).write_bytes(self.files[path])
        place.run(
            require_program("transmission-create"),
            *("--outfile", self.torrent, "--piecesize", "32", "--tracker", tracker),
            self._seed / self._name,
        )

    @contextmanager
    def seeding(self) -> Iterator[Started]:
        """Seed it, slowly."""
        with self._place.running(
            self._require("aria2c"),
            *_ARIA2,
            f"--listen-port={free_port()}",
            f"--dir={self._seed}",
            "--check-integrity=true",
            "--max-overall-upload-limit=1M",
            self.torrent,
            env=DIRECT,
        ) as seeder:
            yield seeder

    @contextmanager
    def downloading_with_aria2c(self, target: Path) -> Iterator[Started]:
        """Download it into this folder; it stops when it is complete."""
        with self._place.running(
            self._require("aria2c"),
            *_ARIA2,
            f"--listen-port={free_port()}",
            f"--dir={target}",
            "--seed-time=0",
            "--file-allocation=falloc",
            "--no-file-allocation-limit=0",
            self.torrent,
            env=DIRECT,
        ) as leecher:
            yield leecher

    @contextmanager
    def downloading_with_transmission(
        self, target: Path, **settings: str | int | bool
    ) -> Iterator[Started]:
        """Download it into this folder; it goes on seeding when it is complete."""
        home = self._place.aside / "transmission"
        home.mkdir()
        chosen: dict[str, Any] = {
            **_TRANSMISSION,
            **{name.replace("_", "-"): value for name, value in settings.items()},
        }
        (home / "settings.json").write_text(json.dumps(chosen))
        with self._place.running(
            self._require("transmission-cli"),
            *("--config-dir", home, "--download-dir", target, "--port", str(free_port())),
            self.torrent,
            env=DIRECT,
        ) as leecher:
            yield leecher


@contextmanager
def swarm(place: Place, require_program: RequireProgram) -> Iterator[Swarm]:
    """Make the torrent, and run its tracker and its seeder."""
    with tracker() as announce:
        made = Swarm(place, require_program, announce)
        with made.seeding():
            yield made


@contextmanager
def tracker() -> Iterator[str]:
    """Run a tracker, which names to everybody all who have asked before; give its address."""
    ports: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
            """Say nothing."""

        def do_GET(self) -> None:
            """Answer an announce."""
            port = int(parse_qs(urlsplit(self.path).query, encoding="latin-1")["port"][0])
            if port not in ports:
                ports.append(port)
            peers = b"".join(
                socket.inet_aton("127.0.0.1") + struct.pack("!H", one)
                for one in ports
                if one != port
            )
            body = b"d8:intervali1e12:min intervali1e5:peers%d:%be" % (len(peers), peers)
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serve(Handler) as base:
        yield f"{base}/announce"


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
