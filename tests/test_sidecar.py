"""The sidecar: its document, its place, and that nobody ever sees half of one."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lacking import lacking

from megamax_sync import sidecar
from megamax_sync.api.models import DirectLink, MirrorGroup
from megamax_sync.errors import SidecarUnwritable
from megamax_sync.job import SIDECAR_SUFFIX, FileStamp, Job, JobState
from megamax_sync.sidecar import Placement, placement, sidecar_name

JOB = Job(
    id=1,
    path=b"/v/a.mp4",
    root=b"/v",
    state=JobState.PROCESSING,
    ready=True,
    stamp=FileStamp(256365743, 1681528521000000000, 2, 3, 4),
    fingerprint="xxh3-128:00",
    folder=12,
    attempts=0,
    suspect_at=None,
    next_attempt_at=0.0,
    error=None,
    hashid="VKf",
    remote_status="converted",
    remote_name="MNCT EP 02 FHD",
    remote_size=5,
    poster="p.jpg",
    uploaded_at=1681528521.0,
    converted_at=1681530002.0,
    mirrors=None,
    direct=None,
    direct_error=None,
    check_at=None,
    checks=0,
    sidecar=None,
    sidecar_due=True,
    created_at=1.0,
    updated_at=2.0,
)


def job(path: bytes | str | Path = b"/v/a.mp4", root: bytes | str | None = b"/v") -> Job:
    """A job of this file."""
    return dataclasses.replace(
        JOB, path=os.fsencode(path), root=None if root is None else os.fsencode(root)
    )


def render(one: Job) -> sidecar.Sidecar:
    """Describe it as the tracker does."""
    return sidecar.render(one, service="https://api.megamax.me/api", account="5f1c09aa", now=9.0)


def validated(document: sidecar.Sidecar) -> dict[str, object]:
    """Check a sidecar against the published schema, and return it as others read it."""
    loaded: dict[str, object] = json.loads(sidecar.encode(document))
    jsonschema.Draft202012Validator(sidecar.schema()).validate(loaded)
    return loaded


def test_the_published_schema_is_the_models() -> None:
    """What stands in the package is what the models make, and is a valid schema."""
    assert json.loads(sidecar.generate_schema()) == sidecar.schema()
    jsonschema.Draft202012Validator.check_schema(sidecar.schema())
    assert set(sidecar.schema()["required"]) == set(sidecar.schema()["properties"])


def test_it_says_what_the_contract_shows(tmp_path: Path) -> None:
    """Links without a scheme get https, dates of both forms are ISO 8601 in UTC."""
    groups = [
        MirrorGroup.model_validate(
            {
                "title": "source",
                "size": "231966357",
                "mirrors": [
                    {
                        "driver": "ok",
                        "iframe": "//ok.ru/videoembed/5937251879654",
                        "link": None,
                        "uploaded_at": "2023-04-13 22:46:37",
                        "checked_at": None,
                    }
                ],
            }
        )
    ]
    links = [
        DirectLink.model_validate(
            {
                "label": "source",
                "size": 733297168,
                "stream": "HTTPS://cdn1.megamax.cloud/A.mp4?signature=8c",
                "download": None,
                "expires_at": "2023-04-19T03:15:06.669931Z",
            }
        )
    ]
    one = dataclasses.replace(
        JOB, mirrors=sidecar.mirrors_json(groups), direct=sidecar.direct_json(links)
    )
    document = render(one)
    assert validated(document) == {
        "schema": 1,
        "service": "https://api.megamax.me/api",
        "account": "5f1c09aa",
        "hashid": "VKf",
        "name": "MNCT EP 02 FHD",
        "status": "converted",
        "folder": 12,
        "size": 5,
        "poster": "p.jpg",
        "source": {
            "name": "a.mp4",
            "size": 256365743,
            "mtime_ns": "1681528521000000000",
            "fingerprint": "xxh3-128:00",
        },
        "uploaded_at": "2023-04-15T03:15:21Z",
        "converted_at": "2023-04-15T03:40:02Z",
        "updated_at": "1970-01-01T00:00:09Z",
        "mirrors": [
            {
                "title": "source",
                "size": 231966357,
                "mirrors": [
                    {
                        "driver": "ok",
                        "iframe": "https://ok.ru/videoembed/5937251879654",
                        "link": None,
                        "uploaded_at": "2023-04-13T22:46:37Z",
                        "checked_at": None,
                    }
                ],
            }
        ],
        "direct": [
            {
                "label": "source",
                "size": 733297168,
                "stream": "https://cdn1.megamax.cloud/A.mp4?signature=8c",
                "download": None,
                "expires_at": "2023-04-19T03:15:06Z",
            }
        ],
        "direct_error": None,
    }
    path = os.fsencode(tmp_path / "s.json")
    with open(path, "wb") as file:
        file.write(sidecar.encode(document))
    assert sidecar.read(path) == document


def test_before_anything_is_known_it_is_valid_too() -> None:
    """Nulls where the service has not spoken yet, the file's own name and size for its own."""
    bare = dataclasses.replace(
        JOB,
        hashid=None,
        remote_status=None,
        remote_name=None,
        remote_size=None,
        poster=None,
        uploaded_at=None,
        converted_at=None,
        fingerprint=None,
        folder=None,
        direct_error="no plan",
    )
    loaded = validated(render(bare))
    assert (loaded["name"], loaded["size"], loaded["direct"]) == ("a.mp4", 256365743, [])
    assert (loaded["uploaded_at"], loaded["direct_error"]) == (None, "no plan")


