"""A torrent of several files, a seeder that stalls half way, and those who download it.

Loopback only, without tracker, DHT or any other way to find peers: the seeder goes to the client,
whose port is known. (Real seeders let a newcomer wait for ten seconds or more.)
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from conftest import RequireProgram

from .place import PATIENCE, Place, Started

_PIECE = 32 * 1024
_ARIA2 = (
    "--no-conf",
    "--enable-dht=false",
    "--enable-dht6=false",
    "--bt-enable-lpd=false",
    "--enable-peer-exchange=false",
    "--disable-ipv6=true",
    "--interface=127.0.0.1",
    "--file-allocation=falloc",
    "--no-file-allocation-limit=0",
    "--seed-time=0",
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


class Swarm:
    """A torrent, and who takes part in it."""

    def __init__(
        self,
        place: Place,
        require_program: RequireProgram,
        name: str,
        folder: Path | None = None,
    ) -> None:
        """``folder``: where it is downloaded to; the watched one unless given."""
        self._place = place
        self._folder = folder or place.drop
        self._require = require_program
        self._home = place.aside / name
        self._home.mkdir()
        #: What the torrent holds, by where it is to lie.
        self.files = {
            self._folder / name / f"disc {number % 2}" / f"ep {number}.mkv": os.urandom(size)
            for number, size in enumerate((300_000, 500_000, 400_001))
        }
        self._content = b"".join(self.files.values())
        info = bencode(
            {
                b"files": [
                    {
                        b"length": len(content),
                        b"path": [os.fsencode(part) for part in path.parts[-2:]],
                    }
                    for path, content in self.files.items()
                ],
                b"name": name.encode(),
                b"piece length": _PIECE,
                b"pieces": b"".join(hashlib.sha1(piece).digest() for piece in self._pieces()),
            }
        )
        self._hash = hashlib.sha1(info).digest()
        self._torrent = self._home / "show.torrent"
        # rTorrent takes no torrent without a tracker. Nobody listens there.
        tracker = bencode(b"http://127.0.0.1:9/announce")
        self._torrent.write_bytes(b"d8:announce" + tracker + b"4:info" + info + b"e")
        self._port = free_port()
        #: Until it is set, the seeder gives half of the content only.
        self.go_on = threading.Event()

    def _pieces(self) -> list[bytes]:
        content = self._content
        return [content[at : at + _PIECE] for at in range(0, len(content), _PIECE)]

    @contextmanager
    def downloading_with_aria2c(
        self, *more: str, env: Mapping[str, str] | None = None
    ) -> Iterator[Started]:
        """Download it into its folder; aria2c ends when it is complete."""
        with (
            self._place.running(
                self._require("aria2c"),
                *_ARIA2,
                f"--listen-port={self._port}",
                f"--dir={self._folder}",
                *more,
                self._torrent,
                env=env,
            ) as client,
            self._seeding(),
        ):
            yield client

    @contextmanager
    def downloading_with_transmission(
        self,
        more: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        /,
        **settings: str | int | bool,
    ) -> Iterator[Started]:
        """Download it into its folder; the client stays when it is complete."""
        chosen = {name.replace("_", "-"): value for name, value in settings.items()}
        (self._home / "settings.json").write_text(json.dumps({**_TRANSMISSION, **chosen}))
        with (
            self._place.running(
                self._require("transmission-cli"),
                *("--config-dir", self._home, "--download-dir", self._folder),
                *("--port", str(self._port), *more),
                self._torrent,
                env=environ,
            ) as client,
            self._seeding(),
        ):
            yield client

    @contextmanager
    def downloading_with_rtorrent(self, finished: str) -> Iterator[Started]:
        """Download it; ``finished`` is the line of its settings for that event."""
        settings = [
            "system.daemon.set = true",
            f'directory.default.set = "{self._folder}"',
            f"session.path.set = {self._home}",
            f"network.port_range.set = {self._port}-{self._port}",
            "network.bind_address.set = 127.0.0.1",
            "dht.mode.set = disable",
            "protocol.pex.set = no",
            "trackers.use_udp.set = no",
            # Without a terminal it leaves torrents of the command line alone.
            f'schedule2 = begin, 0, 0, "load.start = {self._torrent}"',
            finished,
        ]
        (self._home / "rtorrent.rc").write_text("\n".join(settings) + "\n")
        with (
            self._place.running(
                self._require("rtorrent"),
                *("-n", "-o", f"import={self._home}/rtorrent.rc"),
            ) as client,
            self._seeding(),
        ):
            yield client

    @contextmanager
    def downloading_with_qbittorrent(self, finished: str) -> Iterator[Started]:
        """Download it; ``finished`` is the program that its settings name for then."""
        program = finished.replace("\\", "\\\\").replace('"', '\\"')
        settings = f"""
