"""The decision to close a position: on a SELL signal, or because an exit is due.

Exits are allowed where entries are refused: no halt, lock, loss or notional limit keeps a position
open. An exit needs a position, a symbol that trades, a fresh touch, and no open sale of the symbol.
Beside an open partial sale the rest may be sold by an exit that is due, or on a signal if the
profile sells in parts. Beyond the hard order rate an exit is a STOP, and the position stays open.
"""

from __future__ import annotations

from typing import Final

from minibot.accounting.lots import Holding
from minibot.accounting.order_rules import OrderRules
from minibot.cores.messages import Message, SignalMessage
from minibot.events.model import BLOCK, BUY, EXIT, SELL, Event
from minibot.events.money import PLACES, cost_up
from minibot.events.reasons import (
    END_EXIT,
    LEFT_TRADING,
    MIN_NOTIONAL,
    NO_POSITION,
    OPERATOR_EXIT,
    ORDER_RATE,
    PENDING_ORDER,
    PROTECTED,
    QTY_INVALID,
    QTY_MIN,
    SIGNAL_EXIT,
    UNIVERSE_EXIT,
)
from minibot.risk.campaign import RECOVERY_QTY, recovery_rows
from minibot.risk.campaign_steps import part_left
from minibot.risk.checks import (
    AT_LEAST,
    IS_NOT,
    IS_SO,
    NONE,
    SKIPPED,
    Checklist,
    Gate,
    Row,
    exceeded,
    first_failure,
)
from minibot.risk.distances import NEVER
from minibot.risk.drafts import (
    PROTECT,
    WITHDRAW,
    Verdict,
    action,
    approve,
    cancel_of,
    new_verdict,
    stop,
    verdict_for_event,
)
from minibot.risk.exits import SymbolExits
from minibot.risk.ladder import is_too_small
from minibot.risk.plan import Plan
from minibot.risk.plan_rows import HELD_MS, LADDER_PRICE, STOP_PRICE, TARGET_PRICE, plan_rows
from minibot.risk.positions import Market, Positions, WorkingOrder
from minibot.risk.risk_state import RiskState
from minibot.risk.signal_gates import (
    DECIDED_BEFORE,
    SIGNAL_AGE,
    TICK_AGE,
    is_tradable,
    mark_gate,
    signal_age_max,
    status_gate,
    tick_age,
)
from minibot.risk.trigger_rows import trigger_rows, unsold_rows

# A failure of one of these closes a position; its reason code is the reason of the exit.
NO_EXIT_REQUEST: Final = Gate("exit_position", OPERATOR_EXIT, words=(NONE, "asked"))
HELD: Final = Gate("policy", words=("hold", "close"))
NOT_ENDING: Final = Gate("run_ending", END_EXIT, passes=AT_LEAST)

# The price of a stop that is off: every bid is above it.
NO_STOP: Final = 0

# A failure of one of these refuses an exit.
LEAVES_ON_SIGNAL: Final = Gate("signal_exit", SIGNAL_EXIT, words=IS_SO)
PART_QTY: Final = Gate("part_qty", places=PLACES)
PART_RATE: Final = Gate("part_orders_per_minute", ORDER_RATE)
LOTS: Final = Gate("position_lots", NO_POSITION, passes=AT_LEAST)
EXIT_PENDING: Final = Gate("exit_pending", PENDING_ORDER, words=IS_NOT)
EXIT_QTY: Final = Gate("exit_qty", places=PLACES, passes=AT_LEAST)

TOO_SMALL: Final = frozenset({MIN_NOTIONAL, QTY_INVALID, QTY_MIN})
"""Reasons for which nothing of a position can be sold."""


# --- on a signal ----------------------------------------------------------------------------------


