"""Result of a run as lines that add up: P&L at the mid without costs, slippage, fees, result.

Slippage is the distance of a fill's price from the mid of the quote that its order met, times its
quantity: the cost of crossing the spread and of the fill model. Fees are the ledger's, in the
quote asset. P&L at the mid is the result plus both, to the last digit.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Final, NamedTuple

from minibot.accounting.performance import Performance
from minibot.events.model import BUY, Fill, JsonObject
from minibot.events.money import PLACES, amount_text

LAST_PLACE: Final = Decimal(1).scaleb(-PLACES)
# Quantity times half a sum of two prices has seventeen decimals, and sums of them no fewer.
DIGITS: Final = 60
SHOWN_PLACES: Final = 2

SPEC: Final = "P&L at the mid, no costs"
SLIPPAGE: Final = "slippage"
FEES_PAID: Final = "fees"
RESULT: Final = "result"


def slippage_of(fill: Fill) -> Decimal | None:
    """Return the exact slippage of a fill as P&L in quote, negative where the fill was worse.

    Formula:
        (mid - price) * qty of a purchase, (price - mid) * qty of a sale, with mid the mean of the
        bid and ask in the fill event. None for a fill that names no quote.
    """
    if fill.bid is None or fill.ask is None:
        return None
    with localcontext(prec=DIGITS):
        mid = (Decimal(fill.bid) + Decimal(fill.ask)) / 2
        better = mid - Decimal(fill.price) if fill.side == BUY else Decimal(fill.price) - mid
        return better * Decimal(fill.qty)


class CostTally:
    """Tally of the slippage of fills, exact.

    Attributes:
        slippage: Sum as P&L in quote.
        unquoted: Number of fills without a quote, which count as none.
    """

    __slots__ = ("slippage", "unquoted")

    def __init__(self) -> None:
        self.slippage = Decimal(0)
        self.unquoted = 0

    def add(self, fill: Fill) -> None:
        """Add a fill."""
        found = slippage_of(fill)
        if found is None:
            self.unquoted += 1
            return
        with localcontext(prec=DIGITS):
            self.slippage += found


class ResultLines(NamedTuple):
    """Lines of a result, as P&L in quote: `spec + slippage + fees == raw`, to eight places."""

    spec: Decimal
    slippage: Decimal
    fees: Decimal
    raw: Decimal

    @classmethod
    def of(cls, raw: int, fees: int, tally: CostTally) -> ResultLines:
        """Return the lines of a result.

        Args:
            raw: P&L after all costs, hundred-millionths of quote.
            fees: Fees paid, likewise, not below zero.
            tally: The slippage of the same fills.
        """
        with localcontext(prec=DIGITS):
            slippage = tally.slippage.quantize(LAST_PLACE, ROUND_HALF_EVEN) + 0
            result, paid = Decimal(amount_text(raw)), -Decimal(amount_text(fees)) + 0
            return cls(result - slippage - paid, slippage, paid, result)

    def named(self) -> tuple[tuple[str, Decimal], ...]:
        """Return each line with its name, from the P&L at the mid to the result."""
        return tuple(zip((SPEC, SLIPPAGE, FEES_PAID, RESULT), self, strict=True))

    def shown(self) -> tuple[tuple[str, str], ...]:
        """Return each line as a signed text; the texts add up as the amounts do.

        They have two decimals. They have eight where one of the amounts would read as zero, or the
        amount at the mid is zero and would not read so.
        """
        unit = Decimal(1).scaleb(-SHOWN_PLACES)
        costs = [each.quantize(unit, ROUND_HALF_EVEN) for each in self[1:]]
        if any(each and not short for each, short in zip(self[1:], costs, strict=True)):
            return tuple((name, _signed(each, PLACES)) for name, each in self.named())
        slippage, fees, raw = costs
        short = ResultLines(raw - slippage - fees, slippage, fees, raw)
        if bool(short.spec) != bool(self.spec):
            return tuple((name, _signed(each, PLACES)) for name, each in self.named())
        return tuple((name, _signed(each, SHOWN_PLACES)) for name, each in short.named())

    def to_json(self) -> JsonObject:
        """Return the lines as decimal strings."""
        return {name: f"{value:f}" for name, value in self._asdict().items()}


def result_lines(performance: Performance, tally: CostTally) -> ResultLines:
    """Return the lines of a run's result so far."""
    raw = performance.equity - performance.equity_start
    return ResultLines.of(raw, performance.portfolio.fees, tally)


def _signed(amount: Decimal, places: int) -> str:
    return f"{amount:+,.{places}f}" if amount else f"{abs(amount):,.{places}f}"