@given(
    name=st.binary(min_size=1, max_size=60),
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    moment=st.datetimes(timezones=st.just(UTC)),
    size=st.none() | st.integers(0, 2**63 - 1),
)
def test_whatever_the_service_says_validates_and_reads_back(
    name: bytes, text: str, moment: datetime, size: int | None
) -> None:
    """Any name, text, size and date that the models let through makes a valid sidecar."""
    link = f"https://a.example/{text}"
    group = {"title": text, "size": size, "mirrors": [{"iframe": link, "checked_at": moment}]}
    direct = {"label": text, "size": size, "stream": link, "expires_at": moment}
    one = dataclasses.replace(
        JOB,
        path=b"/v/" + name.replace(b"/", b"_"),
        remote_name=text,
        direct_error=text,
        mirrors=sidecar.mirrors_json([MirrorGroup.model_validate(group)]),
        direct=sidecar.direct_json([DirectLink.model_validate(direct)]),
        uploaded_at=moment.timestamp(),
    )
    document = render(one)
    loaded = validated(document)
    assert sidecar.Sidecar.model_validate(loaded) == document
    assert os.fsencode(document.source.name) == one.name
    # The quick way and the way that takes any name write the same.
    assert sidecar.encode(document) == encode_slowly(document)


def encode_slowly(document: sidecar.Sidecar) -> bytes:
    """What Python's own JSON makes of it, bytes that are no UTF-8 escaped."""
    text = json.dumps(document.model_dump(by_alias=True), ensure_ascii=False, indent=1)
    escaped = (f"\\u{ord(c):04x}" if "\ud800" <= c <= "\udfff" else c for c in text)
    return f"{''.join(escaped)}\n".encode()


def test_names_that_are_no_utf8_are_escaped() -> None:
    """The file is UTF-8 all the same, and no byte of the name is lost."""
    text = sidecar.encode(render(job(b"/v/\xff.mp4"))).decode()
    assert '"\\udcff.mp4"' in text
    assert os.fsencode(json.loads(text)["source"]["name"]) == b"\xff.mp4"


def test_the_mark_of_an_account_leads_nowhere_back() -> None:
    """Eight hex digits, the same for the same login, whatever it is made of."""
    assert sidecar.account_mark("a@example.com") == sidecar.account_mark("a@example.com")
    assert sidecar.account_mark("a@example.com") != sidecar.account_mark("b@example.com")
    assert len(sidecar.account_mark("\udcff")) == 8


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"schema": 2}',
        b"1" * 5000,
        b'{"hashid": "x"}',
        b'{"schema": 1, "mirrors": [[[]]]}',
    ],
)
def test_what_is_no_sidecar_is_none(tmp_path: Path, content: bytes) -> None:
    """Hostile, half and foreign files are nothing, and raise nothing."""
    path = tmp_path / "s"
    path.write_bytes(content)
    assert sidecar.read(os.fsencode(path)) is None


def test_a_sidecar_without_its_version_is_none(tmp_path: Path) -> None:
    """A document that does not say which schema it follows proves nothing."""
    loaded = validated(render(JOB))
    del loaded["schema"]
    path = tmp_path / "s"
    path.write_text(json.dumps(loaded))
    assert sidecar.read(os.fsencode(path)) is None


def test_what_is_no_file_is_none(tmp_path: Path) -> None:
    """A folder, a pipe, a device and a file far too long are not read, nor waited for."""
    os.mkfifo(tmp_path / "pipe")
    with open(tmp_path / "long", "wb") as file:
        file.truncate(1 << 30)
    for name in (".", "none", "pipe", "long", "/dev/zero"):
        assert sidecar.read(os.fsencode(tmp_path / name)) is None


def place(folder: str | None, roots: list[str], path: str, root: str | None) -> str:
    """Where the sidecar of this file goes."""
    put = Placement((folder and os.fsencode(folder)) or None, [os.fsencode(one) for one in roots])
    return os.fsdecode(put.path(job(path, root)))


