"""Every error that megamax-sync raises on purpose.

Each one answers the two questions on which the whole pipeline turns: *whose fault is it?*
(:attr:`MegamaxError.blame`) and *when again?* (:attr:`MegamaxError.final`,
:attr:`MegamaxError.retry_after`). Nobody above ``api/`` looks at status codes, and nobody above
``store/`` looks at SQLite's.

::

    MegamaxError
    ├── ConfigError              the settings; a list of faults, exit status 2
    ├── InvalidTransition        a job was asked to go where its state does not lead
    ├── StoreError               the queue
    │   ├── StateFolderInUse     another instance owns the state folder, exit status 75
    │   ├── StoreUnwritable      the disk takes nothing: read-only, or failing
    │   │   └── StoreFull        no space left under the queue
    │   ├── StoreDamaged         it is no database, or a broken one
    │   │   └── StoreEmpty       its making was cut short; nothing was in it yet
    │   ├── StoreTooNew          written by a later megamax-sync
    │   └── StoreTooOld          an earlier megamax-sync still works on it, exit status 75
    ├── FileError                blame FILE: uses one of the job's attempts
    │   ├── FileVanished         it is not there any more
    │   ├── FileChanged          not the file that was queued: uses no attempt
    │   ├── SidecarUnwritable    the links would have nowhere to go
    │   └── UploadRefused        the service will not have this file; final
    ├── ServiceError             blame SERVICE: pauses everybody, uses no attempts
    │   ├── ServiceUnreachable   no answer: DNS, TCP, TLS, time-outs, broken connections
    │   ├── ServiceFault         an answer of 5xx, 408 or 429
    │   ├── ServiceRefusal       an answer that says "error" or a 4xx that blames nobody else
    │   ├── ServiceNonsense      an answer that is not the document's
    │   ├── InsecureUrl          an upload URL over which secrets would travel in the clear
    │   ├── RemoteFileMissing    404 for one hashid; says nothing about the others
    │   └── DirectLinksRefused   no premium plan, as a rule; fails nothing
    ├── CredentialsRejected      blame CREDENTIALS: 401 or 403
    └── UploadCancelled          we ended the upload ourselves: a stop, or a job dropped
"""

from __future__ import annotations

import enum


class Blame(enum.Enum):
    """Whose failure it is (CONTRACT section 5), and so who has to wait."""

    FILE = "file"
    SERVICE = "service"
    CREDENTIALS = "credentials"
    NOBODY = "nobody"


class MegamaxError(Exception):
    """The base of them all. ``str()`` is one line, holds no secret and no URL with a query."""

    blame: Blame = Blame.NOBODY
    #: No further attempt can change the outcome.
    final: bool = False
    #: Seconds that the other side asked us to wait, where it did.
    retry_after: float | None = None


class ConfigError(MegamaxError):
    """The configuration is wrong. Each fault is one line: variable, value, remedy."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class InvalidTransition(MegamaxError):
    """A bug of ours, caught before it reached the queue."""


class StoreError(MegamaxError):
    """The queue cannot be used."""


class StateFolderInUse(StoreError):
    """Another instance holds the lock of the state folder."""

    def __init__(self, folder: str, pid: int | None) -> None:
        holder = f"process {pid}" if pid else "another process"
        super().__init__(f"the state folder {folder} is in use by {holder}")
        self.pid = pid


class StoreUnwritable(StoreError):
    """The file system under the queue is read-only, or fails. What is there may still be read."""


class StoreFull(StoreUnwritable):
    """SQLITE_FULL or ENOSPC: the statement was rolled back, reading goes on."""


class StoreBusy(StoreError):
    """Another process holds the queue for longer than we wait."""


class StoreDamaged(StoreError):
    """SQLite finds the file corrupt, or not a database."""


class StoreEmpty(StoreDamaged):
    """A database without any table: what is left when its making was cut short."""


class StoreTooNew(StoreError):
    """The schema is of a later version than this program knows."""


class StoreTooOld(StoreError):
    """The schema is of an earlier version, of which an instance still runs."""


class FileError(MegamaxError):
    """This file cannot be uploaded as it is; others can."""

    blame = Blame.FILE


class FileVanished(FileError):
    """Nothing is left under the path."""


class FileChanged(FileError):
    """The file is not the one that was queued, or stopped being it while it was sent."""


class SidecarUnwritable(FileError):
    """The sidecar's folder cannot be written; said before the upload, not after it."""


class UploadRefused(FileError):
    """A definite answer about this very file: 413, 415 or 422."""

    final = True

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class ServiceError(MegamaxError):
    """The service is at fault, or the way to it."""

    blame = Blame.SERVICE

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        server_message: str | None = None,
        answered: bool = False,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        #: The envelope's ``message``, for people to read; never used to decide anything.
        self.server_message = server_message
        #: An answer arrived, so this may be about the body that was sent, not about the service.
        self.answered = answered


class ServiceUnreachable(ServiceError):
    """There was no (whole) answer."""


class ServiceFault(ServiceError):
    """5xx, 408 or 429."""


class ServiceRefusal(ServiceError):
    """``"status": "error"``, or a 4xx for which nobody else is to blame."""


class ServiceNonsense(ServiceError):
    """Not JSON, not the envelope, not the fields, a redirect, or far too much of it."""


class InsecureUrl(ServiceError):
    """Login and key would travel over plain HTTP to another machine, if we did as we are told."""


class RemoteFileMissing(ServiceError):
    """The service does not know this hashid (404). No reason to pause anybody."""

    blame = Blame.NOBODY


class DirectLinksRefused(ServiceError):
    """Any refusal of the direct call. ``server_message`` is what the sidecar shows."""

    blame = Blame.NOBODY

    def __init__(self, server_message: str | None, *, status: int | None = None) -> None:
        reason = server_message or (f"HTTP {status}" if status else "the service does not say why")
        super().__init__(f"no direct links: {reason}", server_message=server_message, answered=True)


class CredentialsRejected(MegamaxError):
    """401 or 403 on a call other than the direct links."""

    blame = Blame.CREDENTIALS


class UploadCancelled(MegamaxError):
    """The upload was ended from our side: the program stops, or the job was dropped."""


#: Why a call, or an upload, is ended that goes on in the next run.
STOPPING = "the program stops"
