"""Takes secrets out of text, by value and by the names that they travel under."""

from __future__ import annotations

import re
import threading

from megamax_sync.disguises import ESCAPES as _ESCAPES
from megamax_sync.disguises import disguises

MASK = "***"

#: The names under which secrets travel: in queries, forms and JSON.
SECRET_NAMES = frozenset({"login", "key", "signature"})

#: Shorter values are not looked for: they would shred every other word of the log. Under the
#: names above they are masked all the same.
MIN_LENGTH = 4

#: Texts up to this length are remembered, and so many of them.
_SHORT, _KNOWN = 24, 1000

_ANY_NAME = re.compile("|".join(sorted(SECRET_NAMES)), re.IGNORECASE)

_NAMES = "|".join(sorted(SECRET_NAMES))
_BY_NAME = (
    # ?login=…&key=… in URLs, and forms; not inside of paths, which are the user's own.
    re.compile(
        rf"(?P<keep>(?:^|[?&;\s\"'])(?:{_NAMES})=)(?:[^&;\s\"'<>#\\]|\\{_ESCAPES}/)+", re.IGNORECASE
    ),
    # "key": "…" in JSON and in reprs, at any depth of escaping.
    re.compile(
        rf"(?P<keep>(?P<quote>{_ESCAPES}[\"'])(?:{_NAMES})(?P=quote)\s*:\s*(?P=quote)).{{0,4096}}?(?=(?P=quote))",
        re.IGNORECASE | re.DOTALL,
    ),
    # The parts of a multipart body, raw or as a repr.
    re.compile(
        rf"(?P<keep>name={_ESCAPES}\"(?:{_NAMES}){_ESCAPES}\"(?:[\r\n]|\\{_ESCAPES}[rn]){{1,9}})[^\r\n\\]+",
        re.IGNORECASE,
    ),
)


class Redactor:
    """Knows the secrets of this run and masks them, whatever they were encoded as.

    Each is found plain, percent-encoded (wholly or in part, in either case, more than once), with
    JSON's and Python's escapes, in hexadecimal, and in both alphabets of base64, also in the
    middle of a longer text such as ``login:key``. May be used from all threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._patterns: dict[str, re.Pattern[str]] = {}
        #: All of them in one, which is searched in half the time; None as long as there is none.
        self._any: re.Pattern[str] | None = None
        #: What short texts become: field names, events and levels come again in every line.
        self._known: dict[str, str] = {}

    def add(self, secret: str) -> None:
        """Mask this from now on, and for good: what was a secret once is in old answers still."""
        if len(secret) < MIN_LENGTH:
            return
        with self._lock:
            known = {**self._patterns, secret: re.compile(disguises(secret))}
            # Of two that overlap, the longer one first: else its rest would be left standing.
            self._patterns = dict(sorted(known.items(), key=lambda item: -len(item[0])))
            self._any = re.compile("|".join(one.pattern for one in self._patterns.values()))
            self._known = {}

    def scrub(self, text: str) -> str:
        """The text with every secret replaced by ``***``."""
        if len(text) > _SHORT:
            return self._scrub(text)
        # Taken before the patterns are: a secret that comes meanwhile empties another one.
        known = self._known
        scrubbed = known.get(text)
        if scrubbed is None:
            scrubbed = self._scrub(text)
            if len(known) < _KNOWN:
                known[text] = scrubbed
        return scrubbed

    def _scrub(self, text: str) -> str:
        anything = self._any
        if anything is not None and anything.search(text):
            for pattern in self._patterns.values():
                text = pattern.sub(MASK, text)
        # None of them fits where there is neither of these, nor one of the names.
        if ("=" in text or ":" in text) and _names_any(text):
            for by_name in _BY_NAME:
                text = by_name.sub(rf"\g<keep>{MASK}", text)
        return text


def _names_any(text: str) -> bool:
    if not text.isascii():
        # To a pattern that ignores case, more letters are an s or a k than lower() makes one.
        return _ANY_NAME.search(text) is not None
    lower = text.lower()
    return any(name in lower for name in SECRET_NAMES)
