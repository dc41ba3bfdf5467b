"""A short run of ``make chaos``, and that it would find what it looks for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chaos.__main__ import FAULTS, table
from chaos.points import POINTS
from chaos.world import World, sha
from megamax_sync.clock import Clock
from megamax_sync.sandbox import Sandbox
from megamax_sync.store import Store

TESTS = Path(__file__).parent.parent
KILLS = 100


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the harness as ``make chaos`` does."""
    return subprocess.run(
        [sys.executable, "-m", "chaos", *arguments],
        cwd=TESTS,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(300)
def test_a_hundred_kills_lose_and_double_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever it is doing when it dies, each video arrives once and its sidecar is its own."""
    result = run("--kills", str(KILLS), "--json")
    assert result.stdout, result.stderr
    total: dict[str, Any] = json.loads(result.stdout)
    with capsys.disabled():
        sys.stdout.write(
            f"\nchaos: seed {total['seed']}, {total['kills']} kills, {total['seconds']} s"
        )
    assert {name: total[name] for name in FAULTS} == dict.fromkeys(FAULTS, 0), total["notes"]
    assert total["kills"] == KILLS
    assert total["arrived"] > KILLS / 2
    assert len(set(total["points"]) & set(POINTS)) > 10
    assert "| **in all** | **100** |" in table(total)


def test_every_point_is_one_of_the_program() -> None:
    """A function that was renamed is missed here, not by a trap that never closes."""
    code = "from chaos.points import *; [set_trap(point, 1) for point in POINTS]"
    subprocess.run([sys.executable, "-c", code], cwd=TESTS, check=True)


def test_the_judgement_finds_each_fault(tmp_path: Path) -> None:
    """A file that is lost, one that came twice, a sidecar that is another's, and a torn one."""
    world = World(tmp_path / "w", "1")
    (world.home / "state").mkdir()
    Store(str(world.home / "state" / "queue.db"), Clock()).close()
    world._log.write_text('{"exception": []}\n')
    with Sandbox(world.home / "service") as world.sandbox:
        for name, data in (("lost", b"1"), ("twice", b"2"), ("mixed", b"3"), ("torn", b"4")):
            path = world.drop / f"{name}.mp4"
            world.contents[path] = [sha(data)]
            hashids = []
            for _ in range({"lost": 0, "twice": 2}.get(name, 1)):
                hashids.append(world.sandbox.add_file(path.name, data=data).hashid)
            if name == "torn":
                path.with_name("torn.mp4.megamax.json").write_text('{"hashid": "')
        other = world.sandbox.files()[-1].hashid
        text = json.dumps(document(other))
        (world.drop / "mixed.mp4.megamax.json").write_text(text)
        (world.drop / "twice.mp4.megamax.json").write_text(text)
        world._look_at_sidecars()
        assert (world.tally.mixed_up, world.tally.unreadable) == (2, 1)
        world._judge()
    tally = world.tally
    assert (tally.lost, tally.twice, tally.mixed_up) == (2, 1, 4)
    assert (tally.unreadable, tally.unexpected) == (2, 1)


def document(hashid: str) -> dict[str, Any]:
    """A sidecar that validates."""
    return {
        "schema": 1,
        "service": "https://api.example/api",
        "account": "5f1c09aa",
        "hashid": hashid,
        "name": "x",
        "status": "converted",
        "folder": None,
        "size": 1,
        "poster": None,
        "source": {"name": "x.mp4", "size": 1, "mtime_ns": "1", "fingerprint": None},
        "uploaded_at": None,
        "converted_at": None,
        "updated_at": "2023-04-15T03:15:21Z",
        "mirrors": [],
        "direct": [],
        "direct_error": None,
    }
