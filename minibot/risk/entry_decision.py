"""The decision on a BUY signal: the checks of an entry, its size, then the order or the refusal.

First come the checks that every entry has to pass. All of them are judged, so that a refusal shows
everything against the entry; its reason is the first failure. Then the wanted size is checked
against every limit on size and cut to the room that the limits leave, in whole steps of the venue;
an order that becomes smaller than the venue accepts is refused. Last come the hard limits without a
soft value: an order beyond one ends the run. A value at its limit passes, except where the gate
compares strictly: the loss of a campaign at risk, the bid at the level of a HOLD row, and prices of
the entry against the touch.
"""

from __future__ import annotations

from typing import Final

from minibot.accounting.order_rules import OrderRules
from minibot.cores.messages import Message, SignalMessage
from minibot.cores.wish import Wish
from minibot.events.decimals import div_up, mul_div_down, mul_div_up, round_down, round_up
from minibot.events.model import BLOCK, BUY
from minibot.events.money import PLACES, RATE_UNIT, cost_up, notional_paid_by, qty_for
from minibot.events.reasons import (
    ALLOWED,
    CAMPAIGN_RESERVE,
    COOLDOWN_PERIOD,
    DRAWDOWN_TIER,
    EXPOSURE_LIMIT,
    HALTED,
    INSUFFICIENT_CASH,
    LIMIT_CROSSES,
    LIMIT_ENTRIES_MAX,
    LOSSES_IN_ROW,
    LOW_PROFIT_PAIRS,
    MAX_DRAWDOWN,
    MIN_NOTIONAL,
    NIGHT_NOTIONAL_PACE,
    NO_PLAN,
    NOT_IN_UNIVERSE,
    PENDING_ORDER,
    POSITION_LIMIT,
    POSITION_MAX,
    POSITIONS_MAX,
    REDUCED,
    REFERENCE_DEVIATION,
    RUN_ENDING,
    SIZE_RISK,
    SPREAD_LIMIT,
    STOPLOSS_GUARD,
    SYMBOL_LOCKED,
    WARMUP,
    WISH_REACHED,
)
from minibot.events.unit_sizes import BPS
from minibot.risk.book_depth import depth_rows
from minibot.risk.budgets import drawdown_of
from minibot.risk.campaign import Reserve, reserve_loss_rows, reserve_rows
from minibot.risk.campaign_steps import enter, reserve_of
from minibot.risk.campaign_steps import rows_of as campaign_rows_of
from minibot.risk.checks import (
    ABOVE,
    AT_LEAST,
    BELOW,
    IS_NOT,
    IS_SO,
    NONE,
    SKIPPED,
    Checklist,
    Gate,
    Row,
    exceeded,
)
from minibot.risk.distances import share_distance
from minibot.risk.drafts import ALLOW, REDUCE, action, approve, bound_by_signal, new_verdict, stop
from minibot.risk.exit_decision import NO_EXIT_REQUEST, policy_gate
from minibot.risk.exits import UNKNOWN, SymbolExits
from minibot.risk.headroom import Headroom, loss_of
from minibot.risk.ladder import WHOLE_PERCENT
from minibot.risk.late_entries import late_rows
from minibot.risk.limits import (
    OF_ACCOUNT_DRAWDOWN,
    OF_DAY_LOSS,
    OF_DAY_NOTIONAL,
    OF_DRAWDOWN,
    OF_NIGHT_LOSS,
    OF_NIGHT_NOTIONAL,
    OF_ORDER_RATE,
    OF_WEEK_LOSS,
    OF_WEEK_NOTIONAL,
    UNBOUNDED,
    Limits,
)
from minibot.risk.market_returns import return_rows
from minibot.risk.positions import Market, Positions, is_scrap
from minibot.risk.protections import (
    OF_COOLDOWN_PERIOD,
    OF_LOSSES_IN_ROW,
    OF_LOW_PROFIT_PAIRS,
    OF_MAX_DRAWDOWN,
    OF_STOPLOSS_GUARD,
)
from minibot.risk.quoting import first_quote, judge_quote, life_rows, limit_price, quote_price
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
from minibot.risk.sizing import (
    BY_AMOUNT,
    Sizes,
    bound_row,
    loss_rows,
    sizes_of,
    sizing_rows,
    stop_distance,
    wish_rows,
)
from minibot.risk.vadr_gate import vadr_rows

