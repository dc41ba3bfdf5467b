"""HTML, put together so that nothing can be forgotten to be escaped.

:func:`tag` escapes every child and every attribute that is no :class:`Html`, and only this module
makes :class:`Html`. There is no way to write markup from text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

_VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9-]*")
#: What XML and HTML have no place for, and half characters, which UTF-8 has none for.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class Html:
    """A piece of HTML that is whole and safe."""

    __slots__ = ("_text",)

    def __init__(self, text: str, *, made_here: object = None) -> None:
        if made_here is not _HERE:
            raise TypeError("HTML is made by tag() and join() alone")
        self._text = text

    def __str__(self) -> str:
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Html) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


_HERE = object()

#: What may stand inside an element: text is escaped, None and False are left out.
Child = Html | str | int | bool | None | Iterable["Child"]
#: True is an attribute without a value; None and False are none at all.
Value = str | int | float | bool | None


def clean(text: str) -> str:
    """Write out what no page can hold, as escapes."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def join(*children: Child) -> Html:
    """Put pieces one behind the other."""
    return Html("".join(_render(child) for child in children), made_here=_HERE)


def tag(name: str, /, *children: Child, **attributes: Value) -> Html:
    """Make an element. ``class_`` is ``class``, ``data_key`` is ``data-key``."""
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    start = f"<{_checked(name)}{written}>"
    if name in _VOID:
        return Html(start, made_here=_HERE)
    inner = "".join(_render(child) for child in children)
    return Html(f"{start}{inner}</{name}>", made_here=_HERE)


def document(root: Html) -> str:
    """Return a whole page."""
    return f"<!doctype html>\n{root}\n"


def _attribute(key: str, value: Value) -> str:
    if value is None or value is False:
        return ""
    name = _checked(key.rstrip("_").replace("_", "-"))
    if value is True:
        return f" {name}"
    return f' {name}="{escape(clean(str(value)))}"'


def _checked(name: str) -> str:
    # Names come from the code alone; this keeps it so.
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of an element or attribute")
    return name


def _render(child: Child) -> str:
    if isinstance(child, Html):
        return str(child)
    if child is None or isinstance(child, bool):
        return ""
    if isinstance(child, str | int):
        return escape(clean(str(child)))
    return "".join(_render(one) for one in child)
