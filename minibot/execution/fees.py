"""Fees of paper fills: a rate on the notional, charged in the quote asset.

Assumption: both sides pay in quote. Binance takes a buyer's fee from the coins it delivers; taking
the same value from the quote balance costs the same at the fill and keeps positions whole multiples
of the venue's step, so that what was bought can be sold to the last unit (docs/accounting.md).
"""

from __future__ import annotations

from typing import Final, final

from minibot.cores.core_profile import ExecutionSection
from minibot.events.decimals import IS_INTERPRETED, mul_div_up
from minibot.events.money import RATE_UNIT, notional_paid_by, parse_rate

TAKER: Final = "TAKER"
MAKER: Final = "MAKER"
RATE_UP: Final[int] = RATE_UNIT - 1


@final
class FeeRates:
    """Fee rates of takers and makers, as rates of `events.money`."""

    __slots__ = ("maker", "taker")

    def __init__(self, maker: int, taker: int) -> None:
        self.maker: int = maker
        self.taker: int = taker

    @staticmethod
    def of(execution: ExecutionSection) -> FeeRates:
        """Return the rates of the section `execution` of the configuration."""
        return FeeRates(parse_rate(execution.maker_fee_bps), parse_rate(execution.taker_fee_bps))

    def fee(self, notional: int, liquidity: str) -> int:
        """Return the fee on a notional, rounded up against the bot."""
        rate = self.maker if liquidity == MAKER else self.taker
        if IS_INTERPRETED:
            return (notional * rate + RATE_UP) // RATE_UNIT
        return mul_div_up(notional, rate, RATE_UNIT)

    def affordable(self, cash: int, liquidity: str) -> int:
        """Return a notional whose cost and fee the cash surely pays."""
        return notional_paid_by(cash, self.maker if liquidity == MAKER else self.taker)
