"""Where a sidecar goes, and how it is put there: atomically, so that no reader sees half of one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Sequence

from megamax_sync.errors import SidecarUnwritable
from megamax_sync.job import SIDECAR_SUFFIX, Job
from megamax_sync.sidecar.document import Sidecar, encode

#: The longest name that Linux's file systems take, in bytes.
_NAME_MAX = 255
#: Where the sidecars of files lie that are in no watched folder. As its name is a hidden one, no
#: watched video lies below a folder that is called so.
_ELSEWHERE = b".elsewhere"
#: A full disk is everybody's trouble, and no one file's.
_FULL = (errno.ENOSPC, errno.EDQUOT)


class _InTheWay(OSError):
    """Something that is no file has the sidecar's name."""


class Placement:
    """Where sidecars go: beside the video, or into a folder that mirrors the tree."""

    def __init__(self, folder: bytes | None, roots: Sequence[bytes]) -> None:
        """``folder`` None: beside the video. ``roots`` are the watched folders."""
        self._folder = folder
        bases = [os.path.basename(root.rstrip(b"/")) for root in roots]
        self._tops = {
            root: b"" if len(roots) == 1 else _top(root, base, bases.count(base) > 1)
            for root, base in zip(roots, bases, strict=True)
        }

    def places(self) -> list[bytes]:
        """Return the folders in which sidecars of watched files lie, now or of old."""
        return [*self._tops, *([] if self._folder is None else [self._folder])]

    def path(self, job: Job) -> bytes:
        """Return the path of a job's sidecar."""
        return self.of(job.path, job.root)

    def of(self, path: bytes, root: bytes | None) -> bytes:
        """Return the path of a video's sidecar. ``root``: its watched folder, None for none."""
        if self._folder is None:
            return beside(path)
        name = sidecar_name(os.path.basename(path))
        # Whatever a path says, it stays inside.
        inside = os.path.join(_ELSEWHERE, _flat(path))
        if root is not None and root in self._tops:
            below = _flat(path[len(root.rstrip(b"/")) + 1 :])
            mirrored = os.path.join(self._tops[root], below)
            # Not one that was handed in from a hidden folder of that name, or a watched one's.
            if not mirrored.startswith(os.path.join(_ELSEWHERE, b"")):
                inside = mirrored
        return os.path.join(self._folder, os.path.dirname(inside), name)

    def may_be(self, path: bytes, root: bytes | None) -> list[bytes]:
        """Return the paths at which a sidecar of this video may stand, now or of old."""
        where = beside(path)
        return [where] if self._folder is None else [*dict.fromkeys((self.of(path, root), where))]

    def video_of(self, path: bytes, sidecar: Sidecar) -> bytes:
        """Return where the video lay for which a sidecar was written that stands at ``path``."""
        folder = os.path.join(os.path.dirname(path), b"")
        ours = None if self._folder is None else os.path.join(self._folder, b"")
        if ours is not None and folder.startswith(ours):
            inside = folder[len(ours) :]
            for root, top in [*self._tops.items(), (b"/", _ELSEWHERE)]:
                start = os.path.join(top, b"") if top else b""
                if inside.startswith(start):
                    folder = os.path.join(root, inside[len(start) :])
        # A name is all that it may say.
        return os.path.join(folder, os.path.basename(os.fsencode(sidecar.source.name)))

    def check(self, job: Job) -> None:
        """Find out whether the sidecar could be written, by writing.

        Raises :class:`SidecarUnwritable` with the remedy; a full disk is no reason to.
        """
        path = self.path(job)
        try:
            self._make_folder(path)
            _look_at(path)
            probe = _temporary(path, b"probe")
            os.close(_open_anew(probe))
            os.unlink(probe)
        except OSError as error:
            if error.errno in _FULL:
                return
            raise self.unwritable(job, error) from error

    def unwritable(self, job: Job, error: OSError) -> SidecarUnwritable:
        """Say why a job's sidecar could not be written, with the remedy."""
        path, remedy = self.path(job), "let this user write there, or set MEGAMAX_SIDECAR_DIR"
        if isinstance(error, _InTheWay):
            where, remedy = f"as {_shown(path)}", "move away what has its name"
        else:
            where = f"in {_shown(os.path.dirname(path))}"
        if error.errno in _FULL:
            remedy = "make room there"
        elif error.errno == errno.EROFS:
            remedy = "mount it writable, or set MEGAMAX_SIDECAR_DIR"
        why = error.strerror or type(error).__name__
        return SidecarUnwritable(f"the sidecar cannot be written {where} ({why}); {remedy}")

    def write(self, job: Job, sidecar: Sidecar) -> bytes:
        """Put the sidecar in its place, atomically; return its path. Raises OSError."""
        path = self.path(job)
        self._make_folder(path)
        _look_at(path)
        temporary = _temporary(path, b"new")
        fd = _open_anew(temporary)
        try:
            with open(fd, "wb") as file:
                file.write(encode(sidecar))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_folder(os.path.dirname(path))
        return path

    def remove(self, path: bytes) -> None:
        """Take away a sidecar, and the folders of our own that are empty without it."""
        with contextlib.suppress(OSError):
            os.unlink(path)
            folder = os.path.dirname(path)
            while self._folder is not None and folder.startswith(os.path.join(self._folder, b"")):
                os.rmdir(folder)
                folder = os.path.dirname(folder)

    def _make_folder(self, path: bytes) -> None:
        # Only below a folder of our own: the video's is the user's, and if it is gone it is gone.
        if self._folder is not None:
            os.makedirs(os.path.dirname(path), exist_ok=True)


