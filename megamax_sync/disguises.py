"""The forms in which a secret may stand in somebody else's text."""

from __future__ import annotations

import base64
import html
import re

# Escaping once more doubles the backslashes. Without bounds, text made of them takes for ever.
ESCAPES = r"\\{0,7}"


def disguises(secret: str) -> str:
    """A pattern for ``secret`` (four characters or more, else it fits everywhere), in any of them.

    Plain, percent-encoded (wholly or in part, in either case, more than once), with JSON's,
    Python's and HTML's escapes, in hexadecimal, and in both alphabets of base64, also in the middle
    of a longer text such as ``login:key``.
    """
    data = secret.encode(errors="surrogatepass")
    forms = [
        "".join(_escapes(part) for part in re.findall(r"\\+|[^\\]", secret)),
        "".join(_digits(data.hex())),
    ]
    forms += [_base64(data, offset) for offset in range(3)]
    return "|".join(forms)


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
        "".join(rf"\\{ESCAPES}u{_digits(units[i : i + 4])}" for i in range(0, len(units), 4)),
        "".join(rf"\\{ESCAPES}x{_digits(f'{byte:02x}')}" for byte in data),
    ]
    if len(units) > 4:
        forms.append(rf"\\{ESCAPES}U{_digits(f'{ord(char):08x}')}")
    if ord(char) < 0x100:
        forms.append(rf"\\{ESCAPES}x{_digits(f'{ord(char):02x}')}")
    if char in "\"'/":
        forms.insert(0, rf"\\{ESCAPES}{char}")
    if not char.isalnum():
        forms.append(rf"&#(?:0*{ord(char)}|[xX]0*{_digits(f'{ord(char):x}')});")
        forms += [re.escape(html.escape(char))] if html.escape(char) != char else []
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
    either = {"+": r"(?:[+-]|%2[Bb])", "/": rf"(?:[/_]|\\{ESCAPES}/|%2[Ff])"}
    return "".join(either.get(char, char) for char in stable)
