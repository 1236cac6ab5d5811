"""The decision on a BUY signal: gates, size, and then the order or the reason against it."""

from __future__ import annotations

from minibot.events.messages import Message, SignalMessage
from minibot.events.model import BUY
from minibot.events.reasons import ALLOWED, REDUCED
from minibot.risk.checks import Checklist
from minibot.risk.drafts import ALLOW, BLOCK, ENTRY, REDUCE, Cause, action, intent, stop
from minibot.risk.gates import judge_entry
from minibot.risk.situation import Situation
from minibot.risk.sizing import Size, entry_breaches, size_entry


def on_buy(situation: Situation, signal: SignalMessage, cause: Cause) -> list[Message]:
    """Return ALLOW or REDUCE with an intent, BLOCK, or STOP."""
    symbol, checks, left = signal.symbol, Checklist(), situation.headroom(signal.symbol)
    positions, limits = situation.positions, situation.limits
    size: Size | None = None
    if judge_entry(situation, signal, cause.ref, left, checks):
        size = size_entry(symbol, limits, positions, left, checks)
    if size is None:
        return [action(situation, BLOCK, checks.reason, symbol, checks, cause, left)]
    breaches = entry_breaches(limits, left, size.notional)
    if breaches is not None:
        return [stop(situation, breaches, symbol, cause)]
    situation.remember(cause.ref, cause.ts)
    kind, reason = (ALLOW, ALLOWED) if size.qty == size.wanted else (REDUCE, REDUCED)
    allowed = action(situation, kind, reason, symbol, checks, cause, left)
    ask = positions.marks[symbol].ask
    return [allowed, intent(situation, allowed, ENTRY, symbol, BUY, size.qty, ask, cause)]
