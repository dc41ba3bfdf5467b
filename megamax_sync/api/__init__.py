"""The Megamax API as a Python library.

A program can use this package alone; it knows nothing of queues, folders or settings::

    from megamax_sync.api import MegamaxClient

    with MegamaxClient("https://api.megamax.me/api", "you@example.com", "YOUR-KEY") as megamax:
        for file in megamax.files(status="converted"):
            print(file.hashid, file.name)

The names are loaded on first use: ``from megamax_sync.api import models`` costs no httpx.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from megamax_sync.api.client import MegamaxClient
    from megamax_sync.api.models import DirectLink, Mirror, MirrorGroup, RemoteFile, UploadedFile
    from megamax_sync.api.multipart import MultipartFile
    from megamax_sync.api.names import storable_name
    from megamax_sync.api.pace import Gate, Pacer
    from megamax_sync.api.retry import RetryPolicy

__all__ = [
    "DirectLink",
    "Gate",
    "MegamaxClient",
    "Mirror",
    "MirrorGroup",
    "MultipartFile",
    "Pacer",
    "RemoteFile",
    "RetryPolicy",
    "UploadedFile",
    "storable_name",
]

_HOMES = {
    "DirectLink": "models",
    "Gate": "pace",
    "MegamaxClient": "client",
    "Mirror": "models",
    "MirrorGroup": "models",
    "MultipartFile": "multipart",
    "Pacer": "pace",
    "RemoteFile": "models",
    "RetryPolicy": "retry",
    "UploadedFile": "models",
    "storable_name": "names",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
