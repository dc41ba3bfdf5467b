"""The units, and their putting in place and taking away."""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import stat
import subprocess
from pathlib import Path

import pytest
from conftest import RequireProgram
from lacking import lacking

from megamax_sync import service
from megamax_sync.errors import ConfigError
from megamax_sync.service import Places, plan, units
from megamax_sync.service.__main__ import main as write_examples

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy" / "systemd"
PROGRAM = ("/usr/bin/env",)


def planned(places: Places, *folders: str, key: str | None = "the-key") -> service.Plan:
    """A plan for these folders."""
    return plan(places, folders, ("the-login", key), "#MEGAMAX_WORKERS=2\n", PROGRAM)


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every file and folder below a root: mode, and content of files."""
    return {
        str(path.relative_to(root)): (
            stat.S_IMODE(path.stat().st_mode),
            path.read_bytes() if path.is_file() else b"",
        )
        for path in root.rglob("*")
    }


@pytest.fixture
def system(tmp_path: Path) -> Places:
    """A machine's folders, below a folder of the test's."""
    (tmp_path / "root/etc/systemd/system").mkdir(parents=True)
    return Places.system(str(tmp_path / "root"))


@pytest.fixture
def videos(tmp_path: Path) -> str:
    """A folder of a user who is not root."""
    folder = tmp_path / "videos"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, 1, 1)
    return str(folder)


def test_the_examples_are_in_step(tmp_path: Path) -> None:
    """deploy/systemd is what the templates say, as `make docs` writes it."""
    write_examples(str(tmp_path))
    assert {path.name for path in tmp_path.rglob("*")} == {path.name for path in DEPLOY.rglob("*")}
    written = {
        path.relative_to(DEPLOY).as_posix(): path.read_text()
        for path in DEPLOY.rglob("*")
        if path.is_file()
    }
    assert written == units.examples(), "run: python -m megamax_sync.service deploy/systemd"


def test_systemd_understands_the_units(tmp_path: Path, require_program: RequireProgram) -> None:
    """No word in them is unknown, and the exposure is what is promised."""
    analyze = require_program("systemd-analyze")
    for name, text in units.examples().items():
        if name.endswith((".service", ".timer")):
            there = re.sub(r"(/usr/local|%h/\.local)/bin/megamax-sync", "/bin/true", text)
            (tmp_path / os.path.basename(name)).write_text(there)
    names = ["megamax-sync.service", "megamax-sync-scan.service", "megamax-sync-scan.timer"]
    command = [analyze, "verify", "--man=no", *(str(tmp_path / name) for name in names)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "megamax" in line]
    assert (done.returncode, ours) == (0, [])
    (tmp_path / "megamax-sync.service").write_text(units.system_unit("/bin/true"))
    command = [analyze, "security", "--offline=true", str(tmp_path / "megamax-sync.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    figure = re.search(r"exposure level.*: ([0-9.]+)", done.stdout)
    assert figure is not None
    assert float(figure.group(1)) <= 1.1


def test_a_start_is_tried_until_the_folder_is_free() -> None:
    """A --scan may own it all night (75); what only a person can mend is not tried (2, 3)."""
    for text in (units.system_unit("/x"), units.user_unit("/x")):
        assert "\nRestart=on-failure\n" in text
        assert "\nStartLimitIntervalSec=0\n" in text
        assert "StartLimitBurst" not in text
        assert "\nRestartPreventExitStatus=2 3\n" in text
    # Stopping a backfill is no failure of it, nor is the end of its time.
    assert "\nSuccessExitStatus=75 130\n" in units.scan_unit("/x")


def test_the_backfill_is_as_protected_as_the_service() -> None:
    """Both have the same user, credentials and walls."""
    unit, scan = units.system_unit("/x"), units.scan_unit("/x")
    walls = [line for line in unit.splitlines() if line.startswith(("Protect", "Private", "Load"))]
    assert len(walls) > 12
    assert set(walls) <= set(scan.splitlines())
    assert "WatchdogSec" not in scan
    assert "--scan" in scan


def test_installing_twice_changes_nothing_and_removing_undoes_it(
    system: Places, videos: str, tmp_path: Path
) -> None:
    """Modes are right, the key is nobody's to read, and afterwards all is as it was."""
    root = tmp_path / "root"
    before = tree(root)
    outcome = service.install(system, planned(system, videos))
    assert outcome.unchanged == outcome.left == []
    after = tree(root)
    assert after["etc/megamax-sync/megamax_key"] == (0o600, b"the-key\n")
    assert after["etc/megamax-sync/megamax_login"] == (0o600, b"the-login\n")
    assert after["etc/systemd/system/megamax-sync.service"][0] == 0o644
    assert b"the-key" not in b"".join(
        content for name, (_, content) in after.items() if not name.endswith("_key")
    )
    again = service.install(system, planned(system, videos))
    assert again.written == []
    assert tree(root) == after
    outcome = service.remove(system)
    assert outcome.left == []
    assert tree(root) == before
    assert service.remove(system).removed == []


