"""What each variable accepts, and what it says about the rest."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import certifi
import pytest
from pydantic import SecretStr

from megamax_sync.config import AfterDone, ConfigError, HttpAddress, load, read_timetable


def value(name: str, text: object) -> Any:
    """The setting that one variable makes."""
    return getattr(load(environ={f"MEGAMAX_{name.upper()}": str(text)}), name)


def fault(name: str, text: str, **others: str) -> str:
    """The one fault that one variable's text makes."""
    with pytest.raises(ConfigError) as caught:
        load(environ={f"MEGAMAX_{name.upper()}": text, **others})
    (line,) = caught.value.faults
    assert "\n" not in line
    assert ": " in line
    assert "; " in line
    return line


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("workers", "32", 32),
        ("workers", " 3 ", 3),
        ("max_attempts", "1", 1),
        ("folder", "12", 12),
        ("min_size", "10M", 10 * 1024**2),
        ("min_size", "1.5k", 1536),
        ("min_size", "2GiB", 2 * 1024**3),
        ("min_size", "1TB", 1024**4),
        ("min_size", "512B", 512),
        ("min_size", "0", 0),
        ("min_size", "9007199254740993", 9007199254740993),
        ("min_rate", "0", 0),
        ("settle_seconds", "0.5", 0.5),
        ("settle_seconds", "0", 0.0),
        ("rescan_seconds", "0.0", 0.0),
        ("timeout_seconds", ".5", 0.5),
        ("api_rate", "0", 0.0),
        ("allow_sparse", "TRUE", True),
        ("upload_verify_tls", "no", False),
        ("observer", "Polling", "polling"),
        ("log_level", "DEBUG", "debug"),
        ("extensions", "MKV, .mp4,,", frozenset({"mkv", "mp4"})),
        ("exclude", "sample*, !keep/ ,**/extras/", ("sample*", "!keep/", "**/extras/")),
        ("folders", "anime=12, tv//4k/=15,a=b=3", (("anime", 12), ("tv/4k", 15), ("a=b", 3))),
        ("api_url", "https://x.example/api/", "https://x.example/api"),
        ("api_url", "http://127.0.0.2:81", "http://127.0.0.2:81"),
        ("api_url", "http://localhost:81/api", "http://localhost:81/api"),
        ("api_url", "http://[::1]:81/", "http://[::1]:81"),
        ("after_done", "delete", AfterDone("delete")),
        ("after_done", "move:/seen/", AfterDone("move", "/seen")),
        ("on_done", "/bin/x 'a b' $c", ("/bin/x", "a b", "$c")),
        ("http", "127.0.0.1:8765", HttpAddress("127.0.0.1", 8765)),
        ("http", "[::]:8765", HttpAddress("::", 8765)),
        ("http", "localhost:0", HttpAddress("localhost", 0)),
        ("http", "unix:/run/x.sock", HttpAddress(path="/run/x.sock")),
        ("http", "OFF", None),
        ("http_hosts", "NAS.lan,nas.lan,[::2]", ("nas.lan", "[::2]")),
        ("proxy", "ENV", SecretStr("env")),
        ("proxy", "socks5h://u:p@h:1", SecretStr("socks5h://u:p@h:1")),
        ("webhook", "http://h/x?y=z", SecretStr("http://h/x?y=z")),
        ("notify", "ntfy://t  mailto://a:b@c", (SecretStr("ntfy://t"), SecretStr("mailto://a:b@c"))),
        ("state_dir", "/var/../srv/s", "/srv/s"),
        ("sidecar_dir", "/a/b/", "/a/b"),
        ("login", " a@b ", SecretStr("a@b")),
    ],
)  # fmt: skip
def test_a_good_value_is_understood(name: str, text: str, expected: object) -> None:
    """Each form takes the spellings that the reference promises."""
    assert value(name, text) == expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("workers", "0", "'0' is not between 1 and 32; set a number of uploads at a time in that"),
        ("workers", "33", "is not between 1 and 32"),
        ("workers", "2.5", "is not a whole number"),
        ("workers", "1_0", "is not a whole number"),
        ("workers", "9" * 5000, "is not a whole number"),
        ("folder", "0", "is not between 1 and"),
        ("max_attempts", "-1", "is not between 1 and 1000"),
        ("min_size", "-1", "is not a size"),
        ("min_size", "10X", "is not a size"),
        ("min_size", "M", "is not a size"),
        ("min_size", "9000000000T", "is not a size"),
        ("min_size", "9" * 4000, "is not a size"),
        ("settle_seconds", "5s", "is not a plain number"),
        ("settle_seconds", "nan", "is not a plain number"),
        ("settle_seconds", "inf", "is not a plain number"),
        ("settle_seconds", "1e3", "is not a plain number"),
        ("settle_seconds", "-1", "is not between 0.1 and 86400"),
        ("retry_seconds", "0", "is not between 0.01 and 86400"),
        ("timeout_seconds", "9" * 400, "is not between 0.1 and 3600"),
        ("allow_sparse", "maybe", "is neither true nor false; set true or false"),
        ("observer", "kqueue", "is not one of auto, inotify, polling"),
        ("log_level", "loud", "set debug, info, warning or error"),
        ("extensions", "*.mp4", "has '*.mp4', which is no extension"),
        ("extensions", "mp4,.", "has '', which is no extension"),
        ("extensions", ",", "names no extension"),
        ("exclude", "ok,[z-a]", "has '[z-a]', which is no pattern"),
        ("exclude", "!", "has '!', which is no pattern"),
        ("exclude", "# comment", "which is no pattern"),
        ("watch", "::", "names no folder"),
        ("folders", "anime", "has 'anime', which is no SUBFOLDER=ID"),
        ("folders", "anime=x", "which is no SUBFOLDER=ID"),
        ("folders", "=1", "which is no SUBFOLDER=ID"),
        ("folders", "/srv/anime=1", "which is not below a watched folder"),
        ("folders", "../x=1", "which is not below a watched folder"),
        ("folders", "a=0", "which is no folder ID"),
        ("folders", "a=1,a/=2", "gives 'a' two folder IDs"),
        ("api_url", "x.example/api", "is no web address"),
        ("api_url", "ftp://x.example", "is no web address"),
        ("api_url", "https://", "is no web address"),
        ("api_url", "https://x:99999", "is no web address"),
        ("api_url", "https://x/\ta", "is no web address"),
        ("api_url", "http://x.example/api", "would send login and key in the clear"),
        ("api_url", "http://8.8.8.8/api", "would send login and key in the clear"),
        ("after_done", "shred", "is not keep, delete or move:/folder"),
        ("after_done", "move:", "is not keep, delete or move:/folder"),
        ("on_done", "echo 'x", "has a quote that is not closed"),
        ("on_failed", "''", "names no command"),
        ("http", "8765", "is no address to listen on"),
        ("http", ":8765", "is no address to listen on"),
        ("http", "h:x", "is no address to listen on"),
        ("http", "h:65536", "has no valid port"),
        ("http", "[::g]:1", "is no address to listen on"),
        ("http", "[:1:2:]:1", "holds no IPv6 address"),
        ("http", "unix:", "names no socket"),
        ("http_hosts", "http://x", "which is no host name"),
        ("proxy", "ftp://x", "'ftp://x' is no proxy"),
        ("bwlimit", "fast", "has 'fast', which is no rate"),
        ("bwlimit", "8,2M", "has '8,2M', which is no TIME,RATE"),
        ("bwlimit", "24:00,2M", "which is no time of day"),
        ("bwlimit", "08:60,2M", "which is no time of day"),
        ("bwlimit", "Foo-08:00,2M", "which names no weekday"),
        ("bwlimit", "08:00,2M 8:00,off", "names the same time twice"),
        ("bwlimit", "08:00,-2M", "has '-2M', which is no rate"),
        ("bwlimit", "08:00", "has '08:00', a time without a rate"),
        ("bwlimit", "12:00,08:00", "has '08:00', a time without a rate"),
        ("bwlimit", "10M:fast", "has 'fast', which is no rate"),
        ("bwlimit", "10M:1M:1M", "has '1M:1M', which is no rate"),
        ("bwlimit", ":1M", "has '', which is no rate"),
        ("bwlimit", ";", "is empty"),
    ],
)  # fmt: skip
def test_a_wrong_value_names_variable_value_and_remedy(name: str, text: str, expected: str) -> None:
    """Each fault is one line: the variable, what is wrong with its value, and what to do."""
    line = fault(name, text)
    assert line.startswith(f"MEGAMAX_{name.upper()}: ")
    assert expected in line
    assert len(line) < 300


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("login", "se\x1bcret"),
        ("key", "sec\nret"),
        ("key", "secret\udcff"),
        ("http_token", "secret\x9b"),
        ("api_url", "https://user:secret@x.example"),
        ("api_url", "https://x.example/?key=secret"),
        ("api_url", "ftp://user:secret@x.example"),
        ("proxy", "ftp://user:secret@x"),
        ("webhook", "ftp://hooks.example/secret"),
        ("notify", "ntfy://fine secret"),
    ],
)
def test_a_fault_never_shows_a_secret(name: str, text: str) -> None:
    """Values that are, or may hold, a secret are left out of the fault."""
    line = fault(name, text)
    assert "secret" not in line
    assert "ret" not in line.replace("retry", "")


