"""Carried memory: trades and locks of risk's last report, brought up to the end of the run.

Risk writes its memory with every fill, but not with one that stops the run, nor after a STOP. A
trade that such a fill closed goes under `waiting`: the next run's risk judges it as this run's
would have. It closed for the reason of the exit that sent the order, or of the level that
triggered the order. A run without protections judges no closed trade. It hands on the memory of its
opening, whose open trades its fills bring up to date, so that they agree with the positions held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from minibot.accounting.order_rules import OrderRules
from minibot.accounting.portfolio import Portfolio
from minibot.accounting.round_trips import RoundTrip, RoundTrips
from minibot.cores.messages import TRIGGERED, FillMessage
from minibot.events.model import (
    EXIT,
    SELL,
    Event,
    Fill,
    Instrument,
    JsonObject,
    OrderIntent,
    OrderResult,
    RiskAction,
    RiskStanding,
    RunOpening,
)
from minibot.events.money import amount_text, parse_amount
from minibot.events.names import FILLS, ORDER_INTENTS, ORDER_RESULTS, RISK_ACTIONS, TICKS
from minibot.events.reasons import STOP_LOSS, TAKE_PROFIT

Read = Callable[[str, str], Iterable[Event]]
"""Returns the events of a queue whose lines contain a text, in their order, and perhaps others."""


class LastReports(NamedTuple):
    """Last reports of risk.

    Attributes:
        account: Mark and tier; None if no run reported them.
        memory: Trades and locks; None if no run reported them.
        fill_id: The fill with which this run last reported its memory; empty if it never did.
    """

    account: Mapping[str, Any] | None
    memory: Mapping[str, Any] | None
    fill_id: str


def last_reports(opening: RunOpening, read: Read) -> LastReports:
    """Return the account and memory that a run reported last, else those of its opening."""
    account, memory, fill_id = opening.account, opening.memory, ""
    for event in read(RISK_ACTIONS, RiskStanding.TYPE):
        standing = event.payload
        if not isinstance(standing, RiskStanding):
            continue
        if standing.memory is not None:
            memory, fill_id = standing.memory, (event.cause_ids or ("",))[-1]
        if standing.high_water_mark is not None:
            account = {"high_water_mark": standing.high_water_mark, "tier": standing.tier}
    return LastReports(account, memory, fill_id)


def carried_memory(
    opening: RunOpening, config: JsonObject, reports: LastReports, read: Read
) -> Mapping[str, Any] | None:
    """Return the memory that a run leaves, with trades closed by fills after risk last wrote it.

    Args:
        opening: Of the run.
        config: Its resolved profile.
        reports: Last reports of its risk.
        read: Reads its queues.
    """
    has_protections = bool(config["risk"].get("protections"))
    if reports.memory is None and not has_protections:
        return None
    fills = fills_behind(opening, config, reports.fill_id, read)
    first = reports.memory or _empty(opening, config)
    if not fills and not first.keys() & {"untold", "waiting"}:
        return reports.memory
    trips = RoundTrips.from_state(first["trips"])
    if reports.memory is None:  # Else what is held without a trade is the dust of a closed one.
        portfolio = Portfolio.from_opening(opening)
        for symbol in portfolio.symbols():
            trips.carry(symbol, portfolio.lots(symbol)[0].ts, portfolio.position_cost(symbol))
    memory = {key: value for key, value in first.items() if key not in ("untold", "waiting")}
    left: dict[str, str] = dict(first["left"])
    # `untold`: orders that sold part of an open trade before a result named their trigger.
    sold: dict[str, list[str]] = {name: list(ids) for name, ids in first.get("untold", {}).items()}
    found = [
        (RoundTrip.from_json(item["trade"]), list(item["orders"]))
        for item in first.get("waiting", ())
    ]
    for fill, is_flat in fills:
        if fill.side == SELL:
            sold.setdefault(fill.symbol, []).append(fill.client.text)
        trade = trips.on_fill(fill, is_flat, left.get(fill.symbol, ""))
        if trade is not None:
            left.pop(fill.symbol, None)
            orders = sold.pop(fill.symbol, [])
            if has_protections and trade.spent > 0:
                found.append((trade, orders))
    reasons = _reasons(read, {order for _, orders in found for order in orders})
    for trade, orders in found:
        why = [reasons[order] for order in orders if order in reasons]
        if why:
            # The reason of the last order that a level triggered, as StoplossGuard counts these;
            # without one, that of the last order.
            trade.reason = ([one for one in why if one[0]] or why)[-1][1]
    memory |= {"trips": trips.state(), "left": left}
    if found:
        memory["waiting"] = [{"trade": trade.to_json(), "orders": []} for trade, _ in found]
    return memory


def fills_behind(
    opening: RunOpening, config: JsonObject, fill_id: str, read: Read
) -> list[tuple[FillMessage, bool]]:
    """Return a run's fills after a given fill, each with whether its symbol is flat then.

    Args:
        opening: Of the run.
        config: Its resolved profile.
        fill_id: The id of the given fill; an empty id returns every fill.
        read: Reads its queues.
    """
    leaves_dust = config["execution"].get("fee_asset") is not None
    portfolio = Portfolio.from_opening(opening)
    fills = [(each, each.payload) for each in read(FILLS, Fill.TYPE)]
    booked = [(each, fill) for each, fill in fills if isinstance(fill, Fill)]
    # As in risk: the rest is dust only once a sale has no more fills to come.
    ends = {fill.client_order_id: each.id for each, fill in booked if fill.side == SELL}
    may_leave_dust = set(ends.values() if leaves_dust else ())
    instruments: list[Event] | None = None
    found: list[tuple[FillMessage, bool]] = []
    is_behind = not fill_id
    for event, fill in booked:
        portfolio.apply(fill, event.ts)
        if is_behind:
            left = portfolio.position_qty(fill.symbol)
            is_flat = left == 0
            if left and event.id in may_leave_dust:
                if instruments is None:
                    instruments = list(read(TICKS, Instrument.TYPE))
                is_flat = left < _qty_least(instruments, fill.symbol, event.ts)
            found.append((FillMessage.read(fill, event.ts), is_flat))
        is_behind = is_behind or event.id == fill_id
    return found


def _qty_least(instruments: Sequence[Event], symbol: str, ts: int) -> int:
    """Return the least quantity of a sale at a time; 0 where no rules of the symbol are known."""
    for event in reversed(instruments):
        payload = event.payload
        if isinstance(payload, Instrument) and payload.symbol == symbol and event.ts <= ts:
            return OrderRules.of(payload).market_bounds.qty_least
    return 0


def _reasons(read: Read, orders: set[str]) -> dict[str, tuple[bool, str]]:
    """Return, by order, whether a level triggered the order, and the reason of its sale."""
    if not orders:
        return {}
    intents: dict[str, OrderIntent] = {}
    allowed: dict[str, str] = {}
    for event in read(ORDER_INTENTS, SELL):
        intent = event.payload
        if isinstance(intent, OrderIntent) and intent.client_order_id in orders:
            intents[intent.client_order_id] = intent
            allowed[(event.cause_ids or ("",))[0]] = intent.client_order_id
    reasons: dict[str, tuple[bool, str]] = {}
    triggers: dict[str, str] = {}
    for event in read(ORDER_RESULTS, TRIGGERED):
        result = event.payload
        if isinstance(result, OrderResult) and result.result == TRIGGERED:
            order = result.client_order_id
            if order in intents:
                reasons[order] = True, _level(intents[order], result)
                triggers[event.id] = order
    for event in read(RISK_ACTIONS, EXIT):
        payload = event.payload
        if not isinstance(payload, RiskAction) or payload.action != EXIT:
            continue
        for cause in event.cause_ids or ():
            if cause in triggers:
                reasons[triggers[cause]] = True, payload.reason_code
        if event.id in allowed:
            reasons.setdefault(allowed[event.id], (False, payload.reason_code))
    return reasons


def _level(intent: OrderIntent, result: OrderResult) -> str:
    """Return the reason of the level that triggered an order, if risk gave none.

    Risk stopped before it read the result. Which stop level it was does not matter: the protection
    StoplossGuard counts them all.
    """
    price, stop = parse_amount(result.trigger_price or "0"), intent.stop_price
    return STOP_LOSS if stop is not None and price <= parse_amount(stop) else TAKE_PROFIT


def _empty(opening: RunOpening, config: JsonObject) -> JsonObject:
    """Return the memory with which risk began a run that carried none."""
    portfolio = Portfolio.from_opening(opening)
    worth = sum(portfolio.position_cost(symbol) for symbol in portfolio.symbols())
    start = portfolio.cash(config["portfolio"]["quote_asset"]) + worth
    lists: JsonObject = {"trips": [], "trades": [], "locks": {}, "streaks": {}, "left": {}}
    return lists | {"closed": amount_text(0), "start": amount_text(start)}
