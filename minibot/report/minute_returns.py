"""Returns of symbols by the minute, from their mids; beta and correlation of two of them."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Final

from minibot.accounting.performance import mid_of
from minibot.events.model import MarketTick
from minibot.events.unit_sizes import MINUTE_MS
from minibot.features.bar_returns import RETURN_UNIT
from minibot.features.correlation import CORRELATION_UNIT, correlation_of

PAIRS_MIN: Final = 10
"""Fewest minutes that both symbols moved through; fewer mean nothing."""


class MinuteReturns:
    """Last mid of each minute of market time, by symbol, hundred-millionths of quote."""

    def __init__(self) -> None:
        self._mids: dict[str, dict[int, int]] = {}

    def on_tick(self, tick: MarketTick, ts: int) -> None:
        """Take a tick; skip one without a touch."""
        mid = mid_of(tick)
        if mid is not None:
            self._mids.setdefault(tick.symbol, {})[ts // MINUTE_MS] = mid

    def symbols(self) -> list[str]:
        """Return the symbols that had a mid, sorted."""
        return sorted(self._mids)

    def pairs(self, first: str, second: str) -> tuple[list[int], list[int]]:
        """Return the returns of both over minutes that both have with the one before.

        Formula:
            (mid - former) * 10**8 / former, rounded down, as `BarReturns` has it.
        """
        one, other = self._mids.get(first, {}), self._mids.get(second, {})
        shared = sorted(one.keys() & other.keys())
        minutes = [at for before, at in pairwise(shared) if at == before + 1]
        return _returns(one, minutes), _returns(other, minutes)

    def correlation(self, first: str, second: str) -> Decimal | None:
        """Return Pearson's correlation, from -1 to 1 with four decimals.

        None for too few minutes, or where one of both did not move.
        """
        one, other = self.pairs(first, second)
        found = correlation_of(one, other) if len(one) >= PAIRS_MIN else None
        return None if found is None else Decimal(found) / CORRELATION_UNIT

    def beta(self, symbol: str, benchmark: str) -> Decimal | None:
        """Return the beta of a symbol; None for too few minutes or a benchmark that stood still.

        Formula:
            (n Sxy - Sx Sy) / (n Syy - Sy Sy), with x the symbol's returns, y the benchmark's, and S
            the sum over all n minutes.
        """
        one, other = self.pairs(symbol, benchmark)
        n = len(one)
        spread = n * sum(y * y for y in other) - sum(other) ** 2
        if n < PAIRS_MIN or not spread:
            return None
        shared = n * sum(x * y for x, y in zip(one, other, strict=True)) - sum(one) * sum(other)
        return Decimal(shared) / spread


def _returns(mids: dict[int, int], minutes: list[int]) -> list[int]:
    return [(mids[at] - mids[at - 1]) * RETURN_UNIT // mids[at - 1] for at in minutes]