[LegalNotice]
Accepted=true
[AutoRun]
enabled=true
program="{program}"
[BitTorrent]
Session\\DHTEnabled=false
Session\\LSDEnabled=false
Session\\PeXEnabled=false
Session\\Port={self._port}
Session\\InterfaceAddress=127.0.0.1
[Preferences]
WebUI\\Address=127.0.0.1
WebUI\\Port={free_port()}
WebUI\\UseUPnP=false
"""
        config = self._home / "qBittorrent" / "config" / "qBittorrent.conf"
        config.parent.mkdir(parents=True)
        config.write_text(settings)
        with (
            self._place.running(
                self._require("qbittorrent-nox"),
                *(f"--profile={self._home}", f"--save-path={self._folder}", self._torrent),
            ) as client,
            self._seeding(),
        ):
            yield client

    @contextmanager
    def _seeding(self) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=self._seed, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            self.go_on.set()
            thread.join()

    def _seed(self, stop: threading.Event) -> None:
        """Go to the client until it has taken all, or ``stop`` is set."""
        while not stop.is_set():
            # It may not listen yet, not know the torrent yet, or leave when it has all.
            with (
                suppress(OSError),
                socket.create_connection(("127.0.0.1", self._port), 1.0) as peer,
            ):
                self._serve(peer, stop)
            stop.wait(0.1)

    def _serve(self, peer: socket.socket, stop: threading.Event) -> None:
        """Speak the peer protocol (BEP 3) as one who has everything and chokes nobody."""
        peer.settimeout(0.2)
        peer.sendall(b"\x13BitTorrent protocol" + bytes(8) + self._hash + b"-TEST00-" + b"s" * 12)
        _read(peer, 68, stop)
        count = len(self._pieces())
        bits = (((1 << count) - 1) << (-count % 8)).to_bytes((count + 7) // 8, "big")
        _send(peer, 5, bits)
        _send(peer, 1)
        given = 0
        while True:
            (length,) = struct.unpack("!I", _read(peer, 4, stop))
            message = _read(peer, length, stop)
            if message[:1] != b"\x06":
                continue
            index, begin, size = struct.unpack("!III", message[1:])
            if given >= len(self._content) // 2:
                self.go_on.wait(PATIENCE)
            start = index * _PIECE + begin
            _send(peer, 7, message[1:9] + self._content[start : start + size])
            given += size


def _send(peer: socket.socket, kind: int, body: bytes = b"") -> None:
    peer.sendall(struct.pack("!IB", len(body) + 1, kind) + body)


def _read(peer: socket.socket, size: int, stop: threading.Event) -> bytes:
    """Read so many bytes. Raises OSError at the end of the connection, and once it is to stop."""
    data = b""
    while len(data) < size:
        try:
            part = peer.recv(size - len(data))
        except TimeoutError:
            if stop.is_set():
                raise
            continue
        if not part:
            raise ConnectionAbortedError
        data += part
    return data


def bencode(value: int | bytes | list[Any] | Mapping[bytes, Any]) -> bytes:
    """Write a value as torrents hold it; a mapping's keys are in order already."""
    match value:
        case int():
            return b"i%de" % value
        case bytes():
            return b"%d:%b" % (len(value), value)
        case list():
            return b"l%be" % b"".join(map(bencode, value))
        case _:
            return b"d%be" % b"".join(bencode(k) + bencode(v) for k, v in value.items())


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
