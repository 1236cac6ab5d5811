"""A strategy that follows prices, and whether it says of many what it says of one after the other.

A night hands it one price at a time, a backtest many by one call. `for price in prices` gives the
same either way; one that looks at all of them first, or that keeps something from price to price
outside `self`, does not, and its backtest would show what no night trades. So an own strategy is
compared with a twin that gets the same prices one by one: every group of them until it has asked
often enough, and then one of many.
"""

from __future__ import annotations

from typing import Final, final

from minibot.strategies.chosen import Chosen
from minibot.strategies.protocol import TradeStrategy

ASKED: Final = 64
"""So often it has to have asked where the twin asked, or as many groups have to have been equal as
`FIRST` says, ..."""

FIRST: Final = 4096

EVERY: Final = 64
"""... until one group of so many is compared."""

REMEDY: Final = "return True inside `for price in prices`, and keep what lasts in self"


@final
class Follower:
    """The strategy of one symbol as a backtest hands it prices.

    Args:
        strategy: That of the symbol.
        symbol: The market.
        chosen: How a twin of it is made. What ships is compared by the tests instead.
    """

    __slots__ = ("_asked", "_chosen", "_groups", "_symbol", "strategy")

    def __init__(self, strategy: TradeStrategy, symbol: str, chosen: Chosen) -> None:
        self.strategy: TradeStrategy = strategy
        self._symbol: str = symbol
        self._chosen: Chosen = chosen
        self._groups: int = 0
        self._asked: int = 0

    def place_asked(self, prices: list[float]) -> int:
        """Hand it prices; return the place of the one to decide at, or how many there are.

        Raises:
            ValueError: It did otherwise than it says, or than it does one by one.
        """
        if self._chosen.is_own:
            self._groups += 1
            is_proven = self._asked >= ASKED or self._groups > FIRST
            if not is_proven or self._groups % EVERY == 0:
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
        self._asked += place < len(prices)
        return place
