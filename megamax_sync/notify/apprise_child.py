"""Speaks to Apprise, in a process of its own: it is large, and what hangs can be killed.

stdin is ``{"urls": […], "title": …, "body": …}``. With the argument ``check`` nothing is sent, and
the numbers of the addresses that Apprise does not understand are printed.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence

#: Exit statuses, besides 0.
NOT_SENT, NOT_UNDERSTOOD, NOT_INSTALLED = 10, 11, 12


def main(arguments: Sequence[str]) -> int:
    """Do it; return the exit status."""
    # What Apprise says may hold addresses, and those are secrets.
    logging.disable(logging.CRITICAL)
    try:
        from apprise import Apprise, NotifyFormat
    except ImportError:
        return NOT_INSTALLED
    given = json.load(sys.stdin)
    wrong = [
        number
        for number, url in enumerate(given["urls"], 1)
        if not isinstance(url, str) or Apprise.instantiate(url) is None
    ]
    if wrong:
        sys.stdout.write(" ".join(map(str, wrong)))
        return NOT_UNDERSTOOD
    if arguments == ["check"]:
        return 0
    sender = Apprise()
    for url in given["urls"]:
        sender.add(url)
    sent = sender.notify(title=given["title"], body=given["body"], body_format=NotifyFormat.TEXT)
    return 0 if sent else NOT_SENT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
