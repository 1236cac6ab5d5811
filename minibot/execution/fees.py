"""Fees of paper fills: a rate on the notional, or on the coins that a purchase brings.

Without `execution.fee_asset`, or with `quote`, both sides pay in quote. Binance takes a buyer's fee
from the coins bought; taking the same value from the quote balance costs the same at the fill and
keeps positions whole multiples of the venue's step, so that all of them can be sold
(docs/accounting.md). With `base` a purchase pays in coins, as at Binance: the remaining coins are
no multiple of the step, and a sale leaves dust.
"""

from __future__ import annotations

from typing import Final, final

from minibot.cores.core_profile import ExecutionSection
from minibot.events.decimals import IS_INTERPRETED, mul_div_up
from minibot.events.money import RATE_UNIT, notional_paid_by, parse_rate

TAKER: Final = "TAKER"
MAKER: Final = "MAKER"
IN_BASE: Final = "base"
RATE_UP: Final[int] = RATE_UNIT - 1


@final
class FeeRates:
    """Fee rates of takers and makers, as rates of `events.money`.

    Attributes:
        is_in_base: Whether a purchase pays its fee in the coins bought.
    """

    __slots__ = ("is_in_base", "maker", "taker")

    def __init__(self, maker: int, taker: int, is_in_base: bool = False) -> None:
        self.maker: int = maker
        self.taker: int = taker
        self.is_in_base: bool = is_in_base

    @staticmethod
    def of(execution: ExecutionSection) -> FeeRates:
        """Return the rates of the section `execution` of the configuration."""
        return FeeRates(
            parse_rate(execution.maker_fee_bps),
            parse_rate(execution.taker_fee_bps),
            execution.fee_asset == IN_BASE,
        )

    def fee(self, notional: int, liquidity: str) -> int:
        """Return the fee on a notional, or on coins, rounded up against the bot."""
        rate = self.maker if liquidity == MAKER else self.taker
        if IS_INTERPRETED:
            return (notional * rate + RATE_UP) // RATE_UNIT
        return mul_div_up(notional, rate, RATE_UNIT)

    def with_fee(self, notional: int, liquidity: str) -> int:
        """Return the cash that a purchase needs: its notional, plus its fee if paid in quote."""
        return notional if self.is_in_base else notional + self.fee(notional, liquidity)

    def affordable(self, cash: int, liquidity: str) -> int:
        """Return the largest notional that cash can pay, with the fee if it is paid in quote."""
        if self.is_in_base:
            return cash
        return notional_paid_by(cash, self.maker if liquidity == MAKER else self.taker)
