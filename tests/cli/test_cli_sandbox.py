"""``sandbox`` alone, and ``--sandbox`` before the other commands."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import urllib.request
from collections.abc import Callable

import pytest

from cli.program import Program


def announced(lines: list[str]) -> dict[str, str]:
    """What the sandbox's three lines say."""
    return dict(line.rstrip("\n").split("=", 1) for line in lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_account_and_serves(
    stranger: Program, require_program: Callable[[str], str], number: int
) -> None:
    """The document's own curl command works on it, word for word; a signal ends it with 0."""
    require_program("curl")
    clip = stranger.home / "sample.mp4"
    clip.write_bytes(b"some video")
    with stranger.popen("sandbox", "--step", "0.1") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().decode() for _ in range(3)]
        env = announced(lines)
        assert list(env) == ["MEGAMAX_API_URL", "MEGAMAX_LOGIN", "MEGAMAX_KEY"]
        login, key = env["MEGAMAX_LOGIN"], env["MEGAMAX_KEY"]
        query = f"login={login}&key={key}"
        with urllib.request.urlopen(
            f"{env['MEGAMAX_API_URL']}/file/upload/generate?{query}"
        ) as answer:
            url = json.load(answer)["result"]
        command = (
            "curl -k -F file=@/path/to/sample.mp4 -F login={login} -F key={key} "
            "-F folder={folder} https://endpoint.megamax.cloud/endpoint/file/upload/c76z9hu"
        )
        for placeholder, value in (
            ("/path/to/sample.mp4", str(clip)),
            ("{login}", login),
            ("{key}", key),
            ("{folder}", "12"),
            ("https://endpoint.megamax.cloud/endpoint/file/upload/c76z9hu", url),
        ):
            command = command.replace(placeholder, value)
        done = subprocess.run(shlex.split(command), capture_output=True, check=True)
        result = json.loads(done.stdout)["result"]
        assert (result["name"], result["size"], result["folder"]) == ("sample.mp4", 10, 12)
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, b"")


def test_with_data_files_and_credentials_last(stranger: Program) -> None:
    """The same three lines at the next start."""
    seen = []
    for _ in range(2):
        with stranger.popen("sandbox", "--data", "kept") as process:
            assert process.stdout is not None
            seen.append([process.stdout.readline() for _ in range(3)])
            process.terminate()
            process.communicate(timeout=20)
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "70000"],
        ["--port", "x"],
        ["--step", "-1"],
        ["--link-ttl", "0"],
        ["--step", "nan"],
        ["--data", "/dev/null/nowhere"],
    ],
)
def test_wrong_options_are_told(stranger: Program, arguments: list[str]) -> None:
    """Exit 2 and one line."""
    result = stranger.run("sandbox", *arguments)
    assert (result.status, result.out, len(result.faults())) == (2, "", 1)


def test_work_on_the_embedded_megamax_needs_no_account(stranger: Program) -> None:
    """Queue, copies and sidecars lie under sandbox/, and nothing of the real work is touched."""
    path = stranger.video("a.mp4")
    env = {
        "MEGAMAX_AFTER_DONE": "delete",
        "MEGAMAX_ON_DONE": "touch hooked",
        "MEGAMAX_API_URL": "https://192.0.2.1/api",
        "MEGAMAX_PROXY": "http://192.0.2.1:3128",
        "MEGAMAX_POLL_SECONDS": "0.2",
    }
    result = stranger.run("--sandbox", "--scan", env=env)
    assert result.status == 0
    assert stranger.watch.joinpath("a.mp4").exists()
    assert [entry.name for entry in stranger.watch.iterdir()] == ["a.mp4"]
    assert [entry.name for entry in stranger.state.iterdir()] == ["sandbox"]
    (sidecar,) = (stranger.state / "sandbox" / "sidecars").rglob("*.json")
    hashid = json.loads(sidecar.read_text())["hashid"]
    assert stranger.run("--sandbox", "status", "--json").json()["counts"]["done"] == 1
    assert stranger.run("status", "--json").json()["counts"]["done"] == 0
    (listed,) = stranger.run("--sandbox", "ls", "--json").json()
    assert listed["hashid"] == hashid
    assert stranger.run("--sandbox", "show", path, "--json").json()["hashid"] == hashid
    assert stranger.run("--sandbox", "links", hashid).status == 0
    again = stranger.run("--sandbox", "--scan", "--dry-run")
    assert again.lines() == [f"skip {path.decode()}: done as {hashid}"]


def test_commands_use_the_sandbox_that_runs(stranger: Program) -> None:
    """Beside a daemon on the embedded Megamax, --scan attaches and ls asks the same service."""
    with stranger.daemon("--sandbox") as daemon:
        stranger.video("a.mp4")
        assert stranger.run("--sandbox", "--scan").status == 0
        assert len(stranger.run("--sandbox", "ls", "--json").json()) == 1
        assert daemon.process.poll() is None
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("config.reloaded")
        assert daemon.end() == 0