NO_ROWS: Final[tuple[Row, ...]] = ()

RESERVE_PERCENT: Final = 5
"""Reserve below the stop at which the smallest entry can still be sold, as freqtrade's
amount_reserve_percent."""

DEVIATION_UNIT: Final[int] = BPS * BPS
"""A whole price in 10**-4 bps."""

NOT_ENDING: Final = Gate("run_ending", RUN_ENDING, words=(NONE, NONE))
IS_HALTED: Final = Gate("halted", HALTED, words=IS_NOT)
IS_LOCKED: Final = Gate("symbol_locked", SYMBOL_LOCKED, words=IS_NOT)
IN_UNIVERSE: Final = Gate("in_universe", NOT_IN_UNIVERSE, words=IS_SO)
ORDER_PENDING: Final = Gate("order_pending", PENDING_ORDER, words=IS_NOT)
POSITIONS: Final = Gate("positions", POSITIONS_MAX)
DEVIATION: Final = Gate("reference_deviation_bps", REFERENCE_DEVIATION, places=4)
SPREAD: Final = Gate("spread_bps", SPREAD_LIMIT, places=4)
STOP_AT_ASK: Final = Gate("stop_at_ask", SPREAD_LIMIT, PLACES, passes=BELOW)
REFERENCE_BARS: Final = Gate("reference_bars", WARMUP, passes=AT_LEAST)
ATR_BARS: Final = Gate("atr_bars", WARMUP, passes=AT_LEAST)
KEEPS_LEVELS: Final = Gate("keeps_levels", NO_PLAN, words=IS_SO)
LIMIT_ENTRIES: Final = Gate("limit_entries", LIMIT_ENTRIES_MAX)
WISHED_LIMIT: Final = Gate("wished_limit", LIMIT_CROSSES, PLACES, passes=BELOW)
WISHED_STOP: Final = Gate("wished_stop", WISH_REACHED, PLACES, passes=BELOW)
WISHED_TARGET: Final = Gate("wished_target", WISH_REACHED, PLACES, passes=ABOVE)
TRAIL_BARS: Final = Gate("trail_atr_bars", WARMUP, passes=AT_LEAST)
PACE: Final = Gate("night_notional_paced", NIGHT_NOTIONAL_PACE, places=PLACES)

# Gates of the size have no reason: an order that is too large is made smaller, not refused.
POSITION_NOTIONAL: Final = Gate("position_notional", places=PLACES, cuts=POSITION_LIMIT)
CASH_WITH_FEE: Final = Gate("cash_with_fee", places=PLACES, cuts=INSUFFICIENT_CASH)
EXPOSURE: Final = Gate("exposure", places=PLACES, cuts=EXPOSURE_LIMIT)
TIER_NOTIONAL: Final = Gate("tier_notional", places=PLACES, cuts=DRAWDOWN_TIER)
POSITION_QTY: Final = Gate("position_qty", places=PLACES, cuts=POSITION_MAX)
ORDER_NOTIONAL: Final = Gate("order_notional", places=PLACES, passes=AT_LEAST)


