"""The bandwidth limit, as the first page shows and changes it."""

from __future__ import annotations

from megamax_sync.http import words
from megamax_sync.http.auth import FORM_FIELD
from megamax_sync.http.html import Html, join, tag
from megamax_sync.http.layout import FORM, View
from megamax_sync.http.snapshot import Snapshot


def limit(now: Snapshot) -> Html:
    """Say which limit is in force."""
    in_force = now.document["daemon"]["bwlimit"]
    # Bytes a second; 0 for no limit, and None of an instance that has only begun.
    text = words.rate(in_force) if in_force else "no limit"
    source = " (set here)" if now.limit_set is not None else ""
    return tag("p", "Bandwidth: ", tag("strong", text), source, id="limit", class_="dim")


def limit_form(view: View, now: Snapshot) -> Html:
    """Say it, and offer to whoever may to change it."""
    if not view.can_change:
        return limit(now)
    return join(
        limit(now),
        tag(
            "form",
            tag("input", type="hidden", name=FORM_FIELD, value=view.proof),
            tag("input", type="hidden", name="next", value=view.path),
            tag("label", "New limit", for_="bwlimit"),
            tag(
                "input",
                id="bwlimit",
                name="limit",
                value=now.limit_set,
                placeholder="10M, or 08:00,2M 23:00,off",
                autocomplete="off",
                spellcheck="false",
                required=True,
                aria_describedby="limit-help",
            ),
            tag("button", "Set"),
            tag("button", "As configured", form=FORM, formaction="/api/bwlimit?limit=config")
            if now.limit_set is not None
            else None,
            tag(
                "p",
                "A rate as 10M, off for none, or a timetable.",
                id="limit-help",
                class_="dim help",
            ),
            method="post",
            action="/api/bwlimit",
            class_="limit",
        ),
    )
