"""Gates that entries and exits share: the signal's age, the symbol's status, the last touch."""

from __future__ import annotations

from typing import Final

from minibot.accounting.order_rules import TRADING, OrderRules
from minibot.cores.messages import SignalMessage
from minibot.events.reasons import (
    DUPLICATE,
    NO_INSTRUMENT,
    NO_MARK,
    NOT_TRADING,
    STALE_SIGNAL,
    STALE_TICK,
)
from minibot.risk.checks import IS_NOT, NONE, SKIPPED, Gate
from minibot.risk.limits import Limits
from minibot.risk.positions import UNSEEN, Market

BOTH_SIDES: Final = "bid and ask"

SIGNAL_AGE: Final = Gate("signal_age_ms", STALE_SIGNAL)
DECIDED_BEFORE: Final = Gate("signal_decided_before", DUPLICATE, words=IS_NOT)
TICK_AGE: Final = Gate("tick_age_ms", STALE_TICK)

IS_TRADING: Final = Gate("instrument_status", NOT_TRADING, words=(TRADING, NONE))
NO_RULES: Final = Gate("instrument_status", NO_INSTRUMENT, words=(TRADING, NONE))

MARK_UNSEEN: Final = Gate("mark", NO_MARK, words=(BOTH_SIDES, NONE))
MARK_AFTER_GAP: Final = Gate("mark", STALE_TICK, words=(BOTH_SIDES, "gap"))
MARK_CROSSED: Final = Gate("mark", NO_MARK, words=(BOTH_SIDES, "crossed"))


def status_gate(rules: OrderRules | None) -> Gate:
    """Return the check of a symbol's status; a failure shows the venue's word for it."""
    if rules is None:
        return NO_RULES
    if rules.status == TRADING:
        return IS_TRADING
    return Gate("instrument_status", NOT_TRADING, words=(TRADING, rules.status))


def mark_gate(market: Market) -> Gate:
    """Return the check of the last touch; a failure shows its fault. `TICK_AGE` is its age.

    After a price mark it shows a gap, as the touch is no longer fresh; before any tick, that there
    is none.
    """
    if market.ts == UNSEEN:
        return MARK_UNSEEN
    return MARK_CROSSED if market.is_fresh else MARK_AFTER_GAP


def is_tradable(rules: OrderRules | None) -> bool:
    """Return whether the rules of a symbol are known and the venue accepts orders in it."""
    return rules is not None and rules.status == TRADING


def tick_age(market: Market, now: int) -> int:
    """Return the age of the last tick, in ms of market time; `SKIPPED` without one."""
    return SKIPPED if market.ts == UNSEEN else now - market.ts


def signal_age_max(limits: Limits, signal: SignalMessage) -> int:
    """Return a signal's maximum age: its own horizon, but never more than the profile's limit."""
    age_max = limits.signal_age_ms_max
    return signal.horizon_ms if signal.horizon_ms < age_max else age_max
