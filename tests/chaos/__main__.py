"""Kill the program N times over several worlds, and print what came of it.

    make chaos                                       1,000 kills
    make chaos CHAOS_ARGS='--kills 200 --seed 7'     fewer, as they were before

It ends with 1 when anything was lost, came twice, or was mixed up. A failing world is kept.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chaos.points import POINTS
from chaos.world import World, heartbeat


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=1000, help="in all (1000)")
    parser.add_argument("--seed", type=int, default=None, help="what happens; any, and printed")
    parser.add_argument("--worlds", type=int, default=6, help="at a time (6)")
    parser.add_argument("--json", action="store_true", help="the figures only, as JSON")
    parser.add_argument("--one", metavar="FOLDER", help=argparse.SUPPRESS)
    return parser.parse_args()


def one_world(options: argparse.Namespace) -> int:
    """In a process of its own: run one world, and print its figures."""
    world = World(Path(options.one), f"{options.seed}/{Path(options.one).name}")
    stop = threading.Event()
    if not options.json:
        threading.Thread(target=heartbeat, args=(world, stop), daemon=True).start()
    tally = world.run(options.kills)
    stop.set()
    sys.stdout.write(json.dumps(asdict(tally)))
    return 0


def all_worlds(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run the worlds beside one another, and add their figures up."""
    share, more = divmod(options.kills, options.worlds)
    running = []
    for number in range(options.worlds):
        command = [sys.executable, "-m", "chaos", "--one", str(folder / f"world-{number}")]
        command += ["--kills", str(share + (number < more)), "--seed", str(options.seed)]
        command += ["--json"] if options.json else []
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE))
    total: dict[str, Any] = {"points": Counter(), "notes": []}
    for process in running:
        out, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"a world ended with {process.returncode}")
        for name, value in json.loads(out).items():
            if isinstance(value, dict):
                total[name].update(value)
            elif isinstance(value, list):
                total[name] += value
            else:
                total[name] = total.get(name, 0) + value
    return total


#: What has to be 0, and how people call it.
FAULTS = {
    "lost": "lost",
    "twice": "at the service twice",
    "mixed_up": "sidecars that name another file's upload",
    "unreadable": "unreadable sidecars",
    "given_up": "given up (failed or skipped)",
    "unexpected": "unexpected ends and exceptions",
}


def table(total: dict[str, Any]) -> str:
    """The figures, as Markdown."""
    lines = ["| killed | times |", "|---|---:|"]
    named = [*POINTS, *sorted(set(total["points"]) - set(POINTS))]
    lines += [f"| {name} | {total['points'].get(name, 0)} |" for name in named]
    lines += [f"| **in all** | **{total['kills']}** |", "", "| result | |", "|---|---:|"]
    lines += [f"| versions of files | {total['files']} |"]
    lines += [f"| arrived at the service | {total['arrived']} |"]
    lines += [f"| {words} | {total[name]} |" for name, words in FAULTS.items()]
    return "\n".join(lines)


def main() -> int:
    """Do what the command line says."""
    options = arguments()
    if options.seed is None:
        options.seed = secrets.randbelow(1 << 31)
    if options.one:
        return one_world(options)
    options.worlds = max(1, min(options.worlds, options.kills))
    if not options.json:
        sys.stdout.write(f"seed {options.seed}, {options.kills} kills\n\n")
        sys.stdout.flush()
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="megamax-chaos-"))
    total = all_worlds(options, folder)
    bad = sum(total[name] for name in FAULTS)
    total["seconds"] = round(time.monotonic() - began)
    if options.json:
        sys.stdout.write(json.dumps({**total, "seed": options.seed}) + "\n")
    else:
        for note in total["notes"]:
            sys.stdout.write(f"  {note}\n")
        sys.stdout.write(f"{table(total)}\n\nin {total['seconds']} s\n")
    if bad:
        sys.stderr.write(f"the worlds are kept in {folder}; seed {options.seed}\n")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
