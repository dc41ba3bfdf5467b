"""``check`` and ``install-service`` as processes."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

from canary import holds_secrets

from cli.program import Program
from megamax_sync.config import load


def systemctl(folder: Path, status: int = 0) -> dict[str, str]:
    """Put stand-ins for systemd's programs on the PATH, which note how they were called."""
    folder.mkdir(exist_ok=True)
    for name in ("systemctl", "systemd-sysusers"):
        script = folder / name
        script.write_text(f'#!/bin/sh\necho "{name} $*" >> {folder}/calls\nexit {status}\n')
        script.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin", "XDG_CONFIG_HOME": str(folder / "config")}


def test_check_finds_all_well(program: Program) -> None:
    """Each part is named and ok, with files in the folder and an instance at work."""
    program.video("a.mp4")
    with program.daemon() as daemon:
        daemon.wait_for("job.done")
        result = program.run("check")
    assert result.status == 0, result.out
    assert not [line for line in result.lines() if not line.startswith("ok ")]
    assert result.err == ""
    for word in ("accepted by", "plain HTTP on this machine", "within", "events arrive", "process"):
        assert word in result.out


def test_check_tells_by_its_status_what_is_wrong(program: Program) -> None:
    """3 for rejected credentials, 1 for an error, 2 for settings that cannot be read."""
    wrong = {"MEGAMAX_KEY": "not-the-key-12345"}
    result = program.run("check", "--json", env=wrong)
    document = result.json()
    assert (result.status, document["exit"]) == (3, 3)
    (fault,) = [row for row in document["checks"] if row["level"] == "error"]
    assert fault["check"] == "credentials"
    assert "MEGAMAX_KEY" in fault["remedy"]
    assert "systemctl restart" in fault["remedy"]
    assert "not-the-key" not in result.out
    gone = {"MEGAMAX_WATCH": str(program.home / "gone")}
    result = program.run("check", env=gone)
    assert (result.status, "is not there" in result.out) == (1, True)
    result = program.run("check", "--json", env={"MEGAMAX_WORKERS": "many"})
    assert (result.status, result.json()["counts"]["error"]) == (2, 1)


def test_check_needs_no_account_for_the_sandbox(stranger: Program) -> None:
    """With --sandbox it looks at the embedded service; without, it says what is missing."""
    assert stranger.run("--sandbox", "check").status == 0
    result = stranger.run("check", env={"MEGAMAX_WATCH": ""})
    assert result.status == 1
    for name in ("MEGAMAX_LOGIN", "MEGAMAX_KEY", "MEGAMAX_WATCH"):
        assert f"{name}: is not set" in result.out


def _expect_credentials(config: Path) -> None:
    """The files that hold them are there for that."""
    for name in ("megamax_login", "megamax_key"):
        holds_secrets(config / "megamax-sync" / name)


def test_a_users_service_is_shown_installed_and_taken_away(program: Program) -> None:
    """Nothing is written before it is wanted, the key is never shown, and systemd is told."""
    env = systemctl(program.home / "bin")
    config = program.home / "bin" / "config"
    _expect_credentials(config)
    shown = program.run("install-service", "--user", "--dry-run", env=env)
    assert shown.status == 0
    assert f'MEGAMAX_WATCH={program.watch}"' in shown.out
    assert program.env["MEGAMAX_KEY"] not in shown.out
    assert not config.exists()
    assert program.run("install-service", "--user", env=env).status == 0
    again = program.run("install-service", "--user", env=env)
    assert "written: " not in again.out
    assert "systemctl --user enable --now megamax-sync" in again.out
    # Credentials are copied by systemd at the start, so a reload brings no others.
    (line,) = [line for line in again.lines() if "another login or key" in line]
    assert "systemctl --user restart megamax-sync" in line
    key = config / "megamax-sync" / "megamax_key"
    assert key.read_text().strip() == program.env["MEGAMAX_KEY"]
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_users_service_is_kept_up_to_date_and_taken_away(program: Program) -> None:
    """Without credentials at hand those that are there stay; removing leaves nothing."""
    env = systemctl(program.home / "bin")
    config = program.home / "bin" / "config"
    _expect_credentials(config)
    key = config / "megamax-sync" / "megamax_key"
    assert program.run("install-service", "--user", env=env).status == 0
    bare = {**env, "MEGAMAX_LOGIN": "", "MEGAMAX_KEY": ""}
    assert program.run("install-service", "--user", env=bare).status == 0
    assert (
        f"would remove {key}"
        in program.run("install-service", "--user", "--remove", "--dry-run", env=env).out
    )
    assert key.exists()
    assert program.run("install-service", "--user", "--remove", env=env).status == 0
    assert not config.exists()
    assert program.run("install-service", "--user", "--remove", env=env).out == (
        "nothing is installed\n"
    )
    calls = (program.home / "bin" / "calls").read_text().splitlines()
    assert "systemctl --user disable --now megamax-sync.service" in calls
    assert calls[-1] == "systemctl --user daemon-reload"


