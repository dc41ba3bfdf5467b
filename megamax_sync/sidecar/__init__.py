"""The sidecar: a video's links, in a JSON file beside it (CONTRACT section 4).

``document`` says what stands in it, ``placement`` where it stands.
"""

from __future__ import annotations

from megamax_sync.sidecar.document import (
    Direct,
    Sidecar,
    account_mark,
    direct_json,
    direct_of,
    encode,
    generate_schema,
    mirrors_json,
    mirrors_of,
    parts_json,
    read,
    render,
    schema,
)
from megamax_sync.sidecar.placement import Placement, beside, sidecar_name

__all__ = [
    "Direct",
    "Placement",
    "Sidecar",
    "account_mark",
    "beside",
    "direct_json",
    "direct_of",
    "encode",
    "generate_schema",
    "mirrors_json",
    "mirrors_of",
    "parts_json",
    "read",
    "render",
    "schema",
    "sidecar_name",
]
