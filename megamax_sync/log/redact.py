"""Takes secrets out of text, by value and by the names that they travel under."""

from __future__ import annotations

import base64
import re
import threading

MASK = "***"

#: The names under which secrets travel: in queries, forms and JSON.
SECRET_NAMES = frozenset({"login", "key", "signature"})

#: Shorter values are not looked for: they would shred every other word of the log. Under the
#: names above they are masked all the same.
MIN_LENGTH = 4

#: Texts up to this length are remembered, and so many of them.
_SHORT, _KNOWN = 24, 1000

_ANY_NAME = re.compile("|".join(sorted(SECRET_NAMES)), re.IGNORECASE)

# Escaping once more doubles the backslashes. Without bounds, text made of them takes for ever.
_ESCAPES = r"\\{0,7}"
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
            known = {**self._patterns, secret: _pattern(secret)}
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


def _pattern(secret: str) -> re.Pattern[str]:
    data = secret.encode(errors="surrogatepass")
    forms = [
        "".join(_escapes(part) for part in re.findall(r"\\+|[^\\]", secret)),
        "".join(_digits(data.hex())),
    ]
    forms += [_base64(data, offset) for offset in range(3)]
    return re.compile("|".join(forms))


def _escapes(char: str) -> str:
    """A pattern for one character, or a run of backslashes, in any mixture of the usual escapes."""
    if char[0] == "\\":
        one = r"%(?:25){0,4}5[Cc]|\\{0,8}[ux](?:00)?5[Cc]"
        return rf"(?:\\{{{len(char)},{8 * len(char)}}}|(?:{one}){{{len(char)}}})"
    data = char.encode(errors="surrogatepass")
    units = char.encode("utf-16-be", errors="surrogatepass").hex()
    forms = [
        re.escape(char),
        "".join(f"%(?:25){{0,4}}{_digits(f'{byte:02x}')}" for byte in data),
        "".join(rf"\\{_ESCAPES}u{_digits(units[i : i + 4])}" for i in range(0, len(units), 4)),
        "".join(rf"\\{_ESCAPES}x{_digits(f'{byte:02x}')}" for byte in data),
    ]
    if len(units) > 4:
        forms.append(rf"\\{_ESCAPES}U{_digits(f'{ord(char):08x}')}")
    if ord(char) < 0x100:
        forms.append(rf"\\{_ESCAPES}x{_digits(f'{ord(char):02x}')}")
    if char in "\"'/":
        forms.insert(0, rf"\\{_ESCAPES}{char}")
    if char == " ":
        forms.append(r"\+")
    if char == "%":
        # Last, as each of the others begins with it.
        forms.append(forms.pop(0))
    return f"(?:{'|'.join(forms)})"


def _digits(digits: str) -> str:
    """A pattern for hexadecimal digits in either case."""
    return "".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in digits)


def _base64(data: bytes, offset: int) -> str:
    """A pattern for the part of the base64 text that only ``data`` decides, when ``offset`` bytes
    (modulo 3) stand before it and anything may follow."""
    text = base64.b64encode(bytes(offset) + data).decode()
    stable = text[(offset * 8 + 5) // 6 : (offset + len(data)) * 8 // 6]
    either = {"+": r"(?:[+-]|%2[Bb])", "/": rf"(?:[/_]|\\{_ESCAPES}/|%2[Ff])"}
    return "".join(either.get(char, char) for char in stable)
