"""The program as a whole, as a user runs it: a process, a folder, a service."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from megamax_sync.sandbox import Sandbox
from megamax_sync.sidecar import schema

from .other_service import KEY, LOGIN, OtherService


def program(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run megamax-sync to its end. ``settings`` by name, without MEGAMAX_ and in lower case."""
    environ = {f"MEGAMAX_{name.upper()}": value for name, value in settings.items()}
    return subprocess.run(
        [sys.executable, "-m", "megamax_sync", *arguments],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def quick(base: Path, **further: str) -> dict[str, str]:
    """Settings under which nothing waits for long."""
    return {
        "watch": str(base / "drop"),
        "state_dir": str(base / "state"),
        "settle_seconds": "0.1",
        "poll_seconds": "1",
        "api_rate": "0",
        "log_format": "json",
        **further,
    }


def sidecars(folder: Path) -> Mapping[str, dict[str, Any]]:
    """Every sidecar below a folder, by the name of its video; each validates."""
    validator = Draft202012Validator(schema())
    found = {}
    for path in folder.rglob("*.megamax.json"):
        document = json.loads(path.read_text("utf-8"))
        validator.validate(document)
        found[document["source"]["name"]] = document
    return found


def sha256(data: bytes) -> str:
    """The digest in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def test_another_service_that_holds_to_the_document_will_do(tmp_path: Path) -> None:
    """Against a service that shares no code with the sandbox, every file arrives once and whole."""
    files = {
        "plain.mp4": b"one" * 999,
        "series/EP 01 — Pilot.mkv": b"two" * 5000,
        'series/a "quoted" name.webm': b"three" * 70000,
        "top.final.v2.mp4": b"4",
        **{f"many/ep {n}.mp4": b"%d" % n * 400 for n in range(8)},
    }
    for name, data in files.items():
        path = tmp_path / "drop" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with OtherService() as service:
        settings = quick(
            tmp_path,
            api_url=service.api_url,
            login=LOGIN,
            key=KEY,
            folders="series=12,many=7",
            folder="3",
        )
        run = program("--scan", **settings)
        assert run.returncode == 0, run.stderr
        assert sorted(entry["sha256"] for entry in service.stored) == sorted(
            sha256(data) for data in files.values()
        )
        again = program("--scan", **settings)
        assert again.returncode == 0
        assert len(service.stored) == len(files)
    assert sorted(entry["folder"] for entry in service.stored) == [3] * 2 + [7] * 8 + [12] * 2
    found = sidecars(tmp_path / "drop")
    assert len(found) == len(files)
    for document in found.values():
        assert document["status"] == "converted"
        assert document["mirrors"][0]["mirrors"][0]["iframe"].startswith("https://ok.example/")
        assert (document["direct"], document["direct_error"]) == ([], "no premium plan")
    assert KEY not in run.stderr + run.stdout
    assert LOGIN not in run.stderr + run.stdout


@pytest.mark.timeout(240)
def test_a_thousand_files_arrive_whole(tmp_path: Path) -> None:
    """1,000 files of mixed sizes: all are done, and the service's bytes are the files'."""
    rng = random.Random(20261124)
    digests = {}
    for number in range(1000):
        path = tmp_path / "drop" / f"season {number % 7}" / f"Show ep {number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = b"%03d" % number + rng.randbytes(int(10 ** rng.uniform(0, 4.8)))
        path.write_bytes(data)
        digests[path.name] = sha256(data)
    with Sandbox(step=0.05) as sandbox:
        run = program(
            "--scan",
            "--json",
            **quick(
                tmp_path,
                api_url=sandbox.api_url,
                login=sandbox.login,
                key=sandbox.key,
                workers="4",
                log_level="warning",
            ),
        )
        assert run.returncode == 0, run.stderr
        assert json.loads(run.stdout)["done"] == 1000
        stored = {record.name: sha256(record.path.read_bytes()) for record in sandbox.files()}
    assert stored == digests
    assert len(sidecars(tmp_path / "drop")) == 1000