def on_buy(state: RiskState, market: Market, signal: SignalMessage) -> list[Message]:
    """Return ALLOW or REDUCE with an intent, BLOCK alone, or STOP alone."""
    ref, limits, rules = signal.ref(), state.limits, market.rules
    verdict = new_verdict(state, ref, signal.ts, signal.tick_seq, signal.symbol, ref)
    checks, left = verdict.checks, verdict.left
    qty, notional, limit = 0, 0, 0 if signal.wish is None else signal.wish.limit
    if checks.judge(entry_rows(state, market, signal, left)) and rules is not None:
        is_quoted = bool(limit) or state.quotes.rules.is_on
        qty, notional = size_entry(
            state, market, rules, left, checks, wish=signal.wish, is_quoted=is_quoted
        )
        if qty and is_quoted:
            price = limit_price(limit, rules) if limit else quote_price(market, rules)
            needed = sellable_notional(state, market, rules, price)
            qty = qty if judge_quote(state, market, rules, qty, price, needed, checks) else 0
        if qty and limit:
            checks.judge(life_rows(signal.horizon_ms, limits.order_ttl_ms))
    if rules is None or not qty:
        state.stops.on_refusal(checks.reason, signal.ts)
        return [action(state, BLOCK, checks.reason, verdict)]
    breaches = exceeded(hard_rows(limits, left, notional))
    if breaches is not None:
        return [stop(state, breaches, verdict)]
    state.decided.note(ref, signal.ts, state.now - limits.signal_age_ms_max)
    state.stops.on_entry()
    if not limit:  # The levels of a limit entry are kept in its quote.
        state.exits_of(market).keep_entry_levels(signal.wish, market.bid)
    verdict.campaign = enter(state, market, rules, verdict.ref())
    # A failed check that did not refuse made the order smaller.
    kind, reason = (REDUCE, REDUCED) if checks.failed else (ALLOW, ALLOWED)
    if limit or state.quotes.rules.is_on:
        return first_quote(state, kind, reason, qty, market, rules, verdict, signal)
    messages = approve(state, kind, reason, BUY, qty, market, rules, verdict)
    bound_by_signal(state, messages, signal)
    return messages


# --- is an entry allowed? -------------------------------------------------------------------------


