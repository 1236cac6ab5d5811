"""Resting exits: stop and target of a position as an order that rests with the executor.

With `risk.exits_at: "venue"` one order for the whole position rests there, an OCO if it has both
stop and target. Risk places it in the step of the fill that opens the position, and replaces it
whenever quantity or levels change: after each further fill, when the venue's price step changes,
and when a level moves (`risk.plan`), as often as the order rate allows. Each placement is a
`risk_action` PROTECT with its checks, followed by an `order_intent` or an `order_replace`. The
order is a STOP_LOSS, TAKE_PROFIT or OCO; with `risk.stop_limit_bps` a STOP_LOSS_LIMIT, or an OCO
whose stop has a limit and whose target is a quote.

The last trade triggers the order. Risk answers with a `risk_action` EXIT that names the trigger,
and cancels what an entry may still buy. Every other exit (signal, time, operator, end) replaces the
resting order by a market order, so that nothing is sold twice and one of the two always exists.
While a replacement is pending, a trade that reaches the levels of both triggers it. The table in
`execution.orders` says which event wins.

A limit makes a stop unsafe: a gap jumps past it, and the other leg has ended. So the quantity that
a triggered limit order leaves unsold is sold at the market in its place, however the price moves
on: an EXIT with the same reason and the check `unsold_qty`, at the first tick whose bid is below
the limit (which may be the trigger's), or in the step of its first partial fill. A refused sale is
tried again like any exit; until one is accepted, the limit order stays.

Risk itself watches a position that no resting order covers, by the bid and the last trade: if its
quantity is too small to rest or too large for one order, if venue or order rate allow no further
order, while a refused order waits for the next attempt, or while its symbol is halted. Under
`carry` the next run places stop and target again at its first tick of the symbol.
"""

from __future__ import annotations

from typing import Final

from minibot.accounting.order_rules import OrderRules
from minibot.cores.event_id import EventId
from minibot.cores.messages import TRIGGERED, Message, ResultMessage
from minibot.events.model import BLOCK, EXIT, SELL
from minibot.events.money import amount_text, cost_up
from minibot.events.reasons import INVARIANT_BROKEN, ORDER_RATE, PROTECTED
from minibot.events.unit_sizes import MINUTE_MS, NEVER
from minibot.kernel.errors import InvariantError
from minibot.risk.checks import Gate, Row, first_failure
from minibot.risk.drafts import PROTECT, Verdict, action, approve, new_verdict
from minibot.risk.exit_decision import EXIT_QTY, cancel_entries, due, leave, rest_qty
from minibot.risk.exits import SymbolExits
from minibot.risk.order_counts import count_rows
from minibot.risk.positions import Market, WorkingOrder
from minibot.risk.risk_state import RiskState
from minibot.risk.signal_gates import is_tradable, status_gate
from minibot.risk.trigger_rows import STOP_TRADES, trigger_rows

REJECTED: Final = "REJECTED"
ACCEPTED: Final = "ACCEPTED"

REST_RATE: Final = Gate("rest_orders_per_minute", ORDER_RATE)

STOP_NAMES: Final = frozenset([gate.name for gate in STOP_TRADES.values()])
"""Names of the checks that the last trade is above each stop."""

Levels = tuple[int | None, int | None]
"""Stop and target of an order that is to rest."""


def protect(
    state: RiskState,
    market: Market,
    cause: EventId,
    ts: int,
    tick_seq: int | None,
    ordinal: int = 0,
) -> list[Message] | None:
    """Return the exit that is due for a position, else the order to rest for it, else None.

    Args:
        state: The state.
        market: The market of the position.
        cause: The tick, fill or result being processed.
        ts: Time of that event.
        tick_seq: Line of the tick from which the event follows.
        ordinal: Number of messages that the step has so far.
    """
    trigger = due(state, market)
    if trigger is not None:
        verdict = new_verdict(state, cause, ts, tick_seq, market.symbol)
        verdict.ordinal = ordinal
        return leave(state, market, trigger, verdict)
    levels, rules = missing(state, market), market.rules
    if levels is None or rules is None:
        return None
    verdict = new_verdict(state, cause, ts, tick_seq, market.symbol)
    verdict.ordinal = ordinal
    return _rest(state, market, rules, levels, verdict)


