"""The HTTP surface: each call of the API document, and the direct links."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import time
from collections.abc import Callable
from concurrent.futures import Executor
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from megamax_sync.sandbox import uploads
from megamax_sync.sandbox.account import Account, split_name
from megamax_sync.sandbox.catalogue import STAGES, StoredFile
from megamax_sync.sandbox.faults import Fault, FaultKind

P = ParamSpec("P")
T = TypeVar("T")

#: Where :class:`~megamax_sync.sandbox.gate.Gate` leaves a fault that a handler has to act out.
FAULT_KEY = "megamax.fault"

_STATUSES = (*STAGES, "failed")


class DirectFile(FileResponse):
    """Larger pieces than the framework's: one thread hop for each."""

    chunk_size = 1024 * 1024


def envelope(result: object, *, status: int = 200, message: str = "OK") -> JSONResponse:
    """The document's answer; every status from 300 on is an error."""
    word = "success" if status < 300 else "error"
    return JSONResponse({"status": word, "message": message, "result": result}, status)


def stamp(moment: float) -> str:
    """The document's long date: ``2023-04-15T03:15:21.000000Z``."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def short_stamp(moment: float) -> str:
    """The mirrors' date: ``2023-04-13 22:46:37``."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")


def mirrors_of(stored: StoredFile, appeared: float) -> list[dict[str, object]]:
    """The mirrors of a file: made up, but always the same for the same file."""
    digest = hashlib.sha256(stored.hashid.encode()).hexdigest()
    number = int(digest[:16], 16) % 10**13
    box, lare = digest[16:28], digest[28:44]
    links = (
        ("ok", f"//ok.ru/videoembed/{number:013}", None),
        ("uptobox", f"//uptostream.com/iframe/{box}", f"https://uptobox.com/{box}"),
        ("streamlare", f"//streamlare.com/e/{lare}", f"//streamlare.com/v/{lare}"),
    )
    mirrors = [
        {
            "driver": driver,
            "iframe": iframe,
            "link": link,
            "uploaded_at": short_stamp(appeared),
            "checked_at": None,
        }
        for driver, iframe, link in links
    ]
    return [{"title": "source", "size": stored.size, "mirrors": mirrors}]


def parse_folder(text: str | None) -> int | None:
    """A folder's ID; none for an empty one, and for what curl sends where ``{folder}`` was null."""
    if text is None or text.strip() in ("", "null"):
        return None
    with contextlib.suppress(ValueError):
        number = int(text)
        if 0 <= number < 2**63:
            return number
    raise HTTPException(422, "The folder must be an integer.")


async def _parameters(request: Request) -> dict[str, str]:
    found = dict(request.query_params)
    if request.method == "POST":
        async with request.form() as form:
            for name, value in form.items():
                if isinstance(value, str):
                    found.setdefault(name, value)
    return found


