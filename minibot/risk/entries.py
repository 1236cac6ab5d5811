"""The decision on a BUY signal: gates, size, and then the order or the reason against it."""

from __future__ import annotations

from minibot.events.messages import Message, SignalMessage
from minibot.events.model import BUY
from minibot.events.reasons import ALLOWED, REDUCED
from minibot.risk.drafts import ALLOW, BLOCK, REDUCE, action, allow, because, stop
from minibot.risk.gates import judge_entry
from minibot.risk.headroom import headroom_of
from minibot.risk.positions import Market
from minibot.risk.situation import Situation
from minibot.risk.sizing import entry_breaches, size_entry


def on_buy(situation: Situation, market: Market, signal: SignalMessage) -> list[Message]:
    """Return ALLOW or REDUCE with an intent, BLOCK, or STOP."""
    ref, symbol, ts = signal.ref(), signal.symbol, signal.ts
    verdict = because(ref, ts, signal.tick_seq, symbol, ref)
    positions, limits, rules = situation.positions, situation.limits, market.rules
    left = verdict.left = headroom_of(market, positions, situation.budgets, situation.now)
    checks = verdict.checks = judge_entry(situation, signal, ref, market, rules, left)
    qty, notional = 0, 0
    if rules is not None and not checks.reason:
        qty, notional = size_entry(market, rules, limits, positions, left, checks)
    if rules is None or not qty:
        return [action(situation, BLOCK, checks.reason, verdict)]
    breaches = entry_breaches(limits, left, notional)
    if breaches is not None:
        return [stop(situation, breaches, verdict)]
    situation.decided.note(ref, ts, situation.now - limits.signal_age_ms_max)
    # What failed all the same made it smaller.
    kind, reason = (ALLOW, ALLOWED) if checks.all_passed else (REDUCE, REDUCED)
    return allow(situation, kind, reason, BUY, qty, market, rules, verdict)
