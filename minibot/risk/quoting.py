"""Quoting: the price of an entry's quote, its checks, and the order that rests."""

from __future__ import annotations

from typing import Final

from minibot.accounting.order_rules import OrderRules
from minibot.cores.messages import Message, SignalMessage
from minibot.events.model import BUY
from minibot.events.money import PLACES, cost_up
from minibot.events.reasons import MIN_NOTIONAL
from minibot.risk.checks import AT_LEAST, Checklist, Gate, Row
from minibot.risk.drafts import AllowedIntent, Verdict, approve, bound_by_signal
from minibot.risk.order_counts import count_rows
from minibot.risk.positions import Market
from minibot.risk.quotes import Quote
from minibot.risk.risk_state import RiskState

LIMIT_MS: Final = Gate("limit_valid_ms")
QUOTE_NOTIONAL: Final = Gate("quote_notional", places=PLACES, passes=AT_LEAST)


def quote_price(market: Market, rules: OrderRules) -> int:
    """Return the best bid, but at most the ask less one price step, in whole price steps."""
    price, step = market.bid, rules.price_step
    if price > market.ask - step:
        price = market.ask - step
    return price // step * step


def limit_price(limit: int, rules: OrderRules) -> int:
    """Return a strategy's limit in whole price steps, rounded down."""
    return limit // rules.price_step * rules.price_step


def quote_rows(rules: OrderRules, qty: int, price: int, least: int = 0) -> tuple[Row, ...]:
    """Return the check that a quote reaches the minimum notional, or `least`, at its own price."""
    notional = cost_up(qty, max(0, price))
    return ((QUOTE_NOTIONAL, notional, max(rules.limit_bounds.notional_min, least)),)


def life_rows(valid_ms: int, order_ttl_ms: int) -> tuple[Row, ...]:
    """Return the check that a limit may rest as long as its strategy wants; else it rests less."""
    return ((LIMIT_MS, valid_ms, order_ttl_ms),)


def judge_quote(
    state: RiskState,
    market: Market,
    rules: OrderRules,
    qty: int,
    price: int,
    needed: int,
    checks: Checklist,
) -> bool:
    """Return whether the venue's rules allow a quote; if not, the checks hold the reason.

    Its own price has to leave room for the hard stop, as a size is judged at the ask. The executor
    judges the band around the average price.

    Args:
        state: The state.
        market: The market of the quote.
        rules: The venue's rules for the symbol.
        qty: Its quantity.
        price: Its price.
        needed: Smallest notional that can still be sold at the lowest stop of a purchase there.
        checks: The checks of the decision, to which those of the quote are added.
    """
    bounds, least = rules.limit_bounds, 0
    has_room = checks.judge(count_rows(state, market, rules, 0))
    refusal = rules.trigger_refusal(price) or bounds.value_refusal(cost_up(qty, price))
    refusal = refusal or bounds.qty_refusal(qty)
    if refusal is None and not state.exits.rules.plan.has_room(price, rules.price_step):
        refusal = MIN_NOTIONAL
    if refusal is None and cost_up(qty, price) < needed:
        least, refusal = needed, MIN_NOTIONAL
    checks.judge(quote_rows(rules, qty, price, least))
    if refusal is not None:
        checks.fail_last(refusal)
    return has_room and refusal is None


def first_quote(
    state: RiskState,
    kind: str,
    reason: str,
    qty: int,
    market: Market,
    rules: OrderRules,
    verdict: Verdict,
    signal: SignalMessage,
) -> list[Message]:
    """Return the action that allows an entry, and the order of its first quote.

    Args:
        state: The state.
        kind: ALLOW or REDUCE.
        reason: A reason code.
        qty: Quantity of the entry.
        market: Market of the entry.
        rules: The venue's rules for the symbol.
        verdict: The undecided action.
        signal: The BUY signal.
    """
    quote = Quote(signal, qty, cost_up(qty, market.ask), state.now, state.quotes.rules.life_ms)
    state.quotes.add(quote)
    if signal.wish is not None and signal.wish.limit:
        quote.limit = limit_price(signal.wish.limit, rules)
        quote.until_ts = min(signal.ts + signal.horizon_ms, state.now + state.limits.order_ttl_ms)
    return place(state, kind, reason, qty, market, rules, verdict, quote)


def place(
    state: RiskState,
    kind: str,
    reason: str,
    qty: int,
    market: Market,
    rules: OrderRules,
    verdict: Verdict,
    quote: Quote,
) -> list[Message]:
    """Return an action and the order of a quote, at the bid or at its limit; see `first_quote`."""
    price = quote.limit if quote.is_pinned else quote_price(market, rules)
    messages = approve(state, kind, reason, BUY, qty, market, rules, verdict)
    order = state.positions.orders[-1]
    order.price = price
    intent = messages[-1]
    assert isinstance(intent, AllowedIntent)
    intent.quote(price, quote.until_ts)
    if not quote.is_pinned:
        bound_by_signal(state, messages, quote.signal)
    quote.place(order.client, price, state.now + state.quotes.rules.patience_ms)
    return messages
