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
POSITION_NOTIONAL: Final = Gate("position_notional", places=PLACES, cuts=POSITION_LIMIT)
CASH_WITH_FEE: Final = Gate("cash_with_fee", places=PLACES, cuts=INSUFFICIENT_CASH)
EXPOSURE: Final = Gate("exposure", places=PLACES, cuts=EXPOSURE_LIMIT)
POSITION_QTY: Final = Gate("position_qty", places=PLACES, cuts=POSITION_MAX)
ORDER_NOTIONAL: Final = Gate("order_notional", places=PLACES, is_least=True)


@mypyc_attr(acyclic=True)
@final
class Size:
    """An entry as the profile wants it, made to fit the bounds that it does not pass.

    Attributes:
        wanted: The order of the profile, in whole steps.
        qty: What fits all bounds.
        notional: What that costs.
        binding: The reason of the bound that leaves least; of two that leave the same, the first
            speaks. Empty where the whole order fits.
    """

    wanted: int
    qty: int
    notional: int
    binding: str = ""

    def cut(self, checks: Checklist, start: int, rules: OrderRules, ask: int) -> None:
        """Make it fit every bound on notional that failed, of the checks from `start` on."""
        room_min = wanted = self.notional
        for row in checks.failed(start):
            # What the bound leaves; less than nothing is nothing.
            room = max(0, wanted - (checks.lows[row] - checks.highs[row]))
            if not self.binding or room < room_min:
                self.binding, room_min = checks.gates[row].cuts, room
        self.cut_qty(rules.qty_down(qty_for(room_min, ask), MARKET), ask)

    def cut_qty(self, most: int, ask: int) -> None:
        """Make it no more than so much."""
        self.qty = min(self.qty, most)
        self.notional = cost_up(self.qty, ask)


def size_entry(
    symbol: str, limits: Limits, positions: Positions, left: Headroom, checks: Checklist
) -> Size | None:
    """Return the entry that fits all bounds, or None with the reason in the checks."""
    rules, ask = positions.rules[symbol], positions.marks[symbol].ask
    qty = rules.qty_down(qty_for(limits.order_notional, ask), MARKET)
    wanted = cost_up(qty, ask)
    size, start = Size(), len(checks.gates)
    size.wanted = size.qty = qty
    size.notional = wanted
    gates, lows, highs = checks.gates, checks.lows, checks.highs
    cash_max = notional_paid_by(left.cash_free, limits.taker_rate)
    gates += [POSITION_NOTIONAL, CASH_WITH_FEE, EXPOSURE]
    lows += [left.position + wanted, wanted, left.exposure + wanted]
    highs += [limits.position_notional_max, cash_max, left.exposure_max()]
    night, day, added = limits.night_notional, limits.day_notional, left.reserved + wanted
    if not night.is_hard_at_once:
        gates.append(night.entry_gate)
        lows.append(left.night_notional + added)
        highs.append(night.entry_max)
    if not day.is_hard_at_once:
        gates.append(day.entry_gate)
        lows.append(left.day_notional + added)
        highs.append(day.entry_max)
    if not checks.judge(start):
        size.cut(checks, start, rules, ask)
    if rules.position_max is not None:
        held = positions.qty_with_orders(symbol)
        room = max(0, rules.position_max - held)
        checks.judged(POSITION_QTY, held + qty, rules.position_max, qty <= room)
        if qty > room:
            size.binding = size.binding or POSITION_QTY.cuts
            size.cut_qty(rules.qty_down(room, MARKET), ask)
    notional = size.notional
    gates.append(ORDER_NOTIONAL)
    lows.append(rules.market_bounds.notional_min)
    highs.append(notional)
    refusal = rules.value_refusal(notional, MARKET) or rules.qty_refusal(size.qty, MARKET)
    if refusal is None:  # Then that check has passed too.
        return size
    checks.judge(len(gates) - 1)
    checks.refuse(size.binding or refusal)
    return None


def entry_breaches(limits: Limits, left: Headroom, notional: int) -> Checklist | None:
    """Return a failed check for every hard limit that an entry would exceed; None for none.

    Notional speaks where it has no soft value, the order rate always.
    """
    found: Checklist | None = None
    added, orders = left.reserved + notional, left.orders + 1
    night, day, rate = limits.night_notional, limits.day_notional, limits.order_rate
    if night.is_hard_at_once and left.night_notional + added > night.hard:
        found = night.breach(left.night_notional + added, found)
    if day.is_hard_at_once and left.day_notional + added > day.hard:
        found = day.breach(left.day_notional + added, found)
    if orders > rate.hard:
        found = rate.breach(orders, found)
    return found
