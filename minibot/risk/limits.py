"""What risk may not exceed: every limit of the profile, soft and hard, as one value each.

A soft value refuses or shrinks entries; a hard value ends the run. A limit without a soft value, or
with one that is not below the hard one, is hard at once: the first entry that would pass it ends
the run. A value at its limit passes, always.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from minibot.events.model import JsonObject
from minibot.events.money import PLACES, parse_amount, parse_rate
from minibot.events.reasons import (
    DAY_LOSS,
    DAY_NOTIONAL,
    DRAWDOWN,
    NIGHT_LOSS,
    NIGHT_NOTIONAL,
    ORDER_RATE,
)

DRAWDOWN_PLACES: Final = 4
"""Drawdown is reckoned in ten-thousandths of a basis point, so that no boundary is blurred."""

BPS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit with its soft and hard value, scaled by 10**places."""

    name: str
    reason: str
    soft: int | None
    hard: int
    places: int

    @property
    def is_hard_at_once(self) -> bool:
        """Whether no soft value stands before the hard one."""
        return self.soft is None or self.soft >= self.hard

    @property
    def entry_max(self) -> int:
        """The largest value at which an entry is still allowed."""
        return self.hard if self.soft is None else min(self.soft, self.hard)

    def is_breached(self, value: int) -> bool:
        """Return whether the hard value is exceeded."""
        return value > self.hard


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a risk profile; money in hundred-millionths, ages in ms of market time."""

    profile: str
    order_notional: int
    position_notional_max: int
    positions_max: int
    exposure_bps_max: int
    night_notional: Limit
    day_notional: Limit
    night_loss: Limit
    day_loss: Limit
    drawdown: Limit
    order_rate: Limit
    signal_age_ms_max: int
    tick_age_ms_max: int
    intent_ttl_ms: int
    deviation_bps_max: int
    taker_rate: int
    quote_asset: str
    # How long a night is, where one pass holds several (a backtest); 0 where the run is the night.
    night_ms: int = 0

    @classmethod
    def of(cls, config: JsonObject) -> Limits:
        """Return the limits of the whole resolved configuration."""
        risk = config["risk"]
        return cls(
            profile=risk["profile"],
            order_notional=parse_amount(risk["order_notional"]),
            position_notional_max=parse_amount(risk["position_notional_max"]),
            positions_max=risk["positions_max"],
            # Spot knows no leverage: more than the whole equity is never exposed.
            exposure_bps_max=min(risk["exposure_ratio_max_bps"], BPS),
            night_notional=_money(risk, "night_notional", NIGHT_NOTIONAL),
            day_notional=_money(risk, "day_notional", DAY_NOTIONAL),
            night_loss=_money(risk, "night_loss", NIGHT_LOSS),
            day_loss=_money(risk, "day_loss", DAY_LOSS),
            drawdown=_count(risk, "drawdown_bps", DRAWDOWN, DRAWDOWN_PLACES),
            order_rate=_count(risk, "orders_per_minute", ORDER_RATE, 0),
            signal_age_ms_max=risk["signal_age_ms_max"],
            tick_age_ms_max=risk["tick_age_ms_max"],
            intent_ttl_ms=risk["intent_ttl_ms"],
            deviation_bps_max=risk["reference_deviation_bps_max"],
            taker_rate=parse_rate(config["execution"]["taker_fee_bps"]),
            quote_asset=config["portfolio"]["quote_asset"],
            night_ms=(config.get("backtest") or {}).get("night_ms", 0),
        )


def _money(risk: JsonObject, name: str, reason: str) -> Limit:
    soft = risk.get(f"{name}_soft")
    hard = parse_amount(risk[f"{name}_hard"])
    return Limit(name, reason, None if soft is None else parse_amount(soft), hard, PLACES)


def _count(risk: JsonObject, name: str, reason: str, places: int) -> Limit:
    unit = int(10**places)
    soft = risk.get(f"{name}_soft")
    return Limit(
        name, reason, None if soft is None else soft * unit, risk[f"{name}_hard"] * unit, places
    )
