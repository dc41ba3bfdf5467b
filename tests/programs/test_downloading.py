"""curl and aria2c, from a server that stalls half way."""

from __future__ import annotations

import os
from pathlib import Path

from conftest import RequireProgram

from .place import Place, until
from .web import Web

#: Their traffic goes straight to the server on loopback, whatever the environment says.
DIRECT = {"NO_PROXY": "*", "no_proxy": "*"}


def test_curl_under_the_final_name(place: Place, require_program: RequireProgram) -> None:
    """A transfer that stalls is waited for, since curl has the file open."""
    web = Web(os.urandom(2_000_000), first=500_000)
    target = place.drop / "film.mp4"
    curl = require_program("curl")
    with (
        web.serving() as url,
        place.running(curl, "-sS", "--limit-rate", "4M", "-o", target, url, env=DIRECT) as fetching,
    ):
        place.wait_reason(target, f"open for writing (pid {fetching.process.pid}, curl)")
        web.go_on.set()
        fetching.finish()
    place.check({target: web.content})


def aria2c(place: Place, require_program: RequireProgram, url: str) -> tuple[str, ...]:
    """The command that fetches into a new folder, over four connections, all space reserved."""
    return (
        require_program("aria2c"),
        "--no-conf",
        "--file-allocation=falloc",
        "--no-file-allocation-limit=0",
        "--split=4",
        "--max-connection-per-server=4",
        "--min-split-size=1M",
        "--auto-save-interval=1",
        "--enable-dht=false",
        "--continue",
        f"--dir={place.drop / 'fetched'}",
        "--out=film.mp4",
        url,
    )


def wait_preallocated(web: Web, target: Path) -> None:
    """Wait until all connections stand still, and the file has the size that it will have."""
    until(lambda: web.stopped >= 4, "aria2c has not opened four connections")
    until(lambda: target.stat().st_size == len(web.content), "aria2c has not reserved the space")


def test_aria2c_over_several_connections(place: Place, require_program: RequireProgram) -> None:
    """The file has its size at once, and fills in four places: it waits until aria2c is done."""
    web = Web(os.urandom(5_000_000), first=500_000)
    target = place.drop / "fetched" / "film.mp4"
    with (
        web.serving() as url,
        place.running(*aria2c(place, require_program, url), env=DIRECT) as fetching,
    ):
        wait_preallocated(web, target)
        place.wait_reason(target, "open for writing")
        web.go_on.set()
        fetching.finish()
    place.check({target: web.content})


def test_aria2c_that_is_interrupted_and_run_again(
    place: Place, require_program: RequireProgram
) -> None:
    """Nobody has the file open in between: its control file says that it is not finished."""
    web = Web(os.urandom(5_000_000), first=500_000)
    target = place.drop / "fetched" / "film.mp4"
    with web.serving() as url:
        command = aria2c(place, require_program, url)
        with place.running(*command, env=DIRECT) as first:
            wait_preallocated(web, target)
            first.interrupt()
        place.wait_reason(target, "companion film.mp4.aria2")
        later = place.overtake()
        place.check_arrived(later.values())
        web.go_on.set()
        with place.running(*command, env=DIRECT) as second:
            second.finish()
    place.check({target: web.content, **later})
