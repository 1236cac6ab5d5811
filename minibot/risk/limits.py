"""Limits of risk: every limit of the profile with its soft and its hard value.

A soft value refuses or shrinks entries; exceeding a hard value ends the run. If a limit on notional
or on the order rate has no soft value below the hard one, a new entry that would exceed it is
neither refused nor made smaller: it ends the run. Loss and drawdown of an entry are then judged by
the hard value. A value at its limit passes. Notional counts purchases only; sales use no notional
budget, but count as orders.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final, final

from minibot.cores.core_profile import CoreProfile, DrawdownTierSection
from minibot.events.decimals import format_fixed
from minibot.events.model import JsonObject
from minibot.events.money import PLACES, parse_amount, parse_rate
from minibot.events.reasons import (
    ACCOUNT_DRAWDOWN,
    DAY_LOSS,
    DAY_NOTIONAL,
    DRAWDOWN,
    NIGHT_LOSS,
    NIGHT_NOTIONAL,
    ORDER_RATE,
    WEEK_LOSS,
    WEEK_NOTIONAL,
)
from minibot.events.unit_sizes import BPS
from minibot.kernel.canonical import encode
from minibot.risk.checks import SKIPPED, Gate

DRAWDOWN_PLACES: Final = 4
"""Drawdown is computed in ten-thousandths of a basis point, so that its bounds are exact."""

UNBOUNDED: Final[int] = 1 << 60
"""Hard value of a limit that the profile does not have."""

# The check of an entry against each limit. Notional gives no reason: an order that is too large is
# made smaller, not refused.
OF_NIGHT_NOTIONAL: Final = Gate("night_notional", places=PLACES, cuts=NIGHT_NOTIONAL)
OF_DAY_NOTIONAL: Final = Gate("day_notional", places=PLACES, cuts=DAY_NOTIONAL)
OF_NIGHT_LOSS: Final = Gate("night_loss", NIGHT_LOSS, PLACES)
OF_DAY_LOSS: Final = Gate("day_loss", DAY_LOSS, PLACES)
OF_WEEK_NOTIONAL: Final = Gate("week_notional", places=PLACES, cuts=WEEK_NOTIONAL)
OF_WEEK_LOSS: Final = Gate("week_loss", WEEK_LOSS, PLACES)
OF_ACCOUNT_DRAWDOWN: Final = Gate("account_drawdown_bps", ACCOUNT_DRAWDOWN, DRAWDOWN_PLACES)
OF_DRAWDOWN: Final = Gate("drawdown_bps", DRAWDOWN, DRAWDOWN_PLACES)
OF_ORDER_RATE: Final = Gate("orders_per_minute", ORDER_RATE)


@final
class Limit:
    """One limit with its soft and hard value, scaled by 10**places.

    Attributes:
        is_on: Whether the profile has the limit.
        is_hard_at_once: Whether the limit has no soft value below the hard one.
        entry_max: The largest value at which an entry is still allowed.
        hard_gate: The check whose failure ends the run.
    """

    __slots__ = (
        "_left",
        "_left_text",
        "entry_max",
        "hard",
        "hard_gate",
        "is_hard_at_once",
        "is_on",
        "name",
        "places",
    )

    def __init__(self, gate: Gate, soft: int | None, bound: int | None) -> None:
        """Take the gate of an entry, soft and hard value; None for one that the profile lacks."""
        hard = UNBOUNDED if bound is None else bound
        self.name: str = gate.name
        self.hard: int = hard
        self.is_on: bool = bound is not None
        self.places: int = gate.places
        self.is_hard_at_once: bool = soft is None or soft >= hard
        self.entry_max: int = hard if soft is None else min(soft, hard)
        self.hard_gate: Gate = Gate(f"{gate.name}_hard", "", gate.places)
        # The text written last: most limits rarely change.
        self._left: int = SKIPPED
        self._left_text: str = ""

    def left_text(self, value: int) -> str:
        """Return how much of the limit remains for entries at a value, as text."""
        left = self.entry_max - value
        if left != self._left:
            self._left, self._left_text = left, format_fixed(left, self.places)
        return self._left_text

    def entry_value(self, value: int) -> int:
        """Return a notional or rate for an entry's check, or `SKIPPED` without a soft value."""
        return SKIPPED if self.is_hard_at_once else value

    def hard_value(self, value: int) -> int:
        """Return `value` for the check that ends the run, or `SKIPPED` without the limit."""
        return value if self.is_on else SKIPPED