def test_changed_settings_are_the_users(system: Places, videos: str, tmp_path: Path) -> None:
    """They are neither overwritten nor removed, nor are files that others put there."""
    service.install(system, planned(system, videos))
    config = tmp_path / "root/etc/megamax-sync/config.env"
    config.write_text("MEGAMAX_WORKERS=4\n")
    other = tmp_path / "root/etc/systemd/system/megamax-sync.service.d/mine.conf"
    other.write_text("[Service]\n")
    outcome = service.install(system, planned(system, videos))
    assert outcome.left == ["/etc/megamax-sync/config.env"]
    assert service.remove(system).left == ["/etc/megamax-sync/config.env"]
    assert config.read_text() == "MEGAMAX_WORKERS=4\n"
    assert other.exists()


def test_a_unit_of_somebody_else_is_not_overwritten(
    system: Places, videos: str, tmp_path: Path
) -> None:
    """Nothing at all is written, and the message says what to do."""
    unit = tmp_path / "root/etc/systemd/system/megamax-sync.service"
    unit.write_text("mine")
    with pytest.raises(ConfigError, match="move it away first"):
        service.install(system, planned(system, videos))
    assert unit.read_text() == "mine"
    assert not (tmp_path / "root/etc/megamax-sync").exists()


def test_a_list_that_is_none_is_said_to_be_none(system: Places, tmp_path: Path) -> None:
    """It is not taken for an empty one, after which files of others might be lost."""
    (tmp_path / "root/etc/megamax-sync").mkdir()
    (tmp_path / "root/etc/megamax-sync/installed.json").write_text("[]")
    with pytest.raises(ConfigError, match="move it away"):
        service.remove(system)


