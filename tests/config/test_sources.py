"""Where values come from, and which one wins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from megamax_sync.config import ConfigError, envfile, load, sources


@pytest.fixture(autouse=True)
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of /run/secrets."""
    folder = tmp_path / "docker"
    folder.mkdir()
    monkeypatch.setattr(sources, "DOCKER_SECRETS", str(folder))
    return folder


def faults(config: Path | str | None = None, **environ: str) -> tuple[str, ...]:
    """All faults of an environment and a file."""
    with pytest.raises(ConfigError) as caught:
        load(None if config is None else str(config), environ=environ)
    return caught.value.faults


def test_the_order_of_sources(tmp_path: Path, docker: Path) -> None:
    """Command line, environment, file, systemd's credentials, Docker's, in this order."""
    config, credentials, file = tmp_path / "c.env", tmp_path / "cred", tmp_path / "file"
    credentials.mkdir()
    file.write_text("from-file\n")
    config.write_text("MEGAMAX_KEY=from-config\n")
    (credentials / "megamax_key").write_text("from-systemd\n")
    (docker / "megamax_key").write_text("from-docker\n")
    environ = {
        "MEGAMAX_KEY": "from-env",
        "MEGAMAX_KEY_FILE": str(file),
        "CREDENTIALS_DIRECTORY": str(credentials),
    }
    seen = []
    overrides: dict[str, object] = {"key": "from-line"}
    for step in range(7):
        settings = load(str(config), overrides, environ)
        seen.append((settings.key and settings.key.get_secret_value(), settings.sources.get("key")))
        if step == 0:
            overrides = {"key": None, "login": "", "watch": []}
        elif step in {1, 2}:
            del environ[("MEGAMAX_KEY", "MEGAMAX_KEY_FILE")[step - 1]]
        elif step == 3:
            config.write_text("")
        elif step == 4:
            (credentials / "megamax_key").unlink()
        else:
            (docker / "megamax_key").unlink(missing_ok=True)
    assert seen == [
        ("from-line", "command line"),
        ("from-env", "environment"),
        ("from-file", "secret file"),
        ("from-config", f"config file {config}"),
        ("from-systemd", "credentials folder"),
        ("from-docker", "credentials folder"),
        (None, None),
    ]


@pytest.mark.parametrize("name", ["login", "key", "http_token", "webhook_secret"])
def test_every_secret_can_be_a_file(tmp_path: Path, docker: Path, name: str) -> None:
    """Each of the four is read from _FILE and from the credentials folder, stripped."""
    environ = {"MEGAMAX_WEBHOOK": "https://h/"}
    (docker / f"megamax_{name}").write_text(" docker \n")
    assert getattr(load(environ=environ), name).get_secret_value() == "docker"
    (tmp_path / "s").write_text("\t file \n\n")
    environ[f"MEGAMAX_{name.upper()}_FILE"] = str(tmp_path / "s")
    assert getattr(load(environ=environ), name).get_secret_value() == "file"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"sec\0ret", "holds control characters"),
        (b"sec\nret", "holds control characters"),
        (b"sec\xff", "is not UTF-8"),
        (b"x" * 70_000, "is far too large"),
        (None, "cannot be read (No such file or directory)"),
    ],
)
def test_a_broken_secret_file_is_named(
    tmp_path: Path, content: bytes | None, expected: str
) -> None:
    """The fault names variable and file, shows nothing of it, and no weaker source steps in."""
    file = tmp_path / "secret-file"
    if content is not None:
        file.write_bytes(content)
    (line,) = faults(MEGAMAX_KEY_FILE=str(file))
    assert line.startswith(f"MEGAMAX_KEY_FILE: {str(file)!r} {expected}")
    assert "sec\\" not in line


def test_a_broken_credential_is_named(docker: Path) -> None:
    """A credential that is there but unusable is a fault, not an absence."""
    (docker / "megamax_key").mkdir()
    (docker / "megamax_login").symlink_to("nowhere")
    lines = faults()
    assert [line.split(" ")[0] for line in lines] == ["MEGAMAX_LOGIN:", "MEGAMAX_KEY:"]
    assert "Is a directory" in lines[1]


def test_a_stronger_value_spares_the_weaker_file() -> None:
    """A file that would lose anyway is not read."""
    settings = load(environ={"MEGAMAX_KEY": "inline", "MEGAMAX_KEY_FILE": "/nowhere"})
    assert settings.key is not None


def test_empty_means_unset(tmp_path: Path) -> None:
    """An empty variable lets the next source speak."""
    config = tmp_path / "c.env"
    config.write_text("MEGAMAX_WORKERS=7\nMEGAMAX_FOLDER=\nMEGAMAX_KEY_FILE=''\n")
    settings = load(str(config), environ={"MEGAMAX_WORKERS": " ", "MEGAMAX_KEY_FILE": ""})
    assert (settings.workers, settings.folder, settings.key) == (7, None, None)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("MEGAMAX_WORKER", "MEGAMAX_WORKERS"),
        ("MEGAMAX_KEYFILE", "MEGAMAX_KEY_FILE"),
        ("megamax_workers", "MEGAMAX_WORKERS"),
        ("MEGAMAX_SANDBOX", ""),
        ("MEGAMAX_", ""),
    ],
)
def test_an_unknown_name_suggests_the_nearest(tmp_path: Path, name: str, suggestion: str) -> None:
    """In the environment and in the file; the value, perhaps a key, is not shown."""
    (line,) = faults(**{name: "hush"})
    assert line.startswith(f"{name}: is no setting; did you mean MEGAMAX_{suggestion[8:]}")
    config = tmp_path / "c.env"
    config.write_text(f"{name}=hush\n")
    (line,) = faults(config)
    assert str(config) in line
    assert "hush" not in line


