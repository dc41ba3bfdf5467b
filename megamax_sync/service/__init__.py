"""systemd's unit files for this program, and their putting in place and taking away."""

from __future__ import annotations

from megamax_sync.service.install import Outcome, install, listed, remove
from megamax_sync.service.plan import File, Places, Plan, plan

__all__ = ["File", "Outcome", "Places", "Plan", "install", "listed", "plan", "remove"]
