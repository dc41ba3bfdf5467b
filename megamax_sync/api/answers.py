"""From an answer's bytes and status to a result, or to one of our errors.

The HTTP status decides, then the envelope's ``status``. The message decides nothing: it is only
handed on to people.
"""

from __future__ import annotations

import enum
import json
import math
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from megamax_sync.api.models import entries
from megamax_sync.api.scrub import Scrubber
from megamax_sync.errors import (
    CredentialsRejected,
    DirectLinksRefused,
    MegamaxError,
    RemoteFileMissing,
    ServiceFault,
    ServiceNonsense,
    ServiceRefusal,
    ServiceUnreachable,
    UploadRefused,
)

M = TypeVar("M", bound=BaseModel)

#: What is done with each JSON object as it is read.
Sieve = Callable[[dict[str, Any]], object]
#: Stands for an entry that was not wanted: nothing that an answer may hold.
_DROPPED = object()

_LONGEST_WAIT = 24 * 3600.0
#: Seconds from an answer's head to its end: a server that drips must not hold a thread for ever.
_LONGEST_READ = 600.0
#: No number of the document has as many digits; Python refuses to read 4,300 of them at all.
_MOST_DIGITS = 400


class Call(enum.Enum):
    """What was asked, as far as it changes what a refusal means."""

    ACCOUNT = "account"
    FILE = "file"
    DIRECT = "direct"
    UPLOAD = "upload"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, as text: it may be long, so there is one copy of it."""

    status: int
    headers: Mapping[str, str]
    text: str


def read(response: httpx.Response, limit: int) -> Answer:
    """Read ``response`` to its end; at most ``limit`` bytes, packed or unpacked.

    We ask for nothing packed, but some servers pack regardless.
    """
    packed = response.headers.get("content-encoding", "identity").strip().lower()
    unpack = zlib.decompressobj(wbits=47) if packed in {"gzip", "x-gzip", "deflate"} else None
    deadline = time.monotonic() + _LONGEST_READ
    body = bytearray()
    try:
        for piece in response.iter_raw():
            body += unpack.decompress(piece, limit + 1) if unpack else piece
            if len(body) > limit:
                raise ServiceNonsense(f"the answer is longer than {limit} bytes", answered=True)
            if time.monotonic() > deadline:
                raise ServiceUnreachable("the answer did not end")
    except zlib.error:
        body.clear()
    return Answer(response.status_code, response.headers, body.decode("utf-8-sig", "replace"))


def result_of(answer: Answer, call: Call, scrub: Scrubber, sieve: Sieve | None = None) -> object:
    """The envelope's ``result``, or the error that the answer amounts to."""
    envelope = _envelope(answer.text, sieve)
    message = envelope.get("message") if envelope else None
    said = scrub(message) if isinstance(message, str) and message.strip() else None
    error = _by_status(answer, call, said)
    if error is None:
        error = _by_envelope(envelope, call, said)
    if error is not None:
        raise error
    assert envelope is not None
    return envelope.get("result")


def one(model: type[M], result: object) -> M:
    """``result`` as a ``model``; a list of one will do."""
    members = entries(result) if not isinstance(result, dict) or "hashid" not in result else None
    if members is not None and len(members) == 1:
        result = members[0]
    made = _made(model, result)
    if made is None:
        raise ServiceNonsense("the answer lacks what the document promises", answered=True)
    return made


def many(model: type[M], result: object) -> list[M]:
    """``result`` as a list of ``model``; members that cannot be used are left out."""
    members = entries(result)
    if members is None:
        raise ServiceNonsense("the answer holds no list", answered=True)
    made = (_made(model, member) for member in members)
    return [member for member in made if member is not None]


def sieve(model: type[M], keep: Callable[[M], bool]) -> Sieve:
    """Make what turns a list's entries into models as they are read, and drops the unwanted.

    All of them at once take twenty times the memory of their text.
    """

    def sift(value: dict[str, Any]) -> object:
        if "hashid" not in value:
            return value
        made = _made(model, value)
        return made if made is not None and keep(made) else _DROPPED

    return sift


def date_of(headers: Mapping[str, str]) -> float | None:
    """The answer's Date as Unix time, if it has one."""
    return _http_date(headers.get("date", ""))


def _made(model: type[M], value: object) -> M | None:
    if isinstance(value, model):
        return value
    if not isinstance(value, dict):
        return None
    try:
        return model.model_validate(value)
    except ValidationError:
        return None


def _envelope(text: str, sieve: Sieve | None) -> dict[str, Any] | None:
    try:
        value = json.loads(
            text,
            object_hook=sieve,
            parse_int=lambda digits: int(digits) if len(digits) < _MOST_DIGITS else None,
        )
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _by_status(answer: Answer, call: Call, said: str | None) -> MegamaxError | None:
    status = answer.status
    if 200 <= status < 300:
        return None
    text = f"HTTP {status}" + (f": {said}" if said else "")
    if status >= 500 or status in {408, 429}:
        return ServiceFault(
            f"the service is in trouble ({text})",
            retry_after=_retry_after(answer.headers),
            server_message=said,
            answered=True,
        )
    if status < 400:
        return ServiceNonsense(
            f"the service redirects to {_target(answer.headers)} (HTTP {status});"
            " redirects are not followed",
            answered=True,
        )
    return _refusal(status, text, call, said)


def _refusal(status: int, text: str, call: Call, said: str | None) -> MegamaxError:
    if call is Call.DIRECT:
        return DirectLinksRefused(said, status=status)
    if status in {401, 403}:
        return CredentialsRejected(f"the service rejects the login or key ({text})")
    if call is Call.UPLOAD and status in {413, 415, 422}:
        return UploadRefused(f"the service refuses this file ({text})", status=status)
    if call is Call.FILE and status in {404, 410}:
        return RemoteFileMissing(
            f"the service does not know this file ({text})", server_message=said, answered=True
        )
    return ServiceRefusal(f"the service refuses ({text})", server_message=said, answered=True)


def _by_envelope(
    envelope: dict[str, Any] | None, call: Call, said: str | None
) -> MegamaxError | None:
    status = envelope.get("status") if envelope else None
    word = status.strip().lower() if isinstance(status, str) else None
    if word == "success":
        return None
    if word != "error":
        return ServiceNonsense("the answer is not the document's JSON", answered=True)
    if call is Call.DIRECT:
        return DirectLinksRefused(said)
    return ServiceRefusal(
        f"the service refuses: {said or 'it does not say why'}", server_message=said, answered=True
    )


def _target(headers: Mapping[str, str]) -> str:
    """The host of a redirect; the rest of its URL may repeat our query."""
    try:
        return urlsplit(headers.get("location", "")).hostname or "itself"
    except ValueError:
        return "nowhere"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        until = _http_date(text)
        if until is None:
            return None
        seconds = until - (date_of(headers) or time.time())
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), _LONGEST_WAIT)


def _http_date(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    aware: datetime = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.timestamp()
