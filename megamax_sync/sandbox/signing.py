"""Direct links: signed with HMAC-SHA256, and good until they expire."""

from __future__ import annotations

import hashlib
import hmac
import re
from urllib.parse import quote, unquote


class LinkSigner:
    """Makes and checks direct links. ``secret`` is at least 32 random bytes."""

    def __init__(self, secret: bytes, account: int) -> None:
        self._secret = secret
        self.account = account

    def sign(self, expires: int, hashid: str, name: str, *, download: bool) -> str:
        """A path with its signature, from ``/attach/`` on.

        ``expires`` is Unix time in whole seconds. The last part of the path is for people; it is
        ``name`` with everything unusual replaced, as the service does it.
        """
        stem, dot, ext = name.rpartition(".")
        readable = re.sub(r"[^\w-]+", "_", stem or ext) + (f".{ext}" if stem and dot else "")
        path = f"/attach/{self.account}/{expires}/{hashid}/{readable}"
        signature = self._signature(path, download=download)
        return f"{quote(path)}?{'dl=1&' if download else ''}signature={signature}"

    def valid(self, path: str, signature: str, *, download: bool) -> bool:
        """Whether ``signature`` is ours for ``path`` (percent-decoded). Constant time."""
        expected = self._signature(path, download=download)
        return hmac.compare_digest(expected.encode(), signature.encode(errors="replace"))

    def _signature(self, path: str, *, download: bool) -> str:
        text = f"{'dl' if download else 'view'} {unquote(path)}"
        return hmac.new(self._secret, text.encode(errors="replace"), hashlib.sha256).hexdigest()