def test_hook_variables_and_foreign_names_are_ignored(tmp_path: Path) -> None:
    """A hook may run megamax-sync, and an env file may set other things too."""
    config = tmp_path / "c.env"
    config.write_text("TZ=UTC\nMEGAMAX_HASHID=x\n")
    names = ("EVENT", "PATH", "HASHID", "SIDECAR", "ERROR")
    assert load(str(config), environ={f"MEGAMAX_{name}": "x" for name in names}).sources == {}


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """Unknown names, unreadable lines, lost files and wrong values come together."""
    config = tmp_path / "c.env"
    config.write_text("nonsense\nMEGAMAX_POLL_SECONDS=x\n")
    lines = faults(
        config,
        MEGAMAX_WORKERS="0",
        MEGAMAX_FOLDER="x",
        MEGAMAX_WATHC="/x",
        MEGAMAX_LOGIN_FILE="/nowhere",
    )
    assert [line.split(":")[0] for line in lines] == [
        "MEGAMAX_WATHC", "MEGAMAX_LOGIN_FILE", "--config",
        "MEGAMAX_FOLDER", "MEGAMAX_WORKERS", "MEGAMAX_POLL_SECONDS",
    ]  # fmt: skip
    assert lines[-1].endswith(f"(from the config file {config})")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("MEGAMAX_WATCH=/a b#c", "/a b#c"),
        ("  export MEGAMAX_WATCH = /a  ", "/a"),
        ("MEGAMAX_WATCH='/a \"$b\\n'", '/a "$b\\n'),
        ('MEGAMAX_WATCH="/a \\"\\$b\\\\ \\n"', '/a "$b\\ \\n'),
        ("\ufeffMEGAMAX_WATCH=/a\r", "/a"),
        ("MEGAMAX_WATCH=/b\nMEGAMAX_WATCH=/a", "/a"),
        ("# x\n; y\n\nMEGAMAX_WATCH=/$HOME/${x}", "/$HOME/${x}"),
        ("MEGAMAX_WATCH=/a\x0cb\x85c", "/a\x0cb\x85c"),
    ],
)
def test_lines_of_an_env_file(tmp_path: Path, line: str, expected: str) -> None:
    """Comments, quotes, export and space are as in systemd's and Docker's files."""
    config = tmp_path / "c.env"
    config.write_text(line, newline="")
    assert load(str(config), environ={}).watch == (expected,)


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "a#b",
        " a ",
        '"a" b',
        "'a' b",
        "a\\",
        "a\\b",
        "'$`\"\\ ",
        "'",
        "a 'b' \"c\"",
        "a=b",
        "\udcff",
    ],
)
def test_what_is_written_into_an_env_file_is_read_again(text: str) -> None:
    """Whatever it holds; but nothing goes on over the end of its line."""
    assert envfile.parse(f"A={envfile.written(text)}\nB=1\n") == ({"A": text, "B": "1"}, [])
    with pytest.raises(ValueError, match="end of its line"):
        envfile.written(f"{text}\n{text}")


def test_an_env_file_keeps_bytes_that_are_no_utf8(tmp_path: Path) -> None:
    """Paths in the file are bytes, as in the environment."""
    config = tmp_path / "c.env"
    config.write_bytes(b"MEGAMAX_WATCH=/m/\xff\n")
    assert os.fsencode(load(str(config), environ={}).watch[0]) == b"/m/\xff"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("hush", "is no assignment"),
        ("my hush=x", "is no assignment"),
        ("=hush", "is no assignment"),
        ("MEGAMAX_KEY='hush", "has a quote that does not end"),
        ('MEGAMAX_KEY="hush', "has a quote that does not end"),
        ("MEGAMAX_KEY='hush' # x", "has a quote that does not end"),
        ("MEGAMAX_KEY=hush\\", "ends with a backslash"),
    ],
)
def test_an_unreadable_line_is_named_but_not_shown(tmp_path: Path, line: str, problem: str) -> None:
    """The fault has file and line number; the line may hold a secret."""
    config = tmp_path / "c.env"
    config.write_text(f"# fine\n{line}\n")
    (told,) = faults(config)
    assert told.startswith(f"--config: {str(config)!r} line 2 {problem}")
    assert "hush" not in told


@pytest.mark.parametrize("name", ["missing.env", "", "a\0b"])
def test_a_config_file_that_cannot_be_read_is_a_fault(tmp_path: Path, name: str) -> None:
    """A missing file, a folder, and what is no path at all."""
    (line,) = faults(f"{tmp_path}/{name}")
    assert line.startswith("--config: ")
    assert "cannot be read" in line


def test_a_config_file_without_end_is_a_fault() -> None:
    """A device named by mistake does not fill the memory."""
    (line,) = faults("/dev/zero")
    assert "is far too large" in line


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "XDG_STATE_HOME": "/x"}, "/var/lib/a"),
        ({"XDG_STATE_HOME": "/x"}, "/x/megamax-sync"),
        ({"XDG_STATE_HOME": "relative"}, "/home/me/.local/state/megamax-sync"),
        ({}, "/home/me/.local/state/megamax-sync"),
        ({"MEGAMAX_STATE_DIR": "~/s", "STATE_DIRECTORY": "/var/lib/a"}, "/home/me/s"),
    ],
)
def test_the_default_state_folder(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], expected: str
) -> None:
    """systemd's, else XDG's unless it is relative, else the home folder's."""
    monkeypatch.setenv("HOME", "/home/me")
    assert load(environ=environ).state_dir == expected
