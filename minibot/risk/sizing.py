"""How much an entry buys: the profile's order, cut down to what every limit still leaves.

Each bound is checked against the order the profile wants, in whole steps, so that a check shows
what was asked and what would have been too much. An order that fits exactly passes. Rounding is
down to the venue's step: nothing is ever sized above its bound.
"""

from __future__ import annotations

from typing import final

from minibot.events.money import PLACES, cost_up, notional_paid_by, qty_for
from minibot.events.order_rules import MARKET, OrderRules
from minibot.events.reasons import (
    EXPOSURE_LIMIT,
    INSUFFICIENT_CASH,
    MIN_NOTIONAL,
    POSITION_LIMIT,
    POSITION_MAX,
)
from minibot.risk.budgets import Budgets
from minibot.risk.checks import Checklist, Judged
from minibot.risk.limits import Limit, Limits
from minibot.risk.positions import Positions


@final
class Bound:
    """A limit on notional: how much is used, how much may be."""

    __slots__ = ("most", "name", "reason", "used")

    def __init__(self, name: str, reason: str, used: int, most: int) -> None:
        self.name: str = name
        self.reason: str = reason
        self.used: int = used
        self.most: int = most


@final
class Size:
    """The entry that fits: its quantity, notional, and whether a bound made it smaller."""

    __slots__ = ("is_reduced", "notional", "qty")

    def __init__(self, qty: int, notional: int, is_reduced: bool) -> None:
        self.qty: int = qty
        self.notional: int = notional
        self.is_reduced: bool = is_reduced


def bounds(symbol: str, limits: Limits, positions: Positions, budgets: Budgets) -> list[Bound]:
    """Return what bounds the notional of an entry; of two that leave the same, the first speaks."""
    reserved = positions.reserved()
    found = [
        Bound(
            "position_notional",
            POSITION_LIMIT,
            positions.position_notional(symbol),
            limits.position_notional_max,
        ),
        Bound(
            "cash_with_fee",
            INSUFFICIENT_CASH,
            0,
            notional_paid_by(positions.cash_free(), limits.taker_rate),
        ),
        Bound("exposure", EXPOSURE_LIMIT, positions.exposure(), budgets.exposure_max()),
    ]
    for limit, used in (
        (limits.night_notional, budgets.night_notional()),
        (limits.day_notional, budgets.day_notional()),
    ):
        if not limit.is_hard_at_once:
            found.append(Bound(limit.name, limit.reason, used + reserved, limit.entry_max))
    return found


def size_entry(
    limits: Limits, rules: OrderRules, ask: int, held: int, found: list[Bound], checks: Checklist
) -> Size | None:
    """Return the entry that fits all bounds, or None with the reason in the checks.

    `held` is the base amount of the symbol that is held and being bought.
    """
    wanted = rules.qty_down(qty_for(limits.order_notional, ask), MARKET)
    notional = cost_up(wanted, ask)
    qty = wanted
    binding, room_min = "", limits.order_notional
    for bound in found:
        passed = bound.used + notional <= bound.most
        # Without a reason: an order that is too much is made smaller before it is refused.
        checks.items.append(Judged(bound.name, passed, bound.used + notional, bound.most, PLACES))
        if not passed:
            room = max(0, bound.most - bound.used)
            if not binding or room < room_min:
                binding, room_min = bound.reason, room
            qty = min(qty, rules.qty_down(qty_for(room, ask), MARKET))
    if rules.position_max is not None:
        room = max(0, rules.position_max - held)
        total, fits = held + wanted, wanted <= room
        checks.items.append(Judged("position_qty", fits, total, rules.position_max, PLACES))
        if wanted > room:
            binding = binding or POSITION_MAX
            qty = min(qty, rules.qty_down(room, MARKET))
    refusal = rules.notional_refusal(qty, ask, MARKET) or rules.qty_refusal(qty, MARKET)
    checks.at_least(
        "order_notional",
        cost_up(qty, ask),
        rules.notional_least(MARKET),
        binding or refusal or MIN_NOTIONAL,
        PLACES,
    )
    if refusal is not None:
        checks.reason = checks.reason or binding or refusal
        return None
    return Size(qty, cost_up(qty, ask), qty < wanted)


def notional_breaches(
    limits: Limits, positions: Positions, budgets: Budgets, size: Size
) -> list[tuple[Limit, int]]:
    """Return the notional limits without a soft value that this entry would pass."""
    reserved = positions.reserved()
    return [
        (limit, used + reserved + size.notional)
        for limit, used in (
            (limits.night_notional, budgets.night_notional()),
            (limits.day_notional, budgets.day_notional()),
        )
        if limit.is_hard_at_once and limit.is_breached(used + reserved + size.notional)
    ]
