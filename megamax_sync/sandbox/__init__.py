"""The embedded Megamax: a real HTTP server on loopback that does what the API document describes.

It shares no code with the client, so that the two can disagree. Importing this package is cheap;
the web framework is imported when a :class:`Sandbox` is started.
"""

from __future__ import annotations

from megamax_sync.sandbox.catalogue import RemoteRecord
from megamax_sync.sandbox.faults import Fault, FaultScript
from megamax_sync.sandbox.recorder import RequestRecord
from megamax_sync.sandbox.server import Sandbox, serve

__all__ = ["Fault", "FaultScript", "RemoteRecord", "RequestRecord", "Sandbox", "serve"]
