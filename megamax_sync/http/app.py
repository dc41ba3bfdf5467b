"""The application: which path shows or does what, and who may."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection
from importlib import resources
from typing import Any

import anyio.to_thread
import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    JSONResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from megamax_sync.errors import MegamaxError
from megamax_sync.http import detail, listing, overview, snapshot
from megamax_sync.http.auth import COOKIE, COOKIE_SECONDS, FORM_FIELD, Keeper, Proof, from_here
from megamax_sync.http.exchange import (
    as_page,
    client_of,
    gone,
    local,
    no_more,
    path_of,
    read_form,
    wants_page,
)
from megamax_sync.http.guard import Guard, TooLong
from megamax_sync.http.instance import Instance
from megamax_sync.http.layout import View
from megamax_sync.http.live import Broadcast, Full, Look
from megamax_sync.http.metrics import Metrics
from megamax_sync.http.orders import Orders, Refused
from megamax_sync.http.pages import message, sign_in
from megamax_sync.http.throughput import SAMPLE_SECONDS, Throughput
from megamax_sync.status import status

_log = structlog.get_logger()

#: The only files that are ever served, by their names; all of them lie in the package.
_STATIC = {
    "app.css": "text/css; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
#: The most jobs that /api/status lists, as status does unless told otherwise.
_LISTED = 100
#: Jobs that have moved between two looks and are named; a list that is shown is loaded anew anyway.
_MOST_MOVED = 200

#: Requests that read the queue at a time.
_THREADS = 3

Answer = Callable[[Request], Any]


class _Number(Convertor[int]):
    """A job's number. Longer ones SQLite does not know, and Python refuses to read much longer."""

    regex = "[0-9]{1,18}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("number", _Number())


