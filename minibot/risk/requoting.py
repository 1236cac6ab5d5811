"""Requoting: moving, withdrawing and renewing the quotes of entries.

An open quote is judged at each tick of its symbol and at each other event of market or control,
except bars and marks. A lasting reason to refuse entries, or a bid at a HOLD row of recovery,
withdraws it for good; a higher best bid withdraws it in order to follow, a lower one does not.
After a quote has ended, the rest of its entry passes the gates of an entry again, except those on
the signal's age, and is sized again, never above the rest.
"""

from __future__ import annotations

from typing import Final

from minibot.accounting.order_rules import OrderRules
from minibot.cores.event_id import EventId, named
from minibot.cores.messages import Message, SignalMessage
from minibot.events.model import BLOCK, BUY, SELL, Event
from minibot.events.money import PLACES, cost_up, qty_for
from minibot.events.reasons import (
    LATE_FILL,
    ORDER_RATE,
    PENDING_ORDER,
    QUOTE_MOVED,
    QUOTE_TAKEN,
    QUOTE_UNFILLED,
    REQUOTED,
    SIGNAL_EXIT,
)
from minibot.risk.campaign import ENTRIES, ENTRY_WAIT, RECOVERY_PRICE
from minibot.risk.campaign_steps import enter_again
from minibot.risk.checks import (
    BELOW,
    IS_NOT,
    NONE,
    SKIPPED,
    Gate,
    Row,
    exceeded,
    first_failure,
)
from minibot.risk.drafts import (
    ALLOW,
    REDUCE,
    WITHDRAW,
    Verdict,
    action,
    approve,
    bound_by_signal,
    cancel_of,
    new_verdict,
    stop,
)
from minibot.risk.entry_decision import (
    IN_UNIVERSE,
    IS_HALTED,
    IS_LOCKED,
    NOT_ENDING,
    ORDER_PENDING,
    PACE,
    entry_rows,
    hard_rows,
    sellable_notional,
    size_entry,
)
from minibot.risk.exit_decision import HELD, NO_EXIT_REQUEST, forget_request
from minibot.risk.limits import (
    OF_ACCOUNT_DRAWDOWN,
    OF_DAY_LOSS,
    OF_DRAWDOWN,
    OF_NIGHT_LOSS,
    OF_WEEK_LOSS,
)
from minibot.risk.positions import Market, Positions, WorkingOrder
from minibot.risk.protections import (
    OF_COOLDOWN_PERIOD,
    OF_LOSSES_IN_ROW,
    OF_LOW_PROFIT_PAIRS,
    OF_MAX_DRAWDOWN,
    OF_STOPLOSS_GUARD,
)
from minibot.risk.quotes import Quote
from minibot.risk.quoting import judge_quote, place, quote_price
from minibot.risk.risk_state import RiskState
from minibot.risk.signal_gates import (
    DECIDED_BEFORE,
    IS_TRADING,
    SIGNAL_AGE,
    signal_age_max,
)

RATE: Final = Gate("orders_per_minute_hard", ORDER_RATE)
BEST_BID: Final = Gate("best_bid", QUOTE_MOVED, PLACES)
NOT_SOLD: Final = Gate("opposite_signal", SIGNAL_EXIT, words=(NONE, SELL))
REST_COST: Final = Gate("entry_rest_cost", places=PLACES, cuts=QUOTE_MOVED)
REQUOTES: Final = Gate("requotes", QUOTE_UNFILLED)
ENTRY_AGE: Final = Gate("entry_age_ms", QUOTE_UNFILLED, passes=BELOW)
ENTRY_LATE: Final = Gate("entry_late_ms", LATE_FILL, passes=BELOW)
OTHER_PENDING: Final = Gate(ORDER_PENDING.name, PENDING_ORDER, words=IS_NOT)

