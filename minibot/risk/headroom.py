"""What of each limit is used as something is decided, and what that leaves."""

from __future__ import annotations

from typing import final

from minibot.events.money import PLACES
from minibot.events.native import mypyc_attr
from minibot.risk.budgets import Budgets
from minibot.risk.checks import scaled_text
from minibot.risk.limits import Limits
from minibot.risk.positions import Positions


@mypyc_attr(acyclic=True)
@final
class Headroom:
    """What is left of each limit before entries are refused; negative is overdrawn.

    Attributes:
        night_notional, day_notional, night_loss, day_loss, drawdown, orders: How much is used, in
            the unit of the limit.
        exposure, exposure_max: Positions and what open entries may add; how much may be.
        cash_free: What open entries and their fees leave.
        position: The notional of the symbol's position and of its open entries; None without one.
    """

    __slots__ = (
        *("_limits", "_texts", "cash_free", "day_loss", "day_notional", "drawdown", "exposure"),
        *("exposure_max", "night_loss", "night_notional", "orders", "position"),
    )

    def __init__(
        self, symbol: str | None, positions: Positions, budgets: Budgets, limits: Limits, now: int
    ) -> None:
        self._limits: Limits = limits
        self.night_notional: int = budgets.night_notional()
        self.day_notional: int = budgets.day_notional()
        self.night_loss: int = budgets.night_loss()
        self.day_loss: int = budgets.day_loss()
        self.drawdown: int = budgets.drawdown()
        self.orders: int = budgets.orders(now)
        self.exposure: int = positions.exposure()
        self.exposure_max: int = budgets.exposure_max()
        self.cash_free: int = positions.cash_free()
        self.position: int | None = None if symbol is None else positions.position_notional(symbol)
        self._texts: dict[str, str] | None = None

    def texts(self) -> dict[str, str]:
        """Return it by the names of the limits."""
        if self._texts is None:
            limits = self._limits
            left = {
                limit.name: scaled_text(limit.entry_max - value, limit.places)
                for limit, value in (
                    (limits.night_notional, self.night_notional),
                    (limits.day_notional, self.day_notional),
                    (limits.night_loss, self.night_loss),
                    (limits.day_loss, self.day_loss),
                    (limits.drawdown, self.drawdown),
                    (limits.order_rate, self.orders),
                )
            }
            left["exposure"] = scaled_text(self.exposure_max - self.exposure, PLACES)
            left["cash"] = scaled_text(self.cash_free, PLACES)
            if self.position is not None:
                rest = limits.position_notional_max - self.position
                left["position_notional"] = scaled_text(rest, PLACES)
            self._texts = left
        return self._texts
