"""Watches folders and uploads every finished video to Megamax, exactly once.

The package is a program first (``megamax-sync``, see README.md) and a library second: the part
that stands alone is :class:`megamax_sync.api.MegamaxClient`.
"""

__version__ = "0.1.0"
