"""Application of the page: its files, its login, `/metrics`, and the routes of `/api/v1`.

Paths that freqtrade has too answer with its names (`ops.web.freqtrade_paths`). What acts leaves a
request file, as every operator's verb does; nothing here writes an event or forces an entry.
"""

from __future__ import annotations

from html import escape
from importlib import resources
from typing import Any, Final
from urllib.parse import unquote_plus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from minibot import __version__
from minibot.cores.core_profile import venue_name
from minibot.kernel.errors import ConfigError, Refusal, RunStop
from minibot.ops.data_age import silence_ms
from minibot.ops.one_time_code import Codes
from minibot.ops.run_health import health_of
from minibot.ops.web.access import ASSETS, TOKEN_CHARS_MAX, Guarded
from minibot.ops.web.freqtrade_routes import freqtrade_routes
from minibot.ops.web.nights import NoSuchNight
from minibot.ops.web.prometheus import Known, metrics_text
from minibot.ops.web.run_routes import HTML, run_routes
from minibot.ops.web.run_view import RunView
from minibot.runtime.command_place import Place, place_from_afar

API: Final = "/api/v1"
FILES: Final = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "lightweight-charts.js": "text/javascript; charset=utf-8",
    "chart.js": "text/javascript; charset=utf-8",
    "settings.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
REFUSED_CODE: Final = "/#refused"
"""Address for a browser whose code was refused: the page says so."""
REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "The body cannot be read."},
    401: {"description": "Neither token nor cookie is good."},
    403: {"description": "Another host, site or form asks, or an entry would be forced."},
    404: {"description": "There is no such path or run."},
    409: {"description": "Refused: the answer says why and what is possible."},
    411: {"description": "The length of the body is missing."},
    413: {"description": "The body is too large."},
    500: {"description": "A file of the run is damaged: the answer has the reason code."},
}
"""Answers of the guard and of the handlers of errors, which every path can give."""
PLACED: Final = "minibot status"
"""Command whose flags are those of each command that the page names."""
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def app_of(run: RunView, codes: Codes) -> FastAPI:
    """Return the application of one run, without its guard.

    Args:
        run: The run.
        codes: One-time codes for the cookie.
    """
    app = FastAPI(
        title="minibot",
        version=__version__,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        responses=REFUSALS,
    )
    place = place_from_afar(run.var.root)
    _add_errors(app, place)
    _add_page(app, codes, place)

    @app.get("/metrics", tags=["metrics"], response_class=Response)
    def metrics() -> Response:
        """Return the run's metrics as Prometheus reads them."""
        health = health_of(run.history.recorded)
        provider = venue_name(run.config)
        age_ms = run.live.age_ms()
        known = Known(
            *(run.status(), age_ms, run.metrics_of(), health, provider, run.live.streamed),
            silence_ms=silence_ms(run.manifest.clock_speed),
        )
        return Response(metrics_text(known), media_type=METRICS_TYPE)

    app.include_router(freqtrade_routes(run), prefix=API)
    app.include_router(run_routes(run), prefix=API)
    return app


def _add_errors(app: FastAPI, place: Place) -> None:
    @app.exception_handler(Refusal)
    def refused(request: Request, error: Refusal) -> JSONResponse:
        status = 404 if isinstance(error, NoSuchNight) else 409
        fields: dict[str, Any] = {"detail": place.named_in(str(error))}
        if isinstance(error, ConfigError):
            fields["violations"] = [place.named_in(each) for each in error.violations]
        return JSONResponse(fields, status_code=status)

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        # Without the input: JSON may hold NaN and half surrogate pairs when read, not when written.
        faults = [{name: each[name] for name in ("loc", "msg", "type")} for each in error.errors()]
        return JSONResponse({"detail": faults}, status_code=422)

    @app.exception_handler(RunStop)
    def damaged(request: Request, error: RunStop) -> JSONResponse:
        detail = place.named_in(f"{error.reason_code}: {error.detail}")
        return JSONResponse({"detail": detail}, status_code=500)

    @app.exception_handler(ClientDisconnect)
    def gone(request: Request, error: ClientDisconnect) -> Response:
        # Nobody reads the answer; without it the log of `ops` would have an error of the page.
        return Response(status_code=400)

    @app.exception_handler(404)
    def missing(request: Request, error: HTTPException) -> JSONResponse:
        detail = f"there is no such path; {API}/openapi.json lists them"
        return JSONResponse({"detail": detail}, status_code=404)


def _add_page(app: FastAPI, codes: Codes, place: Place) -> None:
    # The scripts append it to each command that they name.
    flags = escape(place.named_in(PLACED).removeprefix(PLACED))
    document = _content("page.html").replace(b'data-flags=""', f'data-flags="{flags}"'.encode())

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return Response(document, media_type=HTML)

    @app.get(f"{ASSETS}{{name}}", include_in_schema=False)
    def asset(name: str) -> Response:
        if name not in FILES:
            return JSONResponse({"detail": "there is no such file"}, status_code=404)
        return Response(_content(name), media_type=FILES[name])

    @app.post("/login", tags=["access"], status_code=303, response_class=RedirectResponse)
    async def login(request: Request) -> Response:
        """Exchange a one-time code, the body `code=CODE`, for the cookie of this run's page."""
        given = (await request.body()).decode("latin-1")[:TOKEN_CHARS_MAX]
        # A code pasted on a phone brings a space along, which a form writes as a plus.
        if not codes.take(unquote_plus(given.removeprefix("code=")).strip()):
            if "text/html" in request.headers.get("accept", ""):
                return RedirectResponse(REFUSED_CODE, status_code=303)
            return JSONResponse({"detail": "this code is used or too old"}, status_code=401)
        answer = RedirectResponse("/", status_code=303)
        guard: Guarded = app.state.guard
        answer.set_cookie(guard.cookie, guard.session, httponly=True, samesite="strict", path="/")
        return answer


def _content(name: str) -> bytes:
    return resources.files("minibot.ops.web").joinpath("assets", name).read_bytes()


def guarded(app: FastAPI, token: str, port: int, run: RunView) -> Guarded:
    """Return the application of a run behind its guard."""
    guard = Guarded(app, token, port, run.run_id, place_from_afar(run.var.root))
    app.state.guard = guard
    return guard
