"""Loosening of limits: which values of a key may lose more than the profile's own.

Searches and staged settings may tighten the limits of a profile, and loosen none. A limit is a key
of the risk section, or the cash, as entries risk shares of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from minibot.cores.core_profile import KELLY_PERCENT
from minibot.events.model import JsonObject
from minibot.runtime.configuration.config_schema import violation
from minibot.runtime.configuration.risk_policy import policy_bound

CASH: Final = "portfolio.cash"
# Keys of the risk section about gains: they limit no loss, so that any value is allowed.
NO_LIMITS: Final = frozenset(
    (
        *("signal_exit", "take_profit_atr_mult", "take_profit_bps", "targets_by_age"),
        *("trail_from_bps", "trail_from_atr_mult", "break_even_bps", "break_even_atr_mult"),
        *("ladder_1_bps", "ladder_1_atr_mult", "ladder_2_bps", "ladder_2_atr_mult"),
    )
)
# Limits of the risk section whose smaller values are the looser ones; of all others the larger are.
FLOORS: Final = frozenset(
    (
        *("confidence_min", "depth_min", "vadr_min", "kelly_trades_min"),
        *("bucket_reserve_bps", "bucket_buffer_bps", "campaign_entry_wait_market_ms"),
        # An exemption from a limit begins there, or a sale that limits a loss is so large.
        *("fatigue_acceleration_bps_min", "horizon_thesis_bps", "recovery_part_percent"),
    )
)
# Keys of the risk section whose absence is the strictest, as each allows something.
EXEMPTIONS: Final = frozenset(
    (
        *("fatigue_acceleration_bps_min", "horizon_thesis_bps", "limit_entries_max"),
        # The price may jump past a resting limit; a mode may enter with more than order_notional.
        *("stop_limit_bps", "sizing"),
    )
)

# Limits of the risk section that hold without their key.
UNSAID: Final[Mapping[str, int]] = {"kelly_fraction_percent": KELLY_PERCENT}


def is_looser(key: str, own: Any, value: Any) -> bool:
    """Return whether a value of a dotted key may lose more than the profile's own.

    A limit that the profile lacks is loosened by an exemption alone. Two values of which one is no
    number have no order: each counts as looser than the other.

    Args:
        key: The key.
        own: Its value in the profile; None for a key that is absent or null. A limit in `UNSAID`
            then has the value there.
        value: The value instead, of the profile's kind or as text.
    """
    name = _limit_of(key)
    own, value = (UNSAID.get(name) if each is None else each for each in (own, value))
    if not name or value == own:
        return False
    if value is None:
        return name not in EXEMPTIONS
    if own is None:
        return name in EXEMPTIONS
    limit, number = number_of(own), number_of(value)
    if limit is None or number is None:
        return True
    return number < limit if name in FLOORS else number > limit


def own_bound(key: str, own: Any) -> str:
    """Return the values of a key that are no looser than the profile's own; empty for all."""
    name = _limit_of(key)
    if not name:
        return ""
    own = UNSAID.get(name) if own is None else own
    if own is None:
        return "none, as in the profile" if name in EXEMPTIONS else ""
    if number_of(own) is None:
        return "the profile's own alone"
    return f"at {'least' if name in FLOORS else 'most'} {own}, the profile's own"


def loosening_violations(
    raw: JsonObject, origin: Mapping[str, str], own: Mapping[str, Any], layer: str
) -> Iterator[str]:
    """Yield one sentence for each limit that a layer of a profile loosens.

    If the risk policy bounds a key, only the policy says how loose it may be.

    Args:
        raw: The profile with all of its layers.
        origin: Where each dotted key's value comes from.
        own: Values without the layer, by each dotted key that it gives: a key of a section, whose
            value may be an object, but none inside that object.
        layer: The layer's name as an origin.
    """
    for key, former in own.items():
        name = _limit_of(key)
        if not name or policy_bound(raw, key):
            continue
        path = key.split(".")
        value = raw[path[0]].get(name)
        # An object itself has no origin.
        if origin.get(key, layer) == layer and is_looser(key, former, value):
            words = f"allowed while staged: {own_bound(key, former)}; to loosen it, edit its file"
            yield violation(path, value, words, origin)


def number_of(value: Any) -> Decimal | None:
    """Return a value, also one of text, as a number; None where it is not a finite one."""
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _limit_of(key: str) -> str:
    """Return the name of the limit that a dotted key is; empty for none."""
    section, _, name = key.partition(".")
    if key == CASH:
        return name
    return name if section == "risk" and name not in NO_LIMITS else ""
