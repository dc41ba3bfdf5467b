"""What the programs that are run for the user find in their environment."""

from __future__ import annotations

import subprocess
import sys

from megamax_sync.childenv import SECRET, child_environment
from megamax_sync.config.settings import Settings

KEY = "KeyThatNobodyKnows/+8"


def test_no_secret_reaches_a_child() -> None:
    """Neither by its own variable, nor its file's, nor by one that repeats it; nor any setting."""
    environ = {
        "PATH": "/usr/bin",
        "MEGAMAX_KEY": KEY,
        "megamax_login": "me@example.org",
        "MEGAMAX_KEY_FILE": "/run/secrets/key",
        "MEGAMAX_NOTIFY": "tgram://token/chat",
        "CREDENTIALS_DIRECTORY": "/run/credentials/x",
        "NOTIFY_SOCKET": "/run/systemd/notify",
        "OLD_COMMAND": f"curl -F key={KEY}",
        "MAILTO": "me@example.org",
        "MEGAMAX_WATCH": "/videos",
    }
    given = child_environment(environ, {"MEGAMAX_EVENT": "done"})
    assert given == {"PATH": "/usr/bin", "MEGAMAX_EVENT": "done"}


def test_a_child_sees_what_it_was_given() -> None:
    """In a real process: its own variables and the user's are there, the key is not."""
    environ = child_environment({"HOME": "/h", "MEGAMAX_KEY": KEY}, {"MEGAMAX_PATH": "/v/a.mp4"})
    seen = subprocess.run(
        [sys.executable, "-c", "import os; print(dict(os.environ))"],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert KEY not in seen
    assert "'MEGAMAX_PATH': '/v/a.mp4'" in seen


def test_an_empty_or_short_secret_takes_nothing_with_it() -> None:
    """A login of two letters stands in many values; those stay."""
    given = child_environment({"MEGAMAX_LOGIN": "us", "MEGAMAX_KEY": "", "HOME": "/usr/u"}, {})
    assert given == {"HOME": "/usr/u"}


def test_every_secret_setting_is_kept_back() -> None:
    """A setting that is a secret one day has to be named here."""
    secret = {
        f"MEGAMAX_{name.upper()}"
        for name, field in Settings.model_fields.items()
        if "Secret" in repr(field.annotation)
    }
    assert secret
    assert secret <= SECRET
