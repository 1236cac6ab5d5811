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
from minibot.risk.checks import NONE, Checklist, Gate
from minibot.risk.exits import UNKNOWN, SymbolExits
from minibot.risk.headroom import Headroom
from minibot.risk.limits import BPS, Limits
from minibot.risk.locks import Locks
from minibot.risk.positions import Mark, Positions

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


def judge_locks(
    checks: Checklist,
    locks: Locks,
    ending_until: int | None,
    universe: frozenset[str] | None,
    symbol: str,
    now: int,
) -> None:
    """Judge what an operator, the end of the run or the universe forbids."""
    if ending_until is None:
        checks.judged(ENDING, NONE, NONE, True)
    else:
        checks.judged(ENDING, str(ending_until), NONE, False)
    checks.fact(IS_HALTED, locks.is_halted, False)
    checks.fact(IS_LOCKED, locks.is_locked(symbol, now), False)
    if universe is not None:
        checks.fact(IN_UNIVERSE, symbol in universe, True)


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
    checks: Checklist, symbol: str, positions: Positions, limits: Limits, exits: SymbolExits
) -> None:
    """Judge open orders, the count of positions and whether the position could be guarded."""
    checks.fact(ORDER_PENDING, positions.has_order(symbol), False)
    checks.at_most(POSITION_COUNT, positions.count_with(symbol), limits.positions_max)
    if exits.close != UNKNOWN:
        mid, close = positions.mids[symbol], exits.close
        away = mid - close if mid > close else close - mid
        # Ten-thousandths of a basis point, rounded up: no boundary is blurred.
        deviation = mul_div_up(away, BPS * BPS, close)
        checks.at_most(DEVIATION, deviation, limits.deviation_bps_max * BPS)


def judge_budgets(checks: Checklist, left: Headroom, limits: Limits) -> None:
    """Judge losses, drawdown and order rate at their values for entries."""
    # Night and day notional bound the size, and say so there.
    night, day, drawdown = limits.night_loss, limits.day_loss, limits.drawdown
    checks.at_most(night.entry_gate, left.night_loss(), night.entry_max)
    checks.at_most(day.entry_gate, left.day_loss(), day.entry_max)
    checks.at_most(drawdown.entry_gate, left.drawdown(), drawdown.entry_max)
    rate = limits.order_rate
    if not rate.is_hard_at_once:
        checks.at_most(rate.entry_gate, left.orders + 1, rate.entry_max)
