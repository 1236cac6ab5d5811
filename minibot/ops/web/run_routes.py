"""Routes of the API that are minibot's own: live figures, chart, explanations, nights, orders."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Query
from fastapi.responses import JSONResponse, Response, StreamingResponse

from minibot.events.model import JsonObject
from minibot.events.reasons import REASONS
from minibot.kernel import canonical
from minibot.ops.run_health import flag_of
from minibot.ops.web import live_documents
from minibot.ops.web.access import CSP, Receive, Scope, Send
from minibot.ops.web.nights import nights_of, report_of
from minibot.ops.web.run_view import Live, RunView
from minibot.runtime.command_place import place_from_afar

STREAMS_MAX: Final = 20
STREAM_S: Final = 1.0
REPORT_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; sandbox"
)
"""Policy of a report: a page of its own styles, without scripts, and of no origin."""
SETTINGS_MAX: Final = 100
PUT: Final = "New values by dotted key, as texts after the = of --set."
TAKEN_BACK: Final = "Staged keys for which the profile's own value is to hold again."
HTML: Final = "text/html; charset=utf-8"

Symbol = Annotated[str, Query(max_length=40, description="Such as BTCUSDT.")]
Since = Annotated[int, Query(description="Values behind this market time alone, Unix ms.")]


def run_routes(run: RunView) -> APIRouter:
    """Return the routes over one run."""
    routes = APIRouter(tags=["minibot"])
    _add_figures(routes, run)
    _add_past(routes, run)
    _add_settings(routes, run)

    @routes.post("/act/{kind}")
    def act(
        kind: str,
        why: Annotated[str, Body(max_length=2000, description="For the record.")] = "",
        symbol: Annotated[str | None, Body(max_length=40)] = None,
        minutes: Annotated[int | None, Body(description="Of market time, of a lock.")] = None,
    ) -> JsonObject:
        """Leave an order for the run: halt, resume, end, kill, or one of a symbol.

        Of a symbol: exit_position, lock_symbol, unlock_symbol.
        """
        return run.act(kind, why=why, symbol=symbol, minutes=minutes)

    return routes


def _add_figures(routes: APIRouter, run: RunView) -> None:
    @routes.get("/live")
    def live_figures() -> JsonObject:
        """Return the live figures of the run for its page."""
        figures = _live(run)
        run.live.note_sent(figures)
        return figures

    @routes.get("/stream")
    async def stream() -> Response:
        """Stream the live figures as server-sent events, one a second."""
        if run.live.streams >= STREAMS_MAX:
            return JSONResponse({"detail": "too many pages are open"}, status_code=503)
        return _Stream(run)

    @routes.get("/chart")
    def chart(symbol: Symbol, since: Since = 0) -> JsonObject:
        """Return prices, stops and marks of a symbol: fills, signals, exits, gaps."""
        run.history.look()
        return {"symbol": symbol, **run.history.chart(symbol, since)}

    @routes.get("/equity")
    def equity(since: Since = 0) -> JsonObject:
        """Return equity by market time."""
        return {"equity": run.history.equity(since)}

    @routes.get("/risk")
    def risk() -> JsonObject:
        """Return tier, headroom of each limit, locks, and stop and target of each position."""
        live = _live(run)
        return {**live["risk"], **{name: live[name] for name in ("entry_stops", "locks", "exits")}}

    @routes.get("/explain")
    def explain(
        ts: Annotated[int, Query(description="A moment of the second, Unix ms of market time.")],
        symbol: Annotated[str | None, Query(max_length=40)] = None,
    ) -> JsonObject:
        """Return the second's market, holdings and decisions, as `minibot explain --at`."""
        return run.explain(ts, symbol)


def _add_past(routes: APIRouter, run: RunView) -> None:
    @routes.get("/incidents")
    def incidents() -> JsonObject:
        """Return the newest incidents, and the last one."""
        run.history.look()
        found = run.history.incidents()
        return {"incidents": found, "last": found[-1] if found else None}

    @routes.get("/stops")
    def stops() -> JsonObject:
        """Return how the run ended, a standing flag, and what to do about it."""
        ended, flag = run.status()["ended"], flag_of(run.var)
        code = None if ended is None else ended["reason_code"]
        reason = REASONS.get(code) if code else None
        remedy = None if reason is None else place_from_afar(run.var.root).named_in(reason.remedy)
        return {
            "ended": ended,
            "flag": flag,
            "meaning": None if reason is None else reason.meaning,
            "remedy": remedy,
        }

    @routes.get("/nights")
    def nights() -> JsonObject:
        """Return the runs of this `var`, newest first, with their results."""
        return {"nights": nights_of(run.var)}

    @routes.get("/nights/{run_id}/report")
    def report(run_id: str) -> Response:
        """Return the report of a run as it was written, as a page without scripts."""
        headers = {CSP.decode(): REPORT_POLICY}
        return Response(report_of(run.var, run_id), media_type=HTML, headers=headers)


def _add_settings(routes: APIRouter, run: RunView) -> None:
    @routes.get("/settings")
    def settings() -> JsonObject:
        """Return the settings that can be changed, the staged values, and every recorded change."""
        return run.settings()

    # A separate path: the answer to OPTIONS would name two methods of one path as one.
    @routes.post("/settings/change")
    def change_settings(
        put: Annotated[dict[str, str], Body(max_length=SETTINGS_MAX, description=PUT)],
        taken_back: Annotated[list[str], Body(max_length=SETTINGS_MAX, description=TAKEN_BACK)],
        why: Annotated[str, Body(max_length=2000, description="For the record.")] = "",
    ) -> JsonObject:
        """Change the staged values for the profile's next start, judged as a start judges them.

        The running run is never changed. A refusal stages nothing and names every violation.
        """
        return run.change_settings(put, taken_back, why)


def _live(run: RunView) -> JsonObject:
    age_ms = 0 if run.is_record else run.live.age_ms()
    return {**live_documents.live_document(run.status(), age_ms), "is_record": run.is_record}


class _Stream(StreamingResponse):
    """Stream that is open from its first moment, before anything of it is written."""

    def __init__(self, run: RunView) -> None:
        super().__init__(_events(run), media_type="text/event-stream")
        self._live = run.live

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._live.streams += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._live.streams -= 1


async def _events(run: RunView) -> AsyncIterator[bytes]:
    """Yield the live figures as server-sent events; a slow reader gets fewer, never older ones."""
    live: Live = run.live
    sent: Any = None
    is_last = False
    while not is_last:
        # Read before the status is taken: the end of the run is not left out.
        is_last = live.is_closed
        status = live.status
        figures = None if status is None else _live(run)
        # Figures that are stale are sent again, so that their age counts up on the page.
        if figures is not None and (status is not sent or figures["is_stale"]):
            sent = status
            live.streamed += 1
            yield b"data: " + canonical.encode(figures) + b"\n\n"
        else:
            # An event, as no script of a page sees a comment.
            yield b"event: beat\ndata:\n\n"
        if not is_last:
            await asyncio.sleep(STREAM_S)