def entry_rows(
    state: RiskState, market: Market, signal: SignalMessage, left: Headroom, is_taken: bool = False
) -> tuple[Row, ...]:
    """Return the checks that an entry has to pass before it is sized.

    Args:
        state: The state.
        market: The market of the signal.
        signal: The BUY signal.
        left: Use and headroom of each limit.
        is_taken: Whether a quoted entry is now bought at the market.
    """
    symbol, now, limits, rules = market.symbol, state.now, state.limits, market.rules
    positions, halts, equity, rate = state.positions, state.halts, left.equity, limits.order_rate
    locks, account = state.protections, state.budgets.account
    exits = state.exits_of(market)
    until = state.exits.ending_until
    late, comes_late = state.late, NO_ROWS
    needs_atr = state.exits.rules.needs_atr or state.sizing.needs_atr or late.rules.needs_atr
    lacks_close = exits.close == UNKNOWN and not needs_atr and _is_governed(state)
    usable = state.budgets.paced(now) if limits.pace_ms else limits.night_notional.entry_max
    returns, moves = state.returns, NO_ROWS
    if returns.is_on:
        moves = return_rows(returns.reading(symbol, positions, now), returns.rules)
    if late.is_on:
        lateness = late.reading(symbol, signal.confidence, market.price, exits, now)
        comes_late = late_rows(lateness, late.rules, market.is_fresh and market.has_mid)
    depth, sides = state.depth, NO_ROWS
    if depth.is_on:
        sides = depth_rows(depth.reading(symbol, now), limits.tick_age_ms_max, depth.least)
    vadr, lively = state.vadr, NO_ROWS
    if vadr.is_on:
        lively = vadr_rows(vadr.reading(symbol, now), vadr.needed, vadr.least)
    levels = NO_ROWS if signal.wish is None else level_rows(signal.wish, market, exits)
    # Without a usable touch, open orders, positions, deviation and spread are not judged.
    has_touch = market.is_fresh and market.has_mid
    is_quoted = state.quotes.rules.is_on or (signal.wish is not None and signal.wish.limit > 0)
    is_bought_at_ask = has_touch and (is_taken or not is_quoted)
    return (
        # The end of the run, the operator, universe and regime; a signal that is not new.
        (_ending_gate(until), until is not None, False),
        (IS_HALTED, halts.is_halted, False),
        (IS_LOCKED, halts.is_locked(symbol, now), False),
        (IN_UNIVERSE, _is_outside(symbol, state.universe), False),
        (state.regimes.gate(), state.regimes.value(), False),
        # A position that is to be closed as soon as it can be sold.
        (NO_EXIT_REQUEST, exits.is_exit_requested or SKIPPED, False),
        (policy_gate(exits.policy_exit), exits.policy_exit != "" or SKIPPED, False),
        (SIGNAL_AGE, now - signal.ts, signal_age_max(limits, signal)),
        (DECIDED_BEFORE, state.decided.has(signal.ref()), False),
        # Status and touch of the market, open orders, number of positions, deviation, spread.
        (status_gate(rules), not is_tradable(rules), False),
        (TICK_AGE, tick_age(market, now), limits.tick_age_ms_max),
        (mark_gate(market), SKIPPED if has_touch else True, False),
        (ORDER_PENDING, _is_pending(state, signal) if has_touch else SKIPPED, False),
        (LIMIT_ENTRIES, _limits_open(state, signal), limits.limit_entries_max),
        (POSITIONS, _count(positions, symbol) if has_touch else SKIPPED, limits.positions_max),
        (DEVIATION, _away(market, exits.close) if has_touch else SKIPPED, limits.deviation_max),
        (SPREAD, _spread(market, limits) if has_touch else SKIPPED, limits.entry_spread_max),
        (STOP_AT_ASK, _stop_at_ask(state, market) if is_bought_at_ask else SKIPPED, market.bid),
        # The book of the venue itself.
        *sides,
        # The deviation needs a closed bar.
        (REFERENCE_BARS, 0 if lacks_close else SKIPPED, 1),
        # Stop, target or size need the ATR.
        (ATR_BARS, exits.atr.count if needs_atr else SKIPPED, exits.atr.warmup),
        # The signal's confidence; entries that come too late.
        *comes_late,
        # Levels that the strategy wants: the profile has a plan, and the price is short of them.
        *levels,
        # Figures over closed bars: correlation, benchmark, volatility, drift; VADR.
        *moves,
        *lively,
        # Locks of protections, by the time that they still last.
        (OF_STOPLOSS_GUARD, locks.left(STOPLOSS_GUARD, symbol, now), 0),
        (OF_COOLDOWN_PERIOD, locks.left(COOLDOWN_PERIOD, symbol, now), 0),
        (OF_MAX_DRAWDOWN, locks.left(MAX_DRAWDOWN, symbol, now), 0),
        (OF_LOW_PROFIT_PAIRS, locks.left(LOW_PROFIT_PAIRS, symbol, now), 0),
        (OF_LOSSES_IN_ROW, locks.left(LOSSES_IN_ROW, symbol, now), 0),
        # Losses and orders.
        (OF_NIGHT_LOSS, loss_of(left.night_level, equity), limits.night_loss.entry_max),
        (OF_DAY_LOSS, loss_of(left.day_level, equity), limits.day_loss.entry_max),
        (OF_WEEK_LOSS, _week_loss(limits, left), limits.week_loss.entry_max),
        (OF_ACCOUNT_DRAWDOWN, account.entry_drawdown(equity), account.halting()),
        (OF_DRAWDOWN, drawdown_of(left.high_water_mark, equity), limits.drawdown.entry_max),
        (OF_ORDER_RATE, rate.entry_value(left.orders + 1), rate.entry_max),
        # The campaign of the symbol.
        *campaign_rows_of(state, market),
        # An order of full size ahead of the night's pace is refused, not made smaller.
        (PACE, _paced(state, market, left, usable, signal.wish), usable),
    )