def test_an_installed_service_can_be_checked_by_hand(program: Program) -> None:
    """As docs/operations.md says: its folder of settings is its folder of credentials."""
    env = systemctl(program.home / "bin")
    config = program.home / "bin" / "config" / "megamax-sync"
    _expect_credentials(config.parent)
    assert program.run("install-service", "--user", env=env).status == 0
    by_hand = {"MEGAMAX_LOGIN": "", "MEGAMAX_KEY": "", "CREDENTIALS_DIRECTORY": str(config)}
    for command in ("check", "ls"):
        result = program.run("--config", str(config / "config.env"), command, env=by_hand)
        assert result.status == 0, result.out + result.err


def test_settings_that_are_given_reach_the_service(program: Program) -> None:
    """From --config and the environment, wherever the service is started; secrets in own files."""
    env = {**systemctl(program.home / "bin"), "MEGAMAX_HTTP_TOKEN": "token-0123456789"}
    env["MEGAMAX_MIN_SIZE"] = "2K"
    config = program.home / "bin" / "config" / "megamax-sync"
    _expect_credentials(program.home / "bin" / "config")
    holds_secrets(config / "megamax_http_token")
    (program.home / "my.env").write_text(
        "MEGAMAX_FOLDER=12\nMEGAMAX_EXCLUDE=*.tmp,/a b/\nMEGAMAX_AFTER_DONE=move:done\n"
        'MEGAMAX_ON_DONE="\'/bin/a \\"b\' c"\nMEGAMAX_SIDECAR_DIR=side\nMEGAMAX_MIN_SIZE=1K\n'
    )
    call = ("--config", "my.env", "install-service", "--user")
    shown = program.run(*call, "--dry-run", env=env)
    assert "MEGAMAX_FOLDER=12" in shown.lines()
    assert program.run(*call, env=env).status == 0
    given = load(str(program.home / "my.env"), {}, {"HOME": str(program.home)})
    kept = load(str(config / "config.env"), {}, {"HOME": str(program.home)})
    assert (kept.folder, kept.exclude, kept.on_done) == (12, given.exclude, given.on_done)
    assert kept.min_size == 2048
    assert kept.after_done.target == str(program.home / "done")
    assert kept.sidecar_dir == str(program.home / "side")
    assert kept.watch == ()
    assert "Here it has no effect" in (config / "config.env").read_text()
    assert (kept.http_token, kept.key) == (None, None)
    assert (config / "megamax_http_token").read_text() == "token-0123456789\n"
    drop_in = (config.parent / "systemd/user/megamax-sync.service.d/media.conf").read_text()
    assert f"LoadCredential=megamax_http_token:{config}/megamax_http_token" in drop_in
    again = program.run(*call, env=env)
    assert (again.status, "written: " in again.out) == (0, False)


def test_settings_that_cannot_be_taken_over_are_named(program: Program) -> None:
    """Nothing is dropped silently: exit 2, one line for each, and nothing is written."""
    env = systemctl(program.home / "bin")
    config = program.home / "bin" / "config"
    _expect_credentials(config)
    secret = {**env, "MEGAMAX_NOTIFY": "json://token-0123456789@host"}
    result = program.run("install-service", "--user", env=secret)
    assert result.status == 2
    (fault,) = result.faults()
    assert "MEGAMAX_NOTIFY" in fault
    assert "token-0123456789" not in result.err
    assert not config.exists()
    assert program.run("install-service", "--user", env=env).status == 0
    settings = config / "megamax-sync" / "config.env"
    result = program.run("install-service", "--user", env={**env, "MEGAMAX_FOLDER": "12"})
    assert (result.status, len(result.faults())) == (2, 1)
    assert "MEGAMAX_FOLDER: differs from what" in result.err
    settings.write_text(settings.read_text() + "MEGAMAX_FOLDER=12\nMEGAMAX_WATCH=/elsewhere\n")
    result = program.run("install-service", "--user", env={**env, "MEGAMAX_FOLDER": "12"})
    assert (result.status, len(result.faults())) == (0, 1)
    assert "MEGAMAX_WATCH in" in result.err
    assert "has no effect" in result.err


