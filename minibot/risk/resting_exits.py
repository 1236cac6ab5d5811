"""Protection: stop and target of a position as an order that rests with the executor.

With `risk.exits_at: "venue"` one order of the whole position waits there, an OCO where it has stop
and target. Risk rests it in the step in which a fill opens the position, and replaces it whenever
quantity or levels change: after each further fill, by the average entry price, when the venue's
price step changes, and as often as the order rate allows where a level moves (`risk.plan`). Each is
a `risk_action` PROTECT with its checks, followed by an `order_intent` (STOP_LOSS, TAKE_PROFIT or
OCO, with `risk.stop_limit_bps` STOP_LOSS_LIMIT or an OCO with the limit of its stop, whose target
is a quote) or an `order_replace`.

The last trade triggers it; the answer to that is a `risk_action` EXIT that names the trigger, and
an `order_cancel` of what an entry may still buy. Every other exit (signal, time, operator, end) is
an `order_replace` of the resting order by one at the market, so that nothing is sold twice and one
of them always stands; while a new one is on its way, a trade that reaches its levels and those of
the former triggers it. Which of two wins is a table in `execution.orders`.

A triggered order with a limit is no hard stop: a gap jumps past it, and the other leg has ended. So
what it leaves unsold is sold at the market in its place, by an EXIT of the same reason with the
check `unsold_qty`, and however the price goes on: with the first tick whose bid is below the limit,
which may be that of the trigger, and in the step of its first fill where this was a part. A refusal
is tried again like that of any exit; until one is accepted the limit stands.

A position that no resting order covers is watched by risk itself, by the bid and the last trade:
where its quantity is too small to rest, or too large for one order, venue or order rate let no
further order rest, its order was refused and waits for the next attempt, or its symbol is halted.
Under `carry` the next run rests stop and target anew with its first tick of the symbol.
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
"""The names of the checks that a trade has reached no stop."""

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
    """Return the exit of a position that is due, else the order to rest for it, else None.

    Args:
        state: The state.
        market: The market of the position.
        cause: The tick, fill or result taken just now.
        ts: The time of that event.
        tick_seq: The tick that the event goes back to.
        ordinal: How many messages its step has already.
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
    """Return the levels of the order that is to rest; None if it rests already, or none may now.

    None may rest without levels, beside a sale on its way, after the end, before the next attempt
    is allowed, while the order rate lets no level move, and where the last trade has reached a
    level: `due` then sells at the market.
    """
    exits, rules = market.exits or state.exits_of(market), market.rules
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
    if resting is not None and (resting.is_as(qty, stop, target, limit) or resting.is_unsold):
        return None
    exits.quiet_until = 0  # Until it rests as it should, each tick asks again.
    if now < exits.rest_retry_ts or (until is not None and now >= until):
        return None
    if positions.has_order(market.symbol, SELL):
        return None
    if resting is not None and resting.pending == qty and not may_move(state, exits):
        return None
    rows = trigger_rows(market.last, stop, target, *exits.reasons())
    return None if first_failure(rows) is not None else (stop, target)