def test_sidecars_stand_beside_the_video_by_default() -> None:
    """Under the video's own name."""
    assert place(None, ["/v"], "/v/s/a.mkv", "/v") == "/v/s/a.mkv.megamax.json"
    assert place(None, ["/v"], "/w/a.mkv", None) == "/w/a.mkv.megamax.json"


def test_a_sidecar_folder_mirrors_the_tree() -> None:
    """Plainly for one watched folder, below their names for several."""
    assert place("/s", ["/v"], "/v/x/a.mkv", "/v") == "/s/x/a.mkv.megamax.json"
    assert place("/s", ["/v/"], "/v/x/a.mkv", "/v/") == "/s/x/a.mkv.megamax.json"
    assert place("/s", ["/"], "/v/a.mkv", "/") == "/s/v/a.mkv.megamax.json"
    assert place("/s", ["/m/v", "/w"], "/m/v/x/a.mkv", "/m/v") == "/s/v/x/a.mkv.megamax.json"


@pytest.mark.parametrize("roots", [["/v"], ["/v", "/h"], ["/v", "/w/.elsewhere"]])
def test_what_is_in_no_watched_folder_has_a_place_of_its_own(roots: list[str]) -> None:
    """By its whole path, where nothing of a watched folder ever lies: no two share a sidecar."""
    assert place("/s", roots, "/h/a.mkv", None) == "/s/.elsewhere/h/a.mkv.megamax.json"
    assert place("/s", roots, "/old/x/a.mkv", "/old") == "/s/.elsewhere/old/x/a.mkv.megamax.json"
    files = [
        ("/h/a.mkv", None),
        ("/v/h/a.mkv", "/v"),
        ("/v/.elsewhere/h/a.mkv", "/v"),
        ("/w/.elsewhere/h/a.mkv", "/w/.elsewhere"),
        ("/old/h/a.mkv", "/old"),
        ("/v/old/h/a.mkv", "/v"),
    ]
    assert len({place("/s", roots, path, root) for path, root in files}) == len(files)


def test_equal_names_of_watched_folders_are_told_apart() -> None:
    """Two folders of one name, and the root itself, get marks of their own."""
    places = {place("/s", ["/a/v", "/b/v", "/c"], f"/{n}/v/x.mkv", f"/{n}/v") for n in "ab"}
    assert len(places) == 2
    assert all(one.startswith("/s/v~") for one in places)
    assert place("/s", ["/", "/c"], "/x.mkv", "/").startswith("/s/~")


def test_no_path_leads_out_of_the_sidecar_folder() -> None:
    """Dots in a path that was handed in are taken out before it is joined."""
    assert place("/s", ["/v"], "/a/../../../etc/x.mkv", None) == (
        "/s/.elsewhere/etc/x.mkv.megamax.json"
    )
    assert place("/s", ["/v"], "//x.mkv", None) == "/s/.elsewhere/x.mkv.megamax.json"


@pytest.mark.parametrize("char", ["a", "é", "漢", "🎬"])
def test_long_names_are_cut_between_characters(char: str) -> None:
    """At most 255 bytes, valid UTF-8, marked, and different for different names."""
    names = [
        (char * 300).encode()[: 255 - 4 * n - 4].decode(errors="ignore") + f"{n}" for n in (0, 1)
    ]
    cut = [sidecar_name(name.encode()) for name in names]
    assert cut[0] != cut[1]
    for one in cut:
        assert len(one) <= 255
        assert one.decode().endswith(SIDECAR_SUFFIX.decode())
    longest = b"a" * (255 - len(SIDECAR_SUFFIX))
    assert sidecar_name(longest) == longest + SIDECAR_SUFFIX
    assert len(sidecar_name(longest + b"b")) == 255
    assert sidecar_name(b"\x80" * 255).startswith(b"~")


def test_a_written_sidecar_has_the_mode_of_the_umask(tmp_path: Path) -> None:
    """Also where an earlier, killed writer left another mode, a link or a pipe behind."""
    put = Placement(None, [])
    one = job(tmp_path / "a.mp4", None)
    path = put.path(one)
    temporary = placement._temporary(path, b"new")
    victim = tmp_path / "victim"
    victim.write_text("whole")
    before = os.umask(0o027)
    try:
        leave: list[Callable[[], None]] = [
            lambda: os.mkfifo(temporary),
            lambda: os.symlink(victim, temporary),
            lambda: os.close(os.open(temporary, os.O_CREAT, 0o600)),
        ]
        for behind in leave:
            behind()
            assert put.write(one, render(one)) == path
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o640
            assert sorted(os.listdir(tmp_path)) == ["a.mp4.megamax.json", "victim"]
    finally:
        os.umask(before)
    assert victim.read_text() == "whole"


