"""What an entry must pass before it is sized, gate by gate, each with its value and threshold.

All gates of a group are judged, so that a refusal shows everything that spoke against it; the
reason is the first that failed. A value at its limit passes. Exits pass none of these but
freshness: what is held may always be left.
"""

from __future__ import annotations

from typing import final

from minibot.events.messages import SignalMessage
from minibot.events.money import PLACES
from minibot.events.native import mypyc_attr
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
from minibot.risk.budgets import Budgets
from minibot.risk.checks import NONE, Checklist, scaled_text
from minibot.risk.exits import SymbolExits
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
    if exits.close is not None:
        mid = mid_down(mark.bid, mark.ask)
        distance = abs(mid - exits.close) * BPS * BPS
        # Ten-thousandths of a basis point, rounded up: no boundary is blurred.
        deviation = -(-distance // exits.close)
        most = limits.deviation_bps_max * BPS
        checks.at_most("reference_deviation_bps", deviation, most, REFERENCE_DEVIATION, places=4)


def judge_warmup(checks: Checklist, exits: SymbolExits) -> None:
    """Judge whether the ATR that a stop needs is known."""
    checks.at_least("atr_bars", exits.atr.count, exits.atr.warmup, WARMUP)


def judge_budgets(checks: Checklist, budgets: Budgets, limits: Limits, now: int) -> None:
    """Judge losses, drawdown and order rate at their values for entries."""
    # Night and day notional bound the size, and say so there.
    _judge_limit(checks, limits.night_loss, budgets.night_loss())
    _judge_limit(checks, limits.day_loss, budgets.day_loss())
    _judge_limit(checks, limits.drawdown, budgets.drawdown())
    rate = limits.order_rate
    if not rate.is_hard_at_once:
        checks.at_most(rate.name, budgets.orders(now) + 1, rate.entry_max, rate.reason)


def _judge_limit(checks: Checklist, limit: Limit, value: int) -> None:
    checks.at_most(limit.name, value, limit.entry_max, limit.reason, limit.places)


@mypyc_attr(acyclic=True)
@final
class Headroom:
    """What is left of each limit before entries are refused; negative is overdrawn."""

    __slots__ = (
        *("_cash", "_day_loss", "_day_notional", "_drawdown", "_exposure", "_limits"),
        *("_night_loss", "_night_notional", "_orders", "_position", "_texts"),
    )

    def __init__(
        self, symbol: str | None, positions: Positions, budgets: Budgets, limits: Limits, now: int
    ) -> None:
        self._limits: Limits = limits
        self._night_notional: int = budgets.night_notional()
        self._day_notional: int = budgets.day_notional()
        self._night_loss: int = budgets.night_loss()
        self._day_loss: int = budgets.day_loss()
        self._drawdown: int = budgets.drawdown()
        self._orders: int = budgets.orders(now)
        self._exposure: int = budgets.exposure_max() - positions.exposure()
        self._cash: int = positions.cash_free()
        self._position: int | None = None
        if symbol is not None:
            used = positions.position_notional(symbol)
            self._position = limits.position_notional_max - used
        self._texts: dict[str, str] | None = None

    def texts(self) -> dict[str, str]:
        """Return it by the names of the limits."""
        if self._texts is None:
            limits = self._limits
            left = {
                limit.name: scaled_text(limit.entry_max - value, limit.places)
                for limit, value in (
                    (limits.night_notional, self._night_notional),
                    (limits.day_notional, self._day_notional),
                    (limits.night_loss, self._night_loss),
                    (limits.day_loss, self._day_loss),
                    (limits.drawdown, self._drawdown),
                    (limits.order_rate, self._orders),
                )
            }
            left["exposure"] = scaled_text(self._exposure, PLACES)
            left["cash"] = scaled_text(self._cash, PLACES)
            if self._position is not None:
                left["position_notional"] = scaled_text(self._position, PLACES)
            self._texts = left
        return self._texts