def may_move(state: RiskState, exits: SymbolExits) -> bool:
    """Return whether the order rate leaves room to move the levels of an order that rests.

    Moves have half of the soft rate, evenly spread over time and positions. With all orders of the
    minute no move exceeds the soft rate, or takes the last order of the hard rate, which is left to
    a sale. Until a move the former order rests, and risk itself watches the levels in force.
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
    """Return stop and target of an open position; None for one that is not set or not above 0."""
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
    """Return the checks that an order has to pass before it rests; the last one is of its size."""
    rules, exits = market.rules, market.exits or state.exits_of(market)
    legs = (levels[0] is not None) + (levels[1] is not None)
    has_limit = state.exits.rules.stop_limit_share is not None
    former, rate = state.positions.resting(market), state.limits.order_rate
    # The last order of the hard rate is left to a sale, and where an entry is filled in many parts
    # all beyond the soft one: until there is room, risk itself watches what no order covers.
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
    """Return the action PROTECT and its intent, or BLOCK, which is told once per reason."""
    exits, checks = market.exits or state.exits_of(market), verdict.checks
    stop, target = levels
    bounds, limit = rules.market_bounds, state.exits.rules.limit_of(stop, rules.price_step)
    qty = rest_qty(rules, market.qty, stop, target, limit)
    checks.judge(rest_rows(state, market, qty, levels, verdict))
    least = stop if stop is not None else target or 0
    refusal = bounds.value_refusal(cost_up(qty, least)) or bounds.qty_refusal(qty)
    if limit is not None and refusal is None:
        refusal = rules.trigger_refusal(limit)
        refusal = refusal or rules.limit_bounds.value_refusal(cost_up(qty, limit))
    if refusal is not None:
        checks.fail_last(refusal)
    if checks.reason:
        if exits.rest_told == checks.reason:
            return []
        exits.rest_told = checks.reason
        return [action(state, BLOCK, checks.reason, verdict)]
    exits.rest_told = ""
    former = state.positions.resting(market)
    messages = approve(
        *(state, PROTECT, PROTECTED, SELL, qty, market, rules, verdict, former, stop, target)
    )
    state.positions.orders[-1].reasons = exits.reasons()
    if exits.plan is not None:
        exits.plan.moved_ts = state.now
    return messages


# --- what becomes of it ---------------------------------------------------------------------------


def on_answer(
    state: RiskState,
    order: WorkingOrder,
    result: ResultMessage,
    is_ended: bool,
    was_refused: bool,
) -> list[Message] | None:
    """Take a result of an order that was open before it; return what follows, or None.

    A trigger is answered by EXIT, with a sale of what its limit left unsold. After an order that
    ended, and was not refused, a position that is still open is left or given a resting order, as
    by `protect`.

    Args:
        state: The state, which has taken the result.
        order: The order of the result.
        result: The result.
        is_ended: Whether the result ended the order.
        was_refused: Whether the order ended without having been accepted.
    """
    market = order.market
    exits = market.exits or state.exits_of(market)
    exits.quiet_until = 0
    has_trigger = order.stop is not None or order.target is not None
    if has_trigger:
        if result.result == TRIGGERED:
            return _left(state, order, result)
        if is_ended or result.result == ACCEPTED:
            exits.on_rest_ended(was_refused, state.now)
    elif is_ended and order.side == SELL:
        exits.on_order_ended(was_refused, state.now)
    if was_refused or not is_ended or market.holding is None:
        return None
    return protect(state, market, result.ref(), result.ts, result.tick_seq)


def _left(state: RiskState, order: WorkingOrder, result: ResultMessage) -> list[Message]:
    """Return the action EXIT for a resting order that a trade has triggered, and cancel entries.

    No intent follows it: the order itself is the sale. Where it has a limit, and left something
    unsold as far as is known, the sale of that follows.

    Raises:
        InvariantError: The trade has reached none of the order's levels.
    """
    market, intent = order.market, order.intent or result.ref()
    verdict = new_verdict(state, intent, result.ts, result.tick_seq, market.symbol)
    verdict.also = result.ref()
    row = first_failure(trigger_rows(result.trigger, order.stop, order.target, *order.reasons))
    if row is None:
        price = amount_text(result.trigger)
        detail = f"order {order.client.text}: triggered by a trade at {price}, at no level of it"
        raise InvariantError("risk", INVARIANT_BROKEN, detail)
    verdict.checks.show(row)
    if state.protections.is_on:
        state.protections.on_trigger(market.symbol, order.client.text, row[0].reason)
    told = action(state, EXIT, row[0].reason, verdict)
    messages: list[Message] = [told]
    if order.limit is not None:
        order.left_for, order.left_seq = row[0].reason, NEVER
        if row[0].name in STOP_NAMES:
            # Where risk is ahead, a fill of the trigger's tick may be on its way.
            is_same = market.seq == result.tick_seq
            order.left_seq = market.seq - 1 if is_same else market.seq
        sale = protect(state, market, result.ref(), result.ts, result.tick_seq, 1) or []
        if state.is_stopped:
            return sale
        messages += sale
        if len(sale) > 1:
            return messages  # The sale cancels entries too.
    return messages + cancel_entries(state, market, verdict, len(messages))