WITHDRAWING: Final = frozenset(
    {
        gate.name
        for gate in (
            *(NOT_ENDING, IS_HALTED, IS_LOCKED, IN_UNIVERSE, NO_EXIT_REQUEST, HELD, IS_TRADING),
            *(OF_STOPLOSS_GUARD, OF_COOLDOWN_PERIOD, OF_MAX_DRAWDOWN, OF_LOW_PROFIT_PAIRS),
            *(OF_LOSSES_IN_ROW, OF_NIGHT_LOSS, OF_DAY_LOSS, OF_WEEK_LOSS),
            *(OF_ACCOUNT_DRAWDOWN, OF_DRAWDOWN, RECOVERY_PRICE),
        )
    }
)
"""The gates of an entry that withdraw an open quote; all others only refuse a new one."""

OF_FIRST: Final = frozenset(
    {gate.name for gate in (SIGNAL_AGE, DECIDED_BEFORE, ORDER_PENDING, PACE, ENTRIES, ENTRY_WAIT)}
)
"""The gates that an entry passes only once, with its first quote."""


# --- while a quote is open ------------------------------------------------------------------------


def review_all_quotes(
    state: RiskState, event: Event, tick_seq: int | None, ordinal: int
) -> list[Message]:
    """Return the messages for all quotes that an event other than a tick moves or ends.

    Args:
        state: The state, after the event.
        event: The event.
        tick_seq: Line of the tick from which the event follows.
        ordinal: Number of messages that the step has so far.
    """
    messages: list[Message] = []
    cause = named(event.id, event.run_id)
    for symbol in list(state.quotes.open):
        market = state.positions.of(symbol)
        messages += review_quotes(state, market, cause, event.ts, tick_seq, ordinal + len(messages))
        if state.is_stopped:
            break
    return messages


def review_quotes(
    state: RiskState,
    market: Market,
    cause: EventId,
    ts: int,
    tick_seq: int | None,
    ordinal: int,
) -> list[Message]:
    """Return the withdrawal of a market's quotes that are no longer allowed or must follow the bid.

    A quote that was refused is sent again here, after its wait.

    Args:
        state: The state, after the input.
        market: The market of the quotes.
        cause: The input.
        ts: Time of the input.
        tick_seq: Line of the tick from which the input follows.
        ordinal: Number of messages that the step has so far.
    """
    messages: list[Message] = []
    for quote in list(state.quotes.open.get(market.symbol, ())):
        at = ordinal + len(messages)
        messages += _review_quote(state, market, quote, cause, ts, tick_seq, at)
        if state.is_stopped:
            break
    return messages


def _review_quote(
    state: RiskState,
    market: Market,
    quote: Quote,
    cause: EventId,
    ts: int,
    tick_seq: int | None,
    ordinal: int,
) -> list[Message]:
    """Return the messages of `review_quotes` about one quote."""
    rules = market.rules
    if quote.is_cancelling or quote.is_over:
        return []
    verdict = _verdict(state, market, quote, cause, ts, tick_seq, ordinal)
    rows = entry_rows(state, market, quote.signal, verdict.left)
    row = first_failure(tuple([row for row in rows if row[0].name in WITHDRAWING]))
    if row is not None:
        return _withdraw(state, market, quote, row, verdict, is_over=True)
    if quote.is_pinned or rules is None or state.now < quote.patient_until:
        return []
    if quote.is_waiting:
        return _go_on(state, market, quote, verdict)
    row = first_failure(moved_rows(state, market, rules, quote))
    if row is None:
        quote.patient_until = state.now + state.quotes.rules.patience_ms
        return []
    again = again_rows(state, quote, quote.requotes + 1)
    is_last = first_failure((*late_rows(state, quote), *again)) is not None
    rate = state.limits.order_rate
    if is_last or verdict.left.orders + 1 > min(rate.entry_max, rate.hard - 1):
        # It stays until its time is over or the rate has room: the last order of the hard rate is
        # kept for a sale.
        return []
    return _withdraw(state, market, quote, row, verdict, is_over=False)


