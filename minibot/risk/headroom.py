"""What of each limit is used as something is decided, and what that leaves."""

from __future__ import annotations

from typing import final

from minibot.events.money import PLACES
from minibot.events.native import mypyc_attr
from minibot.events.numbers import mul_div_down
from minibot.risk.budgets import Budgets, drawdown_of
from minibot.risk.checks import scaled_text
from minibot.risk.limits import BPS, Limits
from minibot.risk.positions import Market, Positions


@mypyc_attr(acyclic=True)
@final
class Headroom:
    """What is left of each limit before entries are refused; negative is overdrawn.

    It keeps how things stood, and reckons from that what somebody asks for.

    Attributes:
        market: That of the decision; None for a look at all of them.
        limits: Of the profile.
        equity, high_water_mark: How they stood.
        night_notional, day_notional, orders: How much is used.
        night_level, day_level: The equity below which a loss of night or UTC day begins.
        reserved: What open entries may still cost, without fees.
        exposure: Positions and what open entries may add.
        cash_free: What open entries and their fees leave.
        position: The notional of the market's position and of its open entries; 0 for all of them.
    """

    __slots__ = (
        *("_texts", "cash_free", "day_level", "day_notional", "equity", "exposure"),
        *("high_water_mark", "limits", "market", "night_level", "night_notional", "orders"),
        *("position", "reserved"),
    )

    market: Market | None
    limits: Limits
    equity: int
    high_water_mark: int
    night_notional: int
    day_notional: int
    night_level: int
    day_level: int
    orders: int
    reserved: int
    exposure: int
    cash_free: int
    position: int
    _texts: dict[str, str] | None

    def exposure_max(self) -> int:
        """Return the share of equity that may be in positions, rounded down."""
        most = mul_div_down(self.equity, self.limits.exposure_bps_max, BPS)
        return most if most > 0 else 0

    def texts(self) -> dict[str, str]:
        """Return it by the names of the limits."""
        if self._texts is None:
            limits = self.limits
            left = {
                limit.name: scaled_text(limit.entry_max - value, limit.places)
                for limit, value in (
                    (limits.night_notional, self.night_notional),
                    (limits.day_notional, self.day_notional),
                    (limits.night_loss, loss_of(self.night_level, self.equity)),
                    (limits.day_loss, loss_of(self.day_level, self.equity)),
                    (limits.drawdown, drawdown_of(self.high_water_mark, self.equity)),
                    (limits.order_rate, self.orders),
                )
            }
            left["exposure"] = scaled_text(self.exposure_max() - self.exposure, PLACES)
            left["cash"] = scaled_text(self.cash_free, PLACES)
            if self.market is not None:
                rest = limits.position_notional_max - self.position
                left["position_notional"] = scaled_text(rest, PLACES)
            self._texts = left
        return self._texts


def headroom_of(
    market: Market | None, positions: Positions, budgets: Budgets, now: int
) -> Headroom:
    """Return what a market's decision at market time `now`, or a look at all of them, finds."""
    left, equity = Headroom(), budgets.equity
    left.market = market
    left.limits = budgets.limits
    left.equity = equity
    left.high_water_mark = budgets.high_water_mark
    left.night_level = budgets.night_level
    left.day_level = budgets.day_level
    left.night_notional = budgets.night_notional
    left.day_notional = budgets.day_notional
    left.orders = budgets.orders(now)
    left.exposure = positions.worth
    left.cash_free = positions.cash
    left.position = 0 if market is None else market.value
    left.reserved = 0
    left._texts = None
    if positions.orders:
        left.reserved = positions.reserved()
        left.exposure += left.reserved
        left.cash_free -= positions.reserved_cash()
        if market is not None:
            left.position += positions.reserved(market.symbol)
    return left


def loss_of(level: int, equity: int) -> int:
    """Return by how much equity is below a level; 0 for a gain."""
    return level - equity if level > equity else 0
