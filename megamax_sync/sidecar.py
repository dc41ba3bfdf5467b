"""The sidecar: a video's links, in a JSON file beside it (CONTRACT section 4).

The file is replaced atomically, so a reader sees the old one or the new one. The models below are
its shape; ``sidecar.schema.json``, published with the package, is made from them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Sequence
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from megamax_sync.api.models import DirectLink, MirrorGroup
from megamax_sync.clock import iso
from megamax_sync.errors import SidecarUnwritable
from megamax_sync.job import Job

SUFFIX = b".megamax.json"
#: The longest name that Linux's file systems take, in bytes.
_NAME_MAX = 255

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

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
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
                    "iframe": mirror.iframe,
                    "link": mirror.link,
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
            "stream": link.stream,
            "download": link.download,
            "expires_at": link.expires_at and iso(link.expires_at.timestamp()),
        }
        for link in links
    ]
    return json.dumps(rows)


def mirrors_of(mirrors: str | None) -> tuple[Group, ...]:
    """Return the mirrors of :attr:`Job.mirrors`."""
    return _GROUPS.validate_json(mirrors or "[]")


def direct_of(links: str | None) -> tuple[Direct, ...]:
    """Return the direct links of :attr:`Job.direct`."""
    return _DIRECTS.validate_json(links or "[]")


def render(job: Job, *, service: str, account: str, now: float) -> Sidecar:
    """Describe a job that has a hashid. ``now`` is Unix time."""
    return Sidecar(
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
    text = json.dumps(sidecar.model_dump(by_alias=True), ensure_ascii=False, indent=1)
    return "".join(
        f"\\u{ord(char):04x}" if "\ud800" <= char <= "\udfff" else char for char in text + "\n"
    ).encode()


def read(path: bytes) -> Sidecar | None:
    """Read a sidecar back; None where there is none, or none that is valid."""
    try:
        with open(path, "rb") as file:
            return Sidecar.model_validate(json.load(file))
    except (OSError, ValueError, ValidationError, RecursionError):
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


class Placement:
    """Where sidecars go: beside the video, or into a folder that mirrors the tree."""

    def __init__(self, folder: bytes | None, roots: Sequence[bytes]) -> None:
        """``folder`` None: beside the video. ``roots`` are the watched folders."""
        self._folder = folder
        bases = [os.path.basename(root.rstrip(b"/")) for root in roots]
        self._tops = {
            root: b"" if len(roots) == 1 else _top(root, base, bases.count(base) > 1)
            for root, base in zip(roots, bases, strict=True)
        }

    def path(self, job: Job) -> bytes:
        """Return the sidecar's path."""
        name = sidecar_name(job.name)
        if self._folder is None:
            return os.path.join(os.path.dirname(job.path), name)
        inside = job.path
        if job.root is not None:
            top = self._tops.get(job.root, os.path.basename(job.root))
            inside = os.path.join(top, job.path[len(job.root.rstrip(b"/")) + 1 :])
        return os.path.join(self._folder, os.path.dirname(inside.lstrip(b"/")), name)

    def check(self, job: Job) -> None:
        """Find out whether the sidecar could be written, by writing.

        Raises :class:`SidecarUnwritable` with the remedy; a full disk is no reason to.
        """
        path = self.path(job)
        try:
            self._make_folder(path)
            probe = _temporary(path, b"probe")
            os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            os.unlink(probe)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return
            raise SidecarUnwritable(
                f"the sidecar cannot be written in {_shown(os.path.dirname(path))} "
                f"({error.strerror}); let this user write there, or set MEGAMAX_SIDECAR_DIR"
            ) from error

    def write(self, job: Job, sidecar: Sidecar) -> bytes:
        """Put the sidecar in its place, atomically; return its path. Raises OSError."""
        path = self.path(job)
        self._make_folder(path)
        temporary = _temporary(path, b"new")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            with open(fd, "wb") as file:
                file.write(encode(sidecar))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        return path

    def _make_folder(self, path: bytes) -> None:
        # Only below a folder of our own: the video's is the user's, and if it is gone it is gone.
        if self._folder is not None:
            os.makedirs(os.path.dirname(path), exist_ok=True)


def sidecar_name(name: bytes) -> bytes:
    """Return the sidecar's name for a video's; one that would be too long is cut and marked."""
    if len(name) + len(SUFFIX) <= _NAME_MAX:
        return name + SUFFIX
    mark = b"~" + hashlib.sha256(name).hexdigest()[:8].encode()
    kept = name[: _NAME_MAX - len(SUFFIX) - len(mark)]
    # Do not cut through the middle of a character.
    while kept and name[len(kept)] & 0xC0 == 0x80:
        kept = kept[:-1]
    return kept + mark + SUFFIX


def _top(root: bytes, base: bytes, taken: bool) -> bytes:
    mark = hashlib.sha256(root).hexdigest()[:8].encode()
    return base + b"~" + mark if taken or not base else base


def _temporary(path: bytes, purpose: bytes) -> bytes:
    """Name a hidden file beside ``path``, which no scan takes for content.

    Always the same for the same sidecar: what a kill leaves behind is used up by the next write.
    """
    mark = hashlib.sha256(os.path.basename(path)).hexdigest()[:16].encode()
    return os.path.join(os.path.dirname(path), b".megamax-" + mark + b"." + purpose)


def _shown(path: bytes) -> str:
    return os.fsdecode(path).encode("utf-8", "backslashreplace").decode()
