"""What an entry must pass before it is sized, gate by gate, each with its value and threshold.

All gates of a group are judged, so that a refusal shows everything that spoke against it; the
reason is the first that failed. A value at its limit passes. Exits pass none of these but
freshness: what is held may always be left.
"""

from __future__ import annotations

from typing import Final

from minibot.events.messages import SignalMessage
from minibot.events.numbers import mul_div_up
from minibot.events.order_rules import TRADING, OrderRules
from minibot.events.reasons import (
    DUPLICATE,
    HALTED,
    NO_INSTRUMENT,
    NO_MARK,
    NOT_IN_UNIVERSE,
    NOT_TRADING,
    PENDING_ORDER,
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
from minibot.risk.headroom import Headroom
from minibot.risk.limits import BPS
from minibot.risk.positions import Mark
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


def _status(said: str) -> Gate:
    return Gate("instrument_status", NOT_TRADING, words=(TRADING, said))


def _ending(until: str) -> Gate:
    return Gate("run_ending", RUN_ENDING, words=(NONE, until))


STATUS: Final = _status(TRADING)
ENDING: Final = _ending(NONE)


def status_of(rules: OrderRules | None) -> Gate:
    """Return the check of a symbol's status, in the venue's word for it: `STATUS` if it trades."""
    if rules is None:
        return INSTRUMENT
    return STATUS if rules.status == TRADING else _status(rules.status)


def touch_of(mark: Mark | None) -> Gate:
    """Return the check that the touch seen last fails; `MARK`, which is not asked, if it has a mid.

    Its age is another check.
    """
    if mark is None:
        return MARK_KNOWN
    if not mark.is_fresh:
        return MARK_FRESH
    return MARK if mark.has_mid else MARK_CROSSED


def judge_entry(situation: Situation, signal: SignalMessage, ref: Ref, left: Headroom) -> Checklist:
    """Return the checks of everything that an entry must pass before it is sized.

    Args:
        situation: The state.
        signal: The BUY.
        ref: Its id.
        left: What of each limit is used.
    """
    symbol, now, limits = signal.symbol, situation.now, situation.limits
    positions, exits, locks = situation.positions, situation.exits, situation.locks

    # What the end of the run, an operator or the universe forbids; a signal that is not new.
    until, universe = exits.ending_until, situation.universe
    ending = ENDING if until is None else _ending(str(until))
    is_locked, is_known = locks.is_locked(symbol, now), situation.decided.has(ref)
    age_max = limits.signal_age_ms_max
    if signal.horizon_ms < age_max:
        age_max = signal.horizon_ms
    gates = [ending, IS_HALTED, IS_LOCKED, SIGNAL_AGE, DECIDED_BEFORE]
    lows: list[int] = [ending is not ENDING, locks.is_halted, is_locked, now - signal.ts, is_known]
    highs = [0, 0, 0, age_max, 0]
    if universe is not None:  # Behind the locks.
        gates.insert(3, IN_UNIVERSE)
        lows.insert(3, symbol not in universe)
        highs.insert(3, 0)

    # A market that cannot be traded; open orders, the count of positions, a touch far off.
    rules, mark = positions.rules.get(symbol), positions.marks.get(symbol)
    of_symbol, status, touch = exits.of(symbol), status_of(rules), touch_of(mark)
    tick_age = NOT_ASKED if mark is None else now - mark.ts
    if touch is MARK:
        is_pending, count = positions.has_order(symbol), positions.count_with(symbol)
        away, close = NOT_ASKED, of_symbol.close
        if close != UNKNOWN:
            away = deviation(positions.mids[symbol], close)
        gates += [status, TICK_AGE, ORDER_PENDING, POSITION_COUNT, DEVIATION]
        lows += [status is not STATUS, tick_age, is_pending, count, away]
        highs += [0, limits.tick_age_ms_max, 0, limits.positions_max, limits.deviation_max]
    else:
        gates += [status, TICK_AGE, touch]
        lows += [status is not STATUS, tick_age, 1]
        highs += [0, limits.tick_age_ms_max, 0]

    # A position that could not be guarded; losses. Notional bounds the size, and says so there.
    night, day, drawdown = limits.night_loss, limits.day_loss, limits.drawdown
    atr, down = of_symbol.atr, drawdown_of(left.high_water_mark, left.equity)
    bars_min = atr.warmup if exits.rules.needs_atr else NOT_ASKED
    gates += [ATR_BARS, night.entry_gate, day.entry_gate, drawdown.entry_gate]
    lows += [bars_min, left.night_loss, left.day_loss, down]
    highs += [atr.count, night.entry_max, day.entry_max, drawdown.entry_max]
    rate = limits.order_rate
    if not rate.is_hard_at_once:
        gates.append(rate.entry_gate)
        lows.append(left.orders + 1)
        highs.append(rate.entry_max)

    checks = rows_of(gates, lows, highs)
    checks.judge()
    return checks


def deviation(mid: int, close: int) -> int:
    """Return how far a mid is from a close, in 10**-4 bps of that, rounded up."""
    away = mid - close if mid > close else close - mid
    return mul_div_up(away, DEVIATION_UNIT, close)
