"""The library alone, for the bench: the seconds that it takes to send a file.

    python library.py API UPLOAD-URL FILE CHUNK

Run by the environment that holds the program and nothing else. Imports are not counted.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from megamax_sync.api import MegamaxClient, MultipartFile


def send(api: str, url: str, source: Path, chunk: int) -> float:
    """Send the file in chunks of so many bytes; return the seconds."""
    size = source.stat().st_size
    began = time.perf_counter()
    with (
        MegamaxClient(api, "bench", "bench", verify_upload_tls=False) as client,
        source.open("rb", buffering=0) as file,
    ):
        client.upload(url, MultipartFile(file, name="source.mkv", size=size, chunk_size=chunk))
    return time.perf_counter() - began


if __name__ == "__main__":
    _, api, url, source, chunk = sys.argv
    print(send(api, url, Path(source), int(chunk)))