def level_rows(wish: Wish, market: Market, exits: SymbolExits) -> tuple[Row, ...]:
    """Return the checks of the levels that a strategy wants for its position.

    Stop and target are judged in whole price steps, as a plan keeps them.

    Args:
        wish: The strategy's wish.
        market: The market of the entry; without a touch the levels are not judged.
        exits: State of its exits, which keeps levels if the profile has a plan.
    """
    has_touch, atr, limit = market.is_fresh and market.has_mid, exits.atr, wish.limit
    bid, ask, rules = market.bid, market.ask, market.rules
    stop, target, price = wish.stop, wish.target, limit
    if rules is not None:
        step = rules.price_step
        stop, target, price = (
            round_up(stop, step),
            round_down(target, step),
            round_down(limit, step),
        )
    if limit:
        # A resting purchase is judged at its limit; with a position, at the touch as well.
        bid, ask = min(bid, price), ask if market.qty else price
    return (
        (KEEPS_LEVELS, not exits.keeps_levels if wish.has_levels else SKIPPED, False),
        (TRAIL_BARS, atr.count if wish.trail_atr else SKIPPED, atr.warmup),
        (WISHED_LIMIT, limit if limit and has_touch else SKIPPED, market.ask),
        (WISHED_STOP, stop if wish.stop and has_touch else SKIPPED, bid),
        (WISHED_TARGET, target if wish.target and has_touch else SKIPPED, ask),
    )


def _is_pending(state: RiskState, signal: SignalMessage) -> bool:
    """Return whether an order of a symbol is open, or an entry is about to be quoted again.

    If the profile allows several resting limits per symbol, these do not block each other.
    """
    symbol, quotes = signal.symbol, state.quotes
    if _limits_open(state, signal) == SKIPPED:
        return state.positions.has_order(symbol) or symbol in quotes.open
    for order in state.positions.orders:
        if order.market.symbol == symbol and not order.rests:
            quote = quotes.of(order)
            if quote is None or not quote.is_pinned:
                return True
    return any([not quote.is_pinned for quote in quotes.open.get(symbol, ())])


def _limits_open(state: RiskState, signal: SignalMessage) -> int:
    """Return how many limits of a symbol would rest; `SKIPPED` if only one order may."""
    if not state.limits.limit_entries_max or signal.wish is None or not signal.wish.limit:
        return SKIPPED
    return len(state.quotes.open.get(signal.symbol, ())) + 1


def _week_loss(limits: Limits, left: Headroom) -> int:
    """Return the loss of the week; `SKIPPED` if the profile does not limit it."""
    return loss_of(left.week_level, left.equity) if limits.week_loss.is_on else SKIPPED


def _paced(state: RiskState, market: Market, left: Headroom, usable: int, wish: Wish | None) -> int:
    """Return the notional that the night has used and reserved, plus an order of full size.

    The full size is `order_notional`, or with sizing or a wish the wanted amount, up to
    `position_notional_max`. Returns `SKIPPED` once the pace allows the whole budget, as the limit
    itself has its own check.
    """
    limits, rules = state.limits, market.rules
    if usable == limits.night_notional.entry_max:
        return SKIPPED
    full = limits.order_notional
    is_plain = state.sizing.is_plain and not (wish is not None and wish.has_size)
    if not is_plain and rules is not None and market.has_mid:
        wanted = sizes_at(state, market, rules, left, wish).wanted
        full = min(wanted, limits.position_notional_max)
    return left.night_notional + left.reserved + full


def _ending_gate(until: int | None) -> Gate:
    """Return the check that the run is not ending; a failure shows the time of the end."""
    if until is None:
        return NOT_ENDING
    return Gate("run_ending", RUN_ENDING, words=(NONE, str(until)))


def _is_outside(symbol: str, universe: frozenset[str] | None) -> int:
    return SKIPPED if universe is None else symbol not in universe


def _count(positions: Positions, symbol: str) -> int:
    """Return how many symbols would be held, counting those being bought and this one."""
    return positions.count_beside(symbol) + 1


def _is_governed(state: RiskState) -> bool:
    """Return whether the profile has a risk policy or a hard stop."""
    return state.limits.policy_version is not None or state.exits.rules.plan.has_levels


