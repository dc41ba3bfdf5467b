"""The forms in which a secret could be written down, made without the program's own redaction."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus


def forms_of(secret: str) -> list[str]:
    """Return the forms to search for: plain, URL-quoted in several ways, base64, hex, escaped."""
    data = secret.encode()
    quoted = [quote(secret), quote(secret, safe=""), quote(secret, safe="@"), quote_plus(secret)]
    quoted += [quote(one, safe="") for one in quoted]
    everything = "".join(f"%{byte:02X}" for byte in data)
    forms = [secret, *quoted, everything, everything.lower(), data.hex(), data.hex().upper()]
    forms += [_lower_escapes(one) for one in quoted]
    forms += [json.dumps(secret)[1:-1], ascii(secret)[1:-1], repr(data)[2:-1]]
    forms += [secret.replace("/", "\\/")]
    for offset in range(3):
        # What only the secret decides, wherever in a longer text it stands.
        text = base64.b64encode(bytes(offset) + data).decode()
        stable = text[(offset * 8 + 5) // 6 : (offset + len(data)) * 8 // 6]
        forms += [stable, stable.replace("+", "-").replace("/", "_")]
    return sorted(set(forms))


def _lower_escapes(text: str) -> str:
    """``%2B`` as ``%2b``."""
    parts = text.split("%")
    return "%".join([parts[0], *(part[:2].lower() + part[2:] for part in parts[1:])])
