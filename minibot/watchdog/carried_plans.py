"""Carried plans of the positions that a run leaves: levels, theses and waiting exits."""

from __future__ import annotations

from typing import Any

from minibot.accounting.lots import is_dust_left
from minibot.accounting.portfolio import Portfolio
from minibot.events.model import Fill, JsonObject, PositionPlan, RunOpening
from minibot.events.names import FILLS, RISK_ACTIONS
from minibot.watchdog.carried_memory import Read

CARRIED = (
    *("symbol", "qty", "original_qty", "entry_price", "opened_ts", "age_row"),
    *("stop_hard", "stop_entry", "stop_break_even", "stop_trailing", "peak", "atr"),
    *("stop_signal", "target_signal", "trail_signal", "trail_signal_bps", "peak_signal"),
    *("leaving", "has_thesis"),
)


def carried_plans(opening: RunOpening, read: Read) -> tuple[JsonObject, ...] | None:
    """Return the last plan of risk for each position that a run leaves; None without plans.

    A position without a plan in this run keeps the plan of the opening. A plan from before its
    symbol was last flat, but for dust, belongs to another position: it is left out, and the next
    run sets new levels.

    Args:
        opening: Of the run.
        read: Reads its queues.
    """
    plans: dict[str, Any] = {plan["symbol"]: plan for plan in opening.plans or ()}
    reported_ts = dict.fromkeys(plans, 0)
    for event in read(RISK_ACTIONS, PositionPlan.TYPE):
        payload = event.payload
        if isinstance(payload, PositionPlan):
            plans[payload.symbol], reported_ts[payload.symbol] = _carried(payload), event.ts
    portfolio = Portfolio.from_opening(opening)
    for event in read(FILLS, Fill.TYPE):
        fill = event.payload
        if not isinstance(fill, Fill):
            continue
        portfolio.apply(fill, event.ts)
        left = portfolio.position_qty(fill.symbol)
        is_flat = not left or is_dust_left(fill, left)
        if is_flat and event.ts > reported_ts.get(fill.symbol, -1):
            plans.pop(fill.symbol, None)
    held = set(portfolio.symbols())
    found = [plans[symbol] for symbol in sorted(plans) if plans[symbol] and symbol in held]
    return tuple(found) or None


def _carried(plan: PositionPlan) -> JsonObject:
    """Return the fields that the next run needs; none for a closed position."""
    if plan.original_qty is None:
        return {}
    values = {name: getattr(plan, name) for name in CARRIED}
    if plan.campaign is not None:
        values["campaign"] = {"id": plan.campaign_id, **plan.campaign}
    return {name: value for name, value in values.items() if value is not None}
