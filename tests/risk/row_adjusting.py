"""Scenarios of adjustments: rows of what a strategy wants to move, and of what is in force."""

from __future__ import annotations

from typing import Final

from minibot.events.money import UNIT
from tests.risk.row_scenarios import SHARED, Scenario, _scenarios, over, trailed_after
from tests.risk.row_world import STOP_BID, TARGET_BID, World, nothing, put, wished

_adjust = _scenarios("adjust_rows", is_held=True)
_reached = _scenarios("reached_rows", is_held=True)
_taken = _scenarios("taken_rows", is_held=True)

ASKED: Final = frozenset({"SIGNAL_AGE", "DECIDED_BEFORE", "TICK_AGE", "mark_gate(market)"})
"""Checks that entries and sales have as well."""


def trailing(distance: int, former: int) -> dict[str, object]:
    """Return a trail that is wanted, beside one in force."""
    return {"wanted": (0, 0, distance), "plan__own_gap": former, "plan___step": UNIT // 100}


ADJUSTMENTS: Final[tuple[Scenario, ...]] = (
    *(_adjust(*shared) for shared in SHARED if shared[0] in ASKED),
    _adjust(
        "KEEPS_LEVELS",
        "no_plan",
        over("keeps_levels", "yes", "no"),
        (wished(stop=UNIT), wished(stop=UNIT, plan=False)),
    ),
    _adjust(
        "LOTS",
        "no_position",
        ("position_lots 1 / 1", "position_lots 0 / 1"),
        (lambda world: World.hold(world, UNIT, 1), put(market__holding=None)),
    ),
    _adjust(
        "NO_RULES",
        "no_instrument",
        ("", "instrument_status none / TRADING"),
        (nothing, put(market__rules=None)),
    ),
    _adjust(
        "TRAIL_BARS",
        "warmup",
        over("trail_atr_bars", "14", "13"),
        (trailed_after(14), trailed_after(13)),
    ),
    _reached(
        "WISHED_STOP",
        "wish_reached",
        ("wished_stop 99.98999999 / 99.99000000", "wished_stop 99.99000000 / 99.99000000"),
        (wished(stop=9_998_999_999), wished(stop=9_999_000_000)),
    ),
    _reached(
        "WISHED_TARGET",
        "wish_reached",
        (
            "wished_target 100.00000001 / 100.00000000",
            "wished_target 100.00000000 / 100.00000000",
        ),
        (wished(target=100 * UNIT + 1), wished(target=100 * UNIT)),
    ),
    _taken(
        "STOP_RISES",
        "",
        ("stop_in_force 61.00000001 / 61.00000000", "stop_in_force 61.00000000 / 61.00000000"),
        (
            put(wanted=(STOP_BID + 1, 0, 0), plan__hard=STOP_BID),
            put(wanted=(STOP_BID, 0, 0), plan__hard=STOP_BID),
        ),
    ),
    _taken(
        "TRAIL_NEARS",
        "",
        ("trail_in_force 2.99999999 / 3.00000000", "trail_in_force 3.00000000 / 3.00000000"),
        (put(**trailing(3 * UNIT - 1, 3 * UNIT)), put(**trailing(3 * UNIT, 3 * UNIT))),
    ),
    _taken(
        "TRAIL_NEARS",
        "",
        ("", "trail_in_force 3.00000000 / 3.00000000"),
        (put(**trailing(3 * UNIT, 0)), put(**trailing(3 * UNIT, 3 * UNIT))),
    ),
    *(
        _taken(
            "TARGET_COUNTS",
            "",
            (
                "target_in_force 167.00000000 / 167.00000000",
                "target_in_force 167.00000001 / 167.00000000",
            ),
            (
                put(**{"wanted": (0, TARGET_BID, 0), f"plan__{level}": TARGET_BID}),
                put(**{"wanted": (0, TARGET_BID + 1, 0), f"plan__{level}": TARGET_BID}),
            ),
        )
        for level in ("target", "age")
    ),
)