def on_sell_signal(
    state: RiskState, market: Market, signal: SignalMessage, ordinal: int
) -> list[Message]:
    """Return the withdrawal of a market's quotes because of a fresh signal to sell."""
    messages: list[Message] = []
    if not state.exits.rules.signal_exit:
        return messages
    if state.now - signal.ts > signal_age_max(state.limits, signal):
        return messages
    ref, ts, seq = signal.ref(), signal.ts, signal.tick_seq
    for quote in list(state.quotes.open.get(market.symbol, ())):
        if quote.is_cancelling:
            quote.is_over = True
        elif not quote.is_over:
            verdict = _verdict(state, market, quote, ref, ts, seq, ordinal + len(messages))
            row = (NOT_SOLD, True, False)
            messages += _withdraw(state, market, quote, row, verdict, is_over=True)
    return messages


def moved_rows(
    state: RiskState, market: Market, rules: OrderRules, quote: Quote
) -> tuple[Row, ...]:
    """Return the check that a new quote would not be above the open one."""
    is_known = market.is_fresh and market.has_mid
    is_known = is_known and state.now - market.ts <= state.limits.tick_age_ms_max
    price = quote_price(market, rules) if is_known else quote.limit
    return ((BEST_BID, price, quote.limit),)


def _withdraw(
    state: RiskState, market: Market, quote: Quote, row: Row, verdict: Verdict, *, is_over: bool
) -> list[Message]:
    """Return the action WITHDRAW and the cancel of a quote, unless it has already ended."""
    order = state.positions.find(quote.client)
    if not quote.is_waiting and (order is None or order.final_filled is not None):
        quote.is_over = quote.is_over or is_over
        return []
    quote.is_cancelling, quote.is_over = True, is_over
    verdict.checks.add_failed(row)
    messages: list[Message] = [action(state, WITHDRAW, row[0].reason, verdict)]
    if quote.is_waiting or order is None:
        _forget(state, market, quote)
        return messages
    return [*messages, cancel_of(order, verdict, verdict.ordinal + 1)]


def _verdict(
    state: RiskState,
    market: Market,
    quote: Quote,
    cause: EventId,
    ts: int,
    tick_seq: int | None,
    ordinal: int,
) -> Verdict:
    """Return an undecided action on an entry, caused by its signal and the present input."""
    signal = quote.signal
    ts = max(ts, signal.ts)
    seq = market.seq if tick_seq is None else tick_seq
    verdict = new_verdict(state, signal.ref(), ts, seq, market.symbol)
    verdict.also, verdict.ordinal = cause, ordinal
    return verdict


# --- after a quote has ended ----------------------------------------------------------------------


def on_quote_ended(
    state: RiskState,
    order: WorkingOrder,
    cause: EventId,
    ts: int,
    tick_seq: int | None,
    ordinal: int,
    was_refused: bool = False,
) -> list[Message]:
    """Return the messages after a result or fill that settled the order of a quote.

    Args:
        state: The state, after the result or fill.
        order: The order of an entry.
        cause: The result or fill.
        ts: Time of the result or fill.
        tick_seq: Line of the tick from which it follows.
        ordinal: Number of messages that the step has so far.
        was_refused: Whether the order was refused.
    """
    quote, market = state.quotes.of(order), order.market
    if quote is None or order.final_filled is None or order.pending > 0:
        return []
    quote.end(order.booked)
    if quote.rest <= 0 or quote.is_over or quote.is_pinned:
        _forget(state, market, quote)
        return []
    if was_refused and first_failure(late_rows(state, quote)) is None:
        # The reason of the refusal may last: trying at once would use up the order rate.
        quote.is_waiting, quote.is_cancelling = True, False
        quote.patient_until = min(state.now + state.quotes.rules.patience_ms, quote.until_ts)
        return []
    verdict = _verdict(state, market, quote, cause, ts, tick_seq, ordinal)
    return _go_on(state, market, quote, verdict)


def late_rows(state: RiskState, quote: Quote) -> tuple[Row, ...]:
    """Return the check that an entry is not too late for its signal, like the executor's."""
    most = state.limits.late_fill_ms
    return ((ENTRY_LATE, state.now - quote.signal.ts if most else SKIPPED, most),)


