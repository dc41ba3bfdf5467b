"""Figures, taken from outside: the installed program against the embedded Megamax, each a process.

    make bench                                          everything, into bench/RESULTS.md
    make bench BENCH_ARGS='--size 256M --files 200'     less of it, printed only
    make bench BENCH_ARGS='--only start'                one part, printed only

Nothing here passes or fails by speed; what misses its bar is named in RESULTS.md. But a file that
does not end ``done`` ends the run. It needs twice ``--size`` of free space in the temporary folder.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from against import bench_chunks, bench_four, bench_plain, bench_small, bench_tls
from figures import Figures
from pages import bench_pages
from queues import bench_peers, bench_queue, bench_tracking, own_python
from sending import bench_large, bench_many, bench_start
from watching import (
    bench_close_to_upload,
    bench_idle,
    bench_million,
    bench_scan,
    bench_stopped,
)

RESULTS = Path(__file__).with_name("RESULTS.md")
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def byte_count(text: str) -> int:
    """Read ``3G``, ``256M``, ``512K`` or a plain number of bytes."""
    unit = UNITS.get(text[-1:].upper())
    return int(text[:-1]) * unit if unit else int(text)


#: A bench that returns something has it drawn.
BENCHES: dict[str, Callable[[Figures, Path, argparse.Namespace], object]] = {
    "start": lambda figures, folder, _: bench_start(figures, folder),
    "large": lambda figures, folder, options: bench_large(figures, folder, options.size),
    "plain": lambda figures, folder, options: bench_plain(figures, folder, options.size),
    "tls": lambda figures, folder, options: bench_tls(figures, folder, options.size),
    "four": lambda figures, folder, options: bench_four(figures, folder, options.size),
    "small": lambda figures, folder, options: bench_small(figures, folder, options.files),
    "chunks": lambda figures, folder, options: bench_chunks(figures, folder, options.size // 4),
    "many": lambda figures, folder, options: bench_many(figures, folder, options.files),
    "scan": lambda figures, folder, options: bench_scan(figures, folder, options.entries),
    "stopped": lambda figures, folder, options: bench_stopped(figures, folder, options.entries),
    "million": lambda figures, folder, options: bench_million(
        figures, folder, options.entries * 10
    ),
    "queue": lambda figures, folder, options: bench_queue(figures, folder, options.entries * 10),
    "queues": lambda figures, folder, _: bench_peers(figures, folder),
    "tracking": lambda figures, folder, options: bench_tracking(
        figures, folder, options.entries // 10
    ),
    "idle": lambda figures, folder, options: bench_idle(figures, folder, options.entries // 5),
    "pages": lambda figures, folder, options: bench_pages(figures, folder, options.entries),
    "close": lambda figures, folder, _: bench_close_to_upload(figures, folder),
}


def main() -> None:
    """Run the benches that were asked for, each in a folder of its own."""
    parser = argparse.ArgumentParser(description="Measure megamax-sync.")
    parser.add_argument("--size", type=byte_count, default=byte_count("3G"), help="the large file")
    parser.add_argument("--files", type=int, default=1000, help="how many small files to send")
    parser.add_argument(
        "--entries",
        type=int,
        default=100_000,
        help="files to scan; ten times as many in the large tree and queue",
    )
    parser.add_argument("--only", choices=BENCHES, help="one bench instead of all")
    options = parser.parse_args()
    figures, plots = Figures(), {}
    began = time.monotonic()
    for name, bench in BENCHES.items():
        if options.only in {None, name}:
            with tempfile.TemporaryDirectory(prefix="megamax-bench-") as folder:
                print(f"[{time.monotonic() - began:,.0f} s]", flush=True)
                plots[name] = bench(figures, Path(folder), options)
    # Less than everything would take the place of figures that are worth more.
    if len(sys.argv) == 1:
        figures.write(RESULTS)
        drawn = {"throughput": plots["chunks"], "requests": plots["tracking"]}
        subprocess.run(
            [own_python(), RESULTS.with_name("plots.py")],
            input=json.dumps(drawn),
            text=True,
            check=True,
        )


if __name__ == "__main__":
    main()
