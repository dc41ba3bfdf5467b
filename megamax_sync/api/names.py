"""File names and content types on the way to the service."""

from __future__ import annotations

import os
import re

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f/\\]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_LONGEST = 255
_LONGEST_EXTENSION = 32

# Python's own table knows a third of these, and the system's differs from machine to machine.
_TYPES = {
    "3g2": "video/3gpp2",
    "3gp": "video/3gpp",
    "asf": "video/x-ms-asf",
    "avi": "video/x-msvideo",
    "divx": "video/x-msvideo",
    "f4v": "video/x-f4v",
    "flv": "video/x-flv",
    "m2ts": "video/mp2t",
    "m2v": "video/mpeg",
    "m4v": "video/x-m4v",
    "mkv": "video/x-matroska",
    "mov": "video/quicktime",
    "mp4": "video/mp4",
    "mpe": "video/mpeg",
    "mpeg": "video/mpeg",
    "mpg": "video/mpeg",
    "mts": "video/mp2t",
    "mxf": "application/mxf",
    "ogm": "video/ogg",
    "ogv": "video/ogg",
    "qt": "video/quicktime",
    "rm": "application/vnd.rn-realmedia",
    "rmvb": "application/vnd.rn-realmedia-vbr",
    "ts": "video/mp2t",
    "vob": "video/dvd",
    "webm": "video/webm",
    "wmv": "video/x-ms-wmv",
}


def storable_name(name: bytes | str) -> str:
    """The name under which the service is asked to keep a file; never raises, never empty.

    Bytes that are no UTF-8 (raw, or surrogate-escaped as Python's file functions give them) become
    U+FFFD. Control characters and slashes of both kinds become ``_``: some services cut a name at
    its last backslash. The result has at most 255 bytes in UTF-8 and keeps its extension.
    """
    text = _UNSAFE.sub("_", _decoded(name))
    if not text.strip(" ."):
        return "video"
    if len(text.encode()) <= _LONGEST:
        return text
    stem, extension = os.path.splitext(text)
    if len(extension.encode()) > _LONGEST_EXTENSION:
        stem, extension = text, ""
    room = _LONGEST - len(extension.encode())
    return stem.encode()[:room].decode("utf-8", "ignore") + extension


def _decoded(name: bytes | str) -> str:
    if isinstance(name, bytes):
        return name.decode("utf-8", "replace")
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return _SURROGATES.sub("\ufffd", name)


def content_type(name: str) -> str:
    """The media type by the extension, ``application/octet-stream`` for those it does not know."""
    extension = os.path.splitext(name)[1].lstrip(".").lower()
    return _TYPES.get(extension, "application/octet-stream")
