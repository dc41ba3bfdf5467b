"""The small pages: sign in, and what went wrong."""

from __future__ import annotations

from http import HTTPStatus

from megamax_sync.http import words
from megamax_sync.http.auth import FORM_FIELD
from megamax_sync.http.html import Html, tag
from megamax_sync.http.layout import View, notice, page


def sign_in(view: View, *, wrong: bool) -> Html:
    """Ask for the token. ``wrong``: the one that was given is not it."""
    return page(
        view,
        "Sign in",
        tag(
            "section",
            tag("h1", "Sign in"),
            tag(
                "p",
                "Give the token of this instance: what ",
                tag("code", "MEGAMAX_HTTP_TOKEN"),
                " is set to.",
            ),
            tag("div", notice("bad", "That is not the token."), id="wrong", role="alert")
            if wrong
            else None,
            tag(
                "form",
                tag("input", type="hidden", name=FORM_FIELD, value=view.proof),
                tag("input", type="hidden", name="next", value=view.path),
                tag("label", "Token", for_="token"),
                tag(
                    "input",
                    type="password",
                    id="token",
                    name="token",
                    autocomplete="current-password",
                    required=True,
                    autofocus=True,
                    aria_describedby="wrong" if wrong else None,
                ),
                tag("button", "Sign in", class_="main"),
                method="post",
                action="/sign-in",
                class_="sign-in",
            ),
            class_="card narrow",
        ),
        live=False,
    )


def message(view: View, code: int, text: str) -> Html:
    """Say what went wrong, and lead back."""
    title = {404: "Not here", 503: "Not now"}.get(code, HTTPStatus(code).phrase)
    return page(
        view,
        title,
        tag(
            "section",
            tag("h1", title),
            tag("p", words.said(text)),
            tag("p", tag("a", "To the overview", href="/")),
            class_="card narrow",
        ),
        live=False,
    )
