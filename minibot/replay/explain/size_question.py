"""Size question of a person: the cost of an entry now, and every bound on it.

It uses the same `entry_rows` and `size_entry` as a decision. Checks that need a signal, such as its
age, are not part of it: they refuse an entry, and never make one smaller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from minibot.accounting.order_rules import Band, Bounds, OrderRules
from minibot.accounting.portfolio import Portfolio
from minibot.cores.core_profile import FIXED
from minibot.cores.event_id import NOBODY
from minibot.cores.messages import SIGNALS, SignalMessage
from minibot.events.decimals import unpadded
from minibot.events.model import BUY, JsonObject
from minibot.events.money import PLACES, UNIT, amount_text, parse_amount
from minibot.events.reasons import RISK_LIMIT
from minibot.kernel.errors import Refusal
from minibot.risk.campaign import CAMPAIGN_LOSS
from minibot.risk.checks import SKIPPED, Checklist, Gate, exceeded
from minibot.risk.entry_decision import (
    NOT_ENDING,
    ORDER_NOTIONAL,
    POSITION_QTY,
    entry_rows,
    hard_rows,
    size_entry,
)
from minibot.risk.headroom import Headroom
from minibot.risk.late_entries import CONFIDENCE
from minibot.risk.positions import Market
from minibot.risk.risk_state import RiskState
from minibot.risk.signal_gates import DECIDED_BEFORE, SIGNAL_AGE, TICK_AGE
from minibot.risk.sizing import BY_AMOUNT, BY_KELLY, LOSS_AT_STOP

# Rows that no amount of quote is read from: quantities, the venue's least order, a loss.
NO_AMOUNTS: Final = frozenset(
    {gate.name for gate in (POSITION_QTY, ORDER_NOTIONAL, LOSS_AT_STOP, CAMPAIGN_LOSS)}
)
# Rows left out: those of a signal and of its tick, and the end of the run, as the question about a
# finished run is what its account would buy.
NOT_JUDGED: Final = frozenset(
    {gate.name for gate in (SIGNAL_AGE, DECIDED_BEFORE, CONFIDENCE, TICK_AGE, NOT_ENDING)}
)
_ANY_PRICE: Final = 100 * UNIT
_CALM_ATR: Final = 1e-6


@dataclass(frozen=True, slots=True)
class SizeBound:
    """One bound on an entry.

    Attributes:
        name: Of the check in a `risk_action`.
        value, limit: Of that check, for the order that is wanted.
        leaves: The most that it lets an order cost; None where it bounds something else.
        passed: Whether the wanted amount is within it.
        decides: Whether it is the one that the size comes from.
    """

    name: str
    value: str
    limit: str
    leaves: str | None
    passed: bool
    decides: bool


@dataclass(frozen=True, slots=True)
class SizeAnswer:
    """The size of an entry, in exact text.

    Attributes:
        symbol, ask: The market, and the price of a purchase.
        mode: The word of `risk.sizing`.
        equity, cash: Of the account; the cash is what open entries leave.
        qty, notional: What would be bought; zero for nothing.
        decided: The bound that decided.
        reason: Why nothing would be bought, a reason code; empty where something would.
        bounds: In the order in which they are judged.
    """

    symbol: str
    ask: str
    mode: str
    equity: str
    cash: str
    qty: str
    notional: str
    decided: str
    reason: str
    bounds: tuple[SizeBound, ...]

    def to_json(self) -> JsonObject:
        """Return it as one JSON object."""
        return {**asdict(self), "bounds": [asdict(bound) for bound in self.bounds]}


def size_now(config: JsonObject, state: Mapping[str, Any], symbol: str) -> SizeAnswer:
    """Return the size of an entry by the state of a risk core.

    Args:
        config: The whole resolved configuration; its limits replace those of the state.
        state: As `RiskCore.state` returns it; it is not changed.
        symbol: The market.

    Raises:
        Refusal: Nothing is known of the market.
    """
    found = RiskState.from_state(config, state)
    market = found.positions.of(symbol)
    found.campaign_of(market)  # A finished campaign ends with the next decision, which this is.
    return _answer(found, symbol, _refusal(found, market))


def size_supposed(
    config: JsonObject, symbol: str, price: int, equity: int, atr: float | None
) -> SizeAnswer:
    """Return the size of a first entry for an account in cash; no filter of a venue holds.

    Args:
        config: The whole resolved configuration.
        symbol: The market.
        price: Of the purchase, in hundred-millionths.
        equity: The cash, in hundred-millionths.
        atr: The average true range in quote; None where it is not known.

    Raises:
        Refusal: The price is so low that the hard stop would be at 0.
    """
    state = RiskState(config)
    if not state.exits.rules.plan.has_room(price, 1):
        raise Refusal(
            f"At {unpadded(amount_text(price))} the hard stop of risk.hard_stop_bps would be at 0.",
            "Give a higher price.",
        )
    quote = state.limits.quote_asset
    state.positions.open(Portfolio({quote: equity}, ()), {})
    state.budgets.open({}, state.positions.equity, 0)
    market, exits = state.positions.of(symbol), state.exits_of(state.positions.of(symbol))
    any_order = Bounds(qty_step=1, qty_min=0, qty_max=None, notional_min=0, notional_max=None)
    market.rules = OrderRules(
        symbol=symbol,
        base_asset=symbol.removesuffix(quote),
        quote_asset=quote,
        status="TRADING",
        price_step=1,
        price_places=PLACES,
        qty_step=1,
        qty_places=PLACES,
        qty_min=0,
        limit_bounds=any_order,
        market_bounds=any_order,
        buy_band=Band(None, None),
        sell_band=Band(None, None),
        price_min=0,
        price_max=None,
        position_max=None,
    )
    market.bid = market.ask = market.price = price
    market.is_fresh = market.has_mid = True
    if atr is not None:
        for _ in range(exits.atr.warmup):  # The mean of equal ranges is the range.
            exits.atr.update(atr, 0.0, 0.0)
    return _answer(state, symbol)


def largest_entry(config: JsonObject, symbol: str) -> SizeBound:
    """Return the bound that leaves a first entry the least, whatever the price and its range.

    Kelly's share is left out: it grows with closed trades.

    Args:
        config: The whole resolved configuration.
        symbol: The market.
    """
    cash = parse_amount(config["portfolio"]["cash"])
    # The stop of a calm market is near, so that no loss at it makes the entry smaller.
    bounds = size_supposed(config, symbol, _ANY_PRICE, cash, _CALM_ATR).bounds
    amounts = [bound for bound in bounds if bound.leaves and bound.name != BY_KELLY.name]
    return min(amounts, key=lambda bound: parse_amount(bound.leaves or ""))


def _refusal(state: RiskState, market: Market) -> str:
    """Return the reason code by which an entry is refused whatever its size; empty without one."""
    signal = SignalMessage()
    signal.place, signal.cause, signal.ts, signal.tick_seq = SIGNALS, NOBODY, state.now, None
    signal.symbol, signal.side, signal.wish = market.symbol, BUY, None
    signal.confidence, signal.horizon_ms = 0, 0
    rows = entry_rows(state, market, signal, state.headroom(market.symbol))
    checks = Checklist()
    checks.judge(tuple([row for row in rows if row[0].name not in NOT_JUDGED]))
    return checks.reason


def _answer(state: RiskState, symbol: str, refusal: str = "") -> SizeAnswer:
    market = state.positions.of(symbol)
    rules = market.rules
    if rules is None or not market.has_mid:
        raise Refusal(
            f"{symbol}: no rules and touch are known at that time.",
            "Name a symbol and a time of the run with a market: minibot explain --at TIME",
        )
    state.sizing.is_plain = False  # So that a fixed amount shows its bounds too.
    left, checks = state.headroom(symbol), Checklist()
    is_quoted = state.quotes.rules.is_on
    qty, notional = size_entry(state, market, rules, left, checks, is_quoted=is_quoted)
    gates = [row[0] for row in checks.rows if row[0].name == "size_bound"]
    reason = refusal or ("" if qty else checks.reason) or _stop_reason(state, left, notional)
    if reason:
        qty, notional = 0, 0
    decided = _first_word(gates)
    rows = [
        (place, gate, value, limit)
        for place, (gate, value, limit) in enumerate(checks.rows)
        if value != SKIPPED and gate.words is None
    ]
    wanted = next((value for _, gate, value, _ in rows if gate.name == "cash_with_fee"), 0)
    bounds = []
    if state.sizing.mode == FIXED:
        amount = amount_text(state.limits.order_notional)
        is_decided = decided == BY_AMOUNT.name
        bounds.append(
            SizeBound(BY_AMOUNT.name, amount_text(wanted), amount, amount, True, is_decided)
        )
    for place, gate, value, limit in rows:
        leaves = None
        if gate.name not in NO_AMOUNTS:
            leaves = amount_text(max(0, wanted - value + limit))
        bounds.append(
            SizeBound(
                gate.name,
                gate.text(value),
                gate.text(limit),
                leaves,
                place not in checks.failed,
                gate.name == decided,
            )
        )
    return SizeAnswer(
        symbol,
        amount_text(market.ask),
        state.sizing.mode,
        amount_text(left.equity),
        amount_text(left.cash_free),
        amount_text(qty),
        amount_text(notional),
        decided,
        reason,
        tuple(bounds),
    )


def _stop_reason(state: RiskState, left: Headroom, notional: int) -> str:
    """Return RISK_LIMIT where the order would pass a hard limit, which ends the run; else empty."""
    return "" if exceeded(hard_rows(state.limits, left, notional)) is None else RISK_LIMIT


def _first_word(gates: list[Gate]) -> str:
    words = gates[-1].words if gates else None
    return words[0] if words else ""