def _away(market: Market, close: int) -> int:
    """Return how far the mid is from the last close, in 10**-4 bps of the close, rounded up.

    It is `SKIPPED` before the first bar (`REFERENCE_BARS` makes a governed profile wait for it),
    and `UNBOUNDED` for a close of 0.
    """
    if close == UNKNOWN:
        return SKIPPED
    if not close:
        return UNBOUNDED
    apart = market.price - close
    return mul_div_up(abs(apart), DEVIATION_UNIT, close)


def _spread(market: Market, limits: Limits) -> int:
    """Return the spread of the touch in 10**-4 bps of its mid, rounded up."""
    if not limits.entry_spread_max:
        return SKIPPED
    return mul_div_up(market.ask - market.bid, DEVIATION_UNIT, market.price)


def _has_position(market: Market) -> bool:
    """Return whether a purchase adds to a position; what is too little to sell is none."""
    return market.qty > 0 and not is_scrap(market)


def _stop_at_ask(state: RiskState, market: Market) -> int:
    """Return the highest stop of a first purchase at the ask, if the bid has reached it.

    Such a purchase would be sold with the next tick, for the price of the spread. Else it is
    `SKIPPED`.
    """
    exits, exit_rules = state.exits_of(market), state.exits.rules
    rules, plan, ask = market.rules, exit_rules.plan, market.ask
    if rules is None or _has_position(market):
        return SKIPPED
    step = rules.price_step
    down = stop_distance(exits, exit_rules, ask, step)
    nearest = ask if down is None else down
    if plan.hard_share is not None:
        nearest = min(nearest, share_distance(ask, plan.hard_share, step))
    if plan.trail.is_set and not plan.trail_from.is_set:
        trail = plan.trail.of(ask, exits.atr_now() or None, step)
        nearest = nearest if trail is None else min(nearest, trail)
    stop = round_up(ask - nearest, step)
    return stop if stop >= market.bid else SKIPPED


# --- how large is it? -----------------------------------------------------------------------------


def size_entry(
    state: RiskState,
    market: Market,
    rules: OrderRules,
    left: Headroom,
    checks: Checklist,
    most: int | None = None,
    wish: Wish | None = None,
    *,
    is_quoted: bool,
) -> tuple[int, int]:
    """Return the quantity that an entry may buy within all limits, and its notional.

    The quantity is at most `most`, and costs at most the amount that the strategy wishes. Both are
    0, with the reason in `checks.reason`, if the venue's filters refuse the reduced order or the
    loss at the stop would be too large. The value of a market purchase has to meet the venue's
    bounds at the touch, so that it can still be sold, and at the average price by which the venue
    judges it. A first purchase has to be worth at least `sellable_notional`. `judge_quote` judges a
    quote at its own price, too.
    """
    limits, positions = state.limits, state.positions
    ask, bounds, position_max = market.ask, rules.market_bounds, rules.position_max
    sizes: Sizes | None = None
    amount = limits.order_notional
    if not state.sizing.is_plain or (wish is not None and wish.has_size):
        sizes = sizes_at(state, market, rules, left, wish)
        _cap_cluster(sizes, state, market, left)
        amount = sizes.wanted
        checks.judge(wish_rows(sizes))
    wanted = bounds.qty_down(qty_for(amount, ask))
    if most is not None and most < wanted:
        wanted = bounds.qty_down(most)
    qty = wanted
    notional, binding = cost_up(wanted, ask), ""
    decided, room, tiered = BY_AMOUNT, amount, amount
    if sizes is not None:
        # If the order is too small, the deciding bound gives the reason; a fixed amount has none.
        decided, binding = sizes.decided, sizes.reason or sizes.decided.cuts
    reserve = reserve_of(state, market, rules)
    if left.tier_percent != SKIPPED:
        rows = _cut_rows(limits, left, sizes, reserve, amount, amount)
        tiered = _active_amount(rows, amount, market, rules, positions)
    rows = _cut_rows(limits, left, sizes, reserve, notional, tiered)
    if not checks.judge(rows):
        room, decided = _least_room(rows, notional)
        if sizes is None or not sizes.reason:
            binding = decided.cuts
        qty = min(qty, bounds.qty_down(qty_for(room, ask)))
    if position_max is not None:
        held = positions.qty_with_orders(market)
        if not checks.judge(((POSITION_QTY, held + wanted, position_max),)):
            fitting = bounds.qty_down(max(0, position_max - held))
            if fitting < qty:
                qty, room = fitting, cost_up(fitting, ask)
                decided, binding = POSITION_QTY, ""
            binding = binding or POSITION_QTY.cuts
    if qty != wanted:
        notional = cost_up(qty, ask)
    worth, least, refusal = notional, bounds.notional_min, bounds.value_refusal(notional)
    if refusal is None and not is_quoted:
        average = cost_up(qty, state.references.price(market.symbol, state.now, ask))
        refusal = bounds.value_refusal(average)
        if refusal is not None:
            worth = average
    if refusal is None and worth < (needed := sellable_notional(state, market, rules, ask)):
        least, refusal = needed, MIN_NOTIONAL
    checks.judge(((ORDER_NOTIONAL, worth, least),))
    refusal = refusal or bounds.qty_refusal(qty)
    if sizes is not None:
        checks.judge((bound_row(decided, room),))
        if not checks.judge(loss_rows(sizes, qty)):
            refusal = SIZE_RISK
    if reserve is not None and not checks.judge(reserve_loss_rows(reserve, qty)):
        refusal = CAMPAIGN_RESERVE
    if refusal is None:
        return qty, notional
    checks.refuse(binding or refusal)
    return 0, 0


