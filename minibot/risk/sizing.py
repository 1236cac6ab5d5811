"""How much an entry buys: the profile's order, cut down to what every limit still leaves.

Each bound is checked against the order the profile wants, in whole steps, so that a check shows
what was asked and what would have been too much. An order that fits exactly passes. Rounding is
down to the venue's step: nothing is ever sized above its bound.
"""

from __future__ import annotations

from typing import Final, final

from minibot.events.money import PLACES, cost_up, notional_paid_by, qty_for
from minibot.events.native import mypyc_attr
from minibot.events.order_rules import MARKET, OrderRules
from minibot.events.reasons import (
    EXPOSURE_LIMIT,
    INSUFFICIENT_CASH,
    POSITION_LIMIT,
    POSITION_MAX,
)
from minibot.risk.checks import Checklist, Gate
from minibot.risk.headroom import Headroom
from minibot.risk.limits import Limits
from minibot.risk.positions import Positions

# Without a reason: an order that is too much is made smaller before it is refused.
POSITION_NOTIONAL: Final = Gate("position_notional", places=PLACES)
CASH_WITH_FEE: Final = Gate("cash_with_fee", places=PLACES)
EXPOSURE: Final = Gate("exposure", places=PLACES)
POSITION_QTY: Final = Gate("position_qty", places=PLACES)
ORDER_NOTIONAL: Final = Gate("order_notional", places=PLACES)


@mypyc_attr(acyclic=True)
@final
class Size:
    """An entry as the profile wants it, made to fit one bound after the other.

    Args:
        rules: The venue's, of the symbol.
        ask: What a whole coin costs.
        order_notional: What the profile wants to spend.

    Attributes:
        wanted, notional_wanted: The order of the profile, in whole steps, and what it costs.
        qty: What fits all bounds so far.
        notional: What that costs, once no bound follows.
        binding: The reason of the bound that leaves least; of two that leave the same, the first
            speaks. Empty where the whole order fits.
    """

    __slots__ = (
        *("_ask", "_room_min", "_rules", "binding", "notional", "notional_wanted", "qty"),
        "wanted",
    )

    def __init__(self, rules: OrderRules, ask: int, order_notional: int) -> None:
        self._rules: OrderRules = rules
        self._ask: int = ask
        self._room_min: int = order_notional
        self.wanted: int = rules.qty_down(qty_for(order_notional, ask), MARKET)
        self.notional_wanted: int = cost_up(self.wanted, ask)
        self.qty: int = self.wanted
        self.notional: int = self.notional_wanted
        self.binding: str = ""

    def cut(self, reason: str, room: int) -> None:
        """Make it fit a bound that leaves so much notional; less than nothing is nothing."""
        room = max(0, room)
        if not self.binding or room < self._room_min:
            self.binding, self._room_min = reason, room
        self._shrink(qty_for(room, self._ask))

    def cut_qty(self, room: int) -> None:
        """Make it fit the largest position that the venue admits, which leaves so much of it."""
        self.binding = self.binding or POSITION_MAX
        self._shrink(room)

    def _shrink(self, most: int) -> None:
        self.qty = min(self.qty, self._rules.qty_down(most, MARKET))
        self.notional = cost_up(self.qty, self._ask)


def size_entry(
    symbol: str, limits: Limits, positions: Positions, left: Headroom, checks: Checklist
) -> Size | None:
    """Return the entry that fits all bounds, or None with the reason in the checks."""
    rules = positions.rules[symbol]
    size = Size(rules, positions.marks[symbol].ask, limits.order_notional)
    wanted = size.notional_wanted
    most = limits.position_notional_max
    if not checks.at_most(POSITION_NOTIONAL, left.position + wanted, most):
        size.cut(POSITION_LIMIT, most - left.position)
    most = notional_paid_by(left.cash_free, limits.taker_rate)
    if not checks.at_most(CASH_WITH_FEE, wanted, most):
        size.cut(INSUFFICIENT_CASH, most)
    most = left.exposure_max()
    if not checks.at_most(EXPOSURE, left.exposure + wanted, most):
        size.cut(EXPOSURE_LIMIT, most - left.exposure)
    night, used = limits.night_notional, left.night_notional + left.reserved
    if not night.is_hard_at_once and not checks.at_most(
        night.entry_gate, used + wanted, night.entry_max
    ):
        size.cut(night.reason, night.entry_max - used)
    day, used = limits.day_notional, left.day_notional + left.reserved
    if not day.is_hard_at_once and not checks.at_most(day.entry_gate, used + wanted, day.entry_max):
        size.cut(day.reason, day.entry_max - used)
    if rules.position_max is not None:
        held = positions.qty_with_orders(symbol)
        room = max(0, rules.position_max - held)
        if not checks.judged(
            POSITION_QTY, held + size.wanted, rules.position_max, size.wanted <= room
        ):
            size.cut_qty(room)
    refusal = rules.value_refusal(size.notional, MARKET) or rules.qty_refusal(size.qty, MARKET)
    checks.at_least(ORDER_NOTIONAL, size.notional, rules.notional_least(MARKET))
    if refusal is None:
        return size
    checks.refuse(size.binding or refusal)
    return None


def entry_breaches(limits: Limits, left: Headroom, notional: int) -> Checklist | None:
    """Return a failed check for every hard limit that an entry would exceed; None for none.

    Notional speaks where it has no soft value, the order rate always.
    """
    found: Checklist | None = None
    added = left.reserved + notional
    night, day, rate = limits.night_notional, limits.day_notional, limits.order_rate
    if night.is_hard_at_once:
        found = night.breach(left.night_notional + added, found)
    if day.is_hard_at_once:
        found = day.breach(left.day_notional + added, found)
    return rate.breach(left.orders + 1, found)
