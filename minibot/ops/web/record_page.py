"""Page of a finished run, from its record: the same page, with nothing that acts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from minibot.accounting.symbol_figures import result_figures, symbol_figures
from minibot.events.decimals import format_fixed
from minibot.events.model import Event, Health, JsonObject, OrderResult, RiskStanding, Signal
from minibot.events.money import amount_text
from minibot.events.names import (
    CONTROL,
    EXECUTION_ROLE,
    HEALTH,
    MARKET_ROLE,
    ORDER_RESULTS,
    RISK_ACTIONS,
    RISK_ROLE,
    SIGNALS,
    STRATEGY_ROLE,
)
from minibot.kernel.errors import InvariantError
from minibot.ops.one_time_code import Codes
from minibot.ops.web.http_server import HttpServer
from minibot.ops.web.run_history import RunHistory
from minibot.ops.web.run_view import Live, RunView
from minibot.replay.explain.checks import failed_checks
from minibot.replay.risk_at import risk_at
from minibot.report.night import Night
from minibot.report.records import UNSEALED
from minibot.risk.budgets import drawdown_of
from minibot.risk.limits import DRAWDOWN_PLACES
from minibot.risk.positions import TERMINAL_RESULTS
from minibot.risk.trading_halts import TradingHalts
from minibot.runtime.paths import Var
from minibot.runtime.stop import STOP_KIND

AT_END: Final = ("headroom", "exposure", "exits", "orders_per_minute")
"""Facts of risk at the end of the run, which only its core knows."""
ENDED: Final = "ended"
"""Phase of a run that is shown from its record."""


class RecordPage:
    """Page of one finished run; its server runs until `close`.

    Args:
        night: The run, read to its end.
        var: Where the page's token is, and the runs that it lists.
        port: Port of the page; 0 takes a free one.

    Raises:
        Refusal: The page's token is damaged.
        PortTaken: Another program listens there.
        IntegrityError: The run's queues are damaged.
    """

    def __init__(self, night: Night, var: Var, port: int) -> None:
        live, run_dir = Live(), night.recorded.run_dir
        history = RunHistory(run_dir)
        history.take_record(night.count)
        history.close()
        live.take(status_of(night))
        metrics: Callable[[], JsonObject] = night.count.metrics
        run = RunView(run_dir, night.manifest, var, live, history, metrics, is_record=True)
        self._codes = Codes(var.ops / "record.code")
        self._server = HttpServer(run, self._codes, port)
        self._server.start()

    @property
    def url(self) -> str:
        """Address of the page."""
        return self._server.url

    @property
    def port(self) -> int:
        """Port of the page."""
        return self._server.port

    def make_code(self) -> str:
        """Return a new code that opens the page once."""
        return self._codes.make()

    def close(self) -> None:
        """End the server."""
        self._server.close()


def status_of(night: Night) -> JsonObject:
    """Return the status of a finished run in its launcher's form, made only from its queues.

    Figures of the account are those of the report. Facts that no queue holds, such as a process's
    id, are left out.
    """
    count, manifest = night.count, night.manifest
    performance, end = count.performance, night.end
    restarts = night.restarts
    facts = {
        MARKET_ROLE: {
            "ticks": count.market.types["market_tick"],
            "latency_us": _latency_us(night),
        },
        STRATEGY_ROLE: _strategy_facts(night),
        RISK_ROLE: _risk_facts(night),
        EXECUTION_ROLE: {
            "cash": performance.to_json()["cash"],
            "equity": amount_text(performance.equity),
            "fills": count.lines["fills"],
            "open_orders": _open_orders(night),
            **count.metrics()["decision"],
        },
    }
    return {
        "run_id": night.run_id,
        "profile": manifest.profile,
        "simulated": manifest.simulated,
        "host": None,
        "speed": manifest.clock_speed,
        "phase": ENDED,
        "ended": {
            "kind": STOP_KIND if end is None else end.kind,
            "reason_code": night.sealed.get("state", UNSEALED) if end is None else end.reason_code,
            "detail": "the run left no record of its end" if end is None else end.detail,
        },
        "now_ms": count.market.last_ts or manifest.clock_origin_ms,
        "origin_ms": manifest.clock_origin_ms,
        "planned_ms": manifest.clock_origin_ms + night.planned_ms,
        "ai_off": bool(night.ai_off),
        "quote_asset": manifest.config["portfolio"]["quote_asset"],
        "market": {
            "market_ms": count.market.last_ts or None,
            "price_ms": count.market.price_ts or None,
            "symbols": symbol_figures(performance),
            "traded": None if count.market.traded is None else list(count.market.traded),
            "result": result_figures(performance),
        },
        "roles": {
            role: {
                "pid": None,
                "running": False,
                "restarts": restarts[role],
                "heartbeat": {"state": "STOPPED", "waiting": 0, "facts": facts.get(role, {})},
            }
            for role in night.recorded.roles.roles
        },
    }


def _latency_us(night: Night) -> int | None:
    """Return the last measured round trip to the exchange, as the page shows it of a run."""
    last_us: int | None = None
    for _, event in night.recorded.events(HEALTH):
        payload = event.payload
        if isinstance(payload, Health) and payload.role == MARKET_ROLE:
            last_us = payload.latency_us or last_us
    return last_us


def _open_orders(night: Night) -> int:
    """Return how many accepted orders had not come to their end: a STOP leaves them as they are."""
    found: set[str] = set()
    for _, event in night.recorded.events(ORDER_RESULTS):
        answer = event.payload
        if isinstance(answer, OrderResult):
            if answer.result in TERMINAL_RESULTS:
                found.discard(answer.order_id)
            else:
                found.add(answer.order_id)
    return len(found)


def _risk_facts(night: Night) -> JsonObject:
    performance = night.count.performance
    at_end: JsonObject = {}
    standing: RiskStanding | None = None
    for _, event in night.recorded.events(RISK_ACTIONS):
        payload = event.payload
        if isinstance(payload, RiskStanding):
            standing = payload
    halts = TradingHalts()
    for _, event in night.recorded.events(CONTROL):
        halts.take(event.payload)
    now_ms = night.count.market.last_ts or night.manifest.clock_origin_ms
    with suppress(InvariantError):  # Other code made the run: its facts are unknown here.
        at_end = risk_at(night.recorded).facts()
    high, equity = performance.high_water_mark, performance.equity
    return {
        "equity": amount_text(equity),
        "high_water_mark": amount_text(high),
        "drawdown": amount_text(high - equity),
        "drawdown_bps": format_fixed(drawdown_of(high, equity), DRAWDOWN_PLACES),
        **{name: at_end[name] for name in AT_END if name in at_end},
        "account": None if standing is None else standing.state,
        # Over carried runs, by risk's last report.
        "account_high_water_mark": None if standing is None else standing.high_water_mark,
        "account_drawdown_bps": None if standing is None else standing.drawdown_bps,
        "locks": list(standing.locks or ()) if standing is not None else [],
        "operator_locks": halts.listed(now_ms),
        "is_halted": halts.is_halted,
        "entry_stops": night.count.entry_stops.to_json(),
    }


def _strategy_facts(night: Night) -> JsonObject:
    last: dict[str, Event] = {}
    for _, event in night.recorded.events(SIGNALS):
        if isinstance(event.payload, Signal):
            last[event.payload.symbol] = event
    decisions = {symbol: _decision(event) for symbol, event in sorted(last.items())}
    return {"signals": night.count.sides.total(), "decisions": decisions}


def _decision(event: Event) -> JsonObject:
    signal = event.payload.to_json()
    failed = failed_checks(signal["checks"])
    return {
        "ts": event.ts,
        **{name: signal[name] for name in ("side", "reason", "reason_code")},
        "against": {name: failed[0][name] for name in ("name", "value", "threshold")}
        if failed
        else None,
    }