def test_paths_keep_bytes_that_are_no_utf8() -> None:
    """A path comes back out of os.fsencode as it went in."""
    found = value("watch", os.fsdecode(b"/m/\xff:/n"))
    assert [os.fsencode(path) for path in found] == [b"/m/\xff", b"/n"]


def test_watched_folders_are_made_absolute_and_unique(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative folders and ~ are resolved, doubles go, symlinks stay."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    found = value("watch", "link:real:~/in::real/:./real")
    assert found == (f"{tmp_path}/link", f"{tmp_path}/real", "/home/me/in")


def test_a_native_list_of_folders_may_hold_colons() -> None:
    """What --watch gives is not split, whether text, bytes or a path object."""
    settings = load(overrides={"watch": ["/a:b", b"/c\xff", Path("/d")]}, environ={})
    assert settings.watch == ("/a:b", "/c\udcff", "/d")


def test_native_values_are_accepted() -> None:
    """The command line may hand over numbers, commands and secrets as they are."""
    given = {"workers": 4, "on_done": ["/bin/x", "y"], "key": SecretStr("k1"), "exclude": ("*.x",)}
    settings = load(overrides=given, environ={})
    assert (settings.workers, settings.on_done, settings.exclude) == (4, ("/bin/x", "y"), ("*.x",))
    assert settings.key == SecretStr("k1")


def test_a_nul_byte_in_a_path_is_a_fault() -> None:
    """No path holds NUL, wherever it came from."""
    with pytest.raises(ConfigError, match="holds a NUL byte"):
        load(overrides={"watch": ["/a\0b"]}, environ={})


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "cannot be read (No such file"), ("no certificate", "holds no certificates")],
)
def test_a_ca_file_is_tried_at_once(tmp_path: Path, content: str | None, expected: str) -> None:
    """A missing bundle, or one without certificates, is told at start."""
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    assert expected in fault("ca_file", str(bundle))


