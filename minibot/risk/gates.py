"""What an entry must pass before it is sized, gate by gate, each with its value and threshold.

All gates of a group are judged, so that a refusal shows everything that spoke against it; the
reason is the first that failed. A value at its limit passes. Exits pass none of these but
freshness: what is held may always be left.
"""

from __future__ import annotations

from minibot.events.messages import SignalMessage
from minibot.events.numbers import mul_div_up
from minibot.events.order_rules import TRADING, OrderRules, mid_down
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
from minibot.risk.checks import NONE, Checklist
from minibot.risk.exits import UNKNOWN, SymbolExits
from minibot.risk.headroom import Headroom
from minibot.risk.limits import BPS, Limit, Limits
from minibot.risk.locks import Locks
from minibot.risk.positions import Mark, Positions


def judge_locks(
    checks: Checklist,
    locks: Locks,
    ending_until: int | None,
    universe: frozenset[str] | None,
    symbol: str,
    now: int,
) -> None:
    """Judge what an operator, the end of the run or the universe forbids."""
    value = NONE if ending_until is None else str(ending_until)
    checks.add("run_ending", value, NONE, ending_until is None, RUN_ENDING)
    checks.fact("halted", locks.is_halted, False, HALTED)
    checks.fact("symbol_locked", locks.is_locked(symbol, now), False, SYMBOL_LOCKED)
    if universe is not None:
        checks.fact("in_universe", symbol in universe, True, NOT_IN_UNIVERSE)


def judge_signal(
    checks: Checklist, signal: SignalMessage, now: int, limits: Limits, is_known: bool
) -> None:
    """Judge the age of a signal and whether it was decided on before."""
    age_max = limits.signal_age_ms_max
    if signal.horizon_ms < age_max:
        age_max = signal.horizon_ms
    checks.at_most("signal_age_ms", now - signal.ts, age_max, STALE_SIGNAL)
    checks.fact("signal_decided_before", is_known, False, DUPLICATE)


def judge_market(
    checks: Checklist, rules: OrderRules | None, mark: Mark | None, now: int, limits: Limits
) -> None:
    """Judge whether the symbol can be traded on what was seen last."""
    status = NONE if rules is None else rules.status
    reason = NO_INSTRUMENT if rules is None else NOT_TRADING
    checks.add("instrument_status", status, TRADING, status == TRADING, reason)
    if mark is None:
        checks.add("mark", NONE, "bid and ask", False, NO_MARK)
        return
    checks.at_most("tick_age_ms", now - mark.ts, limits.tick_age_ms_max, STALE_TICK)
    if not mark.is_usable:
        is_gap = not mark.is_fresh
        reason = STALE_TICK if is_gap else NO_MARK
        checks.add("mark", "gap" if is_gap else "crossed", "bid and ask", False, reason)


def judge_entry(
    checks: Checklist, symbol: str, positions: Positions, limits: Limits, exits: SymbolExits
) -> None:
    """Judge open orders, the count of positions and whether the position could be guarded."""
    checks.fact("order_pending", positions.has_order(symbol), False, PENDING_ORDER)
    count = positions.count_with(symbol)
    checks.at_most("positions", count, limits.positions_max, POSITIONS_MAX)
    mark = positions.marks[symbol]
    if exits.close != UNKNOWN:
        mid, close = mid_down(mark.bid, mark.ask), exits.close
        away = mid - close if mid > close else close - mid
        # Ten-thousandths of a basis point, rounded up: no boundary is blurred.
        deviation = mul_div_up(away, BPS * BPS, close)
        most = limits.deviation_bps_max * BPS
        checks.at_most("reference_deviation_bps", deviation, most, REFERENCE_DEVIATION, places=4)


def judge_warmup(checks: Checklist, exits: SymbolExits) -> None:
    """Judge whether the ATR that a stop needs is known."""
    checks.at_least("atr_bars", exits.atr.count, exits.atr.warmup, WARMUP)


def judge_budgets(checks: Checklist, left: Headroom, limits: Limits) -> None:
    """Judge losses, drawdown and order rate at their values for entries."""
    # Night and day notional bound the size, and say so there.
    _judge_limit(checks, limits.night_loss, left.night_loss)
    _judge_limit(checks, limits.day_loss, left.day_loss)
    _judge_limit(checks, limits.drawdown, left.drawdown)
    rate = limits.order_rate
    if not rate.is_hard_at_once:
        checks.at_most(rate.name, left.orders + 1, rate.entry_max, rate.reason)


def _judge_limit(checks: Checklist, limit: Limit, value: int) -> None:
    checks.at_most(limit.name, value, limit.entry_max, limit.reason, limit.places)
