"""Requests read, and answers made, in the ways that all of the application's paths share."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from megamax_sync.http.guard import too_long
from megamax_sync.http.html import Html, document


def as_page(root: Html, code: int = 200, headers: Any = None) -> Response:
    """Answer with a page."""
    return HTMLResponse(document(root), code, headers)


def wants_page(request: Request) -> bool:
    """Tell whether a person's browser asks, to whom JSON says little."""
    return "text/html" in request.headers.get("accept", "")


def path_of(request: Request) -> str:
    """Return the path that was asked for, with its query; one of ours."""
    query = request.url.query
    path = request.url.path
    return local(f"{path}?{query}" if query else path)


def local(path: str | None) -> str:
    """Return where to go after a form: a path of ours, never another site."""
    safe = path is not None and path.startswith("/") and path.isprintable() and path.isascii()
    if path is None or not safe or path[1:2] in {"/", "\\"} or path.startswith(("/api/", "/sign-")):
        return "/"
    return path


async def read_form(request: Request) -> dict[str, str]:
    """Read a form, and what the path's query says; files are none of ours."""
    given = dict(request.query_params)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        body = (await request.body()).decode("utf-8", "replace")
        given |= dict(parse_qsl(body, keep_blank_values=True, errors="replace"))
    return given


def client_of(request: Request) -> str | None:
    """Say who asks, for the log."""
    return request.client.host if request.client else None


def no_more(_request: Request, _error: Exception) -> Response:
    """Answer a body that grows beyond its bound."""
    return too_long()


def gone(_request: Request, _error: Exception) -> Response:
    """Answer somebody who has gone."""
    # Nobody is there to read it.
    return Response(status_code=400)
