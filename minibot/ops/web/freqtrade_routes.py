"""Routes of the API that freqtrade has too, under its paths and with its names."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from minibot import __version__
from minibot.cores.core_profile import venue_name
from minibot.events.model import JsonObject
from minibot.ops.web import live_documents
from minibot.ops.web.freqtrade_paths import NO_ENTRY
from minibot.ops.web.run_view import RunView
from minibot.watchdog.requests import END

TRADES_MAX = 500
SECRETS = frozenset({"secrets", "alerts"})
"""Sections of a profile that no answer has."""
BY_API = "API"


def freqtrade_routes(run: RunView) -> APIRouter:
    """Return the routes over one run; see `freqtrade_paths` for what differs."""
    routes = APIRouter(tags=["as freqtrade"])
    _add_figures(routes, run)
    _add_orders(routes, run)
    return routes


def _add_figures(routes: APIRouter, run: RunView) -> None:
    positions_max = int(run.config["risk"]["positions_max"])

    @routes.get("/ping")
    def ping() -> JsonObject:
        """Answer, so that a client knows that the page is there."""
        return {"status": "pong"}

    @routes.get("/version")
    def version() -> JsonObject:
        """Return the version of minibot."""
        return {"version": __version__}

    @routes.get("/count")
    def count() -> JsonObject:
        """Return how many positions are open, how many may be, and what they cost."""
        return live_documents.count_document(run.status(), positions_max)

    @routes.get("/balance")
    def balance() -> JsonObject:
        """Return cash and equity in the quote asset."""
        return live_documents.balance_document(run.status())

    @routes.get("/status")
    def open_trades() -> list[JsonObject]:
        """Return the open positions with their stops."""
        trades = run.history.look()
        return live_documents.open_trades(run.status(), trades, run.history.carried)

    @routes.get("/profit")
    def profit() -> JsonObject:
        """Return the result of this run so far."""
        return live_documents.profit_document(run.status(), run.history.look())

    @routes.get("/trades")
    def trades(limit: int = TRADES_MAX, offset: int = 0) -> JsonObject:
        """Return closed round trips of this run, the oldest first, at most 500.

        An offset below 0 counts from the end: -500 begins the newest 500.
        """
        trips = enumerate(run.history.look(), 1)
        closed = [(number, trade) for number, trade in trips if trade.is_closed]
        begin = max(0, offset if offset >= 0 else len(closed) + offset)
        shown = closed[begin : begin + max(0, min(limit, TRADES_MAX))]
        return {
            "trades": [live_documents.closed_trade(number, each) for number, each in shown],
            "trades_count": len(shown),
            "offset": begin,
            "total_trades": len(closed),
        }

    @routes.get("/performance")
    def performance() -> list[JsonObject]:
        """Return result and number of closed trades by symbol, the best first."""
        return live_documents.performance_document(run.history.look())

    @routes.get("/whitelist")
    def whitelist() -> JsonObject:
        """Return the symbols that may be traded now; others may be held, or have been traded."""
        traded = run.status()["market"].get("traded")
        symbols = sorted(run.manifest.symbols if traded is None else traded)
        method = "universe" if run.config.get("universe") else "symbols"
        return {"whitelist": symbols, "length": len(symbols), "method": [method]}

    @routes.get("/health")
    def health() -> JsonObject:
        """Return when the strategy last processed an input, market time."""
        return live_documents.health_document(run.status())

    @routes.get("/show_config")
    def show_config() -> JsonObject:
        """Return the run's profile, without its sections of secrets, and whether it goes on."""
        config = {name: each for name, each in run.config.items() if name not in SECRETS}
        return {
            "version": __version__,
            "dry_run": True,
            "stake_currency": run.config["portfolio"]["quote_asset"],
            "strategy": run.config["strategy"]["name"],
            "timeframe": run.config["strategy"]["bar_interval"],
            "exchange": venue_name(run.config),
            "max_open_trades": positions_max,
            "state": "running" if run.status()["ended"] is None else "stopped",
            "profile": config,
        }


def _add_orders(routes: APIRouter, run: RunView) -> None:
    @routes.post("/stopentry")
    @routes.post("/stopbuy", include_in_schema=False)
    def stop_entry() -> JsonObject:
        """Allow no new entries, as `minibot halt`."""
        return run.act("halt", why=BY_API)

    @routes.post("/start")
    def start() -> JsonObject:
        """Allow entries again, as `minibot resume`."""
        return run.act("resume", why=BY_API)

    @routes.post("/stop")
    def stop() -> JsonObject:
        """End the run in order, as `minibot stop`."""
        return run.act(END, why=BY_API)

    @routes.post("/forceenter", status_code=403)
    @routes.post("/forcebuy", status_code=403, include_in_schema=False)
    def force_enter() -> JSONResponse:
        """Refuse: entries come from the strategy, through risk."""
        return JSONResponse({"detail": NO_ENTRY}, status_code=403)