def test_a_failed_write_leaves_nothing_half_done(
    system: Places, videos: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file is there in part; and removing takes away what was written before."""
    real = os.replace

    def fails(source: str, target: str) -> None:
        if target.endswith("megamax_key"):
            raise OSError(28, "No space left on device", target)
        real(source, target)

    before = tree(tmp_path / "root")
    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="No space"):
        service.install(system, planned(system, videos))
    assert not [name for name in tree(tmp_path / "root") if name.endswith(".tmp")]
    service.remove(system)
    assert tree(tmp_path / "root") == before


def test_it_runs_as_the_owner_of_the_videos(system: Places, videos: str) -> None:
    """Who may read them, write beside them and ask for a lease."""
    text = drop_in(planned(system, videos))
    status = os.stat(videos)
    assert f"User={pwd.getpwuid(status.st_uid).pw_name}" in text
    assert f"Group={grp.getgrgid(status.st_gid).gr_name}" in text
    assert f'ReadWritePaths="{videos}"' in text
    assert f'Environment="MEGAMAX_WATCH={videos}"' in text


def test_folders_of_root_or_of_several_have_a_user_of_its_own(
    system: Places, tmp_path: Path
) -> None:
    """In the folders' group, where they let it write; the user is made by systemd-sysusers."""
    if os.geteuid() != 0:
        lacking("the right to give folders to another user: run the tests as root")
    folders = []
    for number, (uid, gid, mode) in enumerate(
        [(0, 2, 0o775), (1, 2, 0o775), (4_000_000, 2, 0o775)]
    ):
        folder = tmp_path / f"f{number}"
        folder.mkdir()
        os.chown(folder, uid, gid)
        folder.chmod(mode)
        folders.append(str(folder))
    for chosen in (folders[:1], folders[:2], folders[2:]):
        made = planned(system, *chosen)
        assert made.own_user
        text = drop_in(made)
        assert not re.search("^User=", text, re.MULTILINE)
        assert f"SupplementaryGroups={grp.getgrgid(2).gr_name}" in text
        assert any(file.path.startswith("/etc/sysusers.d/") for file in made.files)
    os.chown(folders[0], 0, 4_000_000)
    assert "SupplementaryGroups" not in drop_in(planned(system, folders[0]))
    service.install(system, planned(system, folders[1], folders[2]))
    outcome = service.install(system, planned(system, folders[1]))
    assert outcome.removed == ["/etc/sysusers.d/megamax-sync.conf"]


def drop_in(made: service.Plan) -> str:
    """The text of the drop-in."""
    (text,) = [
        f.content.decode() for f in made.files if f.path.endswith("sync.service.d/media.conf")
    ]
    return text


def test_names_reach_the_unit_as_they_are() -> None:
    """Spaces, quotes, per cents and backslashes are words of their own, and expand to nothing."""
    assert units.quoted('/a b/50%/"c"\\d') == '"/a b/50%%/\\"c\\"\\\\d"'
    assert 'RequiresMountsFor="/a b" "/c"' in units.media(
        ("/a b", "/c"), None, None, None, at_home=False
    )
    with pytest.raises(ConfigError, match="rename the folder"):
        units.folders_in(("/a:b", "/a\nb", "/\udcff", "/fine"))


def test_what_a_command_names_is_taken_as_it_is() -> None:
    """ExecStart expands variables in arguments, and takes the program's path as it stands."""
    assert units.command(("/a$b", "c$d", "50%")) == '"/a$b" "c$$d" "50%%"'


def test_any_name_that_systemd_takes_is_taken() -> None:
    """An ideographic space, which Japanese names have, is no control character."""
    folders = ("/srv/\u3000a", "/srv/\u00a0b", "/srv/\U0001f3ac")
    assert units.folders_in(folders) == folders


def test_what_the_settings_want_written_may_be_written(
    system: Places, videos: str, tmp_path: Path
) -> None:
    """Under ProtectSystem=strict all else is read-only; a folder that is not there is refused."""
    done = tmp_path / "done"
    written = {
        "MEGAMAX_AFTER_DONE": str(done),
        "MEGAMAX_SIDECAR_DIR": "/var/lib/megamax-sync/sidecars",
        "MEGAMAX_HTTP": "/run/megamax-sync",
    }

    def text() -> str:
        made = plan(
            system, (videos,), (None, None), "", PROGRAM, written=written, state_dir="/srv/q"
        )
        scan = [f.content for f in made.files if f.path.endswith("scan.service.d/media.conf")]
        assert scan == [drop_in(made).encode()]
        return drop_in(made)

    with pytest.raises(ConfigError, match=r"MEGAMAX_AFTER_DONE: .* make it first"):
        text()
    done.mkdir()
    assert f'ReadWritePaths="{videos}" "{done}" "-/srv/q"\n' in text()
    assert f'RequiresMountsFor="{videos}" "{done}"\n' in text()
    assert "RuntimeDirectory=megamax-sync\n" in units.system_unit("/x")
    # The end of a backfill is not to take the daemon's socket away.
    assert "RuntimeDirectory" not in units.scan_unit("/x")


def test_further_credentials_are_handed_on(system: Places, videos: str, tmp_path: Path) -> None:
    """Those that are set, and those that an earlier call has written."""
    for further in ({"megamax_http_token": "the-token"}, {}):
        made = plan(system, (videos,), ("login", "key"), "", PROGRAM, further=further)
        name = "/etc/megamax-sync/megamax_http_token"
        assert f"LoadCredential=megamax_http_token:{name}\n" in drop_in(made)
        assert "webhook" not in drop_in(made)
        assert "the-token" not in drop_in(made)
        service.install(system, made)
        assert Path(f"{system.root}{name}").read_text() == "the-token\n"


def test_what_lies_at_home_is_let_be_seen(system: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """The drop-in opens /home for reading where the videos lie there."""
    real = os.path.realpath
    moved: dict[str, str] = {"/tmp": "/home/anna/videos"}
    monkeypatch.setattr(os.path, "realpath", lambda path: real(moved.get(str(path), str(path))))
    assert "ProtectHome=read-only" in drop_in(planned(system, "/tmp"))
    assert "ProtectHome" not in drop_in(planned(system, "/var"))


def test_a_program_out_of_reach_is_refused(system: Places, tmp_path: Path, videos: str) -> None:
    """The service's user could not run it, and systemd would only say 203/EXEC."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    for mode in (0o700, 0o755):
        program.chmod(mode)
        tmp_path.chmod(0o700)
        with pytest.raises(ConfigError, match="cannot be run by the service's user"):
            plan(system, (videos,), (None, None), "", (str(program),))


def test_a_users_own_service_lies_in_their_folders(tmp_path: Path, videos: str) -> None:
    """Below XDG_CONFIG_HOME, else ~/.config; private, and without what only root can do."""
    places = Places.of_user({"XDG_CONFIG_HOME": str(tmp_path / "config")})
    outcome = service.install(places, planned(places, videos))
    assert f"{tmp_path}/config/systemd/user/megamax-sync.service" in outcome.written
    assert stat.S_IMODE(os.stat(tmp_path / "config/megamax-sync").st_mode) == 0o700
    assert service.listed(places) == sorted([*outcome.written])
    document = json.loads(Path(places.manifest).read_text())
    assert str(tmp_path / "config") in document["folders"]
    service.remove(places)
    assert not (tmp_path / "config").exists()
    assert Places.of_user({}).units.endswith("/.config/systemd/user")


def test_the_entry_point_of_the_image_is_plain_python() -> None:
    """It compiles for the oldest Python that may be the base, and is what the Dockerfile copies."""
    text = (ROOT / "deploy/docker/entrypoint.py").read_text()
    compile(text, "entrypoint.py", "exec")
    assert "deploy/docker/entrypoint.py" in (ROOT / "Dockerfile").read_text()
    assert "!deploy/docker/entrypoint.py" in (ROOT / ".dockerignore").read_text()