def test_a_real_ca_bundle_is_taken() -> None:
    """A PEM file passes, by its absolute path."""
    assert value("ca_file", certifi.where()) == certifi.where()


MONDAY, FRIDAY, SUNDAY = (datetime(2024, 1, day) for day in (1, 5, 7))  # noqa: DTZ001 - a timetable goes by local time, which has no zone here


@pytest.mark.parametrize(
    ("text", "moment", "expected"),
    [
        ("10M", MONDAY, 10 * 1024**2),
        ("10Mi", MONDAY, 10 * 1024**2),
        ("1P", MONDAY, 1024**5),
        ("10M:100k", MONDAY, 10 * 1024**2),
        ("off:1M", MONDAY, None),
        ("1M:off", MONDAY, 1024**2),
        ("00:00,10M:1M 12:00,off", MONDAY, 10 * 1024**2),
        ("off", MONDAY, None),
        ("0", MONDAY, None),
        ("512", MONDAY, 512 * 1024),
        ("512B", MONDAY, 512),
        ("08:00,2M 23:00,off", MONDAY.replace(hour=7, minute=59), None),
        ("08:00,2M 23:00,off", MONDAY.replace(hour=8), 2 * 1024**2),
        ("08:00,2M;23:00,off", FRIDAY.replace(hour=22, minute=59), 2 * 1024**2),
        ("23:00,off 08:00,2M", SUNDAY.replace(hour=23), None),
        ("8:00,1k", SUNDAY, 1024),
        ("Mon-00:00,512 Fri-23:59,10M", MONDAY, 512 * 1024),
        ("Mon-00:00,512 Fri-23:59,10M", FRIDAY.replace(hour=23, minute=58), 512 * 1024),
        ("Mon-00:00,512 Fri-23:59,10M", FRIDAY.replace(hour=23, minute=59), 10 * 1024**2),
        ("Mon-00:00,512 Fri-23:59,10M", SUNDAY, 10 * 1024**2),
        ("wednesday-10:00,1M Sat-00:00,off", MONDAY, None),
    ],
)
def test_a_timetable_says_the_limit_at_a_time(
    text: str, moment: datetime, expected: float | None
) -> None:
    """The latest slot that has begun holds, also over midnight and the week's end."""
    assert read_timetable(text).at(moment) == expected
