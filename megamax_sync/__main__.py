"""``python -m megamax_sync`` is ``megamax-sync``."""

from __future__ import annotations

import sys

from megamax_sync.cli import main

if __name__ == "__main__":
    sys.exit(main())
