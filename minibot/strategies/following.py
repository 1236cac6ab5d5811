"""A strategy that follows prices, and whether it says of many what it says of one after the other.

A night hands it one price at a time, a backtest many by one call. `for price in prices` gives the
same either way; one that looks at all of them first, or that keeps something from price to price
outside `self`, does not, and its backtest would show what no night trades. So an own strategy is
compared with a twin that gets the same prices one by one: its first groups, and then one of many.
"""

from __future__ import annotations

from typing import Final, final

from minibot.strategies.chosen import Chosen
from minibot.strategies.protocol import TradeStrategy

FIRST: Final = 16
"""So many groups of prices are compared at once, ..."""

EVERY: Final = 256
"""... and from then on one of so many."""


@final
class Follower:
    """The strategy of one symbol as a backtest hands it prices.

    Args:
        strategy: That of the symbol.
        symbol: The market.
        chosen: How a twin of it is made. What ships is compared by the tests instead.
    """

    __slots__ = ("_chosen", "_groups", "_symbol", "strategy")

    def __init__(self, strategy: TradeStrategy, symbol: str, chosen: Chosen) -> None:
        self.strategy: TradeStrategy = strategy
        self._symbol: str = symbol
        self._chosen: Chosen = chosen
        self._groups: int = 0

    def place_asked(self, prices: list[float]) -> int:
        """Hand it prices; return the place of the one to decide at, or how many there are.

        Raises:
            ValueError: It did otherwise than it says, or than it does one by one.
        """
        if self._chosen.is_own:
            self._groups += 1
            if self._groups <= FIRST or self._groups % EVERY == 0:
                return self._compared(prices)
        return self.strategy.place_asked(prices)

    def _compared(self, prices: list[float]) -> int:
        twin = self._chosen.make(self._symbol)
        if not isinstance(twin, TradeStrategy):
            raise ValueError(f"{self._symbol}: made anew, it follows no prices")
        twin.restore(self.strategy.state())
        place = self.strategy.place_asked(prices)
        for n, price in enumerate(prices[: place + 1]):
            asks = twin.place_asked([price]) == 0
            if asks is not (n == place):
                said = f"price {n + 1} of {len(prices)} {'asks' if asks else 'does not ask'}"
                raise ValueError(f"follow(): {said} by itself, as a night hands it; {REMEDY}")
        if twin.state() != self.strategy.state():
            said = f"{place + 1} prices one by one, as a night hands them, leave other attributes"
            raise ValueError(f"follow(): {said}; {REMEDY}")
        return place


REMEDY: Final = "return True inside `for price in prices`, and keep what lasts in self"
