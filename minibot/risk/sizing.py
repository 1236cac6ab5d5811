"""How much an entry buys: the profile's order, cut down to what every limit still leaves.

Each bound is checked against the order the profile wants, in whole steps, so that a check shows
what was asked and what would have been too much. An order that fits exactly passes. Rounding is
down to the venue's step: nothing is ever sized above its bound.
"""

from __future__ import annotations

from typing import final

from minibot.events.money import PLACES, cost_up, notional_paid_by, qty_for
from minibot.events.native import mypyc_attr
from minibot.events.order_rules import MARKET, OrderRules
from minibot.events.reasons import (
    EXPOSURE_LIMIT,
    INSUFFICIENT_CASH,
    MIN_NOTIONAL,
    POSITION_LIMIT,
    POSITION_MAX,
)
from minibot.risk.checks import Checklist, Judged
from minibot.risk.headroom import Headroom
from minibot.risk.limits import Limit, Limits
from minibot.risk.positions import Positions


@mypyc_attr(acyclic=True)
@final
class Size:
    """The entry that fits: its quantity, notional, and whether a bound made it smaller."""

    __slots__ = ("is_reduced", "notional", "qty")

    def __init__(self, qty: int, notional: int, is_reduced: bool) -> None:
        self.qty: int = qty
        self.notional: int = notional
        self.is_reduced: bool = is_reduced


@mypyc_attr(acyclic=True)
@final
class Fitting:
    """An entry as the profile wants it, made to fit one bound after the other.

    Args:
        rules: The venue's, of the symbol.
        ask: What a whole coin costs.
        order_notional: What the profile wants to spend.
        checks: Where each bound is told.

    Attributes:
        wanted, notional: The order of the profile, in whole steps, and what it costs.
        qty: What fits all bounds so far.
        binding: The reason of the bound that leaves least; of two that leave the same, the first
            speaks. Empty where the whole order fits.
    """

    __slots__ = ("_ask", "_checks", "_room_min", "_rules", "binding", "notional", "qty", "wanted")

    def __init__(self, rules: OrderRules, ask: int, order_notional: int, checks: Checklist) -> None:
        self._rules: OrderRules = rules
        self._ask: int = ask
        self._checks: Checklist = checks
        self._room_min: int = order_notional
        self.wanted: int = rules.qty_down(qty_for(order_notional, ask), MARKET)
        self.notional: int = cost_up(self.wanted, ask)
        self.qty: int = self.wanted
        self.binding: str = ""

    def bind(self, name: str, reason: str, used: int, most: int) -> None:
        """Make it fit a limit on notional of which so much is used and so much may be."""
        asked = used + self.notional
        # Without a reason: an order that is too much is made smaller before it is refused.
        self._checks.items.append(Judged(name, asked <= most, asked, most, PLACES))
        if asked <= most:
            return
        room = max(0, most - used)
        if not self.binding or room < self._room_min:
            self.binding, self._room_min = reason, room
        self.qty = min(self.qty, self._rules.qty_down(qty_for(room, self._ask), MARKET))

    def bind_qty(self, held: int, most: int) -> None:
        """Make it fit the largest position that the venue admits."""
        room = max(0, most - held)
        fits = self.wanted <= room
        self._checks.items.append(Judged("position_qty", fits, held + self.wanted, most, PLACES))
        if not fits:
            self.binding = self.binding or POSITION_MAX
            self.qty = min(self.qty, self._rules.qty_down(room, MARKET))


def size_entry(
    symbol: str, limits: Limits, positions: Positions, left: Headroom, checks: Checklist
) -> Size | None:
    """Return the entry that fits all bounds, or None with the reason in the checks."""
    rules, ask = positions.rules[symbol], positions.marks[symbol].ask
    fitting = Fitting(rules, ask, limits.order_notional, checks)
    _bind(fitting, limits, left, positions.reserved())
    if rules.position_max is not None:
        fitting.bind_qty(positions.qty_with_orders(symbol), rules.position_max)
    qty = fitting.qty
    notional = fitting.notional if qty == fitting.wanted else cost_up(qty, ask)
    refusal = rules.value_refusal(notional, MARKET) or rules.qty_refusal(qty, MARKET)
    least, reason = rules.notional_least(MARKET), fitting.binding or refusal or MIN_NOTIONAL
    checks.at_least("order_notional", notional, least, reason, PLACES)
    if refusal is not None:
        checks.reason = checks.reason or fitting.binding or refusal
        return None
    return Size(qty, notional, qty < fitting.wanted)


def _bind(fitting: Fitting, limits: Limits, left: Headroom, reserved: int) -> None:
    """Make an entry fit everything that bounds its notional; open entries have `reserved` of it."""
    position_max, used = limits.position_notional_max, left.position or 0
    fitting.bind("position_notional", POSITION_LIMIT, used, position_max)
    paid = notional_paid_by(left.cash_free, limits.taker_rate)
    fitting.bind("cash_with_fee", INSUFFICIENT_CASH, 0, paid)
    fitting.bind("exposure", EXPOSURE_LIMIT, left.exposure, left.exposure_max)
    night, day = limits.night_notional, limits.day_notional
    if not night.is_hard_at_once:
        fitting.bind(night.name, night.reason, left.night_notional + reserved, night.entry_max)
    if not day.is_hard_at_once:
        fitting.bind(day.name, day.reason, left.day_notional + reserved, day.entry_max)


def notional_breaches(
    limits: Limits, positions: Positions, left: Headroom, size: Size
) -> list[tuple[Limit, int]]:
    """Return the notional limits without a soft value that this entry would pass."""
    found: list[tuple[Limit, int]] = []
    added = positions.reserved() + size.notional
    night, day = limits.night_notional, limits.day_notional
    if night.is_hard_at_once and night.is_breached(left.night_notional + added):
        found.append((night, left.night_notional + added))
    if day.is_hard_at_once and day.is_breached(left.day_notional + added):
        found.append((day, left.day_notional + added))
    return found
