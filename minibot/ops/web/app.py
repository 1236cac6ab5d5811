"""Application of the page: its files, `/api/v1`, `/metrics` and the stream of live figures.

Paths that freqtrade has too answer with its names (`ops.web.paths`). What acts leaves a request
file, as every operator's verb does; nothing here writes an event or forces an entry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from importlib import resources
from typing import Annotated, Any, Final

from fastapi import Body, FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from minibot import __version__
from minibot.events.model import JsonObject
from minibot.events.reasons import REASONS
from minibot.kernel import canonical
from minibot.kernel.errors import Refusal, RunStop
from minibot.ops import actions
from minibot.ops.one_time_code import Codes
from minibot.ops.run_health import flag_of, last_incident, roles_of
from minibot.ops.web import live_documents
from minibot.ops.web.access import TOKEN_CHARS_MAX, Guarded
from minibot.ops.web.freqtrade_paths import NO_ENTRY
from minibot.ops.web.prometheus import Known, metrics_text
from minibot.ops.web.run_history import RunHistory
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var
from minibot.watchdog.requests import END

API: Final = "/api/v1"
ASSETS: Final = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
REFUSED_CODE: Final = "/#refused"
"""Where a browser is sent whose code is not taken: the page says so."""
HTML: Final = "text/html; charset=utf-8"
STREAMS_MAX: Final = 20
STREAM_S: Final = 1.0
TRADES_MAX: Final = 500
SECRETS: Final = frozenset({"secrets", "alerts"})
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Live:
    """Newest status of a run, as the server's threads read it.

    Attributes:
        status: The newest status; None before the first.
        taken_s: When it came, seconds of `time.monotonic`.
        streamed: Server-sent events written so far.
        streams: Streams that are open.
    """

    def __init__(self) -> None:
        self.status: JsonObject | None = None
        self.taken_s = 0.0
        self.streamed = 0
        self.streams = 0
        self.is_closed = False

    def take(self, status: JsonObject) -> None:
        """Take a new status."""
        self.status, self.taken_s = status, time.monotonic()

    def age_ms(self) -> int:
        """Return the age of the newest status in milliseconds."""
        return int((time.monotonic() - self.taken_s) * 1000)


def app_of(
    manifest: Manifest,
    var: Var,
    live: Live,
    history: RunHistory,
    codes: Codes,
    metrics_of: Callable[[], JsonObject],
) -> FastAPI:
    """Return the application of one run, without its guard.

    Args:
        manifest: Of the run.
        var: Its folder.
        live: Its newest status.
        history: Its fills, incidents, prices and equity.
        codes: One-time codes for the cookie.
        metrics_of: Returns the content of `var/metrics/metrics.json`; empty before the first.
    """
    app = FastAPI(
        title="minibot",
        version=__version__,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    risk = manifest.config["risk"]

    def status() -> JsonObject:
        if live.status is None:
            raise Refusal("the run has told no status yet.", "Ask again in a second.")
        return live.status

    @app.exception_handler(Refusal)
    def refused(request: Request, error: Refusal) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=409)

    @app.exception_handler(RunStop)
    def damaged(request: Request, error: RunStop) -> JSONResponse:
        return JSONResponse({"detail": f"{error.reason_code}: {error.detail}"}, status_code=500)

    # --- the page -----------------------------------------------------------------------------

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return Response(_asset("page.html"), media_type=HTML)

    @app.get("/assets/{name}", include_in_schema=False)
    def asset(name: str) -> Response:
        if name not in ASSETS:
            return JSONResponse({"detail": "there is no such file"}, status_code=404)
        return Response(_asset(name), media_type=ASSETS[name])

    @app.post("/login", include_in_schema=False)
    async def login(request: Request) -> Response:
        given = (await request.body()).decode("latin-1")[:TOKEN_CHARS_MAX]
        if not codes.take(given.removeprefix("code=").strip()):
            if "text/html" in request.headers.get("accept", ""):
                return RedirectResponse(REFUSED_CODE, status_code=303)
            return JSONResponse({"detail": "this code is used or too old"}, status_code=401)
        answer = RedirectResponse("/", status_code=303)
        guard: Guarded = app.state.guard
        answer.set_cookie(guard.cookie, guard.session, httponly=True, samesite="strict", path="/")
        return answer

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        health = roles_of(var, var.run(manifest.run_id))
        provider = str(manifest.config.get("venue", "binance"))
        known = Known(status(), live.age_ms(), metrics_of(), health, provider, live.streamed)
        return Response(metrics_text(known), media_type=METRICS_TYPE)

    # --- what freqtrade has too ---------------------------------------------------------------

    @app.get(f"{API}/ping")
    def ping() -> JsonObject:
        return {"status": "pong"}

    @app.get(f"{API}/version")
    def version() -> JsonObject:
        return {"version": __version__}

    @app.get(f"{API}/count")
    def count() -> JsonObject:
        return live_documents.count_document(status(), int(risk["positions_max"]))

    @app.get(f"{API}/balance")
    def balance() -> JsonObject:
        return live_documents.balance_document(status())

    @app.get(f"{API}/status")
    def open_trades() -> list[JsonObject]:
        return live_documents.open_trades(status())

    @app.get(f"{API}/profit")
    def profit() -> JsonObject:
        return live_documents.profit_document(status(), history.look())

    @app.get(f"{API}/trades")
    def trades(limit: int = TRADES_MAX, offset: int = 0) -> JsonObject:
        closed = [trade for trade in history.look() if trade.is_closed]
        begin = max(0, offset)
        shown = closed[begin : begin + max(0, min(limit, TRADES_MAX))]
        return {
            "trades": [
                live_documents.closed_trade(begin + n, each) for n, each in enumerate(shown, 1)
            ],
            "trades_count": len(shown),
            "offset": begin,
            "total_trades": len(closed),
        }

    @app.get(f"{API}/performance")
    def performance() -> list[JsonObject]:
        return live_documents.performance_document(history.look())

    @app.get(f"{API}/whitelist")
    def whitelist() -> JsonObject:
        symbols = sorted(status()["market"].get("symbols") or manifest.symbols)
        method = "universe" if manifest.config.get("universe") else "symbols"
        return {"whitelist": symbols, "length": len(symbols), "method": [method]}

    @app.get(f"{API}/health")
    def health() -> JsonObject:
        return live_documents.health_document(status())

    @app.get(f"{API}/show_config")
    def show_config() -> JsonObject:
        told = {name: each for name, each in manifest.config.items() if name not in SECRETS}
        return {
            "version": __version__,
            "dry_run": True,
            "stake_currency": manifest.config["portfolio"]["quote_asset"],
            "strategy": manifest.config["strategy"]["name"],
            "timeframe": manifest.config["strategy"]["bar_interval"],
            "exchange": str(manifest.config.get("venue", "binance")),
            "max_open_trades": risk["positions_max"],
            "state": "running" if status()["ended"] is None else "stopped",
            "profile": told,
        }

    @app.post(f"{API}/stopentry")
    @app.post(f"{API}/stopbuy", include_in_schema=False)
    def stop_entry() -> JsonObject:
        return {"status": actions.act(var, manifest.run_id, "halt", why="API")}

    @app.post(f"{API}/start")
    def start() -> JsonObject:
        return {"status": actions.act(var, manifest.run_id, "resume", why="API")}

    @app.post(f"{API}/stop")
    def stop() -> JsonObject:
        return {"status": actions.act(var, manifest.run_id, END, why="API")}

    @app.post(f"{API}/forceenter")
    @app.post(f"{API}/forcebuy", include_in_schema=False)
    def force_enter() -> JSONResponse:
        return JSONResponse({"detail": NO_ENTRY}, status_code=403)

    # --- minibot's own ------------------------------------------------------------------------

    @app.get(f"{API}/live")
    def live_figures() -> JsonObject:
        return live_documents.live_document(status(), live.age_ms())

    @app.get(f"{API}/stream", include_in_schema=False)
    async def stream() -> Response:
        if live.streams >= STREAMS_MAX:
            return JSONResponse({"detail": "too many pages are open"}, status_code=503)
        return StreamingResponse(_events(live), media_type="text/event-stream")

    @app.get(f"{API}/chart")
    def chart(symbol: str, since: int = 0) -> JsonObject:
        history.look()
        marks = [mark for mark in history.marks if mark["symbol"] == symbol and mark["ts"] > since]
        return {"symbol": symbol, "prices": history.prices(symbol, since), "fills": marks}

    @app.get(f"{API}/equity")
    def equity(since: int = 0) -> JsonObject:
        return {"equity": history.equity(since)}

    @app.get(f"{API}/incidents")
    def incidents() -> JsonObject:
        history.look()
        return {"incidents": list(history.told), "last": last_incident(var.run(manifest.run_id))}

    @app.get(f"{API}/stops")
    def stops() -> JsonObject:
        ended, flag = status()["ended"], flag_of(var)
        code = None if ended is None else ended["reason_code"]
        reason = REASONS.get(code) if code else None
        return {
            "ended": ended,
            "flag": flag,
            "meaning": None if reason is None else reason.meaning,
            "remedy": None if reason is None else reason.remedy,
        }

    @app.post(f"{API}/act/{{kind}}")
    def act(
        kind: str,
        why: Annotated[str, Body(max_length=2000)] = "",
        symbol: Annotated[str | None, Body(max_length=40)] = None,
        minutes: Annotated[int | None, Body()] = None,
    ) -> JsonObject:
        said = actions.act(var, manifest.run_id, kind, why=why, symbol=symbol, minutes=minutes)
        return {"status": said}

    return app


async def _events(live: Live) -> AsyncIterator[bytes]:
    """Yield the live figures as server-sent events; a slow reader gets fewer, never older ones."""
    live.streams += 1
    try:
        sent: Any = None
        while not live.is_closed:
            if live.status is not None and live.status is not sent:
                sent = live.status
                document = live_documents.live_document(sent, live.age_ms())
                live.streamed += 1
                yield b"data: " + canonical.encode(document) + b"\n\n"
            else:
                yield b": still here\n\n"
            await asyncio.sleep(STREAM_S)
    finally:
        live.streams -= 1


def _asset(name: str) -> bytes:
    return resources.files("minibot.ops.web").joinpath("assets", name).read_bytes()


def guarded(app: FastAPI, token: str, port: int, run_id: str) -> Guarded:
    """Return the application behind its guard."""
    guard = Guarded(app, token, port, run_id)
    app.state.guard = guard
    return guard
