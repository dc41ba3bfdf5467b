"""Photographs the pages, as ``make screenshots`` has it: three widths, two themes, three days.

    python docs/screenshots.py FOLDER [--only WORD]

Everything in them is made up; nothing is sent anywhere. A few of them are kept in docs/.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from http_pages.browser import Browser, browser
from http_pages.site import Site, live, site

from megamax_sync.http.throughput import SAMPLE_SECONDS

WIDTHS = (360, 820, 1440)
GIB = 1 << 30


def empty(_made: Site) -> None:
    """The first minute."""


def busy(made: Site) -> None:
    """A good day."""
    dice = random.Random(7)
    for number in range(1, 13):
        made.done(f"/media/anime/Lantern Street/Lantern Street S02E{number:02}.mkv", size=GIB)
    for number in range(13, 16):
        status = ("converting", "processing", "onqueue")[number - 13]
        made.processing(
            f"/media/anime/Lantern Street/Lantern Street S02E{number:02}.mkv",
            size=GIB,
            status=status,
        )
    uploads = [
        made.uploading("/media/movies/Wintergärten (1974).mkv", size=9 * GIB),
        made.uploading("/media/movies/4k/The Long Harbour.mkv", size=31 * GIB),
    ]
    for number in range(1, 41):
        made.add(f"/media/series/Night Ferry/Night Ferry S01E{number:02}.mkv", size=2 * GIB)
    parts = live()
    parts["uploads"] = [
        {"job": job.id, "sent": int(job.stamp.size * share), "size": job.stamp.size, "rate": rate}
        for job, share, rate in zip(uploads, (0.72, 0.18), (9.4e6, 6.1e6), strict=True)
    ]
    parts["bwlimit"] = 20 << 20
    made.live = parts
    _throughput(made, [max(0.0, 14e6 + dice.gauss(0, 2.2e6)) for _ in range(119)])


def broken(made: Site) -> None:
    """A bad day."""
    for number in range(1, 5):
        made.done(f"/media/anime/Lantern Street/Lantern Street S01E{number:02}.mkv", size=GIB)
    made.failed("/media/movies/Too large.mkv", "the service refuses the file (413): too large")
    made.failed(
        "/media/movies/<img src=x onerror=alert(1)>.mp4",
        "the sidecar cannot be written in /media/movies (Permission denied); let this user write "
        "there, or set MEGAMAX_SIDECAR_DIR",
    )
    made.failed(b"/media/movies/caf\xe9.avi", "the service could not convert it (hash00000007)")
    for number in range(1, 8):
        made.add(f"/media/series/Night Ferry/Night Ferry S01E{number:02}.mkv", size=2 * GIB)
    made.store.settings.paused = True
    parts = live(
        problem="unreachable",
        problem_detail="no answer from api.megamax.me (ConnectTimeout)",
        bwlimit="08:00,2M 23:00,off",
    )
    parts["parts"][3] |= {"stuck": True, "age": 312.0}
    made.live = parts
    _throughput(made, [8e6] * 50 + [0.0] * 69)


def _throughput(made: Site, rates: list[float]) -> None:
    assert made.pages is not None
    shown, counter, now = made.pages.application.throughput, 0, made.clock.monotonic()
    for number, rate in enumerate(rates):
        counter += int(rate * SAMPLE_SECONDS)
        shown.sample(now + (number + 1) * SAMPLE_SECONDS, counter)


DAYS: dict[str, Callable[[Site], None]] = {"empty": empty, "busy": busy, "broken": broken}


def photograph(eye: Browser, made: Site, folder: Path, day: str) -> None:
    """Photograph each page of a day, whole."""
    job = {"empty": None, "busy": 12, "broken": 6}[day]
    pages = {"overview": "/", "jobs": "/jobs", **({"job": f"/jobs/{job}"} if job else {})}
    for name, path in pages.items():
        for width in WIDTHS:
            for dark in (False, True):
                eye.window(width, dark=dark)
                eye.open(made.url + path)
                eye.window(width, int(eye.run("return document.body.scrollHeight")), dark=dark)
                theme = "dark" if dark else "light"
                eye.driver.save_screenshot(str(folder / f"{name}-{day}-{width}-{theme}.png"))
    eye.window(360)


def main() -> None:
    """Make them all."""
    parser = argparse.ArgumentParser(description="Photograph the pages.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=DAYS)
    options = parser.parse_args()
    programs = [shutil.which("chromium"), shutil.which("chromedriver")]
    if None in programs:
        raise SystemExit("chromium and chromedriver are needed (Debian: chromium-driver)")
    options.folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as place,
        browser(str(programs[0]), str(programs[1]), Path(place) / "profile") as eye,
    ):
        for day, fill in DAYS.items():
            if options.only in {None, day}:
                (Path(place) / day).mkdir()
                with site(Path(place) / day, token="shown") as made:
                    fill(made)
                    eye.open(made.url)
                    # The cookie of one day holds for the next: it is the same host and token.
                    for field in eye.all("#token"):
                        field.send_keys("shown")
                        eye.one(".sign-in button").click()
                    photograph(eye, made, options.folder, day)


if __name__ == "__main__":
    main()