class Application:
    """Builds the ASGI application of one instance."""

    def __init__(
        self, instance: Instance, *, token: str | None, hosts: Collection[str], local: bool
    ) -> None:
        """``hosts``: names under which it may be called. ``local``: only from this machine."""
        self._instance = instance
        self._keeper = Keeper(token, instance.clock.wall)
        # Without a token, links that give files away are for this machine's own users alone.
        self._direct = local or self._keeper.asks
        self._orders = Orders(instance)
        self._metrics = Metrics(instance)
        self.throughput = Throughput(instance.clock.monotonic(), instance.meters.bytes_sent)
        self.broadcast = Broadcast(self._look)
        self._step: int | None = None
        self._files = {
            name: (resources.files("megamax_sync.http") / "static" / name).read_bytes()
            for name in _STATIC
        }
        self.app = Starlette(
            routes=[
                Route("/healthz", self._healthz),
                Route("/metrics", self._shown(self._render_metrics)),
                Route("/", self._shown(self._overview)),
                Route("/jobs", self._shown(self._jobs)),
                Route("/jobs/{job:number}", self._shown(self._job)),
                Route("/api/status", self._shown(self._status)),
                Route("/api/events", self._shown(self._events, in_thread=False)),
                Route("/api/pause", self._ordered(self._orders.pause), methods=["POST"]),
                Route("/api/resume", self._ordered(self._orders.resume), methods=["POST"]),
                Route("/api/bwlimit", self._ordered(self._orders.bwlimit), methods=["POST"]),
                Route(
                    "/api/jobs/{job:number}/retry",
                    self._ordered(self._orders.retry),
                    methods=["POST"],
                ),
                Route("/sign-in", self._sign_in, methods=["POST"]),
                Route("/sign-out", self._sign_out, methods=["POST"]),
                Route("/static/{name}", self._static),
            ],
            middleware=[Middleware(Guard, hosts=hosts)],
            exception_handlers={
                TooLong: no_more,
                ClientDisconnect: gone,
                MegamaxError: self._unavailable,
                HTTPException: self._refused,
            },
            lifespan=self._lifespan,
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        # Each thread that reads the queue has a cache of its own: a few are enough, and bounded.
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        sampling = asyncio.create_task(self._sample())
        try:
            yield
        finally:
            sampling.cancel()

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            now = self._instance.clock.monotonic()
            self.throughput.sample(now, self._instance.meters.bytes_sent)

    # -- who may -----------------------------------------------------------------------------

    def _shown(self, answer: Answer, *, in_thread: bool = True) -> Callable[[Request], Any]:
        """Answer those who may see."""

        async def endpoint(request: Request) -> Response:
            if self._keeper.asks and self._keeper.proof(request) is Proof.NOTHING:
                return self._ask_for_token(request)
            if not in_thread:
                response: Response = await answer(request)
                return response
            return await run_in_threadpool(answer, request)

        return endpoint

    def _ordered(self, order: Callable[[Request, dict[str, str]], str]) -> Callable[[Request], Any]:
        """Carry an order out for those who may give it."""

        async def endpoint(request: Request) -> Response:
            if not self._keeper.asks:
                raise HTTPException(403, "set MEGAMAX_HTTP_TOKEN: without it the pages only show")
            proof = self._keeper.proof(request)
            if proof is Proof.NOTHING:
                return self._ask_for_token(request)
            form = await read_form(request)
            if proof is Proof.COOKIE:
                self._require_our_form(request, form)
            try:
                said = await run_in_threadpool(order, request, form)
            except Refused as refused:
                raise HTTPException(refused.status, str(refused)) from None
            _log.info("http.ordered", order=request.url.path, client=client_of(request))
            if proof is Proof.COOKIE:
                return RedirectResponse(local(form.get("next")), 303)
            return JSONResponse({"ok": True, "message": said})

        return endpoint

    def _require_our_form(self, request: Request, form: dict[str, str]) -> None:
        # The cookie comes along by itself; that the request was meant has to be shown.
        given = form.get(FORM_FIELD) or request.headers.get("x-form-proof", "")
        if not from_here(request) or not self._keeper.is_form(request, given):
            raise HTTPException(403, "this does not come from a page of this server; load it again")

    def _ask_for_token(self, request: Request) -> Response:
        headers = {"www-authenticate": "Bearer"}
        if not wants_page(request):
            return JSONResponse({"error": "a token is needed"}, 401, headers)
        view = self._view(request, path=path_of(request), shows=False)
        return as_page(sign_in(view, wrong=False), 401, headers)

    async def _sign_in(self, request: Request) -> Response:
        form = await read_form(request)
        if not self._keeper.asks:
            raise HTTPException(403, "there is no token to sign in with: MEGAMAX_HTTP_TOKEN")
        self._require_our_form(request, form)
        target = local(form.get("next"))
        if not self._keeper.is_token(form.get("token", "").strip()):
            _log.warning("http.sign_in_failed", client=client_of(request))
            view = self._view(request, path=target, shows=False)
            return as_page(sign_in(view, wrong=True), 401)
        response = RedirectResponse(target, 303)
        response.set_cookie(
            COOKIE,
            self._keeper.sign_in(),
            max_age=COOKIE_SECONDS,
            path="/",
            httponly=True,
            samesite="strict",
        )
        return response

    async def _sign_out(self, request: Request) -> Response:
        self._require_our_form(request, await read_form(request))
        response = RedirectResponse("/", 303)
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return response

    def _view(self, request: Request, *, path: str | None = None, shows: bool = True) -> View:
        signed_in = shows and self._keeper.proof(request) is Proof.COOKIE
        return View(
            path=path or path_of(request),
            can_change=shows and self._keeper.asks,
            has_token=self._keeper.asks,
            proof=self._keeper.form_proof(request) if self._keeper.asks else "",
            signed_in=signed_in,
        )

    # -- pages -------------------------------------------------------------------------------

    def _overview(self, request: Request) -> Response:
        now = snapshot.take(self._instance, self.throughput)
        return as_page(overview.overview(self._view(request), now))

    def _jobs(self, request: Request) -> Response:
        query = listing.Query.of(dict(request.query_params))
        live = self._instance.live()
        uploads = {one["job"]: one for one in live["uploads"]}
        with self._instance.read() as store:
            listed, counts = listing.find(store, query), store.views.counts()
        now = self._instance.clock.wall()
        view = self._view(request)
        return as_page(
            listing.listing(view, query, listed, counts=counts, uploads=uploads, now=now)
        )

    def _job(self, request: Request) -> Response:
        with self._instance.read() as store:
            number = request.path_params["job"]
            found = detail.find(store, number)
        if found is None:
            raise HTTPException(404, "there is no job of this number")
        uploads = {one["job"]: one for one in self._instance.live()["uploads"]}
        now = self._instance.clock.wall()
        view = self._view(request)
        return as_page(detail.detail(view, found, uploads.get(number), now, direct=self._direct))

    # -- for programs ------------------------------------------------------------------------

    def _healthz(self, _request: Request) -> Response:
        health = snapshot.health(self._instance)
        content = {"healthy": health.healthy, "stuck": list(health.stuck), "reason": health.reason}
        return JSONResponse(content, 200 if health.healthy else 503)

    def _render_metrics(self, request: Request) -> Response:
        content, content_type = self._metrics.render(request.headers.get("accept"))
        return Response(content, headers={"content-type": content_type})

    def _status(self, _request: Request) -> Response:
        live, now = self._instance.live(), self._instance.clock.wall()
        with self._instance.read() as store:
            return JSONResponse(status(store, live, now=now, limit=_LISTED))

    async def _events(self, request: Request) -> Response:
        try:
            events = await self.broadcast.watch(parts=request.query_params.get("parts") == "1")
        except Full:
            raise HTTPException(503, "too many watch already") from None
        return StreamingResponse(events, media_type="text/event-stream")

    def _look(self) -> Look:
        now = snapshot.take(self._instance, self.throughput)
        moved: list[int] = []
        if self._step is not None and now.step > self._step:
            with self._instance.read() as store:
                moved = store.pages.moved(self._step, _MOST_MOVED)
        self._step = now.step
        return Look(now.document, overview.regions(now, self._keeper.asks), moved)

    def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._files:
            raise HTTPException(404, "there is no such file")
        return Response(self._files[name], headers={"content-type": _STATIC[name]})

    # -- what goes wrong ---------------------------------------------------------------------

    def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return self._error(request, error.status_code, error.detail, error.headers)

    def _unavailable(self, request: Request, error: Exception) -> Response:
        return self._error(request, 503, str(error), None)

    def _error(self, request: Request, code: int, text: str, headers: Any) -> Response:
        if not wants_page(request):
            return JSONResponse({"error": text}, code, headers)
        shows = not self._keeper.asks or self._keeper.proof(request) is not Proof.NOTHING
        view = self._view(request, path="/", shows=shows)
        return as_page(message(view, code, text), code, headers)