def on_sell(state: RiskState, market: Market, signal: SignalMessage) -> list[Message]:
    """Return EXIT with an intent, BLOCK alone, or STOP alone.

    Before the EXIT of a part, PROTECT and an `order_replace` make a resting order smaller. Cancels
    of entries come after the intent of an EXIT.
    """
    ref, rules, holding = signal.ref(), market.rules, market.holding
    verdict = new_verdict(state, ref, signal.ts, signal.tick_seq, signal.symbol, ref)
    checks, rows = verdict.checks, sell_rows(state, market, signal)
    if checks.judge(rows) and rules is not None and holding is not None:
        most = None
        if signal.wish is not None:
            wanted = signal.wish.qty_of(market.qty, market.bid)
            most = part_of(state, market, holding, rules, wanted)
            orders = SKIPPED if most is None else verdict.left.orders
            checks.judge(part_rows(state, market, orders, wanted))
        qty = size_exit(state, market, rules, checks, most, is_due=False)
        if not checks.reason:
            state.decided.note(ref, signal.ts, state.now - state.limits.signal_age_ms_max)
            if most is not None:
                return _part(state, SIGNAL_EXIT, market, rules, qty, verdict)
            return _exit(state, SIGNAL_EXIT, market, rules, qty, verdict)
    return [action(state, BLOCK, checks.reason, verdict)]


def sell_rows(state: RiskState, market: Market, signal: SignalMessage) -> tuple[Row, ...]:
    """Return the checks that a SELL signal has to pass before the position is sold."""
    now, limits, rules, holding = state.now, state.limits, market.rules, market.holding
    has_touch = market.is_fresh and market.has_mid
    return (
        (SIGNAL_AGE, now - signal.ts, signal_age_max(limits, signal)),
        (DECIDED_BEFORE, state.decided.has(signal.ref()), False),
        (LEAVES_ON_SIGNAL, not state.exits.rules.signal_exit, False),
        (LOTS, 0 if holding is None else len(holding.lots), 1),
        (status_gate(rules), not is_tradable(rules), False),
        (TICK_AGE, tick_age(market, now), limits.tick_age_ms_max),
        (mark_gate(market), SKIPPED if has_touch else True, False),
    )


def part_rows(state: RiskState, market: Market, orders: int, wanted: int) -> tuple[Row, ...]:
    """Return the checks of the quantity that a strategy wants to sell.

    A partial sale may not take the last order of the hard rate: that is kept for a sale of the
    whole position, so that no part ends the run.

    Args:
        state: The state.
        market: The market of the position.
        orders: The orders of the minute so far; `SKIPPED` if all is sold.
        wanted: The wanted quantity; it is cut to the free quantity.
    """
    return (
        (PART_QTY, wanted, state.positions.free_qty(market)),
        (
            PART_RATE,
            SKIPPED if orders == SKIPPED else orders + state.part_orders(),
            state.limits.order_rate.hard - 1,
        ),
    )


def part_of(
    state: RiskState, market: Market, holding: Holding, rules: OrderRules, wanted: int
) -> int | None:
    """Return the quantity to sell; None for all, also if the rest would be too small to sell.

    The rest is valued at the hard stop, else at the stop in force, else at the bid.
    """
    free, exits = state.positions.free_qty(market), state.exits_of(market)
    stop = 0 if exits.plan is None else exits.plan.hard
    stop = stop or state.exits.bounds_set(exits, holding, rules.price_step)[0]
    price = min(stop, market.bid) if stop > 0 else market.bid
    if wanted >= free or is_too_small(free - wanted, rules.market_bounds, price):
        return None
    return wanted


# --- because an exit is due -----------------------------------------------------------------------


def on_exit_position(state: RiskState, symbol: str, event: Event) -> list[Message]:
    """Return the answer to an operator's request: the exit, its refusal, or BLOCK if none is held.

    The list is empty while the exit has to wait: the request stays, and each tick tries again.
    Without a position it stays for an open entry, which is cancelled here; `requoting` withdraws a
    quoted one. An open entry beside a position is cancelled with the exit.
    """
    verdict = verdict_for_event(state, event, symbol)
    market = state.positions.of(symbol)
    if symbol in state.positions.held:
        state.exits.request_exit(symbol)
        trigger = due(state, market)
        return [] if trigger is None else leave(state, market, trigger, verdict)
    if is_entering(state, market):
        state.exits.request_exit(symbol)
        trigger = first_failure(request_rows(state, state.exits_of(market)))
        if symbol in state.quotes.open or trigger is None or not state.positions.entries(market):
            return []
        verdict.tick_seq = market.seq
        verdict.checks.add_failed(trigger)
        message: Message = action(state, WITHDRAW, OPERATOR_EXIT, verdict)
        return [message, *cancel_entries(state, market, verdict, 1)]
    verdict.checks.judge(((LOTS, 0, 1),))
    return [action(state, BLOCK, NO_POSITION, verdict)]


