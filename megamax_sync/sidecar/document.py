"""What a sidecar says: the models are its shape, and the JSON Schema is made from them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Sequence
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic_core import PydanticSerializationError

from megamax_sync.api.models import DirectLink, MirrorGroup
from megamax_sync.clock import iso
from megamax_sync.job import Job

#: What is longer was not written by us, in bytes.
_LONGEST = 16 << 20
_SURROGATE = re.compile("[\ud800-\udfff]")

Moment = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
Url = Annotated[str, Field(pattern=r"^https?://")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Source(_Part):
    """The file that was uploaded. ``mtime_ns`` is text: 2^53 is the end of JSON's integers."""

    name: str
    size: int
    mtime_ns: str
    fingerprint: str | None


class Mirror(_Part):
    """One copy on another host."""

    driver: str
    iframe: Url | None
    link: Url | None
    uploaded_at: Moment | None
    checked_at: Moment | None


class Group(_Part):
    """The mirrors of one rendition."""

    title: str
    size: int | None
    mirrors: tuple[Mirror, ...]


class Direct(_Part):
    """Signed links to one rendition, good until ``expires_at``."""

    label: str
    size: int | None
    stream: Url | None
    download: Url | None
    expires_at: Moment | None


class Sidecar(_Part):
    """The whole document. Sizes are bytes, moments ISO 8601 in UTC."""

    schema_: Literal[1] = Field(alias="schema")
    service: str
    account: str
    hashid: str
    name: str
    status: str
    folder: int | None
    size: int
    poster: str | None
    source: Source
    uploaded_at: Moment | None
    converted_at: Moment | None
    updated_at: Moment
    mirrors: tuple[Group, ...]
    direct: tuple[Direct, ...]
    direct_error: str | None


_GROUPS = TypeAdapter(tuple[Group, ...])
_DIRECTS = TypeAdapter(tuple[Direct, ...])


def account_mark(login: str) -> str:
    """Shorten a login to a mark that tells accounts apart and leads nowhere back."""
    return hashlib.sha256(b"megamax-sync account\0" + login.encode("utf-8", "replace")).hexdigest()[
        :8
    ]


def mirrors_json(groups: Sequence[MirrorGroup]) -> str:
    """Render the service's mirrors in the sidecar's shape."""
    rows = [
        {
            "title": group.title,
            "size": group.size,
            "mirrors": [
                {
                    "driver": mirror.driver,
                    "iframe": _plain(mirror.iframe),
                    "link": _plain(mirror.link),
                    "uploaded_at": mirror.uploaded_at and iso(mirror.uploaded_at.timestamp()),
                    "checked_at": mirror.checked_at and iso(mirror.checked_at.timestamp()),
                }
                for mirror in group.mirrors
            ],
        }
        for group in groups
    ]
    return json.dumps(rows)


def direct_json(links: Sequence[DirectLink]) -> str:
    """Render the service's direct links in the sidecar's shape."""
    rows = [
        {
            "label": link.label,
            "size": link.size,
            "stream": _plain(link.stream),
            "download": _plain(link.download),
            "expires_at": link.expires_at and iso(link.expires_at.timestamp()),
        }
        for link in links
    ]
    return json.dumps(rows)


def _plain(link: str | None) -> str | None:
    """Write a link's scheme in small letters, as the schema wants it."""
    if link is None:
        return None
    scheme, colon, rest = link.partition(":")
    return scheme.lower() + colon + rest


def mirrors_of(mirrors: str | None) -> tuple[Group, ...]:
    """Return the mirrors of :attr:`Job.mirrors`."""
    return _GROUPS.validate_json(mirrors or "[]")


def parts_json(parts: Sequence[Group] | Sequence[Direct]) -> str:
    """Render a sidecar's own mirrors or direct links, as :attr:`Job.mirrors` holds them."""
    return json.dumps([part.model_dump() for part in parts])


def direct_of(links: str | None) -> tuple[Direct, ...]:
    """Return the direct links of :attr:`Job.direct`."""
    return _DIRECTS.validate_json(links or "[]")


def render(job: Job, *, service: str, account: str, now: float) -> Sidecar:
    """Describe a job that has a hashid. ``now`` is Unix time."""
    return Sidecar(
        schema=1,
        service=service,
        account=account,
        hashid=job.hashid or "",
        name=job.remote_name or os.fsdecode(job.name),
        status=job.remote_status or "",
        folder=job.folder,
        size=job.stamp.size if job.remote_size is None else job.remote_size,
        poster=job.poster,
        source=Source(
            name=os.fsdecode(job.name),
            size=job.stamp.size,
            mtime_ns=str(job.stamp.mtime_ns),
            fingerprint=job.fingerprint,
        ),
        uploaded_at=None if job.uploaded_at is None else iso(job.uploaded_at),
        converted_at=None if job.converted_at is None else iso(job.converted_at),
        updated_at=iso(now),
        mirrors=mirrors_of(job.mirrors),
        direct=direct_of(job.direct),
        direct_error=job.direct_error,
    )


def encode(sidecar: Sidecar) -> bytes:
    """Render as UTF-8 JSON. Bytes of a name that are no UTF-8 become ``\\udcXX`` escapes.

    Those are what Python's ``surrogateescape`` reads back without loss.
    """
    try:
        text = sidecar.model_dump_json(by_alias=True, indent=1)
    except PydanticSerializationError:
        # It takes no surrogates, and is twenty times as fast with all else.
        text = json.dumps(sidecar.model_dump(by_alias=True), ensure_ascii=False, indent=1)
        text = _SURROGATE.sub(lambda one: f"\\u{ord(one[0]):04x}", text)
    return f"{text}\n".encode()


def read(path: bytes) -> Sidecar | None:
    """Read a sidecar back; None where there is none, or none that is valid."""
    try:
        # What stands under that name may be anybody's: a pipe would not end, nor /dev/zero.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LONGEST:
                return None
            return Sidecar.model_validate(json.loads(file.read(_LONGEST)))
    except (OSError, ValueError, RecursionError):
        return None


def schema() -> dict[str, Any]:
    """Return the JSON Schema that every sidecar validates against."""
    text = (resources.files("megamax_sync") / "sidecar.schema.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def generate_schema() -> str:
    """Make the text of ``sidecar.schema.json`` from the models."""
    made = Sidecar.model_json_schema(by_alias=True, mode="serialization")
    made = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **made,
        "title": "megamax-sync sidecar",
    }
    return json.dumps(made, indent=2) + "\n"
