"""Audit of a finished run's risk limits, which imports nothing of `risk` (B-75).

It judges intents, fills and risk actions, in plain decimals. Equity, venue rules and the asset of
a fee come from `accounting`, which `risk` uses too; prices come from the market's queue.

A limit on past events (notional, loss, drawdown) may be exceeded by the event that breaches it:
then the run has to have stopped, and without a STOP it is a violation. Any STOP will do, whatever
its cause and time. Limits on requests (orders per minute, positions, the size of one) may never be
exceeded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from minibot.accounting.order_rules import OrderRules
from minibot.accounting.performance import Performance, mid_of
from minibot.accounting.portfolio import pays_in_base
from minibot.engine.role_replay import Recorded
from minibot.events.model import (
    BUY,
    Event,
    Fill,
    Instrument,
    MarketTick,
    OrderIntent,
    Payload,
    PriceMark,
    RiskAction,
    RunOpening,
)
from minibot.events.money import UNIT
from minibot.events.names import TICKS
from minibot.events.unit_sizes import BPS, MINUTE_MS


def limit_violations(recorded: Recorded, performance: Performance) -> list[str]:
    """Return one sentence for each limit that was exceeded; empty when all were kept.

    Args:
        recorded: The run.
        performance: Its equity and drawdown, recounted.
    """
    limits = recorded.manifest.config["risk"]
    intents = [
        event
        for _, event in recorded.events("order_intents")
        if isinstance(event.payload, OrderIntent)
    ]
    fills = [event for _, event in recorded.events("fills")]
    was_stopped = any(
        isinstance(event.payload, RiskAction) and event.payload.action == "STOP"
        for _, event in recorded.events("risk_actions")
    )
    carried = _carried(recorded)
    least = _least_quantities(recorded, fills, carried)
    market = _Market(recorded)
    found = [*_order_rate(intents, limits), *_positions(fills, limits, carried, least, market)]
    if not was_stopped:
        found += _budgets(fills, limits, performance)
    return found


def _order_rate(intents: list[Event], limits: dict[str, Any]) -> Iterator[str]:
    allowed = limits["orders_per_minute_hard"]
    last: deque[int] = deque()
    for event in intents:
        last.append(event.ts)
        while last[0] <= event.ts - MINUTE_MS:
            last.popleft()
        if len(last) > allowed:
            yield f"{len(last)} orders within a minute at intent {event.id}, {allowed} allowed"


def _positions(
    fills: list[Event],
    limits: dict[str, Any],
    carried: dict[str, Decimal],
    least: dict[str, Decimal],
    market: _Market,
) -> Iterator[str]:
    """Yield a sentence where a position was larger than allowed, or more was sold than held.

    A holding of less than can be sold takes no place: by `least`, as fees in coins leave such dust,
    or by its value in the market.
    """
    # Risk values a position as it allows the order; the price may have moved this far by the fill.
    slack = Decimal(limits["reference_deviation_bps_max"]) / BPS
    worth_max = Decimal(limits["position_notional_max"]) * (1 + slack)
    held = dict(carried)
    number_max = max(limits["positions_max"], _number(carried, least))
    for event in fills:
        fill = event.payload
        if not isinstance(fill, Fill):
            continue
        before = held.get(fill.symbol, Decimal(0))
        if fill.side == BUY:
            fee = Decimal(fill.fee) if pays_in_base(fill) else Decimal(0)
            held[fill.symbol] = before + Decimal(fill.qty) - fee
            worth = held[fill.symbol] * Decimal(fill.price)
            if worth > worth_max:
                yield (
                    f"position of {worth} in {fill.symbol} at fill {event.id}, {worth_max} allowed"
                )
        else:
            held[fill.symbol] = before - Decimal(fill.qty)
            if held[fill.symbol] < 0:
                yield f"more {fill.symbol} sold than held at fill {event.id}"
        number = _number(held, least)
        if fill.side == BUY and number > number_max:
            number -= market.scraps(_sellable(held, least), event.ts, slack)
            if number > number_max:
                yield f"{number} positions at fill {event.id}, {limits['positions_max']} allowed"


class _Market:
    """Prices and least order values of a run along its time, read once one is asked for."""

    def __init__(self, recorded: Recorded) -> None:
        self._events = recorded.events(TICKS)
        self._ahead: Event | None = None
        self._prices: dict[str, Decimal] = {}
        self._notional_min: dict[str, Decimal] = {}

    def scraps(self, held: dict[str, Decimal], ts: int, slack: Decimal) -> int:
        """Return how many holdings are worth less than the venue's least order at a time.

        Args:
            held: By symbol.
            ts: Unix ms, no earlier than that of the call before.
            slack: How far a price may have risen since risk looked at it, as a share.
        """
        while self._ahead is None or self._ahead.ts <= ts:
            if self._ahead is not None:
                self._take(self._ahead.payload)
            _, self._ahead = next(self._events, (0, None))
            if self._ahead is None:
                break
        known = held.keys() & self._prices.keys() & self._notional_min.keys()
        most = {symbol: self._notional_min[symbol] * (1 + slack) for symbol in known}
        return sum(held[symbol] * self._prices[symbol] < most[symbol] for symbol in known)

    def _take(self, payload: Payload) -> None:
        if isinstance(payload, MarketTick):
            mid = mid_of(payload)
            if mid is not None:
                self._prices[payload.symbol] = Decimal(mid) / UNIT
        elif isinstance(payload, PriceMark):
            self._prices[payload.symbol] = Decimal(payload.price)
        elif isinstance(payload, Instrument):
            least = OrderRules.of(payload).market_bounds.notional_min
            self._notional_min[payload.symbol] = Decimal(least) / UNIT


def _sellable(held: dict[str, Decimal], least: dict[str, Decimal]) -> dict[str, Decimal]:
    """Return the holdings of a quantity that can be sold."""
    return {name: qty for name, qty in held.items() if qty > 0 and qty >= least.get(name, 0)}


def _number(held: dict[str, Decimal], least: dict[str, Decimal]) -> int:
    """Return the number of positions among holdings."""
    return len(_sellable(held, least))


def _carried(recorded: Recorded) -> dict[str, Decimal]:
    """Return the quantities that the run started with, by symbol."""
    held: dict[str, Decimal] = {}
    for _, event in recorded.events("control"):
        if isinstance(event.payload, RunOpening):
            for lot in event.payload.lots:
                symbol = str(lot["symbol"])
                held[symbol] = held.get(symbol, Decimal(0)) + Decimal(str(lot["qty"]))
        break
    return held


def _least_quantities(
    recorded: Recorded, fills: list[Event], carried: dict[str, Decimal]
) -> dict[str, Decimal]:
    """Return the least quantity that can be sold of each symbol ever held, by its first rules.

    Empty where fees are paid in quote: there every sale can sell all that was bought.
    """
    least: dict[str, Decimal] = {}
    missing = {event.payload.symbol for event in fills if isinstance(event.payload, Fill)}
    if recorded.manifest.config["execution"].get("fee_asset") is None or not missing:
        return least
    missing |= carried.keys()
    for _, event in recorded.events(TICKS):
        if isinstance(event.payload, Instrument) and event.payload.symbol in missing:
            rules = OrderRules.of(event.payload)
            least[rules.symbol] = Decimal(rules.market_bounds.qty_least) / UNIT
            missing.discard(rules.symbol)
            if not missing:
                break  # The rest of the market has nothing to tell.
    return least


def _budgets(fills: list[Event], limits: dict[str, Any], performance: Performance) -> Iterator[str]:
    bought = sum(
        (
            Decimal(event.payload.qty) * Decimal(event.payload.price)
            for event in fills
            if isinstance(event.payload, Fill) and event.payload.side == BUY
        ),
        Decimal(0),
    )
    if bought > Decimal(limits["night_notional_hard"]):
        yield f"bought for {bought}, night_notional_hard is {limits['night_notional_hard']}"
    figures = performance.to_json()
    loss = -Decimal(figures["pnl"])
    if loss > Decimal(limits["night_loss_hard"]):
        yield f"lost {loss}, night_loss_hard is {limits['night_loss_hard']}"
    fallen = Decimal(figures["drawdown_bps_max"])
    if fallen > limits["drawdown_bps_hard"]:
        yield f"fell {fallen} bps, drawdown_bps_hard is {limits['drawdown_bps_hard']}"


def unallowed_intents(recorded: Recorded) -> list[str]:
    """Return one sentence for each intent whose allowing action has a check that failed."""
    actions = {
        event.id: event.payload
        for _, event in recorded.events("risk_actions")
        if isinstance(event.payload, RiskAction)
    }
    found = []
    for _, event in recorded.events("order_intents"):
        if not isinstance(event.payload, OrderIntent) or event.payload.purpose != "ENTRY":
            continue
        for cause_id in event.cause_ids or ():
            action = actions.get(cause_id)
            if action is None or action.action != "ALLOW":
                continue
            failed = [check["name"] for check in action.checks or () if check["passed"] is False]
            if failed:
                found.append(f"intent {event.id} was allowed although {', '.join(failed)} failed")
    return found