def test_the_systems_service_below_another_root(program: Program) -> None:
    """As an image is made: everything lies below, and no program is called."""
    env = systemctl(program.home / "bin")
    root = program.home / "image"
    (root / "etc").mkdir(parents=True)
    result = program.run(
        "install-service", "--root", str(root), "--watch", str(program.watch), env=env
    )
    if "cannot be run by the service's user" in result.err:
        # The interpreter of this run lies where only root comes: that is refused, and no more.
        assert result.status == 2
        assert list((root / "etc").iterdir()) == []
        return
    assert result.status == 0
    assert (root / "etc/systemd/system/megamax-sync.service").is_file()
    assert program.run("install-service", "--root", str(root), "--remove", env=env).status == 0
    assert not (root / "etc/megamax-sync").exists()
    assert not (program.home / "bin" / "calls").exists()


def test_what_cannot_be_installed_is_said(program: Program) -> None:
    """A folder that is not there, no credentials, no systemd, a place that cannot be written."""
    env = systemctl(program.home / "bin", status=1)
    _expect_credentials(program.home / "bin" / "config")
    result = program.run("install-service", "--user", "--watch", "/nowhere", env=env)
    assert (result.status, "is no folder" in result.faults()[0]) == (2, True)
    bare = {**env, "MEGAMAX_LOGIN": "", "MEGAMAX_KEY": ""}
    result = program.run("install-service", "--user", env=bare)
    assert (result.status, len(result.faults())) == (2, 2)
    result = program.run("install-service", "--user", env=env)
    assert result.faults() == ["megamax-sync: this failed: systemctl --user daemon-reload"]
    alone = {**env, "PATH": str(program.home / "nothing")}
    result = program.run("install-service", "--user", env=alone)
    assert "systemctl is not here" in result.faults()[0]
    (program.home / "file").touch()
    blocked = {**env, "XDG_CONFIG_HOME": str(program.home / "file")}
    result = program.run("install-service", "--user", env=blocked)
    assert (result.status, "cannot be changed" in result.faults()[0]) == (2, True)


def asked(program: Program, answers: list[str], env: dict[str, str]) -> tuple[int, str]:
    """Run install-service on a terminal, and type the answers; return what the terminal showed."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "megamax_sync", "install-service", "--user"]
    process = subprocess.Popen(
        command,
        env={**os.environ, **program.env, **env, "MEGAMAX_LOGIN": "", "MEGAMAX_KEY": ""},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        cwd=program.home,
    )
    os.close(theirs)
    shown = b""
    for answer in answers:
        while not shown.rstrip().endswith(b"):"):
            shown += os.read(ours, 4096)
        os.write(ours, answer.encode() + b"\n")
        # Not to take this question for the next one.
        shown += b"."
    try:
        while data := os.read(ours, 4096):
            shown += data
    except OSError:
        # Linux's way of saying that the other side has closed it.
        pass
    os.close(ours)
    return process.wait(30), shown.decode()


def test_credentials_are_asked_for_without_an_echo(program: Program) -> None:
    """The key that is typed is written, and the terminal never shows it."""
    env = systemctl(program.home / "bin")
    status, shown = asked(program, ["anna@example.com", "typed-key-0123456789"], env)
    assert status == 0, shown
    folder = program.home / "bin" / "config" / "megamax-sync"
    assert (folder / "megamax_login").read_text() == "anna@example.com\n"
    assert (folder / "megamax_key").read_text() == "typed-key-0123456789\n"
    assert "typed-key" not in shown
    program.run("install-service", "--user", "--remove", env=env)
    status, shown = asked(program, [" "], env)
    assert (status, "that is no login" in shown) == (2, True)
