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
from minibot.risk.checks import NONE, Checklist, Gate
from minibot.risk.exits import UNKNOWN
from minibot.risk.headroom import Headroom
from minibot.risk.limits import BPS, Limits
from minibot.risk.positions import Mark
from minibot.risk.situation import Situation

ENDING: Final = Gate("run_ending", RUN_ENDING)
IS_HALTED: Final = Gate("halted", HALTED)
IS_LOCKED: Final = Gate("symbol_locked", SYMBOL_LOCKED)
IN_UNIVERSE: Final = Gate("in_universe", NOT_IN_UNIVERSE)
SIGNAL_AGE: Final = Gate("signal_age_ms", STALE_SIGNAL)
DECIDED_BEFORE: Final = Gate("signal_decided_before", DUPLICATE)
INSTRUMENT: Final = Gate("instrument_status", NO_INSTRUMENT)
STATUS: Final = Gate("instrument_status", NOT_TRADING)
TICK_AGE: Final = Gate("tick_age_ms", STALE_TICK)
MARK_KNOWN: Final = Gate("mark", NO_MARK)
MARK_FRESH: Final = Gate("mark", STALE_TICK)
ORDER_PENDING: Final = Gate("order_pending", PENDING_ORDER)
POSITION_COUNT: Final = Gate("positions", POSITIONS_MAX)
DEVIATION: Final = Gate("reference_deviation_bps", REFERENCE_DEVIATION, places=4)
ATR_BARS: Final = Gate("atr_bars", WARMUP)

BOTH_SIDES: Final = "bid and ask"


def judge_signal(
    checks: Checklist, signal: SignalMessage, now: int, limits: Limits, is_known: bool
) -> None:
    """Judge the age of a signal and whether it was decided on before."""
    age_max = limits.signal_age_ms_max
    if signal.horizon_ms < age_max:
        age_max = signal.horizon_ms
    checks.at_most(SIGNAL_AGE, now - signal.ts, age_max)
    checks.fact(DECIDED_BEFORE, is_known, False)


def judge_market(
    checks: Checklist, rules: OrderRules | None, mark: Mark | None, now: int, limits: Limits
) -> bool:
    """Judge whether the symbol can be traded on what was seen last; return whether that has a mid.

    The age of the touch is judged as well, and is no part of what is returned.
    """
    if rules is None:
        checks.judged(INSTRUMENT, NONE, TRADING, False)
    else:
        checks.judged(STATUS, rules.status, TRADING, rules.status == TRADING)
    if mark is None:
        return checks.judged(MARK_KNOWN, NONE, BOTH_SIDES, False)
    checks.at_most(TICK_AGE, now - mark.ts, limits.tick_age_ms_max)
    if not mark.is_fresh:
        return checks.judged(MARK_FRESH, "gap", BOTH_SIDES, False)
    return mark.has_mid or checks.judged(MARK_KNOWN, "crossed", BOTH_SIDES, False)


def judge_entry(
    situation: Situation, signal: SignalMessage, ref: Ref, left: Headroom, checks: Checklist
) -> None:
    """Judge everything that an entry must pass before it is sized.

    Args:
        situation: The state.
        signal: The BUY.
        ref: Its id.
        left: What of each limit is used.
        checks: Take what is judged.
    """
    symbol, now, limits = signal.symbol, situation.now, situation.limits
    positions, exits, locks = situation.positions, situation.exits, situation.locks

    # What the end of the run, an operator or the universe forbids.
    until, universe = exits.ending_until, situation.universe
    checks.judged(ENDING, NONE if until is None else str(until), NONE, until is None)
    checks.fact(IS_HALTED, locks.is_halted, False)
    checks.fact(IS_LOCKED, locks.is_locked(symbol, now), False)
    if universe is not None:
        checks.fact(IN_UNIVERSE, symbol in universe, True)

    judge_signal(checks, signal, now, limits, situation.decided.has(ref))
    rules, mark = positions.rules.get(symbol), positions.marks.get(symbol)
    has_mid = judge_market(checks, rules, mark, now, limits)

    # Open orders, the count of positions, and whether the position could be guarded.
    of_symbol = exits.of(symbol)
    if has_mid:
        checks.fact(ORDER_PENDING, positions.has_order(symbol), False)
        checks.at_most(POSITION_COUNT, positions.count_with(symbol), limits.positions_max)
        if of_symbol.close != UNKNOWN:
            away = deviation(positions.mids[symbol], of_symbol.close)
            checks.at_most(DEVIATION, away, limits.deviation_bps_max * BPS)
    if exits.rules.needs_atr:
        checks.at_least(ATR_BARS, of_symbol.atr.count, of_symbol.atr.warmup)

    # Night and day notional bound the size, and say so there.
    night, day, drawdown = limits.night_loss, limits.day_loss, limits.drawdown
    checks.at_most(night.entry_gate, left.night_loss(), night.entry_max)
    checks.at_most(day.entry_gate, left.day_loss(), day.entry_max)
    checks.at_most(drawdown.entry_gate, left.drawdown(), drawdown.entry_max)
    rate = limits.order_rate
    if not rate.is_hard_at_once:
        checks.at_most(rate.entry_gate, left.orders + 1, rate.entry_max)


def deviation(mid: int, close: int) -> int:
    """Return how far a mid is from a close, in 10**-4 bps of that, rounded up."""
    away = mid - close if mid > close else close - mid
    return mul_div_up(away, BPS * BPS, close)