def beside(path: bytes) -> bytes:
    """Return the path of the sidecar that lies beside its video."""
    name = path.rfind(b"/") + 1
    return path[:name] + sidecar_name(path[name:])


def sidecar_name(name: bytes) -> bytes:
    """Return the sidecar's name for a video's; one that would be too long is cut and marked."""
    if len(name) + len(SIDECAR_SUFFIX) <= _NAME_MAX:
        return name + SIDECAR_SUFFIX
    mark = b"~" + hashlib.sha256(name).hexdigest()[:8].encode()
    kept = name[: _NAME_MAX - len(SIDECAR_SUFFIX) - len(mark)]
    # Do not cut through the middle of a character.
    while kept and name[len(kept)] & 0xC0 == 0x80:
        kept = kept[:-1]
    return kept + mark + SIDECAR_SUFFIX


def _top(root: bytes, base: bytes, taken: bool) -> bytes:
    mark = hashlib.sha256(root).hexdigest()[:8].encode()
    return base + b"~" + mark if taken or not base else base


def _flat(path: bytes) -> bytes:
    """Name a path without dots and without its first slash."""
    return os.path.normpath(b"/" + path).lstrip(b"/")


def _temporary(path: bytes, purpose: bytes) -> bytes:
    """Name a hidden file beside ``path``, which no scan takes for content.

    Always the same for the same sidecar: what a kill leaves behind goes with the next write.
    """
    mark = hashlib.sha256(os.path.basename(path)).hexdigest()[:16].encode()
    return os.path.join(os.path.dirname(path), b".megamax-" + mark + b"." + purpose)


def _look_at(path: bytes) -> None:
    """Raise OSError for what lies there and is no file: a folder cannot be replaced by one, and
    somebody's pipe or socket must not be.

    A link is replaced, as it always was: what it leads to is left alone.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise _InTheWay(errno.EISDIR, os.strerror(errno.EISDIR))
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise _InTheWay(errno.EEXIST, "no regular file lies there")


def _open_anew(path: bytes) -> int:
    """Make a file for writing, with the mode that the umask gives."""
    # A left-over may have another mode; a planted link or pipe must not be written through.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)


def _sync_folder(folder: bytes) -> None:
    """Make the new name outlast a power cut, where the file system knows how."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _shown(path: bytes) -> str:
    return os.fsdecode(path).encode("utf-8", "backslashreplace").decode()
