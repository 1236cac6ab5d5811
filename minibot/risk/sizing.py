"""How much an entry buys: the profile's order, cut down to what every limit still leaves.

Each bound is checked against the order the profile wants, in whole steps, so that a check shows
what was asked and what would have been too much. An order that fits exactly passes. Rounding is
down to the venue's step: nothing is ever sized above its bound.
"""

from __future__ import annotations

from minibot.events.money import cost_up, notional_paid_by, qty_for
from minibot.events.order_rules import OrderRules
from minibot.risk.checks import NOT_ASKED, Checklist
from minibot.risk.gates import POSITION_QTY
from minibot.risk.headroom import Headroom
from minibot.risk.limits import Limits
from minibot.risk.positions import Market, Positions


def size_entry(
    market: Market,
    rules: OrderRules,
    limits: Limits,
    positions: Positions,
    left: Headroom,
    checks: Checklist,
) -> tuple[int, int]:
    """Return how much an entry that fits all bounds buys, and what that costs.

    The quantity is 0 where nothing fits; the reason is in the checks then.
    """
    ask, bounds = market.ask, rules.market_bounds
    wanted = qty = bounds.qty_down(qty_for(limits.order_notional, ask))
    notional = cost_up(qty, ask)
    night, day, added = limits.night_notional, limits.day_notional, left.reserved + notional
    lows, highs, binding = checks.lows, checks.highs, ""
    start = len(lows)
    # Row by row as `ENTRY_GATES` go on; notional that is hard at once bounds nothing.
    lows += [
        left.position + notional,
        notional,
        left.exposure + notional,
        NOT_ASKED if night.is_hard_at_once else left.night_notional + added,
        NOT_ASKED if day.is_hard_at_once else left.day_notional + added,
    ]
    highs += [
        limits.position_notional_max,
        notional_paid_by(left.cash_free, limits.taker_rate),
        left.exposure_max(),
        night.entry_max,
        day.entry_max,
    ]
    if not checks.judge(start):
        room, binding = _least_room(checks, start, notional)
        qty = min(qty, bounds.qty_down(qty_for(room, ask)))
    after, most = NOT_ASKED, 0
    if rules.position_max is not None:
        held, most = positions.qty_with_orders(market), rules.position_max
        after, room = held + wanted, max(0, most - held)
        if wanted > room:
            checks.fail(len(lows))
            binding = binding or POSITION_QTY.cuts
            qty = min(qty, bounds.qty_down(room))
    if qty != wanted:
        notional = cost_up(qty, ask)
    lows.append(after)
    highs.append(most)
    lows.append(bounds.notional_min)
    highs.append(notional)
    refusal = bounds.value_refusal(notional) or bounds.qty_refusal(qty)
    if refusal is None:  # Then that check has passed too.
        return qty, notional
    checks.judge(len(lows) - 1)
    checks.refuse(binding or refusal)
    return 0, 0


def _least_room(checks: Checklist, start: int, wanted: int) -> tuple[int, str]:
    """Return the least that a bound on notional leaves, of those that failed, and its reason.

    Of two that leave the same, the first speaks; less than nothing is nothing.
    """
    least, binding = wanted, ""
    for row in checks.failed(start):
        room = max(0, wanted - (checks.lows[row] - checks.highs[row]))
        if not binding or room < least:
            least, binding = room, checks.gates[row].cuts
    return least, binding


def entry_breaches(limits: Limits, left: Headroom, notional: int) -> Checklist | None:
    """Return a failed check for every hard limit that an entry would exceed; None for none.

    What passed a soft value is within the hard one, so that only limits that are hard at once
    speak here.
    """
    added, orders = left.reserved + notional, left.orders + 1
    of_night, of_day = left.night_notional + added, left.day_notional + added
    night, day, rate = limits.night_notional, limits.day_notional, limits.order_rate
    found: Checklist | None = None
    if of_night > night.hard:
        found = night.breach(of_night, found)
    if of_day > day.hard:
        found = day.breach(of_day, found)
    if orders > rate.hard:
        found = rate.breach(orders, found)
    return found