def missing(state: RiskState, market: Market) -> Levels | None:
    """Return the levels of the order that is to rest; None if it rests already, or may not now.

    No order may rest without levels, during an open sale, after the end, before the next attempt is
    allowed, while the order rate has no room for a move, or once the last trade has reached a
    level: then `due` sells at the market.
    """
    exits, rules = state.exits_of(market), market.rules
    positions, until, now = state.positions, state.exits.ending_until, state.now
    if rules is None or market.holding is None:
        return None
    if not exits.is_guarded:
        state.exits.guard(exits, rules.price_step)
    stop, target = levels_of(state, market, exits, rules)
    if stop is None and target is None:
        return None
    limit = state.exits.rules.limit_of(stop, rules.price_step)
    resting, qty = positions.resting(market), rest_qty(rules, market.qty, stop, target, limit)
    if resting is not None and (resting.matches(qty, stop, target, limit) or resting.is_unsold):
        return None
    exits.quiet_until = 0  # Each tick tries again until the order rests as it should.
    if now < exits.rest_retry_ts or (until is not None and now >= until):
        return None
    if positions.has_order(market.symbol, SELL):
        return None
    if resting is not None and resting.pending == qty and not may_move(state, exits):
        return None
    rows = trigger_rows(market.last, stop, target, *exits.reasons())
    return None if first_failure(rows) is not None else (stop, target)


def may_move(state: RiskState, exits: SymbolExits) -> bool:
    """Return whether the order rate leaves room to move the levels of a resting order.

    Moves may use half of the soft rate, spread evenly over time and positions. No move exceeds the
    soft rate with all orders of the minute, or takes the last order of the hard rate, which is kept
    for a sale. Until a move the former order rests, and risk itself watches the levels in force.
    Without a plan there is always room.
    """
    plan, rate = exits.plan, state.limits.order_rate
    if plan is None:
        return True
    wait_ms = MINUTE_MS * max(1, len(state.positions.held)) // max(1, rate.entry_max // 2)
    if state.now < plan.moved_ts + wait_ms:
        return False
    return state.budgets.orders(state.now) + 1 <= min(rate.entry_max, rate.hard - 1)


def levels_of(state: RiskState, market: Market, exits: SymbolExits, rules: OrderRules) -> Levels:
    """Return stop and target of an open position; None for a level that is off or not above 0."""
    if market.holding is None:
        return None, None
    stop, target, _ = state.exits.bounds(exits, market.holding, rules)
    return (
        stop if exits.has_stop(stop) and stop > 0 else None,
        target if exits.has_target(target) else None,
    )


def rest_rows(
    state: RiskState, market: Market, qty: int, levels: Levels, verdict: Verdict
) -> tuple[Row, ...]:
    """Return the checks that an order has to pass before it rests; the last one is its size."""
    rules, exits = market.rules, state.exits_of(market)
    legs = (levels[0] is not None) + (levels[1] is not None)
    has_limit = state.exits.rules.stop_limit_share is not None
    former, rate = state.positions.resting(market), state.limits.order_rate
    # The last order of the hard rate is kept for a sale. If an entry fills in many parts, all above
    # the soft rate is: until there is room, risk itself watches what the order does not cover.
    orders_max = rate.hard - 1
    if former is not None and former.pending < qty:
        orders_max = min(rate.entry_max, orders_max)
    return (
        (status_gate(rules), not is_tradable(rules), False),
        *trigger_rows(market.last, *levels, *exits.reasons()),
        *count_rows(state, market, rules, legs, former, 1 if has_limit and legs > 1 else 0),
        (REST_RATE, verdict.left.orders + 1, orders_max),
        (EXIT_QTY, qty, 0 if rules is None else rules.qty_min),
    )