def again_rows(state: RiskState, quote: Quote, requotes: int) -> tuple[Row, ...]:
    """Return the checks of an entry's number of re-quotes and of its age."""
    return (
        (REQUOTES, requotes, state.quotes.rules.requotes_max),
        (ENTRY_AGE, state.now - quote.started_ts, quote.until_ts - quote.started_ts),
    )


def rest_rows(
    state: RiskState, market: Market, quote: Quote, verdict: Verdict, is_taken: bool
) -> tuple[Row, ...]:
    """Return the checks that the rest of an entry has to pass before it is sized again.

    Args:
        state: The state.
        market: The market of the entry.
        quote: The entry.
        verdict: The undecided action.
        is_taken: Whether the rest is bought at the market.
    """
    rows = entry_rows(state, market, quote.signal, verdict.left, is_taken)
    return (
        (REST_COST, cost_up(quote.rest, market.ask), quote.cost - quote.spent),
        # A used-up order rate ends the entry, not the run.
        (RATE, verdict.left.orders + 1, state.limits.order_rate.hard),
        (OTHER_PENDING, is_traded(state.positions, market), False),
        *[row for row in rows if row[0].name not in OF_FIRST],
    )


def is_traded(positions: Positions, market: Market) -> bool:
    """Return whether a market has an open order other than those that guard its position."""
    for order in positions.orders:
        guards = order.stop is not None or order.target is not None
        if order.market is market and (not guards or order.is_triggered):
            return True
    return False


def _go_on(state: RiskState, market: Market, quote: Quote, verdict: Verdict) -> list[Message]:
    """Return the next quote of an entry, its purchase at the market, or its end."""
    quote.requotes += 1
    messages = _next(state, market, quote, verdict)
    if verdict.action == BLOCK:
        state.stops.on_refusal(verdict.reason_code, verdict.ts)
        _forget(state, market, quote)
    return messages


def _next(state: RiskState, market: Market, quote: Quote, verdict: Verdict) -> list[Message]:
    """Return the messages of `_go_on`."""
    checks, rules, rest = verdict.checks, market.rules, quote.rest
    again = again_rows(state, quote, quote.requotes)
    is_last = first_failure(again) is not None
    checks.judge(late_rows(state, quote))
    if not is_last or not state.quotes.rules.takes:
        checks.judge(again)
    if not checks.reason:
        checks.judge(rest_rows(state, market, quote, verdict, is_last))
    if checks.reason or rules is None:
        return [action(state, BLOCK, checks.reason, verdict)]
    # The whole entry, with the quantity bought so far, may not cost more than `cost`.
    paid = qty_for(max(0, quote.cost - quote.spent), market.ask)
    qty, notional = size_entry(
        state, market, rules, verdict.left, checks, min(rest, paid), is_quoted=not is_last
    )
    if qty and not is_last:
        price = quote_price(market, rules)
        needed = sellable_notional(state, market, rules, price)
        judge_quote(state, market, rules, qty, price, needed, checks)
    if not qty or checks.reason:
        return [action(state, BLOCK, checks.reason, verdict)]
    breaches = exceeded(hard_rows(state.limits, verdict.left, notional))
    if breaches is not None:
        return [stop(state, breaches, verdict)]
    state.stops.on_entry()
    enter_again(state, market, rules)
    kind = REDUCE if checks.failed else ALLOW
    if is_last:
        _forget(state, market, quote)
        messages = approve(state, kind, QUOTE_TAKEN, BUY, qty, market, rules, verdict)
        bound_by_signal(state, messages, quote.signal)
        return messages
    return place(state, kind, REQUOTED, qty, market, rules, verdict, quote)


def _forget(state: RiskState, market: Market, quote: Quote) -> None:
    """Forget an entry that has ended, and an exit request if no position is held."""
    state.quotes.remove(quote)
    forget_request(state, market)
