"""Adjusting: a strategy moves the levels of its position, a stop only up, a target either way.

A stop or target that the price has already reached refuses the whole adjustment. A stop at or below
the one in force, or a trail wider than the strategy's present one, is skipped and its check fails;
if nothing else is wanted, the adjustment is refused. A tighter trail keeps the peak of the former
trail, so it may sell at once. A target above the profile's is kept, but the lower one is in force.
"""

from __future__ import annotations

from typing import Final

from minibot.cores.messages import Message, SignalMessage
from minibot.cores.wish import Wish
from minibot.events.decimals import round_down, round_up
from minibot.events.model import ADJUST, BLOCK
from minibot.events.money import PLACES
from minibot.events.reasons import ADJUSTED, LOOSER_LEVEL
from minibot.risk.checks import ABOVE, BELOW, SKIPPED, Gate, Row
from minibot.risk.distances import NEVER
from minibot.risk.drafts import action, new_verdict
from minibot.risk.entry_decision import KEEPS_LEVELS, TRAIL_BARS, WISHED_STOP, WISHED_TARGET
from minibot.risk.exit_decision import LOTS
from minibot.risk.plan import NOTHING_WISHED, Plan, trail_distance
from minibot.risk.positions import Market
from minibot.risk.risk_state import RiskState
from minibot.risk.signal_gates import (
    DECIDED_BEFORE,
    NO_RULES,
    SIGNAL_AGE,
    TICK_AGE,
    mark_gate,
    signal_age_max,
    tick_age,
)

# A level that fails one of these is skipped; the adjustment itself is not refused.
STOP_RISES: Final = Gate("stop_in_force", places=PLACES, passes=ABOVE)
TRAIL_NEARS: Final = Gate("trail_in_force", places=PLACES, passes=BELOW)
TARGET_COUNTS: Final = Gate("target_in_force", places=PLACES)


def on_adjust(state: RiskState, market: Market, signal: SignalMessage) -> list[Message]:
    """Return ADJUST if a level was changed, else BLOCK.

    A raised stop that rests with the executor is replaced at the next tick.
    """
    ref, wish = signal.ref(), signal.wish or Wish()
    verdict = new_verdict(state, ref, signal.ts, signal.tick_seq, signal.symbol, ref)
    checks, rules, holding = verdict.checks, market.rules, market.holding
    exits = state.exits_of(market)
    checks.judge(adjust_rows(state, market, signal))
    plan = exits.plan
    if checks.reason or plan is None or rules is None or holding is None:
        return [action(state, BLOCK, checks.reason, verdict)]
    if not exits.is_guarded:
        state.exits.guard(exits, rules.price_step)
    state.exits.bounds(exits, holding, rules)
    stop, target, gap, share, _ = exits.wished_by(wish, market.bid)
    stop = round_up(stop, rules.price_step)
    reached = round_down(target, rules.price_step)
    checks.judge(reached_rows(wish, market, stop, reached))
    distance = trail_distance_of(plan, market, gap, share)
    rows = taken_rows(plan, stop, target, distance)
    rises, nears = stop > 0 and checks.judge(rows[:1]), distance > 0 and checks.judge(rows[1:2])
    checks.judge(rows[2:])
    if not rises and not nears and not target:
        checks.refuse(LOOSER_LEVEL)
    if checks.reason:
        return [action(state, BLOCK, checks.reason, verdict)]
    state.decided.note(ref, signal.ts, state.now - state.limits.signal_age_ms_max)
    before = exits.wished
    exits.wished = before[0], target or before[1], *before[2:]
    peak = max(plan.own_peak, market.bid)
    trail = (gap, share, peak) if nears else NOTHING_WISHED[2:]
    plan.wish((stop if rises else 0, exits.wished[1], *trail))
    exits.quiet_until = 0
    return [action(state, ADJUST, ADJUSTED, verdict)]


def adjust_rows(state: RiskState, market: Market, signal: SignalMessage) -> tuple[Row, ...]:
    """Return the checks that an ADJUST signal has to pass before its levels are judged."""
    now, limits, wish = state.now, state.limits, signal.wish or Wish()
    exits, holding = state.exits_of(market), market.holding
    has_touch = market.is_fresh and market.has_mid
    return (
        (SIGNAL_AGE, now - signal.ts, signal_age_max(limits, signal)),
        (DECIDED_BEFORE, state.decided.has(signal.ref()), False),
        (KEEPS_LEVELS, not exits.keeps_levels, False),
        (LOTS, 0 if holding is None else len(holding.lots), 1),
        (NO_RULES, market.rules is None or SKIPPED, False),
        (TICK_AGE, tick_age(market, now), limits.tick_age_ms_max),
        (mark_gate(market), SKIPPED if has_touch else True, False),
        (TRAIL_BARS, exits.atr.count if wish.trail_atr else SKIPPED, exits.atr.warmup),
    )


def reached_rows(wish: Wish, market: Market, stop: int, target: int) -> tuple[Row, ...]:
    """Return the checks that the price has reached no level; both are in whole price steps."""
    return (
        (WISHED_STOP, stop or SKIPPED, market.bid),
        (WISHED_TARGET, target if wish.target else SKIPPED, market.ask),
    )


def taken_rows(plan: Plan, stop: int, target: int, distance: int) -> tuple[Row, Row, Row]:
    """Return the checks of stop, trail and target against the levels in force; none refuses.

    Args:
        plan: The plan of the position, brought up to date.
        stop: The new stop in whole price steps; 0 for none.
        target: The new target; 0 for none.
        distance: Distance of the new trail at the present peak; 0 for none.
    """
    ceiling = min(plan.target, plan.age)
    nearest = plan.own_distance() if plan.has_trail else SKIPPED
    asked = distance if distance and nearest != SKIPPED else SKIPPED
    return (
        (STOP_RISES, stop or SKIPPED, plan.floor()),
        (TRAIL_NEARS, asked, nearest),
        (TARGET_COUNTS, target if target and ceiling < NEVER else SKIPPED, ceiling),
    )


def trail_distance_of(plan: Plan, market: Market, gap: int, share: int) -> int:
    """Return how far a new trail would be below the present peak; 0 for no trail."""
    if not gap and not share:
        return 0
    return trail_distance(gap, share, max(plan.own_peak, market.bid), plan.price_step)