def _rest(
    state: RiskState, market: Market, rules: OrderRules, levels: Levels, verdict: Verdict
) -> list[Message]:
    """Return the action PROTECT and its intent, or BLOCK; nothing if its reason is the last one."""
    exits, checks = state.exits_of(market), verdict.checks
    stop, target = levels
    bounds, limit = rules.market_bounds, state.exits.rules.limit_of(stop, rules.price_step)
    qty = rest_qty(rules, market.qty, stop, target, limit)
    checks.judge(rest_rows(state, market, qty, levels, verdict))
    least = stop if stop is not None else target or 0
    refusal = bounds.value_refusal(cost_up(qty, least)) or bounds.qty_refusal(qty)
    for price in (stop, target, limit):
        if price is not None and refusal is None:
            refusal = rules.trigger_refusal(price)
    if limit is not None and refusal is None:
        refusal = rules.limit_bounds.value_refusal(cost_up(qty, limit))
    if refusal is not None:
        checks.fail_last(refusal)
    if checks.reason:
        if exits.last_rest_refusal == checks.reason:
            return []
        exits.last_rest_refusal = checks.reason
        return [action(state, BLOCK, checks.reason, verdict)]
    exits.last_rest_refusal = ""
    former = state.positions.resting(market)
    messages = approve(
        *(state, PROTECT, PROTECTED, SELL, qty, market, rules, verdict, former, stop, target)
    )
    state.positions.orders[-1].reasons = exits.reasons()
    if exits.plan is not None:
        exits.plan.moved_ts = state.now
    return messages


# --- answers of the executor ----------------------------------------------------------------------


def on_answer(
    state: RiskState,
    order: WorkingOrder,
    result: ResultMessage,
    is_ended: bool,
    was_refused: bool,
) -> list[Message] | None:
    """Take a result of an order that was open; return the messages that follow, or None.

    A trigger is answered by EXIT, with a sale of the quantity that its limit left unsold. After an
    order that ended without being refused, `protect` closes the position that is still open, or
    gives it a resting order.

    Args:
        state: The state, after the result.
        order: The order of the result.
        result: The result.
        is_ended: Whether the result ended the order.
        was_refused: Whether the order ended without having been accepted.
    """
    market = order.market
    exits = state.exits_of(market)
    exits.quiet_until = 0
    has_trigger = order.stop is not None or order.target is not None
    if has_trigger:
        if result.result == TRIGGERED:
            return _on_trigger(state, order, result)
        if is_ended or result.result == ACCEPTED:
            exits.on_rest_ended(was_refused, state.now)
    elif is_ended and order.side == SELL:
        exits.on_order_ended(was_refused, state.now)
    if was_refused or not is_ended:
        return None
    return protect(state, market, result.ref(), result.ts, result.tick_seq)


def _on_trigger(state: RiskState, order: WorkingOrder, result: ResultMessage) -> list[Message]:
    """Return the action EXIT for a resting order that a trade has triggered, and cancel entries.

    It has no intent, as the order itself is the sale. If an order with a limit is known to have
    left a quantity unsold, the sale of that follows.

    Raises:
        InvariantError: The trade has reached none of the order's levels.
    """
    market, intent = order.market, order.intent or result.ref()
    verdict = new_verdict(state, intent, result.ts, result.tick_seq, market.symbol)
    verdict.also = result.ref()
    row = first_failure(trigger_rows(result.trigger, order.stop, order.target, *order.reasons))
    if row is None:
        price = amount_text(result.trigger)
        detail = f"order {order.client.text}: triggered by a trade at {price}, not at its levels"
        raise InvariantError("risk", INVARIANT_BROKEN, detail)
    verdict.checks.add_failed(row)
    if state.protections.is_on:
        state.protections.on_trigger(market.symbol, order.client.text, row[0].reason)
    exit_action = action(state, EXIT, row[0].reason, verdict)
    messages: list[Message] = [exit_action]
    if order.limit is not None:
        order.trigger_reason, order.trigger_seq = row[0].reason, NEVER
        if row[0].name in STOP_NAMES:
            # If risk has read further ticks, a fill of the trigger's tick may still arrive.
            is_same = market.seq == result.tick_seq
            order.trigger_seq = market.seq - 1 if is_same else market.seq
        sale = protect(state, market, result.ref(), result.ts, result.tick_seq, 1) or []
        if state.is_stopped:
            return sale
        messages += sale
        if len(sale) > 1:
            return messages  # The sale cancels entries too.
    return messages + cancel_entries(state, market, verdict, len(messages))
