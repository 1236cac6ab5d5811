"""Headroom: how much of each limit is used when a decision is made, and how much remains."""

from __future__ import annotations

from typing import final

from minibot.events.decimals import format_fixed, mul_div_down
from minibot.events.money import PLACES
from minibot.events.native import mypyc_attr
from minibot.events.unit_sizes import BPS
from minibot.risk.budgets import Budgets, drawdown_of
from minibot.risk.checks import SKIPPED
from minibot.risk.limits import Limit, Limits
from minibot.risk.positions import Market, Positions


@mypyc_attr(acyclic=True)
@final
class Headroom:
    """Use of each limit at the time of a decision; `texts` computes how much of each remains.

    Attributes:
        market: The market of the decision; None for the whole account.
        limits: The limits of the profile.
        equity, high_water_mark: Equity, and its highest value of the night.
        night_notional, day_notional, week_notional, orders: Used notional, orders of the minute.
        night_level, day_level, week_level: As in `Budgets`: the used loss is the level less equity.
        reserved: The notional that open entries may still buy, without fees.
        exposure: Value of all positions plus `reserved`.
        cash_free: Cash less the notional and fees of open entries.
        tier_percent: Percentage of an entry's amount that the account's tier allows; `SKIPPED`
            in ACTIVE.
        position: Value of the market's position plus its open entries; 0 without a market.
    """

    __slots__ = (
        "_texts",
        "cash_free",
        "day_level",
        "day_notional",
        "equity",
        "exposure",
        "high_water_mark",
        "limits",
        "market",
        "night_level",
        "night_notional",
        "orders",
        "position",
        "reserved",
        "tier_percent",
        "week_level",
        "week_notional",
    )

    def __init__(
        self, market: Market | None, positions: Positions, budgets: Budgets, now: int
    ) -> None:
        """Read the use of each limit at market time `now`."""
        self.market: Market | None = market
        self.limits: Limits = budgets.limits
        self.equity: int = budgets.equity
        self.high_water_mark: int = budgets.high_water_mark
        self.night_level: int = budgets.night_level
        self.day_level: int = budgets.day_level
        self.night_notional: int = budgets.night_notional
        self.day_notional: int = budgets.day_notional
        self.week_level: int = budgets.week_level
        self.week_notional: int = budgets.week_notional
        account = budgets.account
        self.tier_percent: int = account.entry_percent if account.tier else SKIPPED
        self.orders: int = budgets.orders(now)
        self.reserved: int = 0
        self.exposure: int = positions.worth
        self.cash_free: int = positions.cash
        self.position: int = 0 if market is None else market.value
        self._texts: dict[str, str] | None = None
        if positions.orders:
            self.reserved = positions.reserved()
            self.exposure += self.reserved
            self.cash_free -= positions.reserved_cash()
            if market is not None:
                self.position += positions.reserved(market.symbol)

    def exposure_max(self) -> int:
        """Return the largest exposure allowed by equity, rounded down."""
        return mul_div_down(self.equity, self.limits.exposure_bps_max, BPS)

    def texts(self) -> dict[str, str]:
        """Return how much of each limit remains, as text by its name; negative is overdrawn."""
        if self._texts is None:
            limits, equity = self.limits, self.equity
            # In the order of names, which makes the digest twice as fast.
            left = {"cash": format_fixed(self.cash_free, PLACES)}
            _write(left, limits.day_loss, loss_of(self.day_level, equity))
            _write(left, limits.day_notional, self.day_notional)
            _write(left, limits.drawdown, drawdown_of(self.high_water_mark, equity))
            left["exposure"] = format_fixed(self.exposure_max() - self.exposure, PLACES)
            _write(left, limits.night_loss, loss_of(self.night_level, equity))
            _write(left, limits.night_notional, self.night_notional)
            _write(left, limits.order_rate, self.orders)
            if self.market is not None:
                rest = limits.position_notional_max - self.position
                left["position_notional"] = format_fixed(rest, PLACES)
            _write(left, limits.week_loss, loss_of(self.week_level, equity))
            _write(left, limits.week_notional, self.week_notional)
            self._texts = left
        return self._texts


def _write(left: dict[str, str], limit: Limit, value: int) -> None:
    """Add how much of a limit remains, if the profile has it."""
    if limit.is_on:
        left[limit.name] = limit.left_text(value)


def loss_of(level: int, equity: int) -> int:
    """Return the loss of equity against a level; 0 for a gain."""
    return max(0, level - equity)