class Api:
    """The handlers. ``base_url`` is the scheme and authority that links are made with."""

    def __init__(self, account: Account, base_url: str, pool: Executor) -> None:
        self._account = account
        self._base_url = base_url
        self._pool = pool

    async def file(self, request: Request) -> Response:
        """``file/get/{hashid}``."""
        await self._authorised(request)
        return envelope(self._describe(await self._find(request), time.time()))

    async def files(self, request: Request) -> Response:
        """``file/get``: newest first; without a folder, the files of all of them."""
        parameters = await self._authorised(request)
        folder = parse_folder(parameters.get("folder"))
        status = parameters.get("status") or None
        if status is not None and status not in _STATUSES:
            raise HTTPException(422, "The selected status is invalid.")
        fault: Fault | None = request.scope.get(FAULT_KEY)
        hidden = fault.seconds if fault and fault.kind is FaultKind.HIDE_NEW else 0.0
        return await self._run(self._list, folder, status, hidden)

    async def generate(self, request: Request) -> Response:
        """``file/upload/generate``."""
        await self._authorised(request)
        token = await self._run(self._account.issue_upload_token)
        return envelope(f"{self._base_url}/endpoint/file/upload/{token}")

    async def upload(self, request: Request) -> Response:
        """The generated URL: uses it up whatever comes of it, and stores the file."""
        if not await self._run(self._account.claim_upload_token, request.path_params["token"]):
            raise HTTPException(410, "This upload URL was used, has expired or never existed.")
        target = self._account.incoming_path()
        try:
            form = await uploads.receive(
                request.stream(),
                request.headers.get("content-type", ""),
                target,
                knows=self._account.knows,
                pool=self._pool,
            )
            folder = parse_folder(form.fields.get("folder"))
            fault: Fault | None = request.scope.get(FAULT_KEY)
            delta = fault.delta if fault else 0
            keep = functools.partial(
                self._account.keep,
                target,
                form.name,
                size=form.size + delta,
                folder=folder,
                content_type=form.content_type,
            )
            record = await self._run(keep)
        except uploads.BadFormError as exc:
            raise HTTPException(422, str(exc)) from exc
        except uploads.WrongCredentialsError as exc:
            raise HTTPException(401, "Wrong login or key.") from exc
        finally:
            target.unlink(missing_ok=True)
        return envelope(
            {
                "hashid": record.hashid,
                "folder": record.folder,
                "name": record.name,
                "ext": record.ext,
                "mimeType": record.mime_type,
                "size": record.size,
                "status": record.status,
                "uploaded_at": stamp(int(record.created_at)),
            }
        )

    async def mirrors(self, request: Request) -> Response:
        """``mirror/get/{hashid}``: an empty list until there are any."""
        await self._authorised(request)
        stored = await self._find(request)
        now = time.time()
        appeared = stored.converted_at(self._account.step) + self._account.mirror_delay
        converted = stored.status(now, self._account.step) == "converted"
        return envelope(mirrors_of(stored, appeared) if converted and appeared <= now else [])

    async def direct(self, request: Request) -> Response:
        """``file/get/{hashid}/direct``: 403 without a premium plan, 409 before conversion."""
        await self._authorised(request)
        stored = await self._find(request)
        if not self._account.premium:
            raise HTTPException(403, "Upgrade to a premium plan to get direct links.")
        now = time.time()
        if stored.status(now, self._account.step) != "converted":
            raise HTTPException(409, "The file is not converted yet.")
        expires_at = now + self._account.link_ttl
        sign = functools.partial(
            self._account.signer.sign, int(expires_at), stored.hashid, stored.name
        )
        link = {
            "label": "source",
            "size": stored.size,
            "stream": self._base_url + sign(download=False),
            "download": self._base_url + sign(download=True),
            "expires_at": stamp(expires_at),
        }
        return envelope([link])

    async def stream(self, request: Request) -> Response:
        """A direct link: the bytes, with Range; no credentials but the signature."""
        download = request.query_params.get("dl") == "1"
        signature = request.query_params.get("signature", "")
        if not self._account.signer.valid(request.url.path, signature, download=download):
            raise HTTPException(403, "Invalid signature.")
        if request.path_params["expires"] <= time.time():
            raise HTTPException(403, "This link has expired.")
        record = self._account.record(await self._find(request))
        if request.method == "GET" and not download:
            await self._run(self._account.catalogue.count_view, record.hashid)
        return DirectFile(
            record.path,
            media_type=record.mime_type,
            filename=record.name,
            content_disposition_type="attachment" if download else "inline",
        )

    async def _authorised(self, request: Request) -> dict[str, str]:
        parameters = await _parameters(request)
        if not self._account.knows(parameters.get("login", ""), parameters.get("key", "")):
            raise HTTPException(401, "Wrong login or key.")
        return parameters

    async def _find(self, request: Request) -> StoredFile:
        stored = await self._run(self._account.catalogue.get, request.path_params["hashid"])
        if stored is None:
            raise HTTPException(404, "File not found.")
        return stored

    async def _run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        job = functools.partial(call, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._pool, job)

    def _list(self, folder: int | None, status: str | None, hidden: float) -> Response:
        now = time.time()
        step = self._account.step
        return envelope(
            [
                self._describe(stored, now)
                for stored in reversed(self._account.catalogue.files())
                if (folder is None or stored.folder == folder)
                and (status is None or stored.status(now, step) == status)
                and now - stored.created_at >= hidden
            ]
        )

    def _describe(self, stored: StoredFile, now: float) -> dict[str, Any]:
        return {
            "hashid": stored.hashid,
            "name": split_name(stored.name)[0],
            "type": "video",
            "size": stored.size,
            "views": stored.views,
            "poster": stored.poster,
            "status": stored.status(now, self._account.step),
            # The service's database keeps whole seconds, and so every date of the document's
            # lists ends in .000000.
            "created_at": stamp(int(stored.created_at)),
        }


async def _on_http_exception(_request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    response = envelope(None, status=exc.status_code, message=exc.detail)
    response.headers.update(exc.headers or {})
    return response


def build_app(account: Account, base_url: str, pool: Executor) -> Starlette:
    """The application. The routes' names are the names of the calls."""
    api = Api(account, base_url, pool)
    both = ["GET", "POST"]
    routes = [
        Route("/api/file/upload/generate", api.generate, methods=both, name="generate"),
        Route("/api/file/get", api.files, methods=both, name="files"),
        Route("/api/file/get/{hashid}", api.file, methods=both, name="file"),
        Route("/api/file/get/{hashid}/direct", api.direct, methods=both, name="direct"),
        Route("/api/mirror/get/{hashid}", api.mirrors, methods=both, name="mirrors"),
        Route("/endpoint/file/upload/{token}", api.upload, methods=["POST"], name="upload"),
        Route(
            f"/attach/{account.signer.account}/{{expires:int}}/{{hashid}}/{{name}}",
            api.stream,
            methods=["GET"],
            name="stream",
        ),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _on_http_exception})
    app.router.redirect_slashes = False
    return app
