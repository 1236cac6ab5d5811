"""Plan rows: the checks that no stop, target, data gap or time limit of a position is reached.

Only the highest stop and the lowest target are judged, as they are reached first. Of equal ones the
first row gives the reason.
"""

from __future__ import annotations

from typing import Final

from minibot.events.money import PLACES
from minibot.events.reasons import (
    AGE_TARGET,
    BREAK_EVEN,
    HARD_STOP,
    LADDER_TARGET,
    SIGNAL_STOP,
    SIGNAL_TARGET,
    STALE_EXIT,
    STOP_LOSS,
    TAKE_PROFIT,
    TIME_EXIT,
    TRAILING_STOP,
)
from minibot.risk.checks import ABOVE, BELOW, SKIPPED, Gate, Row
from minibot.risk.distances import NEVER
from minibot.risk.horizon import HORIZON_MS
from minibot.risk.plan import NO_GAP, Plan, PlanRules

STOP_PRICE: Final = Gate("stop_price", STOP_LOSS, PLACES, passes=ABOVE)
HARD_PRICE: Final = Gate("hard_stop_price", HARD_STOP, PLACES, passes=ABOVE)
EVEN_PRICE: Final = Gate("break_even_price", BREAK_EVEN, PLACES, passes=ABOVE)
TRAIL_PRICE: Final = Gate("trail_price", TRAILING_STOP, PLACES, passes=ABOVE)
OWN_PRICE: Final = Gate("signal_stop_price", SIGNAL_STOP, PLACES, passes=ABOVE)
OWN_TARGET: Final = Gate("signal_target_price", SIGNAL_TARGET, PLACES, passes=BELOW)
TARGET_PRICE: Final = Gate("target_price", TAKE_PROFIT, PLACES, passes=BELOW)
AGE_PRICE: Final = Gate("age_target_price", AGE_TARGET, PLACES, passes=BELOW)
LADDER_PRICE: Final = Gate("ladder_price", LADDER_TARGET, PLACES, passes=BELOW)
DATA_GAP_MS: Final = Gate("data_gap_ms", STALE_EXIT, passes=BELOW)
SILENT_MS: Final = Gate("silent_ms", STALE_EXIT, passes=BELOW)
HELD_MS: Final = Gate("held_ms", TIME_EXIT, passes=BELOW)


def plan_rows(
    plan: Plan, rules: PlanRules, bid: int, rung_bid: int, now: int, ends: int, horizon: int
) -> tuple[Row, ...]:
    """Return the checks that no level of a plan is reached.

    Args:
        plan: The plan.
        rules: The keys of the plan.
        bid: The price of a sale; `SKIPPED` while the levels rest with the executor.
        rung_bid: The price of a partial sale; `SKIPPED` if no part can be sold now.
        now: Market time.
        ends: The time from which the position is closed; `NEVER` for no limit.
        horizon: The longest time to hold it; `NEVER` for no horizon.
    """
    floor, ceiling = plan.floor(), plan.ceiling()
    asked = bid if floor > 0 else SKIPPED
    sought = bid if ceiling < NEVER else SKIPPED
    has_gap = rules.stale_ms is not None and plan.gap_ts != NO_GAP
    is_silent = rules.silent_ms is not None and plan.silent_ts != NO_GAP
    opened = plan.opened_ts
    fresh = plan.fresh_ts or now
    return (
        (STOP_PRICE, asked if plan.stop == floor else SKIPPED, plan.stop),
        (HARD_PRICE, asked if plan.hard == floor else SKIPPED, plan.hard),
        (EVEN_PRICE, asked if plan.even == floor else SKIPPED, plan.even),
        (TRAIL_PRICE, asked if plan.trail == floor else SKIPPED, plan.trail),
        (OWN_PRICE, asked if plan.own == floor else SKIPPED, plan.own),
        (TARGET_PRICE, sought if plan.target == ceiling else SKIPPED, plan.target),
        (AGE_PRICE, sought if plan.age == ceiling else SKIPPED, plan.age),
        (OWN_TARGET, sought if plan.own_target == ceiling else SKIPPED, plan.own_target),
        (DATA_GAP_MS, fresh - plan.gap_ts if has_gap else SKIPPED, rules.stale_ms or 0),
        (SILENT_MS, fresh - plan.silent_ts if is_silent else SKIPPED, rules.silent_ms or 0),
        (HORIZON_MS, now - opened if horizon < NEVER else SKIPPED, horizon),
        (HELD_MS, now - opened, ends - opened),
        # A part is sold where nothing closes the whole position.
        (LADDER_PRICE, rung_bid, plan.rungs_left[0]),
    )
