"""Draws docs/demo.svg: what a terminal shows of a real run on the embedded Megamax.

``make screenshots`` calls it. The commands are run, not described; only the paths are shortened.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parent.parent
WIDTH = 104
#: rich has fonts loaded from elsewhere; whoever looks at a picture need not be told to others.
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def run(arguments: list[str], home: Path) -> str:
    """Run the program; return what it said on both streams."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MEGAMAX_")}
    settings = {
        "MEGAMAX_STATE_DIR": str(home / "state"),
        "MEGAMAX_SETTLE_SECONDS": "0.2",
        "MEGAMAX_POLL_SECONDS": "1",
        # The log is for other eyes; what is left is what people are told.
        "MEGAMAX_LOG_LEVEL": "warning",
    }
    done = subprocess.run(
        [sys.executable, "-m", "megamax_sync", *arguments],
        cwd=home,
        env={**kept, **settings, "HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
    )
    return done.stdout.decode().replace(str(home), "~")


def main(target: str) -> None:
    """Run the demo, and draw what it says."""
    with (
        tempfile.TemporaryDirectory() as folder,
        open(os.devnull, "w", encoding="utf-8") as nothing,
    ):
        home = Path(folder).resolve()
        shutil.copytree(ROOT / "tests" / "data", home / "videos")
        (home / "videos" / "README.md").unlink()
        console = Console(record=True, width=WIDTH, file=nothing, force_terminal=True)
        for arguments in (
            ["--sandbox", "--watch", "videos", "--scan", "--dry-run"],
            ["--sandbox", "--watch", "videos", "--scan"],
            ["--sandbox", "status"],
            ["--sandbox", "show", "videos/Harbour Lights EP 01.mp4"],
        ):
            words = [f"'{word}'" if " " in word else word for word in arguments]
            console.print(Text(f"$ megamax-sync {' '.join(words)}", style="bold green"))
            for line in run(arguments, home).splitlines():
                text = Text.from_ansi(line)
                text.truncate(WIDTH, overflow="ellipsis")
                console.print(text)
            console.print()
        svg = console.export_svg(title="megamax-sync", unique_id="demo")
    Path(target).write_text(_FONTS.sub("", svg), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