def test_a_reader_never_sees_half_a_sidecar(tmp_path: Path) -> None:
    """While it is replaced again and again, each reading is a whole one."""
    put = Placement(None, [])
    one = job(tmp_path / "a.mp4", None)
    path = put.write(one, render(one))
    stop, partial = threading.Event(), []

    def look() -> None:
        while not stop.is_set():
            if sidecar.read(path) is None:
                partial.append(True)

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(150):
        put.write(one, render(dataclasses.replace(one, poster="x" * number * 500)))
    stop.set()
    reader.join()
    assert partial == []


def test_what_can_be_written_is_found_out_without_a_trace(tmp_path: Path) -> None:
    """The check leaves nothing beside the video, and makes the sidecar folder."""
    Placement(None, []).check(job(tmp_path / "a.mp4", None))
    assert os.listdir(tmp_path) == []
    put = Placement(os.fsencode(tmp_path / "s"), [b"/v"])
    put.check(job(b"/v/x/a.mp4"))
    assert os.path.isdir(tmp_path / "s/x")


def test_what_cannot_be_written_is_said_with_the_remedy(tmp_path: Path) -> None:
    """A file in place of the folder, and a folder that is gone; the name is shown safely."""
    (tmp_path / "s").touch()
    with pytest.raises(SidecarUnwritable, match="MEGAMAX_SIDECAR_DIR"):
        Placement(os.fsencode(tmp_path / "s"), [b"/v"]).check(job(b"/v/x/a.mp4"))
    with pytest.raises(SidecarUnwritable, match=r"\\udcff"):
        Placement(None, []).check(job(os.fsencode(tmp_path) + b"/\xff/a.mp4", None))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        lacking("the right to mount a small tmpfs, which gets full: run the tests as root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_leaves_the_old_sidecar_whole(small_disk: Path) -> None:
    """ENOSPC comes through, nothing is left over, and the check does not blame the file."""
    put = Placement(None, [])
    one = job(small_disk / "a.mp4", None)
    path = put.write(one, render(one))
    with pytest.raises(OSError, match="No space"):
        put.write(one, render(dataclasses.replace(one, poster="x" * 100_000)))
    assert sidecar.read(path) == render(one)
    assert os.listdir(small_disk) == ["a.mp4.megamax.json"]
    for number in range(200):
        try:
            (small_disk / str(number)).write_bytes(b"x" * 4096)
        except OSError:
            break
    put.check(one)


def test_no_space_is_no_reason_to_fail_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk passes; the file is uploaded, and its sidecar follows."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(placement, "_open_anew", full)
    Placement(None, []).check(job(tmp_path / "a.mp4", None))


def test_a_read_only_folder_is_said_with_the_remedy(small_disk: Path) -> None:
    """Media that are mounted read-only need a sidecar folder elsewhere."""
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(SidecarUnwritable, match="Read-only file system"):
        Placement(None, []).check(job(small_disk / "a.mp4", None))


@pytest.mark.parametrize("what", ["folder", "pipe"])
def test_what_is_no_file_in_its_place_is_said_and_left_alone(tmp_path: Path, what: str) -> None:
    """Before the upload, and by the writing after it; a link there is replaced."""
    one, taken = job(tmp_path / "a.mp4", None), tmp_path / "a.mp4.megamax.json"
    taken.mkdir() if what == "folder" else os.mkfifo(taken)
    before = taken.lstat()
    with pytest.raises(SidecarUnwritable, match=r"a\.mp4\.megamax\.json .*move away"):
        Placement(None, []).check(one)
    with pytest.raises(OSError, match="directory" if what == "folder" else "no regular file"):
        Placement(None, []).write(one, render(one))
    assert (taken.lstat().st_ino, taken.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert os.listdir(tmp_path) == [taken.name]
    taken.rename(tmp_path / "elsewhere")
    taken.symlink_to("elsewhere")
    Placement(None, []).check(one)
    Placement(None, []).write(one, render(one))
    assert sidecar.read(os.fsencode(taken)) == render(one)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EROFS, "mount it writable, or set MEGAMAX_SIDECAR_DIR"),
        (errno.EACCES, "let this user write there, or set MEGAMAX_SIDECAR_DIR"),
        (errno.ENOSPC, "make room there"),
    ],
)
def test_each_failure_has_its_remedy(number: int, remedy: str) -> None:
    """What helps against a full disk does not help against a read-only one."""
    said = str(Placement(None, []).unwritable(job(b"/v/a.mp4"), OSError(number, "why")))
    assert said == f"the sidecar cannot be written in /v (why); {remedy}"
