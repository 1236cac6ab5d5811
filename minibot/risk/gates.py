"""What an entry must pass before it is sized, gate by gate, each with its value and threshold.

All of these gates are judged, so that a refusal shows everything that spoke against it; the reason
is the first that failed. A value at its limit passes. Exits pass none of these but freshness: what
is held may always be left.
"""

from __future__ import annotations

from typing import Final

from minibot.events.messages import SignalMessage
from minibot.events.money import PLACES
from minibot.events.numbers import mul_div_up
from minibot.events.order_rules import TRADING, OrderRules
from minibot.events.reasons import (
    DUPLICATE,
    EXPOSURE_LIMIT,
    HALTED,
    INSUFFICIENT_CASH,
    NO_INSTRUMENT,
    NO_MARK,
    NOT_IN_UNIVERSE,
    NOT_TRADING,
    PENDING_ORDER,
    POSITION_LIMIT,
    POSITION_MAX,
    POSITIONS_MAX,
    REFERENCE_DEVIATION,
    RUN_ENDING,
    STALE_SIGNAL,
    STALE_TICK,
    SYMBOL_LOCKED,
    WARMUP,
)
from minibot.events.reference import Ref
from minibot.risk.budgets import drawdown_of
from minibot.risk.checks import IS_NOT, IS_SO, NONE, NOT_ASKED, Checklist, Gate, rows_of
from minibot.risk.exits import UNKNOWN
from minibot.risk.headroom import Headroom, loss_of
from minibot.risk.limits import (
    BPS,
    OF_DAY_LOSS,
    OF_DAY_NOTIONAL,
    OF_DRAWDOWN,
    OF_NIGHT_LOSS,
    OF_NIGHT_NOTIONAL,
    OF_ORDER_RATE,
)
from minibot.risk.positions import UNSEEN, Market
from minibot.risk.situation import Situation

BOTH_SIDES: Final = "bid and ask"
DEVIATION_UNIT: Final[int] = BPS * BPS
"""All of a price, in 10**-4 bps."""

IS_HALTED: Final = Gate("halted", HALTED, words=IS_NOT)
IS_LOCKED: Final = Gate("symbol_locked", SYMBOL_LOCKED, words=IS_NOT)
IN_UNIVERSE: Final = Gate("in_universe", NOT_IN_UNIVERSE, words=IS_SO)
SIGNAL_AGE: Final = Gate("signal_age_ms", STALE_SIGNAL)
DECIDED_BEFORE: Final = Gate("signal_decided_before", DUPLICATE, words=IS_NOT)
INSTRUMENT: Final = Gate("instrument_status", NO_INSTRUMENT, words=(TRADING, NONE))
TICK_AGE: Final = Gate("tick_age_ms", STALE_TICK)
MARK: Final = Gate("mark")
MARK_KNOWN: Final = Gate("mark", NO_MARK, words=(BOTH_SIDES, NONE))
MARK_CROSSED: Final = Gate("mark", NO_MARK, words=(BOTH_SIDES, "crossed"))
MARK_FRESH: Final = Gate("mark", STALE_TICK, words=(BOTH_SIDES, "gap"))
ORDER_PENDING: Final = Gate("order_pending", PENDING_ORDER, words=IS_NOT)
POSITION_COUNT: Final = Gate("positions", POSITIONS_MAX)
DEVIATION: Final = Gate("reference_deviation_bps", REFERENCE_DEVIATION, places=4)
ATR_BARS: Final = Gate("atr_bars", WARMUP, is_least=True)

# How much it may be. Without a reason: an order that is too much is made smaller before it is
# refused.
POSITION_NOTIONAL: Final = Gate("position_notional", places=PLACES, cuts=POSITION_LIMIT)
CASH_WITH_FEE: Final = Gate("cash_with_fee", places=PLACES, cuts=INSUFFICIENT_CASH)
EXPOSURE: Final = Gate("exposure", places=PLACES, cuts=EXPOSURE_LIMIT)
POSITION_QTY: Final = Gate("position_qty", places=PLACES, cuts=POSITION_MAX)
ORDER_NOTIONAL: Final = Gate("order_notional", places=PLACES, is_least=True)


def _status(said: str) -> Gate:
    return Gate("instrument_status", NOT_TRADING, words=(TRADING, said))


def _ending(until: str) -> Gate:
    return Gate("run_ending", RUN_ENDING, words=(NONE, until))


STATUS: Final = _status(TRADING)
ENDING: Final = _ending(NONE)

