"""The decision on a BUY signal: gates, size, and then the order or the reason against it."""

from __future__ import annotations

from minibot.events.messages import Message, SignalMessage
from minibot.events.model import BUY
from minibot.events.reasons import ALLOWED, REDUCED
from minibot.risk.budgets import breach
from minibot.risk.checks import Checklist
from minibot.risk.drafts import (
    ALLOW,
    BLOCK,
    ENTRY,
    REDUCE,
    Cause,
    action,
    intent,
    new_order,
    rate_breaches,
    stop,
)
from minibot.risk.gates import (
    judge_budgets,
    judge_entry,
    judge_locks,
    judge_market,
    judge_signal,
    judge_warmup,
)
from minibot.risk.headroom import Headroom
from minibot.risk.situation import Situation
from minibot.risk.sizing import notional_breaches, size_entry


def on_buy(situation: Situation, signal: SignalMessage) -> list[Message]:
    """Return ALLOW or REDUCE with an intent, BLOCK, or STOP."""
    cause, symbol = Cause.of_signal(signal), signal.symbol
    left = situation.headroom(symbol)
    checks = judged(situation, signal, left)
    limits, positions = situation.limits, situation.positions
    size = size_entry(symbol, limits, positions, left, checks) if checks.passed else None
    if size is None:
        return [action(situation, BLOCK, checks.reason, symbol, checks.items, cause, 0, left)]
    breaches = [
        breach(limit, value) for limit, value in notional_breaches(limits, positions, left, size)
    ]
    breaches += rate_breaches(situation)
    if breaches:
        return [stop(situation, breaches, symbol, cause)]
    situation.remember(signal.ref, signal.ts)
    kind, reason = (REDUCE, REDUCED) if size.is_reduced else (ALLOW, ALLOWED)
    order = new_order(cause, 0, symbol, BUY, size.qty, positions.marks[symbol].ask)
    allowed = action(situation, kind, reason, symbol, checks.items, cause, 0, left)
    return [allowed, intent(situation, order, ENTRY, cause, allowed)]


def judged(situation: Situation, signal: SignalMessage, left: Headroom) -> Checklist:
    """Return the checks of an entry that come before its size."""
    symbol, now, checks = signal.symbol, situation.now, Checklist()
    positions, limits = situation.positions, situation.limits
    exits = situation.exits.of(symbol)
    judge_locks(
        checks, situation.locks, situation.exits.ending_until, situation.universe, symbol, now
    )
    judge_signal(checks, signal, now, limits, situation.decided.has(signal.ref))
    rules, mark = positions.rules.get(symbol), positions.marks.get(symbol)
    judge_market(checks, rules, mark, now, limits)
    if mark is not None and mark.is_usable:
        judge_entry(checks, symbol, positions, limits, exits)
    if situation.exits.rules.needs_atr:
        judge_warmup(checks, exits)
    judge_budgets(checks, left, limits)
    return checks
