"""The decision on a BUY signal: gates, size, and then the order or the reason against it."""

from __future__ import annotations

from minibot.events.messages import Message, SignalMessage
from minibot.events.model import BUY
from minibot.events.reasons import ALLOWED, REDUCED
from minibot.risk.checks import Checklist
from minibot.risk.drafts import ALLOW, BLOCK, ENTRY, REDUCE, Cause, action, intent, stop
from minibot.risk.gates import (
    ATR_BARS,
    judge_budgets,
    judge_entry,
    judge_locks,
    judge_market,
    judge_signal,
)
from minibot.risk.headroom import Headroom
from minibot.risk.situation import Situation
from minibot.risk.sizing import Size, order_breaches, size_entry


def on_buy(situation: Situation, signal: SignalMessage, cause: Cause) -> list[Message]:
    """Return ALLOW or REDUCE with an intent, BLOCK, or STOP."""
    symbol, checks, left = signal.symbol, Checklist(), situation.headroom(signal.symbol)
    size = judge(situation, signal, cause, left, checks)
    if size is None:
        return [action(situation, BLOCK, checks.reason, symbol, checks, cause, left)]
    breaches = order_breaches(situation.limits, left, size.notional)
    if breaches is not None:
        return [stop(situation, breaches, symbol, cause)]
    situation.remember(cause.ref, cause.ts)
    kind, reason = (ALLOW, ALLOWED) if size.qty == size.wanted else (REDUCE, REDUCED)
    allowed = action(situation, kind, reason, symbol, checks, cause, left)
    ask = situation.positions.marks[symbol].ask
    return [allowed, intent(situation, allowed, ENTRY, symbol, BUY, size.qty, ask, cause)]


def judge(
    situation: Situation, signal: SignalMessage, cause: Cause, left: Headroom, checks: Checklist
) -> Size | None:
    """Judge an entry; return how much fits, or None with the reason in the checks."""
    symbol, now = signal.symbol, situation.now
    positions, limits, exits = situation.positions, situation.limits, situation.exits
    judge_locks(checks, situation.locks, exits.ending_until, situation.universe, symbol, now)
    judge_signal(checks, signal, now, limits, situation.decided.has(cause.ref))
    rules, of_symbol = positions.rules.get(symbol), exits.of(symbol)
    if judge_market(checks, rules, positions.marks.get(symbol), now, limits):
        judge_entry(checks, symbol, positions, limits, of_symbol)
    if exits.rules.needs_atr:
        checks.at_least(ATR_BARS, of_symbol.atr.count, of_symbol.atr.warmup)
    judge_budgets(checks, left, limits)
    if checks.reason or rules is None:
        return None
    return size_entry(symbol, rules, limits, positions, left, checks)