ENTRY_GATES: Final[tuple[Gate, ...]] = (
    # What the end of the run, an operator or the universe forbids; a signal that is not new.
    *(ENDING, IS_HALTED, IS_LOCKED, IN_UNIVERSE, SIGNAL_AGE, DECIDED_BEFORE),
    # A market that cannot be traded; open orders, the count of positions, a touch far off.
    *(STATUS, TICK_AGE, ORDER_PENDING, POSITION_COUNT, DEVIATION),
    # A position that could not be guarded; losses and orders.
    *(ATR_BARS, OF_NIGHT_LOSS, OF_DAY_LOSS, OF_DRAWDOWN, OF_ORDER_RATE),
    # The size, and notional, which bounds it; `sizing` asks these.
    *(POSITION_NOTIONAL, CASH_WITH_FEE, EXPOSURE, OF_NIGHT_NOTIONAL, OF_DAY_NOTIONAL),
    *(POSITION_QTY, ORDER_NOTIONAL),
)
"""What an entry is asked, in this order, where nothing ends, halts or gaps."""


def status_of(rules: OrderRules | None) -> Gate:
    """Return the check of a symbol's status, in the venue's word for it: `STATUS` if it trades."""
    if rules is None:
        return INSTRUMENT
    return STATUS if rules.status == TRADING else _status(rules.status)


def touch_of(market: Market) -> Gate:
    """Return the check that the touch seen last fails; `MARK`, which is not asked, if it has a mid.

    Its age is another check.
    """
    if market.ts == UNSEEN:
        return MARK_KNOWN
    if not market.is_fresh:
        return MARK_FRESH
    return MARK if market.has_mid else MARK_CROSSED


def judge_entry(
    situation: Situation,
    signal: SignalMessage,
    ref: Ref,
    market: Market,
    rules: OrderRules | None,
    left: Headroom,
) -> Checklist:
    """Return the checks of everything that an entry must pass before it is sized.

    Args:
        situation: The state.
        signal: The BUY.
        ref: Its id.
        market: Its market.
        rules: The venue's, of its symbol.
        left: What of each limit is used.
    """
    symbol, now, limits = market.symbol, situation.now, situation.limits
    positions, exits, locks = situation.positions, situation.exits, situation.locks
    of_symbol = market.exits or situation.exits_of(market)
    gates, until = ENTRY_GATES, exits.ending_until
    has_touch = market.is_fresh and market.has_mid
    is_trading = rules is not None and rules.status == TRADING
    if until is not None or not is_trading or not has_touch:
        gates = _telling(until, rules, market)

    is_outside, age_max = NOT_ASKED, limits.signal_age_ms_max
    if situation.universe is not None:
        is_outside = symbol not in situation.universe
    if signal.horizon_ms < age_max:
        age_max = signal.horizon_ms
    is_locked = symbol in locks.until and locks.is_locked(symbol, now)
    is_known = situation.decided.has(ref)

    tick_age = NOT_ASKED if market.ts == UNSEEN else now - market.ts
    in_the_way, count, away = 1, NOT_ASKED, NOT_ASKED  # The touch, or else an open order.
    if has_touch:
        in_the_way = 0
        count = len(positions.held) + (0 if market.qty else 1)
        if positions.orders:
            in_the_way = positions.has_order(symbol)
            count += positions.count_bought(symbol)
        close = of_symbol.close
        if close != UNKNOWN:
            # How far the mid is from the close, in 10**-4 bps of that, rounded up.
            apart = market.price - close
            away = mul_div_up(apart if apart > 0 else -apart, DEVIATION_UNIT, close)

    night, day, drawdown = limits.night_loss, limits.day_loss, limits.drawdown
    atr, rate = of_symbol.atr, limits.order_rate
    bars_min = atr.warmup if exits.rules.needs_atr else NOT_ASKED
    equity, down = left.equity, drawdown_of(left.high_water_mark, left.equity)
    night_loss, day_loss = loss_of(left.night_level, equity), loss_of(left.day_level, equity)
    orders = NOT_ASKED if rate.is_hard_at_once else left.orders + 1

    # Row by row as `ENTRY_GATES` stand.
    lows: list[int] = [
        until is not None, locks.is_halted, is_locked, is_outside, now - signal.ts, is_known,
        not is_trading, tick_age, in_the_way, count, away,
        bars_min, night_loss, day_loss, down, orders,
    ]  # fmt: skip
    highs = [
        0, 0, 0, 0, age_max, 0,
        0, limits.tick_age_ms_max, 0, limits.positions_max, limits.deviation_max,
        atr.count, night.entry_max, day.entry_max, drawdown.entry_max, rate.entry_max,
    ]  # fmt: skip
    checks = rows_of(gates, lows, highs)
    checks.judge()
    return checks


def _telling(until: int | None, rules: OrderRules | None, market: Market) -> tuple[Gate, ...]:
    """Return the gates of an entry, with those that say what they found.

    A touch that fails stands in the place of open orders, which nobody asks for then.
    """
    gates, touch = list(ENTRY_GATES), touch_of(market)
    if until is not None:
        gates[gates.index(ENDING)] = _ending(str(until))
    gates[gates.index(STATUS)] = status_of(rules)
    if touch is not MARK:
        gates[gates.index(ORDER_PENDING)] = touch
    return tuple(gates)
