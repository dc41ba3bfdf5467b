"""Making other people's text fit to be shown: no credentials, no control characters, not long."""

from __future__ import annotations

import re

from megamax_sync.api.models import clean
from megamax_sync.disguises import disguises

_LONGEST = 300
#: Of shorter secrets the disguises would be found in every word.
_SHORT = 4
#: The query of a URL: no text of ours has one, whatever is in it.
_QUERY = re.compile(r"\?[^\s?\"'<>]*=[^\s\"'<>]*")


class Scrubber:
    """Takes ``secrets`` out of texts, in each form in which a server may send them back."""

    def __init__(self, *secrets: str) -> None:
        self.secrets = secrets
        longest_first = sorted(filter(None, secrets), key=len, reverse=True)
        forms = [disguises(one) if len(one) >= _SHORT else re.escape(one) for one in longest_first]
        self._pattern = re.compile("|".join(forms), re.IGNORECASE)
        self._empty = not forms

    def __call__(self, text: str) -> str:
        """``text`` on one line, without secrets, at most 300 characters long."""
        line = clean(" ".join(text.split()))
        if not self._empty:
            line = self._pattern.sub("***", line)
        line = _QUERY.sub("?…", line)
        return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
