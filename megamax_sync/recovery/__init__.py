"""What is done about loss: of the queue, at a start or while it is at work, and of sidecars.

``opening`` opens the queue, or makes another in its place, ``evidence`` says what has been uploaded
by files without a job, ``keeper`` is the loop that notices what is lost meanwhile, ``upkeep`` the
part of it that looks after the sidecars.
"""

from __future__ import annotations

from megamax_sync.recovery.evidence import Evidence
from megamax_sync.recovery.keeper import Keeper
from megamax_sync.recovery.opening import open_queue

__all__ = ["Evidence", "Keeper", "open_queue"]
