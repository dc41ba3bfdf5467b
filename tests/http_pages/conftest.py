"""Pages over an empty queue, with and without a token; a browser; their callers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from http_pages.browser import Browser, browser
from http_pages.site import TOKEN, Site, site


@pytest.fixture
def open_site(tmp_path: Path) -> Iterator[Site]:
    """Pages that ask for no token."""
    with site(tmp_path) as made:
        yield made


@pytest.fixture
def kept_site(tmp_path: Path) -> Iterator[Site]:
    """Pages that ask for a token."""
    with site(tmp_path, token=TOKEN) as made:
        yield made


@pytest.fixture
def anybody(open_site: Site) -> Iterator[httpx.Client]:
    """A caller of the open pages."""
    with open_site.client(headers={"accept": "text/html"}) as client:
        yield client


@pytest.fixture
def bearer(kept_site: Site) -> Iterator[httpx.Client]:
    """A program that knows the token."""
    with kept_site.client(headers={"authorization": f"Bearer {TOKEN}".encode()}) as client:
        yield client


@pytest.fixture
def signed_in(kept_site: Site) -> Iterator[httpx.Client]:
    """A person who has signed in, as their browser calls."""
    with kept_site.client(headers={"accept": "text/html"}) as client:
        form = {"token": TOKEN, "proof": proof(client.get("/").text), "next": "/"}
        answer = client.post("/sign-in", data=form, headers={"origin": kept_site.url})
        assert answer.status_code == 303
        yield client


def proof(page: str) -> str:
    """What a page's form brings along."""
    return page.split('name="proof" value="')[1].split('"', maxsplit=1)[0]


@pytest.fixture(scope="session")
def eye(
    require_program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    """A browser with scripts. One for all tests: it takes a second to start."""
    programs = require_program("chromium"), require_program("chromedriver")
    with browser(*programs, tmp_path_factory.mktemp("browser")) as made:
        yield made


@pytest.fixture(scope="session")
def blind_eye(
    require_program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    """A browser with JavaScript off."""
    programs = require_program("chromium"), require_program("chromedriver")
    with browser(*programs, tmp_path_factory.mktemp("browser"), scripts=False) as made:
        yield made