@final
class Limits:
    """The limits of a risk profile; money in hundred-millionths, ages in ms of market time."""

    __slots__ = (
        "account_drawdown",
        "day_loss",
        "day_notional",
        "deviation_max",
        "drawdown",
        "drawdown_tiers",
        "entry_spread_max",
        "exposure_bps_max",
        "intent_ttl_ms",
        "late_fill_ms",
        "leaves_dust",
        "limit_entries_max",
        "night_loss",
        "night_ms",
        "night_notional",
        "order_notional",
        "order_rate",
        "order_ttl_ms",
        "pace_ms",
        "pace_percent",
        "policy_version",
        "position_notional_max",
        "positions_max",
        "profile",
        "profile_sha256",
        "quote_asset",
        "signal_age_ms_max",
        "taker_rate",
        "tick_age_ms_max",
        "week_loss",
        "week_notional",
    )

    def __init__(self, config: JsonObject) -> None:
        """Take the limits of the whole resolved configuration."""
        profile = CoreProfile.of(config)
        risk = profile.risk
        self.profile: str = risk.profile
        # Under a policy, its version and the hash of the section; None and "" without one.
        self.policy_version: int | None = risk.policy_version
        self.profile_sha256: str = ""
        if self.policy_version is not None:
            self.profile_sha256 = sha256(encode(config["risk"])).hexdigest()
        self.order_notional: int = parse_amount(risk.order_notional)
        self.position_notional_max: int = parse_amount(risk.position_notional_max)
        self.positions_max: int = risk.positions_max
        # Spot has no leverage: exposure never exceeds equity.
        self.exposure_bps_max: int = min(risk.exposure_ratio_max_bps, BPS)
        self.night_notional: Limit = _money(
            OF_NIGHT_NOTIONAL, risk.night_notional_soft, risk.night_notional_hard
        )
        self.day_notional: Limit = _money(
            OF_DAY_NOTIONAL, risk.day_notional_soft, risk.day_notional_hard
        )
        self.night_loss: Limit = _money(OF_NIGHT_LOSS, risk.night_loss_soft, risk.night_loss_hard)
        self.day_loss: Limit = _money(OF_DAY_LOSS, risk.day_loss_soft, risk.day_loss_hard)
        self.drawdown: Limit = _count(OF_DRAWDOWN, risk.drawdown_bps_soft, risk.drawdown_bps_hard)
        # Limits that a profile may lack.
        self.week_notional: Limit = _money(
            OF_WEEK_NOTIONAL, risk.week_notional_soft, risk.week_notional_hard
        )
        self.week_loss: Limit = _money(OF_WEEK_LOSS, risk.week_loss_soft, risk.week_loss_hard)
        self.account_drawdown: Limit = _count(
            OF_ACCOUNT_DRAWDOWN, None, risk.account_drawdown_bps_hard
        )
        self.drawdown_tiers: tuple[DrawdownTierSection, ...] = risk.drawdown_tiers or ()
        self.order_rate: Limit = _count(
            OF_ORDER_RATE, risk.orders_per_minute_soft, risk.orders_per_minute_hard
        )
        self.signal_age_ms_max: int = risk.signal_age_ms_max
        self.tick_age_ms_max: int = risk.tick_age_ms_max
        self.intent_ttl_ms: int = risk.intent_ttl_ms
        # Longest time from a signal to a fill of its entry; 0 for no bound.
        self.late_fill_ms: int = risk.late_fill_market_ms or 0
        self.order_ttl_ms: int = profile.execution.order_ttl_market_ms
        # Most entries of a symbol that may rest at limits of its strategy; 0 for one order in all.
        self.limit_entries_max: int = risk.limit_entries_max or 0
        # In ten-thousandths of a basis point.
        self.deviation_max: int = risk.reference_deviation_bps_max * BPS
        # In the same unit; 0 if the spread is not limited.
        self.entry_spread_max: int = (risk.entry_spread_bps_max or 0) * BPS
        self.taker_rate: int = parse_rate(profile.execution.taker_fee_bps)
        # Whether a holding too small to sell counts as dust and not as a position.
        self.leaves_dust: bool = profile.execution.fee_asset is not None
        self.quote_asset: str = profile.portfolio.quote_asset
        # Length of a night in a backtest of several nights; 0 if the run is one night.
        self.night_ms: int = profile.backtest.night_ms or 0
        # Head start of the night's pace in percent, 0 for no pace; length of the night it covers.
        self.pace_percent: int = risk.night_notional_pace or 0
        self.pace_ms: int = 0
        if self.pace_percent:
            self.pace_ms = self.night_ms or int(config["duration_ms"])


def _money(gate: Gate, soft: str | None, hard: str | None) -> Limit:
    scaled = None if soft is None else parse_amount(soft)
    return Limit(gate, scaled, None if hard is None else parse_amount(hard))


def _count(gate: Gate, soft: int | None, hard: int | None) -> Limit:
    unit = int(10**gate.places)
    scaled = None if soft is None else soft * unit
    return Limit(gate, scaled, None if hard is None else hard * unit)