def sellable_notional(state: RiskState, market: Market, rules: OrderRules, price: int) -> int:
    """Return the smallest value of an entry at a price that can still be sold at its lowest stop.

    Below it the venue's least notional would refuse the sale, and the position would keep its slot.
    It is 0 without a stop, and beside a position that can be sold. It is `UNBOUNDED` at a price of
    so few steps that the hard stop would be at 0.
    """
    exit_rules, bounds = state.exits.rules, rules.market_bounds
    plan = exit_rules.plan
    if plan.hard_share is not None:
        down: int | None = share_distance(price, plan.hard_share, rules.price_step)
        if not plan.has_room(price, rules.price_step) and not _has_position(market):
            return UNBOUNDED
    else:
        exits = state.exits_of(market)
        down = stop_distance(exits, exit_rules, price, rules.price_step)
    if _has_position(market) or down is None or down >= price:
        return 0
    kept = (price - down) * (WHOLE_PERCENT - RESERVE_PERCENT)
    least = div_up(bounds.notional_min * price * WHOLE_PERCENT, kept)
    if plan.pays_in_base:  # The fee leaves a remainder below one step, which cannot be sold.
        least = div_up(least * RATE_UNIT, RATE_UNIT - plan.fee) + cost_up(bounds.qty_step, price)
    return least


def sizes_at(
    state: RiskState, market: Market, rules: OrderRules, left: Headroom, wish: Wish | None = None
) -> Sizes:
    """Return the size that an entry wants by profile and wish, and its caps; see `sizes_of`.

    The cap of its cluster is left to `_cap_cluster`, which compares many symbols.
    """
    sizes = sizes_of(
        state.sizing,
        market,
        rules.market_bounds,
        rules.price_step,
        state.limits,
        state.positions,
        state.exits_of(market),
        state.exits.rules,
        left,
        state.now,
    )
    if wish is not None:
        sizes.take_wish(wish, state.sizing.active(left))
    return sizes


def _cap_cluster(sizes: Sizes, state: RiskState, market: Market, left: Headroom) -> None:
    """Set notional and cap of the entry's cluster, if the profile has a cap."""
    share = state.returns.rules.cluster_bps
    if share:
        cluster = state.returns.cluster_notional(market.symbol, state.positions, state.now)
        sizes.cluster = left.position + cluster
        sizes.cluster_max = mul_div_down(left.equity, share, BPS)


