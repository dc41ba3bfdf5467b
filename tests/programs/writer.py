"""A program that fills a file as a download client does; a line on stdin lets it write more.

Called as ``writer.py HOW SOURCE TARGET``. It fills the first half at once and the rest after the
line, in blocks of random order. HOW is one of

- ``pwrite``: preallocated (unwritten), opened and closed again for each block;
- ``mmap``: preallocated, mapped, the descriptor closed, written through the map alone;
- ``zeroes``: preallocated with zeroes that are really written, opened and closed for each block;
- ``extend``: grows at the end, opened and closed for each block;
- ``part``, ``crdownload``: a browser's, under an unfinished name that is given up in the end.

``zeroes`` and ``extend`` leave no sign but time: they don't wait for the line, and pause less than
a settle time after each block.
"""

from __future__ import annotations

import mmap
import os
import random
import sys
import threading

BLOCK = 64 * 1024
PAUSE = 0.1


def blocks(size: int) -> list[int]:
    """The offsets of all blocks in random order, the last one's never first."""
    offsets = list(range(0, size, BLOCK))
    random.Random(size).shuffle(offsets)
    return offsets


def put(target: str, content: bytes, offset: int, flags: int = 0) -> None:
    """Write one block, and have the file open for no longer than that."""
    fd = os.open(target, os.O_WRONLY | flags, 0o644)
    try:
        os.pwrite(fd, content[offset : offset + BLOCK], offset)
    finally:
        os.close(fd)


def preallocate(target: str, size: int) -> None:
    """Reserve the space: the size is the final one, the blocks are unwritten."""
    fd = os.open(target, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.posix_fallocate(fd, 0, size)
    finally:
        os.close(fd)


def pwrite(target: str, content: bytes) -> None:
    """See the module."""
    preallocate(target, len(content))
    offsets = blocks(len(content))
    half = len(offsets) // 2
    for offset in offsets[:half]:
        put(target, content, offset)
    sys.stdin.readline()
    for offset in offsets[half:]:
        put(target, content, offset)


def mapped(target: str, content: bytes) -> None:
    """See the module."""
    preallocate(target, len(content))
    fd = os.open(target, os.O_RDWR)
    view = mmap.mmap(fd, len(content))
    os.close(fd)
    offsets = blocks(len(content))
    half = len(offsets) // 2
    for count, offset in enumerate(offsets):
        if count == half:
            sys.stdin.readline()
        view[offset : offset + BLOCK] = content[offset : offset + BLOCK]
    view.close()


def zeroes(target: str, content: bytes) -> None:
    """See the module."""
    with open(target, "wb") as file:
        file.write(bytes(len(content)))
    for offset in blocks(len(content)):
        threading.Event().wait(PAUSE)
        put(target, content, offset)


def extend(target: str, content: bytes) -> None:
    """See the module."""
    for offset in range(0, len(content), BLOCK):
        put(target, content, offset, os.O_CREAT)
        threading.Event().wait(PAUSE)


def browser(target: str, content: bytes, suffix: str) -> None:
    """See the module. As Firefox does, it also takes the final name at once, empty."""
    open(target, "xb").close()
    half = len(content) // 2
    with open(target + suffix, "wb") as file:
        file.write(content[:half])
        file.flush()
        sys.stdin.readline()
        file.write(content[half:])
    os.replace(target + suffix, target)


def main() -> None:
    """Write as told."""
    how, source, target = sys.argv[1:]
    with open(source, "rb") as file:
        content = file.read()
    match how:
        case "pwrite":
            pwrite(target, content)
        case "mmap":
            mapped(target, content)
        case "zeroes":
            zeroes(target, content)
        case "extend":
            extend(target, content)
        case _:
            browser(target, content, f".{how}")


if __name__ == "__main__":
    main()
