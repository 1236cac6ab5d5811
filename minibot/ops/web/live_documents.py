"""Documents of the API, made from one status of a run; none computes a figure again.

The status is that of `SupervisionLoop.status`: accounts by `accounting.symbol_figures` and
`result_figures`, facts by each role's heartbeat. Documents under freqtrade's paths have its names.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from minibot.accounting.performance import Carried
from minibot.events.model import JsonObject
from minibot.events.money import UNIT
from minibot.events.names import (
    AI_ROLE,
    EXECUTION_ROLE,
    MARKET_ROLE,
    RISK_ROLE,
    STRATEGY_ROLE,
)
from minibot.events.reasons import HALTED
from minibot.ops.data_age import price_ms_of
from minibot.ops.entry_bars import bars_of_run, is_ending
from minibot.ops.figures_of_role import facts_of
from minibot.report.entry_notices import entries_of, entry_notice, locks_of
from minibot.report.trades import RoundTrip
from minibot.runtime.running import STALE_MS


def live_document(status: Mapping[str, Any], age_ms: int) -> JsonObject:
    """Return the live figures of a run for its page.

    Args:
        status: The newest status.
        age_ms: Its age, wall-clock milliseconds; above `STALE_MS` a running run is `is_stale`.
    """
    risk, strategy = facts_of(status, RISK_ROLE), facts_of(status, STRATEGY_ROLE)
    execution, market = facts_of(status, EXECUTION_ROLE), facts_of(status, MARKET_ROLE)
    is_running = status["ended"] is None
    # A profile without AI has none that could be off.
    is_ai_off = bool(status["ai_off"]) and AI_ROLE in status["roles"]
    return {
        "run_id": status["run_id"],
        "profile": status["profile"],
        "simulated": status["simulated"],
        "phase": status["phase"],
        "ended": status["ended"],
        "is_stale": is_running and age_ms > STALE_MS,
        "status_age_ms": age_ms,
        "now_ms": status["now_ms"],
        "origin_ms": status["origin_ms"],
        "planned_ms": status["planned_ms"],
        "quote_asset": status["quote_asset"],
        "market_ms": status["market"].get("market_ms"),
        "price_ms": price_ms_of(status),
        "result": status["market"].get("result"),
        "symbols": status["market"].get("symbols", {}),
        "exits": risk.get("exits", {}),
        "risk": {
            name: risk.get(name)
            for name in (
                *("account", "account_high_water_mark", "account_drawdown_bps"),
                *("equity", "high_water_mark", "drawdown", "drawdown_bps"),
                *("exposure", "headroom", "is_halted", "orders_per_minute"),
            )
        }
        | {"entries": HALTED if is_ending(status) else entries_of(risk, status["now_ms"])},
        "locks": locks_of(risk, status["now_ms"]),
        "barred": bars_of_run(status),
        "entry_stops": entry_notice(risk.get("entry_stops")) or None,
        "decisions": strategy.get("decisions", {}),
        "decided_ms": strategy.get("now"),
        "ranked": strategy.get("ranked", []),
        "reason": strategy.get("reason"),
        "open_orders": execution.get("open_orders", 0),
        "counts": {
            "ticks": market.get("ticks", 0),
            "signals": strategy.get("signals", 0),
            "fills": execution.get("fills", 0),
        },
        "latency": {
            "exchange_us": market.get("latency_us"),
            "tick_to_result_us_p50": execution.get("tick_to_result_us_p50"),
            "tick_to_result_us_p95": execution.get("tick_to_result_us_p95"),
            "tick_to_result_us_p99": execution.get("tick_to_result_us_p99"),
        },
        "ai": {"off": is_ai_off, "detail": facts_of(status, AI_ROLE).get("detail")},
        "roles": {
            role: {
                "state": entry["heartbeat"].get("state", "STARTING"),
                "running": entry["running"],
                "restarts": entry["restarts"],
                "backlog": entry["heartbeat"].get("waiting", 0),
                "position": entry["heartbeat"].get("position", 0),
            }
            for role, entry in status["roles"].items()
        },
    }


# --- freqtrade's paths ------------------------------------------------------------------------


def count_document(status: Mapping[str, Any], positions_max: int) -> JsonObject:
    """Return how many positions are open, and how many may be."""
    held = [each for each in _symbols(status).values() if each["entry"] is not None]
    cost = sum((Decimal(each["qty"]) * Decimal(each["entry"]) for each in held), Decimal(0))
    return {"current": len(held), "max": positions_max, "total_stake": float(cost)}


def balance_document(status: Mapping[str, Any]) -> JsonObject:
    """Return cash and equity of the account in its quote asset."""
    execution, asset = facts_of(status, EXECUTION_ROLE), status["quote_asset"]
    cash, equity = execution.get("cash", "0"), execution.get("equity", "0")
    return {
        "currencies": [
            {
                "currency": asset,
                "free": float(cash),
                "balance": float(cash),
                "used": 0.0,
                "est_stake": float(cash),
                "stake": asset,
            }
        ],
        "total": float(equity),
        "stake": asset,
        "symbol": asset,
        "value": float(equity),
        "note": "Paper; equity includes positions at their marks.",
    }


def profit_document(status: Mapping[str, Any], trades: list[RoundTrip]) -> JsonObject:
    """Return the result of the run so far."""
    result = status["market"].get("result") or {}
    closed = [trade for trade in trades if trade.is_closed]
    return {
        "profit_closed_coin": float(result.get("realised", "0")),
        "profit_all_coin": float(result.get("pnl", "0")),
        "trade_count": len(trades),
        "closed_trade_count": len(closed),
        "winning_trades": result.get("wins", 0),
        "losing_trades": result.get("losses", 0),
        "fees": float(result.get("fees", "0")),
        "bot_start_timestamp": status["origin_ms"],
    }


def open_trades(
    status: Mapping[str, Any], trades: list[RoundTrip], carried: Mapping[str, Carried]
) -> list[JsonObject]:
    """Return the open positions as freqtrade's `status` lists open trades.

    Rate and profit of a carried position are null before its first price, as at freqtrade.

    Args:
        status: The newest status.
        trades: The round trips so far in the order of their first fills, which is their number.
        carried: The opening positions. One that no fill has met is numbered from -1 down, and one
            that neither of them has yet is 0.
    """
    exits = facts_of(status, RISK_ROLE).get("exits", {})
    opened = {symbol: (-n, each.ts) for n, (symbol, each) in enumerate(carried.items(), 1)}
    for n, trade in enumerate(trades, 1):
        if not trade.is_closed:
            opened[trade.symbol] = n, trade.opened_ts
    found = []
    for symbol, each in sorted(_symbols(status).items()):
        if each["entry"] is None:
            continue
        number, opened_ts = opened.get(symbol, (0, each["opened_ts"]))
        cost = Decimal(each["qty"]) * Decimal(each["entry"])
        rate = each["mark"] or each["price"]
        gain = None if rate is None else Decimal(each["unrealised"] or 0)
        stop = exits.get(symbol, {}).get("stop")
        found.append(
            {
                "trade_id": number,
                "pair": symbol,
                "is_open": True,
                "amount": float(each["qty"]),
                "open_rate": float(each["entry"]),
                "current_rate": None if rate is None else float(rate),
                "open_timestamp": opened_ts,
                "stake_amount": float(cost),
                "stop_loss_abs": None if stop is None else float(stop),
                "profit_abs": None if gain is None else float(gain),
                "profit_ratio": None if gain is None else float(gain / cost) if cost else 0.0,
            }
        )
    return found


def closed_trade(number: int, trade: RoundTrip) -> JsonObject:
    """Return a closed round trip as freqtrade's `trades` does, numbered as in `open_trades`."""
    fields = trade.to_json()
    return {
        "trade_id": number,
        "pair": fields["symbol"],
        "is_open": False,
        "amount": float(fields["qty"]),
        "open_rate": float(fields["entry_price"] or 0),
        "close_rate": float(fields["exit_price"] or 0),
        "open_timestamp": fields["opened_ts"],
        "close_timestamp": fields["closed_ts"],
        "stake_amount": trade.paid / UNIT,
        "profit_abs": float(fields["net"] or 0),
        "profit_ratio": trade.net / trade.paid if trade.paid else 0.0,
        **fields,
    }


def performance_document(trades: list[RoundTrip]) -> list[JsonObject]:
    """Return result and number of closed trades by pair, the best first."""
    found: dict[str, JsonObject] = {}
    for trade in trades:
        if trade.is_closed:
            row = found.setdefault(
                trade.symbol, {"pair": trade.symbol, "profit_abs": Decimal(0), "count": 0}
            )
            row["profit_abs"] += Decimal(trade.to_json()["net"])
            row["count"] += 1
    rows = sorted(found.values(), key=lambda row: (-row["profit_abs"], row["pair"]))
    return [{**row, "profit_abs": float(row["profit_abs"])} for row in rows]


def health_document(status: Mapping[str, Any]) -> JsonObject:
    """Return when the strategy last processed something, as freqtrade's `health` does."""
    now = facts_of(status, STRATEGY_ROLE).get("now")
    return {"last_process_ts": None if now is None else now // 1000, "last_process_ms": now}


def _symbols(status: Mapping[str, Any]) -> JsonObject:
    found: JsonObject = status["market"].get("symbols", {})
    return found
