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
from minibot.risk.checks import IS_NOT, IS_SO, NONE, Checklist, Gate
from minibot.risk.exits import UNKNOWN
from minibot.risk.headroom import Headroom
from minibot.risk.limits import BPS, Limits
from minibot.risk.positions import Mark
from minibot.risk.situation import Situation

BOTH_SIDES: Final = "bid and ask"

IS_HALTED: Final = Gate("halted", HALTED, words=IS_NOT)
IS_LOCKED: Final = Gate("symbol_locked", SYMBOL_LOCKED, words=IS_NOT)
IN_UNIVERSE: Final = Gate("in_universe", NOT_IN_UNIVERSE, words=IS_SO)
SIGNAL_AGE: Final = Gate("signal_age_ms", STALE_SIGNAL)
DECIDED_BEFORE: Final = Gate("signal_decided_before", DUPLICATE, words=IS_NOT)
INSTRUMENT: Final = Gate("instrument_status", NO_INSTRUMENT, words=(TRADING, NONE))
TICK_AGE: Final = Gate("tick_age_ms", STALE_TICK)
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


def status_of(rules: OrderRules) -> Gate:
    """Return the check of a symbol's status, in the venue's word for it."""
    return STATUS if rules.status == TRADING else _status(rules.status)


def judge_market(
    checks: Checklist, rules: OrderRules | None, mark: Mark | None, now: int, limits: Limits
) -> bool:
    """Add whether the symbol can be traded on what was seen last; return whether that has a mid.

    The age of the touch is added as well, and is no part of what is returned.
    """
    status = STATUS
    if rules is None:
        status = INSTRUMENT
    elif rules.status != TRADING:
        status = status_of(rules)
    if mark is None:
        checks.gates += [status, MARK_KNOWN]
        checks.lows += [status is not STATUS, 1]
        checks.highs += [0, 0]
        return False
    checks.gates += [status, TICK_AGE]
    checks.lows += [status is not STATUS, now - mark.ts]
    checks.highs += [0, limits.tick_age_ms_max]
    if mark.is_fresh and mark.has_mid:
        return True
    checks.gates += [MARK_CROSSED if mark.is_fresh else MARK_FRESH]
    checks.lows += [1]
    checks.highs += [0]
    return False


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

    # What the end of the run, an operator or the universe forbids.
    until, universe = exits.ending_until, situation.universe
    gates = [ENDING if until is None else _ending(str(until)), IS_HALTED, IS_LOCKED]
    lows: list[int] = [until is not None, locks.is_halted, locks.is_locked(symbol, now)]
    highs = [0, 0, 0]
    if universe is not None:
        gates += [IN_UNIVERSE]
        lows += [symbol not in universe]
        highs += [0]

    # Whether the signal is of now and new, and the market one that can be traded.
    gates += [SIGNAL_AGE, DECIDED_BEFORE]
    lows += [now - signal.ts, situation.decided.has(ref)]
    highs += [min(signal.horizon_ms, limits.signal_age_ms_max), 0]
    rules, mark = positions.rules.get(symbol), positions.marks.get(symbol)
    checks = Checklist(gates, lows, highs)
    has_mid = judge_market(checks, rules, mark, now, limits)

    # Open orders, the count of positions, and whether the position could be guarded.
    of_symbol = exits.of(symbol)
    if has_mid:
        gates += [ORDER_PENDING, POSITION_COUNT]
        lows += [positions.has_order(symbol), positions.count_with(symbol)]
        highs += [0, limits.positions_max]
        if of_symbol.close != UNKNOWN:
            gates += [DEVIATION]
            lows += [deviation(positions.mids[symbol], of_symbol.close)]
            highs += [limits.deviation_max]
    if exits.rules.needs_atr:
        gates += [ATR_BARS]
        lows += [of_symbol.atr.warmup]
        highs += [of_symbol.atr.count]

    # Night and day notional bound the size, and say so there.
    night, day, drawdown = limits.night_loss, limits.day_loss, limits.drawdown
    gates += [night.entry_gate, day.entry_gate, drawdown.entry_gate]
    lows += [
        max(0, left.night_loss),
        max(0, left.day_loss),
        drawdown_of(left.high_water_mark, left.equity),
    ]
    highs += [night.entry_max, day.entry_max, drawdown.entry_max]
    rate = limits.order_rate
    if not rate.is_hard_at_once:
        gates += [rate.entry_gate]
        lows += [left.orders + 1]
        highs += [rate.entry_max]
    checks.judge()
    return checks


def deviation(mid: int, close: int) -> int:
    """Return how far a mid is from a close, in 10**-4 bps of that, rounded up."""
    away = mid - close if mid > close else close - mid
    return mul_div_up(away, BPS * BPS, close)
