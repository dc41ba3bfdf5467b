"""docs/torrent-clients.md: real clients that hand over what they have finished."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import RequireProgram

from .place import Place, until
from .swarm import Swarm

ROOT = Path(__file__).parent.parent.parent
SCRIPT = str(ROOT / "deploy/torrent-clients/megamax-sync-done")
PROGRAM = os.path.join(os.path.dirname(sys.executable), "megamax-sync")


@pytest.fixture
def downloads(place: Place) -> Path:
    """A folder that nobody watches."""
    folder = place.aside / "down loads"
    folder.mkdir()
    return folder


def variables(place: Place) -> dict[str, str]:
    """What a client's environment has to name."""
    path = f"{os.path.dirname(PROGRAM)}:{os.environ['PATH']}"
    return {"MEGAMAX_STATE_DIR": place.rig.daemon.settings.state_dir, "PATH": path}


def call(place: Place) -> str:
    """The command of the recipes, for this test's program and queue."""
    return f"env MEGAMAX_STATE_DIR={variables(place)['MEGAMAX_STATE_DIR']} {PROGRAM} upload"


def check(place: Place, torrent: Swarm, folder: str = "") -> None:
    """All of it, or of a folder of it, has arrived, though nobody watches there."""
    wanted = [
        content for path, content in torrent.files.items() if folder in path.parts or not folder
    ]
    until(lambda: len(place.rig.sandbox.files()) == len(wanted), "it was not handed over")
    place.check_arrived(wanted)


def test_aria2c_hands_over(place: Place, downloads: Path, require_program: RequireProgram) -> None:
    """--on-download-complete, which names the first file: its folder goes as a whole."""
    torrent = Swarm(place, require_program, "show", downloads)
    torrent.go_on.set()
    option = f"--on-download-complete={SCRIPT}"
    with torrent.downloading_with_aria2c(option, env=variables(place)) as client:
        client.finish()
        check(place, torrent, "disc 0")


def test_transmission_hands_over(
    place: Place, downloads: Path, require_program: RequireProgram
) -> None:
    """script-torrent-done-filename, which transmission-cli calls --finish."""
    torrent = Swarm(place, require_program, "show", downloads)
    torrent.go_on.set()
    with torrent.downloading_with_transmission(["--finish", SCRIPT], variables(place)):
        check(place, torrent)


def test_rtorrent_hands_over(
    place: Place, downloads: Path, require_program: RequireProgram
) -> None:
    """event.download.finished, as documented."""
    torrent = Swarm(place, require_program, "show", downloads)
    torrent.go_on.set()
    words = ", ".join(call(place).split())
    line = (
        "method.set_key = event.download.finished, megamax, "
        f'"execute.nothrow.bg = {words}, $d.base_path="'
    )
    with torrent.downloading_with_rtorrent(line):
        check(place, torrent)


def test_qbittorrent_hands_over(
    place: Place, downloads: Path, require_program: RequireProgram
) -> None:
    """Its external program, as documented."""
    torrent = Swarm(place, require_program, "show", downloads)
    torrent.go_on.set()
    with torrent.downloading_with_qbittorrent(f'{call(place)} "%F"'):
        check(place, torrent)


@pytest.mark.parametrize("which", ["sonarr_episodefile_path", "radarr_moviefile_path"])
def test_sonarr_and_radarr_hand_over(place: Place, downloads: Path, which: str) -> None:
    """What they import, and nothing at their test."""
    path = downloads / "a film.mkv"
    path.write_bytes(os.urandom(2000))
    event = f"{which.partition('_')[0]}_eventtype"
    for kind in ("Test", "Download"):
        environ = {**os.environ, **variables(place), event: kind, which: str(path)}
        subprocess.run([SCRIPT], env=environ, check=True, stdout=subprocess.DEVNULL)
    until(lambda: len(place.rig.sandbox.files()) == 1, "it was not handed over")


def test_the_script_says_when_it_is_told_nothing() -> None:
    """Called by hand, it names the page that explains it."""
    done = subprocess.run([SCRIPT], capture_output=True, text=True, check=False)
    assert (done.returncode, "docs/torrent-clients.md" in done.stderr) == (2, True)


def test_the_documented_lines_are_the_ones_that_were_tried() -> None:
    """The page and these tests speak of the same commands."""
    page = (ROOT / "docs/torrent-clients.md").read_text("utf-8")
    for line in (
        'megamax-sync upload "%F"',
        "--on-download-complete=/usr/local/bin/megamax-sync-done",
        "method.set_key = event.download.finished, megamax, ",
        "megamax-sync, upload, $d.base_path=",
        '"script-torrent-done-filename": "/usr/local/bin/megamax-sync-done"',
    ):
        assert line in page
