"""The decision on a BUY signal: gates, size, and then the order or the reason against it."""

from __future__ import annotations

from minibot.events.messages import Message, SignalMessage
from minibot.events.model import BUY
from minibot.events.reasons import ALLOWED, REDUCED
from minibot.risk.drafts import ALLOW, BLOCK, REDUCE, Cause, action, allow, stop
from minibot.risk.gates import judge_entry
from minibot.risk.headroom import headroom_of
from minibot.risk.situation import Situation
from minibot.risk.sizing import entry_breaches, size_entry


def on_buy(situation: Situation, signal: SignalMessage, cause: Cause) -> list[Message]:
    """Return ALLOW or REDUCE with an intent, BLOCK, or STOP."""
    symbol, positions, limits = signal.symbol, situation.positions, situation.limits
    left = headroom_of(symbol, positions, situation.budgets, situation.now)
    checks = judge_entry(situation, signal, cause.ref, left)
    qty = 0 if checks.reason else size_entry(symbol, limits, positions, left, checks)
    if not qty:
        return [action(situation, BLOCK, checks.reason, symbol, checks, cause, left)]
    ask = positions.marks[symbol].ask
    breaches = entry_breaches(limits, left, qty, ask)
    if breaches is not None:
        return [stop(situation, breaches, symbol, cause)]
    situation.remember(cause.ref, cause.ts)
    # What failed all the same made it smaller.
    kind, reason = (ALLOW, ALLOWED) if checks.all_passed else (REDUCE, REDUCED)
    return allow(situation, kind, reason, symbol, BUY, qty, ask, checks, cause, left)