def is_entering(state: RiskState, market: Market) -> bool:
    """Return whether a market has an open or quoted entry."""
    return market.symbol in state.quotes.open or state.positions.has_order(market.symbol, BUY)


def forget_request(state: RiskState, market: Market) -> None:
    """Forget an operator's request to exit once there is neither a position nor an open entry."""
    exits = state.exits_of(market)
    if market.holding is None and exits.is_exit_requested and not is_entering(state, market):
        exits.forget()


def leave_all(state: RiskState, event: Event) -> list[Message]:
    """Return the exits that are due in all symbols, up to one that is a STOP."""
    messages: list[Message] = []
    for symbol in state.positions.portfolio.symbols():
        market = state.positions.of(symbol)
        trigger = due(state, market)
        if trigger is None:
            continue
        verdict = verdict_for_event(state, event, symbol)
        verdict.ordinal = len(messages)
        messages += leave(state, market, trigger, verdict)
        if state.is_stopped:
            return messages
    return messages


def mark_halted_for_exit(state: RiskState, symbol: str) -> None:
    """Mark a position for exit if its symbol left TRADING and `left_trading` is `close`.

    It is sold once the symbol trades again; that does not remove the mark.
    """
    positions, exits = state.positions, state.exits
    rules = positions.of(symbol).rules
    if rules is None or rules.is_trading or not exits.rules.leaves_halted:
        return
    if symbol in positions.held:
        exits.mark_for_exit(symbol, LEFT_TRADING)


def mark_dropped_for_exit(state: RiskState) -> None:
    """Mark all positions outside the universe for exit, if `left_universe` is `close`.

    A symbol that is back in the universe loses this mark.
    """
    universe, exits = state.universe, state.exits
    if universe is None or not exits.rules.leaves_dropped:
        return
    for symbol in state.positions.portfolio.symbols():
        if symbol in universe:
            exits.clear_exit(symbol, UNIVERSE_EXIT)
        else:
            exits.mark_for_exit(symbol, UNIVERSE_EXIT)


def mark_bought_for_exit(state: RiskState, symbol: str) -> None:
    """Mark a new position for exit if its symbol was dropped or halted before the entry filled."""
    universe, exits = state.universe, state.exits
    if universe is not None and exits.rules.leaves_dropped and symbol not in universe:
        exits.mark_for_exit(symbol, UNIVERSE_EXIT)
    mark_halted_for_exit(state, symbol)


def due(state: RiskState, market: Market) -> Row | None:
    """Return the failed check for which a position is to be closed now; None to hold it.

    It is called for each tick, operator's request and announced end, so that a time limit acts at
    the next of these; with resting exits also for each fill and result. Exit requests are checked
    before levels, and the quantity that a triggered limit left unsold before all else. No exit is
    due without a fresh touch, before the next attempt is allowed, or while an open sale leaves
    nothing else to sell.
    """
    exits, now = state.exits_of(market), state.now
    rules, holding = market.rules, market.holding
    if rules is None or holding is None or not market.is_fresh or not market.has_mid:
        return None
    if now - market.ts > state.limits.tick_age_ms_max:
        return None
    step, plan = rules.price_step, exits.plan
    if plan is not None:
        # Stops follow the bid even if nothing can be sold now, so the quiet range is out of date.
        exits.quiet_until = 0
        if not exits.is_guarded:
            state.exits.guard(exits, step)
        state.exits.bounds(exits, holding, rules)
        plan.advance(state.exits.rules.plan, market.bid, now)
        # By the first fresh price, also if that one sells a part or cannot be sold at.
        plan.end_gap(state.exits.rules.plan, now)
        if state.exits.rules.horizon.is_on:
            state.exits.judge_thesis(exits, market.bid, now)
    unsold = unsold_order(state, market)
    is_selling = state.positions.has_order(market.symbol, SELL)
    if now < exits.retry_ts or (is_selling and not has_rest(state, market, rules)):
        return None
    if unsold is not None:
        return first_failure(unsold_rows(unsold.pending, unsold.trigger_reason))
    trigger = first_failure(request_rows(state, exits))
    if trigger is not None:
        return trigger
    if not exits.is_guarded:
        state.exits.guard(exits, step)
    bounds = state.exits.bounds(exits, holding, rules)
    bid = market.bid
    if state.exits.rules.rests and is_covered(state.positions, market, plan):
        bid = SKIPPED  # The executor watches the levels.
    if plan is None:
        if bid == SKIPPED:
            bounds = NO_STOP, NEVER, bounds[2]
        trigger = first_failure(level_rows(exits, bounds, exits.opened_of(holding), bid, now))
    else:
        rung_bid = market.bid if part_due(state, market, plan) else SKIPPED
        held_max = state.exits.rules.time_exit_ms
        ends = NEVER if held_max is None else plan.opened_ts + held_max
        horizon = state.exits.horizon_of(exits)
        rows = plan_rows(plan, state.exits.rules.plan, bid, rung_bid, now, ends, horizon)
        trigger = first_failure(rows)
    if trigger is None and bid != SKIPPED and state.exits.rules.rests:
        # Nothing rests for it: the last trade counts beside the bid.
        stop = bounds[0] if exits.has_stop(bounds[0]) else None
        target = bounds[1] if exits.has_target(bounds[1]) else None
        stop_why, target_why = exits.reasons()
        trigger = first_failure(trigger_rows(market.last, stop, target, stop_why, target_why))
    if trigger is None and exits.campaign is not None and exits.campaign.is_reducing:
        is_left = part_left(state, market, rules, exits.campaign)
        free = state.positions.free_qty(market) if is_left else SKIPPED
        trigger = first_failure(recovery_rows(exits.campaign, free))
    if trigger is not None:
        # A core restored from its state has no range: both must judge the tick after a refusal.
        exits.quiet_until = 0
        return trigger
    if is_selling:
        return None
    if state.exits.ending_until is None and (bid == SKIPPED or not state.exits.rules.rests):
        exits.set_quiet_range(state.exits.quiet_bounds(exits, bounds))
    exits.last_refusal = ""
    return None


