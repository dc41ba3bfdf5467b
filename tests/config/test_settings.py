"""The settings as a whole, and the texts that are rendered from them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pydantic
import pytest

from megamax_sync.config import ConfigError, Settings, load, render
from megamax_sync.config.settings import SECTIONS, variable

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config.example.env"


def faults(**environ: str) -> tuple[str, ...]:
    """All faults of an environment."""
    with pytest.raises(ConfigError) as caught:
        load(environ=environ)
    return caught.value.faults


def test_the_example_file_and_the_reference_are_in_step() -> None:
    """Both are what the settings render; to change them, change the settings."""
    assert EXAMPLE.read_text() == render.env()
    assert (ROOT / "docs" / "configuration.md").read_text() == render.markdown()


def test_the_generator_prints_what_the_files_hold() -> None:
    """`python -m megamax_sync.config.render env` writes the example file."""
    command = [sys.executable, "-m", "megamax_sync.config.render", "env"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert printed == EXAMPLE.read_text()


def test_the_example_file_names_every_setting_and_no_other() -> None:
    """Each variable stands there once, with one for each secret's file."""
    named = re.findall(r"^#(MEGAMAX_\w+)=", EXAMPLE.read_text(), re.MULTILINE)
    secrets = ("LOGIN", "KEY", "HTTP_TOKEN", "WEBHOOK_SECRET")
    expected = [variable(name) for name in Settings.model_fields]
    expected += [f"MEGAMAX_{name}_FILE" for name in secrets]
    assert sorted(named) == sorted(expected)


@pytest.mark.parametrize("uncommented", [False, True])
def test_the_example_file_loads_and_changes_nothing(tmp_path: Path, uncommented: bool) -> None:
    """With every line in force the settings are the defaults still."""
    text = EXAMPLE.read_text()
    if uncommented:
        text = text.replace("\n#MEGAMAX_", "\nMEGAMAX_")
    config = tmp_path / "c.env"
    config.write_text(text)
    loaded = load(str(config), environ={})
    assert loaded.model_dump() == load(environ={}).model_dump()
    assert bool(loaded.sources) is uncommented


def test_every_setting_is_described() -> None:
    """No field without a text, no section without a field."""
    assert all(info.description for info in Settings.model_fields.values())
    assert set(Settings.model_fields) >= set(SECTIONS)


def test_settings_are_frozen() -> None:
    """Nobody changes the settings of a run under the others."""
    with pytest.raises(pydantic.ValidationError):
        load(environ={}).workers = 3


def test_an_unknown_override_is_a_fault() -> None:
    """A field that does not exist is not dropped in silence."""
    with pytest.raises(ConfigError, match="MEGAMAX_NONSENSE: Extra inputs"):
        load(overrides={"nonsense": 1}, environ={})


def test_no_repr_or_error_shows_a_secret() -> None:
    """Neither the settings' repr nor the chain of a ConfigError holds one."""
    environ = {
        "MEGAMAX_LOGIN": "hush-login",
        "MEGAMAX_KEY": "hush-key",
        "MEGAMAX_PROXY": "http://u:hush@h",
        "MEGAMAX_NOTIFY": "ntfy://hush",
        "MEGAMAX_WEBHOOK": "https://h/hush",
    }
    assert "hush" not in repr(load(environ=environ))
    with pytest.raises(ConfigError) as caught:
        load(environ={**environ, "MEGAMAX_WORKERS": "x"})
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


def test_secrets_lists_every_secret_text_once() -> None:
    """All that the log must mask, a proxy's password as it is and unquoted."""
    environ = {
        "MEGAMAX_LOGIN": "a", "MEGAMAX_KEY": "b", "MEGAMAX_HTTP_TOKEN": "b",
        "MEGAMAX_WEBHOOK": "https://h/", "MEGAMAX_WEBHOOK_SECRET": "c",
        "MEGAMAX_NOTIFY": "x://d y://e", "MEGAMAX_PROXY": "http://u:p%40@h",
    }  # fmt: skip
    found = load(environ=environ).secrets()
    assert found == ("a", "b", "c", "https://h/", "x://d", "y://e", "p%40", "p@")
    for harmless in ("env", "http://h:1"):
        assert load(environ={"MEGAMAX_PROXY": harmless}).secrets() == ()


def test_missing_credentials_are_named_with_a_remedy() -> None:
    """Each missing one has its own line; with both there, both are returned."""
    both = {"MEGAMAX_LOGIN": "a", "MEGAMAX_KEY": "b"}
    login, key = load(environ=both).require_credentials()
    assert (login.get_secret_value(), key.get_secret_value()) == ("a", "b")
    with pytest.raises(ConfigError) as caught:
        load(environ={}).require_credentials()
    assert [line.split(":")[0] for line in caught.value.faults] == ["MEGAMAX_LOGIN", "MEGAMAX_KEY"]
    with pytest.raises(ConfigError) as caught:
        load(environ={"MEGAMAX_LOGIN": "hush"}).require_credentials()
    (line,) = caught.value.faults
    assert "MEGAMAX_KEY_FILE" in line
    assert "hush" not in line


def test_a_missing_watch_is_named_with_a_remedy() -> None:
    """Without folders the fault says where to name them."""
    assert load(environ={"MEGAMAX_WATCH": "/a"}).require_watch() == ("/a",)
    with pytest.raises(ConfigError, match=r"MEGAMAX_WATCH: is not set; .*--watch"):
        load(environ={}).require_watch()


def test_the_longest_wait_is_not_shorter_than_the_first() -> None:
    """Whichever of the two was set; equal is fine."""
    (line,) = faults(MEGAMAX_RETRY_SECONDS="5000")
    assert line.startswith("MEGAMAX_RETRY_MAX_SECONDS: '3600' is less than MEGAMAX_RETRY_SECONDS")
    environ = {"MEGAMAX_RETRY_SECONDS": "9", "MEGAMAX_RETRY_MAX_SECONDS": "9"}
    assert load(environ=environ).retry_max_seconds == 9


def test_done_videos_do_not_move_into_a_watched_folder(tmp_path: Path) -> None:
    """Not through a symlink either; a folder of a similar name is another one."""
    watched, link = tmp_path / "in", tmp_path / "link"
    watched.mkdir()
    link.symlink_to(watched)
    for target in (watched, watched / "seen", link / "seen"):
        environ = {"MEGAMAX_WATCH": str(watched), "MEGAMAX_AFTER_DONE": f"move:{target}"}
        (line,) = faults(**environ)
        assert "is inside the watched folder" in line
    environ["MEGAMAX_AFTER_DONE"] = f"move:{watched}-seen"
    assert load(environ=environ).after_done.target == f"{watched}-seen"


def test_a_webhook_secret_needs_a_webhook() -> None:
    """A secret that signs nothing is told; a wrong webhook is told once, not twice."""
    (line,) = faults(MEGAMAX_WEBHOOK_SECRET="hush")
    assert "set MEGAMAX_WEBHOOK too" in line
    assert "hush" not in line
    (line,) = faults(MEGAMAX_WEBHOOK_SECRET="hush", MEGAMAX_WEBHOOK="nonsense")
    assert line.startswith("MEGAMAX_WEBHOOK: ")


def test_importing_the_settings_leaves_the_costly_parts_out() -> None:
    """Patterns are compiled only where a setting asks for them, and nothing of the network."""
    code = (
        "import sys, megamax_sync.config as c; c.load(environ={}); "
        "print([m for m in ('pathspec', 'httpx') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "[]"
