"""Other queues in SQLite files, for the bench: jobs a second, from claim to end.

    python peers.py NAME FOLDER JOBS

Run by an environment of its own (requirements.txt). Each has the durability that ours has: every
commit is on the disk before the next.
"""

from __future__ import annotations

import sys
import time
from importlib import metadata


def persist_queue(folder: str, jobs: int) -> float:
    """``SQLiteAckQueue``: get, then ack."""
    from persistqueue import SQLiteAckQueue

    queue = SQLiteAckQueue(folder, auto_commit=True)
    for number in range(jobs):
        queue.put(f"/videos/{number}.mkv")
    began = time.perf_counter()
    for _ in range(jobs):
        queue.ack(queue.get(block=False))
    return time.perf_counter() - began


def litequeue(folder: str, jobs: int) -> float:
    """``LiteQueue``: pop, then done."""
    from litequeue import LiteQueue

    queue = LiteQueue(f"{folder}/queue.db")
    queue.conn.execute("PRAGMA synchronous = FULL")
    for number in range(jobs):
        queue.put(f"/videos/{number}.mkv")
    began = time.perf_counter()
    for _ in range(jobs):
        queue.done(queue.pop().message_id)
    return time.perf_counter() - began


def huey(folder: str, jobs: int) -> float:
    """``SqliteStorage``: dequeue, which deletes, then the result."""
    from huey.storage import SqliteStorage

    storage = SqliteStorage(filename=f"{folder}/queue.db", fsync=True)
    for number in range(jobs):
        storage.enqueue(f"/videos/{number}.mkv".encode())
    began = time.perf_counter()
    for number in range(jobs):
        storage.dequeue()
        storage.put_data(str(number), b"done")
    return time.perf_counter() - began


if __name__ == "__main__":
    _, name, where, count = sys.argv
    run = {"persist-queue": persist_queue, "litequeue": litequeue, "huey": huey}[name]
    print(int(count) / run(where, int(count)), metadata.version(name))