def unsold_order(state: RiskState, market: Market) -> WorkingOrder | None:
    """Return the triggered limit order that leaves a quantity unsold; None without one.

    An order counts as such once a part of it was sold, or the bid is below the limit of its stop.
    From then on a sale at the market replaces it, however the price moves, as its stop has ended.
    While the bid is at or above the limit, the order itself sells what is bid there.
    """
    if state.exits.rules.stop_limit_share is None:
        return None
    order = state.positions.triggered(market)
    if order is None:
        return None
    limit = order.limit or 0
    is_past = market.seq > order.trigger_seq and market.has_mid and market.bid < limit
    if order.booked or is_past:
        order.is_unsold = True
    return order if order.is_unsold else None


def has_rest(state: RiskState, market: Market, rules: OrderRules, *, is_due: bool = True) -> bool:
    """Return whether another sale beside the open ones is wanted and possible.

    It is wanted if the profile sells in parts, if a triggered limit left a quantity unsold, or if
    an exit is due while only parts are being sold: a stop must not wait for a limit without bids.
    """
    positions = state.positions
    is_wanted = (
        state.exits.rules.plan.sells_parts
        or (is_due and positions.sells_only_parts(market))
        or unsold_order(state, market) is not None
    )
    if not is_wanted:
        return False
    free = positions.free_qty(market)
    return not is_too_small(free, rules.market_bounds, state.sale_price(market))


def part_due(state: RiskState, market: Market, plan: Plan) -> int:
    """Return the quantity that the ladder sells at the bid; 0 while the hard rate has no room.

    A partial sale may wait: it never ends the run.
    """
    pending = market.qty - state.positions.free_qty(market)
    part = plan.part(market.bid, pending, state.sale_price(market))
    return part if part and state.has_part_room() else 0


def is_covered(positions: Positions, market: Market, plan: Plan | None) -> bool:
    """Return whether a resting order covers all but dust, at the levels in force or tighter.

    A part that is being sold is not counted.
    """
    resting = positions.resting(market)
    if resting is None or positions.free_qty(market) - resting.pending > positions.dust_max(market):
        return False
    if plan is None:
        return True
    target = NEVER if resting.target is None else resting.target
    return (resting.stop or 0) >= plan.floor() and target <= plan.ceiling()


def request_rows(state: RiskState, exits: SymbolExits) -> tuple[Row, ...]:
    """Return the checks that nothing requests an exit at any price."""
    until = state.exits.ending_until
    is_closing = until is not None and state.exits.rules.closes_at_end
    return (
        (NO_EXIT_REQUEST, exits.is_exit_requested, False),
        (policy_gate(exits.policy_exit), exits.policy_exit != "", False),
        (NOT_ENDING, state.now if is_closing else SKIPPED, until or 0),
    )


