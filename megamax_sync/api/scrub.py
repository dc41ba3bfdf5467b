"""Making other people's text fit to be shown: no credentials, no control characters, not long."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

from megamax_sync.api.models import clean

_LONGEST = 300
#: The query of a URL: no text of ours has one, whatever is in it.
_QUERY = re.compile(r"\?[^\s?\"'<>]*=[^\s\"'<>]*")


class Scrubber:
    """Takes ``secrets`` out of texts, in each form in which a server may send them back."""

    def __init__(self, *secrets: str) -> None:
        self.secrets = secrets
        forms = {form for secret in secrets if secret for form in _forms(secret)}
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)
        self._empty = not forms

    def __call__(self, text: str) -> str:
        """``text`` on one line, without secrets, at most 300 characters long."""
        line = clean(" ".join(text.split()))
        if not self._empty:
            line = self._pattern.sub("***", line)
        line = _QUERY.sub("?…", line)
        return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _forms(secret: str) -> Iterator[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    yield secret
    yield repr(secret)[1:-1]
    yield quote(raw)
    yield quote(raw, safe="")
    yield quote(raw, safe="@")
    yield quote_plus(raw)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret).replace("/", "\\/")[1:-1]
    yield html.escape(secret)
    yield raw.hex()
    for encoded in (base64.b64encode(raw), base64.urlsafe_b64encode(raw)):
        yield encoded.decode().rstrip("=")
