"""What the service says, as typed and frozen models.

They take what a real service may send: unknown fields and statuses, nulls, numbers as strings,
both of the document's date forms, fields that are missing. Only a hashid is insisted upon,
because nothing can be done without one. Everything else that cannot be read is None (or empty).

All dates are timezone-aware and in UTC, all sizes are bytes, all links are absolute http(s) URLs.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

#: The largest number that SQLite and JSON readers of other languages keep exactly as an integer.
_LARGEST = 2**63 - 1
_LONGEST_HASHID = 256
_LONGEST_LINK = 8192
_STATUSES = {"onqueue", "transferring", "processing", "converting", "converted", "failed"}
_DECIMAL = re.compile(r"\+?[0-9]{1,40}(\.[0-9]{1,40})?", re.ASCII)
#: C0, DEL and C1: a terminal obeys them, and these texts are shown on terminals.
_CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)])


def clean(text: str) -> str:
    """Drop control characters, and put U+FFFD for lone surrogates, which UTF-8 cannot hold."""
    paired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return paired.translate(_CONTROLS)


def _number(value: object) -> int | None:
    if isinstance(value, str):
        value = value.strip()
        if not _DECIMAL.fullmatch(value):
            return None
        value = int(value.partition(".")[0])
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    number = int(value)
    return number if 0 <= number <= _LARGEST else None


def _optional_text(value: object) -> str | None:
    if isinstance(value, str):
        return clean(value)
    number = _number(value)
    return None if number is None else str(number)


def _text(value: object) -> str:
    return _optional_text(value) or ""


def _status(value: object) -> str:
    # The document's words in any case; a word that it does not know is kept as it came.
    text = _text(value).strip()
    return text.lower() if text.lower() in _STATUSES else text


def _first_status(value: object) -> str:
    return _status(value) or "onqueue"


def usable_hashid(text: str) -> bool:
    """Whether ``text`` can stand in a path of the API; a dot segment would be a walk through it."""
    return text not in {"", ".", ".."} and len(text) <= _LONGEST_HASHID


def _hashid(value: object) -> str:
    text = _text(value).strip()
    if not usable_hashid(text):
        raise ValueError("no usable hashid")
    return text


def _moment(value: object) -> datetime | None:
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    else:
        return None
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return None


def _link(value: object) -> str | None:
    if not isinstance(value, str) or len(value) > _LONGEST_LINK:
        return None
    link = clean(value).strip()
    if link.startswith("//"):
        link = f"https:{link}"
    try:
        parts = urlsplit(link)
    except ValueError:
        return None
    return link if parts.scheme in {"http", "https"} and parts.hostname else None


def entries(value: object) -> list[object] | None:
    """The members of a list, or None if it is none.

    PHP writes a list as ``{"0": …, "2": …}`` once a member was taken out, and an empty one as null.
    """
    if value is None:
        return []
    if isinstance(value, list):
        return value
    if isinstance(value, dict) and all(key.isdecimal() for key in value):
        return list(value.values())
    return None


Number = Annotated[int | None, BeforeValidator(_number)]
Text = Annotated[str, BeforeValidator(_text)]
OptionalText = Annotated[str | None, BeforeValidator(_optional_text)]
Status = Annotated[str, BeforeValidator(_status)]
FirstStatus = Annotated[str, BeforeValidator(_first_status)]
HashId = Annotated[str, BeforeValidator(_hashid)]
Moment = Annotated[datetime | None, BeforeValidator(_moment)]
Link = Annotated[str | None, BeforeValidator(_link)]


class _Model(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True
    )


class RemoteFile(_Model):
    """One file of the account, as "Get File" and "Get Files" describe it.

    ``status`` is one of the document's, any other text as it came, or empty if there was none.
    ``folder`` is not in the document's list of fields, and None unless the service sends it.
    """

    hashid: HashId
    name: Text = ""
    type: OptionalText = None
    size: Number = None
    views: Number = None
    poster: OptionalText = None
    status: Status = ""
    created_at: Moment = None
    folder: Number = None


class UploadedFile(_Model):
    """The answer to an upload."""

    hashid: HashId
    folder: Number = None
    name: Text = ""
    ext: OptionalText = None
    mime_type: OptionalText = Field(
        default=None, validation_alias=AliasChoices("mimeType", "mime_type")
    )
    size: Number = None
    status: FirstStatus = "onqueue"
    uploaded_at: Moment = None


class Mirror(_Model):
    """One copy on another host. Links without a scheme are given ``https:``."""

    driver: Text = ""
    iframe: Link = None
    link: Link = None
    uploaded_at: Moment = None
    checked_at: Moment = None


def _mirrors(value: object) -> list[Mirror]:
    found: list[Mirror] = []
    for entry in entries(value) or []:
        if isinstance(entry, Mirror):
            found.append(entry)
        elif isinstance(entry, dict):
            found.append(Mirror.model_validate(entry))
    return found


def _members(value: object) -> Any:
    return tuple(_mirrors(list(value) if isinstance(value, tuple) else value))


class MirrorGroup(_Model):
    """The mirrors of one rendition, such as ``source``."""

    title: Text = ""
    size: Number = None
    mirrors: Annotated[tuple[Mirror, ...], BeforeValidator(_members)] = ()


class DirectLink(_Model):
    """Signed links to one rendition; both stop working at ``expires_at``."""

    label: Text = ""
    size: Number = None
    stream: Link = None
    download: Link = None
    expires_at: Moment = None