def policy_gate(reason: str) -> Gate:
    """Return the check that the profile's policy holds a position; `reason` is why it does not."""
    if not reason:
        return HELD
    return Gate("policy", reason, words=("hold", "close"))


def level_rows(
    exits: SymbolExits, bounds: tuple[int, int, int], opened_ts: int, bid: int, now: int
) -> tuple[Row, ...]:
    """Return the checks that neither stop, target nor time limit is reached.

    Args:
        exits: The exits of the symbol.
        bounds: Bid of the stop, bid of the target, and the time from which it is closed.
        opened_ts: When the position was opened.
        bid: The price of a sale; `SKIPPED` while the levels rest with the executor.
        now: Market time.
    """
    stop_price, target_price, ends = bounds
    return (
        (STOP_PRICE, SKIPPED if exits.stop_distance is None else bid, stop_price),
        (TARGET_PRICE, SKIPPED if exits.target_distance is None else bid, target_price),
        (HELD_MS, now - opened_ts, ends - opened_ts),
    )


def leave(state: RiskState, market: Market, trigger: Row, verdict: Verdict) -> list[Message]:
    """Return the messages of an exit that is due; a refusal is a BLOCK unless repeated.

    A refusal for another reason than the one before is recorded. After a tick without a due exit,
    or an operator's request, the same reason is recorded again. If the refusal is of what is too
    little to sell and no entry is open, request and LEFT_TRADING end.

    Args:
        state: The state.
        market: The market of an open position.
        trigger: The failed check that `due` returned.
        verdict: Undecided, caused by the tick or the control event, with its place in this step;
            its `tick_seq` becomes that of the touch by which the exit was judged.
    """
    exits, rules, checks = state.exits_of(market), market.rules, verdict.checks
    verdict.tick_seq = market.seq
    checks.add_failed(trigger)
    checks.judge(((status_gate(rules), not is_tradable(rules), False),))
    if rules is not None:
        plan, most = exits.plan, None
        if plan is not None and trigger[0] is LADDER_PRICE:
            most = part_due(state, market, plan)
        if exits.campaign is not None and trigger[0] is RECOVERY_QTY:
            most = part_left(state, market, rules, exits.campaign)
        if most is not None and plan is not None:
            # Filters may have changed since the part was computed.
            kept = state.positions.free_qty(market) - most
            if is_too_small(kept, rules.market_bounds, plan.hard or market.bid):
                most = None
        qty = size_exit(state, market, rules, checks, most)
        if not checks.reason:
            exits.last_refusal = ""
            if most is not None and most < market.qty:
                return _part(state, trigger[0].reason, market, rules, qty, verdict)
            return _exit(state, trigger[0].reason, market, rules, qty, verdict)
    if checks.reason in TOO_SMALL and not is_entering(state, market):
        exits.drop_requests()
    if exits.last_refusal == checks.reason:
        return []
    exits.last_refusal = checks.reason  # Recorded once, not at every tick.
    return [action(state, BLOCK, checks.reason, verdict)]


# --- the sale -------------------------------------------------------------------------------------


def size_exit(
    state: RiskState,
    market: Market,
    rules: OrderRules,
    checks: Checklist,
    most: int | None = None,
    *,
    is_due: bool = True,
) -> int:
    """Judge whether a position can be sold; return the quantity of one order that sells it.

    The quantity is the position less open sales, or `most`, in whole steps and up to the venue's
    maximum quantity and value; more than that needs another exit. If it cannot be sold,
    `checks.reason` holds the reason.
    """
    positions, bounds, price = state.positions, rules.market_bounds, state.sale_price(market)
    is_pending = positions.has_order(market.symbol, SELL)
    is_pending = is_pending and not has_rest(state, market, rules, is_due=is_due)
    qty = bounds.sale_down(positions.free_qty(market) if most is None else most, price)
    checks.judge(((EXIT_PENDING, is_pending, False), (EXIT_QTY, qty, rules.qty_min)))
    refusal = bounds.value_refusal(cost_up(qty, price)) or bounds.qty_refusal(qty)
    if refusal is not None:
        checks.fail_last(refusal)
    return qty