def size_rows(limits: Limits, left: Headroom, notional: int, amount: int) -> tuple[Row, ...]:
    """Return the limits on notional to which an order is cut; the hard ones are `hard_rows`.

    Args:
        limits: The limits of the profile.
        left: Use and headroom of each limit.
        notional: Notional of the order, its quantity in whole steps.
        amount: The amount of the entry in ACTIVE; the account's tier allows a share of it.
    """
    night, day, added = limits.night_notional, limits.day_notional, left.reserved + notional
    week, tier = limits.week_notional, left.tier_percent
    cash_max = notional_paid_by(left.cash_free, limits.taker_rate)
    tier_max = UNBOUNDED if tier == SKIPPED else mul_div_down(amount, tier, 100)
    return (
        (POSITION_NOTIONAL, left.position + notional, limits.position_notional_max),
        (CASH_WITH_FEE, notional, cash_max),
        (EXPOSURE, left.exposure + notional, left.exposure_max()),
        (OF_NIGHT_NOTIONAL, night.entry_value(left.night_notional + added), night.entry_max),
        (OF_DAY_NOTIONAL, day.entry_value(left.day_notional + added), day.entry_max),
        (OF_WEEK_NOTIONAL, week.entry_value(left.week_notional + added), week.entry_max),
        (TIER_NOTIONAL, SKIPPED if tier == SKIPPED else notional, tier_max),
    )


def _cut_rows(
    limits: Limits,
    left: Headroom,
    sizes: Sizes | None,
    reserve: Reserve | None,
    notional: int,
    amount: int,
) -> tuple[Row, ...]:
    """Return the rows of sizing, then `size_rows`, then the row of the campaign's reserve."""
    rows = size_rows(limits, left, notional, amount)
    if sizes is not None:
        rows = sizing_rows(sizes, left, notional) + rows
    return rows if reserve is None else rows + reserve_rows(reserve, notional)


def _active_amount(
    rows: tuple[Row, ...], amount: int, market: Market, rules: OrderRules, positions: Positions
) -> int:
    """Return the amount of an entry in ACTIVE: the wanted amount, cut by all limits but the tier.

    If the limits leave less than the venue accepts, it is the wanted amount, so that the tier does
    not appear as the reason.

    Args:
        rows: The limits on notional, for an order of the wanted amount.
        amount: The wanted amount.
        market: The market of the entry.
        rules: The venue's rules for the symbol.
        positions: All positions.
    """
    bounds, ask, position_max = rules.market_bounds, market.ask, rules.position_max
    room, _ = _least_room(tuple([row for row in rows if row[0] is not TIER_NOTIONAL]), amount)
    if bounds.qty_max is not None:
        room = min(room, cost_up(bounds.qty_max, ask))
    if position_max is not None:
        room = min(room, cost_up(max(0, position_max - positions.qty_with_orders(market)), ask))
    return room if room >= max(bounds.notional_min, 1) else amount


def _least_room(rows: tuple[Row, ...], wanted: int) -> tuple[int, Gate]:
    """Return the smallest notional that a failed limit leaves, at least 0, and that limit's gate.

    Of two limits that leave the same, the first counts. Without a failure it is `wanted`.
    """
    least, binding = wanted, BY_AMOUNT
    for gate, value, limit in rows:
        if gate.admits(value, limit):
            continue
        room = max(0, wanted - (value - limit))
        if binding is BY_AMOUNT or room < least:
            least, binding = room, gate
    return least, binding


# --- hard limits ----------------------------------------------------------------------------------


def hard_rows(limits: Limits, left: Headroom, notional: int) -> tuple[Row, ...]:
    """Return the hard limits on notional and order rate with this entry; a failure ends the run.

    Only limits without a soft value below the hard one can fail here: all others have already cut
    or refused the entry.
    """
    night, day, rate = limits.night_notional, limits.day_notional, limits.order_rate
    week = limits.week_notional
    added = left.reserved + notional
    return (
        (night.hard_gate, left.night_notional + added, night.hard),
        (day.hard_gate, left.day_notional + added, day.hard),
        (week.hard_gate, week.hard_value(left.week_notional + added), week.hard),
        (rate.hard_gate, left.orders + 1, rate.hard),
    )
