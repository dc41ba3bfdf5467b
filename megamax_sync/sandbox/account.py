"""The one account of a sandbox: its credentials, its files on disk, and what time does to them."""

from __future__ import annotations

import fcntl
import hmac
import mimetypes
import os
import secrets
import string
import time
from pathlib import Path

from megamax_sync.sandbox.catalogue import Catalogue, RemoteRecord, StoredFile
from megamax_sync.sandbox.signing import LinkSigner

ACCOUNT_ID = 1
UPLOAD_URL_TTL = 6 * 3600.0

_LETTERS = string.ascii_letters + string.digits
#: Containers that the standard library's table lacks before Python 3.14.
_VIDEO_TYPES = {
    "avi": "video/x-msvideo",
    "flv": "video/x-flv",
    "m2ts": "video/mp2t",
    "m4v": "video/x-m4v",
    "mkv": "video/x-matroska",
    "ts": "video/mp2t",
    "wmv": "video/x-ms-wmv",
}


def random_id(length: int) -> str:
    """Unguessable letters and digits."""
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


def split_name(name: str) -> tuple[str, str]:
    """``("a.b", "mkv")`` for ``a.b.mkv``; a leading dot starts no extension."""
    stem, dot, ext = name.rpartition(".")
    return (stem, ext) if dot and stem else (name, "")


class Account:
    """Everything behind the HTTP surface. Blocking; safe to use from any thread.

    The data folder has ``catalogue.db``, ``files/HASHID`` and ``incoming/`` for uploads that are
    still arriving. A file is on disk before the catalogue knows it, and the catalogue is on disk
    before anyone is told, so a kill at any moment loses nothing that was answered.

    Raises:
        OSError: the folder cannot be used, or another sandbox uses it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        step: float,
        link_ttl: float,
        premium: bool,
        mirror_delay: float,
        login: str | None = None,
        key: str | None = None,
    ) -> None:
        self.step = step
        self.link_ttl = link_ttl
        self.premium = premium
        self.mirror_delay = mirror_delay
        self._files = folder / "files"
        self._incoming = folder / "incoming"
        for each in (folder, self._files, self._incoming):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_fd = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(self._lock_fd)
            raise BlockingIOError(exc.errno, "another sandbox uses this folder", folder) from exc
        self.catalogue = Catalogue(folder / "catalogue.db")
        self.login = self._remembered("login", login, f"sandbox-{random_id(8)}@example.org")
        self.key = self._remembered("key", key, random_id(32))
        secret = self._remembered("secret", None, secrets.token_hex(32))
        self.signer = LinkSigner(bytes.fromhex(secret), ACCOUNT_ID)
        self._drop_leftovers()

    def close(self) -> None:
        """Let the folder go. What is still being stored fails, and is dropped at the next start."""
        self.catalogue.close()
        os.close(self._lock_fd)

    def knows(self, login: str, key: str) -> bool:
        """Whether these are the credentials; takes the same time for all wrong ones."""
        same_login = hmac.compare_digest(_bytes(login), _bytes(self.login))
        same_key = hmac.compare_digest(_bytes(key), _bytes(self.key))
        return same_login and same_key

    def issue_upload_token(self) -> str:
        """A new upload URL's last part: works once, within six hours."""
        token = random_id(24)
        self.catalogue.issue_url(token, time.time() + UPLOAD_URL_TTL)
        return token

    def claim_upload_token(self, token: str) -> bool:
        """Use an upload URL up."""
        return self.catalogue.claim_url(token, time.time())

    def incoming_path(self) -> Path:
        """A fresh temporary path, on the file system of the stored files."""
        return self._incoming / f"{random_id(16)}.part"

    def keep(
        self,
        arrived: Path,
        name: str,
        *,
        size: int,
        folder: int | None,
        content_type: str = "",
        status: str | None = None,
        created_at: float | None = None,
    ) -> RemoteRecord:
        """Take over a complete file. On return it survives a power cut."""
        hashid = random_id(16)
        _sync(arrived)
        arrived.rename(self._files / hashid)
        _sync(self._files)
        moment = time.time() if created_at is None else created_at
        stored = StoredFile(
            hashid=hashid,
            name=name,
            mime_type=_mime_type(name, content_type),
            size=size,
            folder=folder,
            poster=f"{random_id(13)}.jpg",
            created_at=moment,
            pinned=status,
            pinned_at=None if status is None else moment,
        )
        self.catalogue.add(stored)
        return self.record(stored)

    def record(self, stored: StoredFile) -> RemoteRecord:
        """The file as it is now."""
        return RemoteRecord(
            hashid=stored.hashid,
            name=stored.name,
            ext=split_name(stored.name)[1],
            mime_type=stored.mime_type,
            size=stored.size,
            folder=stored.folder,
            path=self._files / stored.hashid,
            created_at=stored.created_at,
            status=stored.status(time.time(), self.step),
            views=stored.views,
        )

    def records(self) -> list[RemoteRecord]:
        """All files as they are now, oldest first."""
        return [self.record(stored) for stored in self.catalogue.files()]

    def delete(self, hashid: str) -> bool:
        """Drop a file and its bytes; false if it is unknown."""
        known = self.catalogue.remove(hashid)
        if known:
            (self._files / hashid).unlink(missing_ok=True)
        return known

    def _remembered(self, name: str, given: str | None, fresh: str) -> str:
        kept = self.catalogue.setting(name)
        value = given or kept or fresh
        if value != kept:
            self.catalogue.set_setting(name, value)
        return value

    def _drop_leftovers(self) -> None:
        for part in self._incoming.iterdir():
            part.unlink()
        known = {stored.hashid for stored in self.catalogue.files()}
        for path in self._files.iterdir():
            if path.name not in known:
                path.unlink()


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def _mime_type(name: str, announced: str) -> str:
    if announced.startswith("video/"):
        return announced
    ext = split_name(name)[1].lower()
    guess = _VIDEO_TYPES.get(ext) or mimetypes.guess_type(f"x.{ext}")[0]
    return guess or "application/octet-stream"


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
