"""What the service may send, and what becomes of it."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

import megamax_sync.api
from megamax_sync.api.models import Mirror, MirrorGroup, RemoteFile, UploadedFile


def file(**fields: Any) -> RemoteFile:
    return RemoteFile.model_validate({"hashid": "x", **fields})


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2023-04-15T03:15:21.000000Z", datetime(2023, 4, 15, 3, 15, 21, tzinfo=UTC)),
        ("2023-04-13 22:46:37", datetime(2023, 4, 13, 22, 46, 37, tzinfo=UTC)),
        ("2023-04-13T22:46:37+02:00", datetime(2023, 4, 13, 20, 46, 37, tzinfo=UTC)),
        (datetime(2023, 1, 1, tzinfo=UTC), datetime(2023, 1, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", None),
        ("0000-00-00 00:00:00", None),
        ("yesterday", None),
        (1681528521, None),
        (None, None),
    ],
)
def test_dates(value: object, moment: datetime | None) -> None:
    """Both date forms are UTC, offsets are taken out, and what is no date is None."""
    assert file(created_at=value).created_at == moment


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (5, 5),
        ("5", 5),
        (" 5.9 ", 5),
        (5.0, 5),
        (0, 0),
        (2**63 - 1, 2**63 - 1),
        (2**63, None),
        (-1, None),
        (True, None),
        (float("inf"), None),
        (float("nan"), None),
        ("1e400", None),
        ("9" * 5000, None),
        ("1_0", None),
        ([], None),
        (None, None),
    ],
)
def test_numbers(value: object, number: int | None) -> None:
    """Numbers may be strings; what no file can have is None."""
    assert file(size=value).size == number


@pytest.mark.parametrize(
    ("value", "link"),
    [
        ("//ok.ru/1", "https://ok.ru/1"),
        (" http://a/b\n", "http://a/b"),
        ("HTTPS://a/b", "HTTPS://a/b"),
        ("java\nscript:alert(1)", None),
        ("data:text/html,x", None),
        ("https://", None),
        ("//[", None),
        ("https://a/" + "x" * 9000, None),
        ("a/b", None),
        (5, None),
    ],
)
def test_links(value: object, link: str | None) -> None:
    """Links are absolute http(s) URLs or None."""
    assert Mirror.model_validate({"link": value}).link == link


@pytest.mark.parametrize("hashid", [None, "", "  ", "..", [], True, "x" * 257, -1])
def test_hashid_is_required(hashid: object) -> None:
    """Without a hashid there is no file, and the error does not print what came."""
    with pytest.raises(ValidationError):
        RemoteFile.model_validate({"hashid": hashid})
    with pytest.raises(ValidationError):
        UploadedFile.model_validate({})


def test_texts() -> None:
    """Texts lose what terminals obey and UTF-8 cannot hold; unknown statuses stay."""
    odd = file(
        hashid=12, name="a\x1b[31m\ud800\ud83d\ude00", status=" Dreaming ", future={}, type=[]
    )
    assert (odd.hashid, odd.name, odd.status) == ("12", "a[31m\ufffd😀", "Dreaming")
    assert odd.type is None
    assert "future" not in odd.model_dump()
    assert file(status=None, name=None).status == ""


def test_uploaded() -> None:
    """An upload's status is onqueue unless said; both spellings of the type are read."""
    assert UploadedFile.model_validate({"hashid": "x", "status": None}).status == "onqueue"
    assert UploadedFile.model_validate({"hashid": "x", "mimeType": "a/b"}).mime_type == "a/b"
    assert UploadedFile.model_validate({"hashid": "x", "mime_type": "a/b"}).mime_type == "a/b"
    assert UploadedFile(hashid="x", mime_type="a/b").mime_type == "a/b"


@pytest.mark.parametrize(
    ("value", "drivers"),
    [
        (None, []),
        ("x", []),
        ([{"driver": "ok"}, 5, None], ["ok"]),
        ({"0": {"driver": "a"}, "3": {"driver": None}}, ["a", ""]),
        ((Mirror(driver="b"),), ["b"]),
    ],
)
def test_mirrors(value: object, drivers: list[str]) -> None:
    """The mirrors of a group may be missing, partly broken, or an object."""
    group = MirrorGroup.model_validate({"mirrors": value})
    assert [mirror.driver for mirror in group.mirrors] == drivers
    assert group.title == ""


def test_models_are_cheap() -> None:
    """The models and the pace come without httpx, and each public name is found."""
    code = (
        "import sys; from megamax_sync.api import models, Gate, Pacer, RetryPolicy;"
        " sys.exit('httpx' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    for name in megamax_sync.api.__all__:
        assert getattr(megamax_sync.api, name).__name__ == name
    with pytest.raises(AttributeError):
        megamax_sync.api.__getattr__("nothing")
