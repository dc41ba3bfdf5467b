"""Writes the example units: ``python -m megamax_sync.service deploy/systemd``."""

from __future__ import annotations

import os
import sys

from megamax_sync.service.units import examples


def main(folder: str) -> None:
    """Write them all below ``folder``."""
    for name, text in examples().items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main(sys.argv[1])