def rest_qty(
    rules: OrderRules, qty: int, stop: int | None, target: int | None, limit: int | None
) -> int:
    """Return the part of a quantity that one order may rest for, valued at its stop or target.

    If the stop has a limit, the quantity also meets the bounds of limit orders, valued at the
    target; its rest must still be sellable at the market.
    """
    if limit is not None:
        qty = rules.limit_bounds.sale_down(qty, (stop if target is None else target) or 0)
    return rules.market_bounds.sale_down(qty, (target if stop is None else stop) or 0)


def _part(
    state: RiskState, reason: str, market: Market, rules: OrderRules, qty: int, verdict: Verdict
) -> list[Message]:
    """Return the sale of a part, after the resting order is replaced by one for the remainder.

    The replacement comes first, so that both orders never sell more than the position. A remainder
    too small to rest is sold with the part.
    """
    former, free = state.positions.resting(market), state.positions.free_qty(market)
    if former is None or former.pending <= free - qty:
        return _exit(state, reason, market, rules, qty, verdict, is_whole=False)
    # Filters may have changed since that order was placed.
    limit = state.exits.rules.limit_of(former.stop, rules.price_step)
    left = rest_qty(rules, former.pending - qty, former.stop, former.target, limit)
    if former.is_unsold:
        left = 0  # It was triggered: all of it is sold.
    if _is_too_small_to_rest(rules, left, former, limit, market.bid):
        whole = rules.market_bounds.sale_down(free, state.sale_price(market))
        return _exit(state, reason, market, rules, whole, verdict)
    rest = new_verdict(state, verdict.cause, verdict.ts, verdict.tick_seq, market.symbol)
    rest.ordinal = verdict.ordinal
    rest.checks.add_first_of(verdict.checks)
    messages = approve(
        *(state, PROTECT, PROTECTED, SELL, left, market, rules, rest, former),
        *(former.stop, former.target),
    )
    state.positions.orders[-1].reasons = former.reasons
    sale = new_verdict(state, verdict.cause, verdict.ts, verdict.tick_seq, market.symbol)
    sale.ordinal, sale.checks = verdict.ordinal + len(messages), verdict.checks
    return messages + _exit(state, reason, market, rules, qty, sale, is_whole=False)


def _is_too_small_to_rest(
    rules: OrderRules, qty: int, former: WorkingOrder, limit: int | None, bid: int
) -> bool:
    """Return whether a remainder is too small to be sold at the bid, or to rest.

    The executor values a resting order at its limit, else at its stop, else at its target.
    """
    if is_too_small(qty, rules.market_bounds, bid):
        return True
    if limit is not None:
        return is_too_small(qty, rules.limit_bounds, limit)
    level = former.target if former.stop is None else former.stop
    return is_too_small(qty, rules.market_bounds, level or 0)


def _exit(
    state: RiskState,
    reason: str,
    market: Market,
    rules: OrderRules,
    qty: int,
    verdict: Verdict,
    is_whole: bool = True,
) -> list[Message]:
    """Return the action EXIT and its intent; STOP alone beyond the hard order rate.

    A sale of the whole position cancels the open entries of its market, which would buy after it,
    and replaces the order that rests for the position.
    """
    rate = state.limits.order_rate
    breaches = exceeded(((rate.hard_gate, verdict.left.orders + 1, rate.hard),))
    if breaches is not None:
        return [stop(state, breaches, verdict)]
    former = None
    if state.exits.rules.rests and is_whole:
        former = state.positions.resting(market)
    messages = approve(state, EXIT, reason, SELL, qty, market, rules, verdict, former)
    state.positions.orders[-1].is_part = not is_whole
    if is_whole or market.symbol in state.quotes.open:  # No quote buys beside the sale of a part.
        messages += cancel_entries(state, market, verdict, verdict.ordinal + 2)
    return messages


def cancel_entries(
    state: RiskState, market: Market, verdict: Verdict, ordinal: int
) -> list[Message]:
    """Return a cancel for each open entry of a market, as messages from `ordinal` on.

    A quoted entry is not quoted again.
    """
    entries = state.positions.entries(market)
    if state.quotes.open:
        entries = state.quotes.end_all(market.symbol, entries)
    return [cancel_of(order, verdict, ordinal + n) for n, order in enumerate(entries)]
