"""Follower of prices, with a check that many prices at once give the answers of one by one.

A night hands it one price at a time, a backtest many by one call. `for price in prices` gives the
same either way; one that looks at all of them first, or that keeps something from price to price
outside `self`, does not, and its backtest would show what no night trades. So an own strategy is
compared with a twin that gets the same prices one by one: every call until it has asked often
enough, and then one of many.
"""

from __future__ import annotations

from typing import Final, final

from minibot.strategies.prices import Prices
from minibot.strategies.protocol import TradeStrategy
from minibot.strategies.selection import ChosenStrategy

CHUNK: Final = 64
"""So many prices at most an own strategy is handed by one call."""

ASKED: Final = 64
"""So often it has to have asked where the twin asked, or as many calls have to have been equal as
`FIRST` says, ..."""

FIRST: Final = 4096

EVERY: Final = 64
"""... until one call of so many is compared."""

REMEDY: Final = "return True inside `for price in prices`, and keep what lasts in self"


@final
class Follower:
    """An own strategy as a backtest hands it prices; what ships is compared by the tests instead.

    Args:
        strategy: That of one symbol.
        symbol: The market.
        chosen: How a twin of it is made.
    """

    __slots__ = ("_asked", "_calls", "_chosen", "_strategy", "_symbol")

    def __init__(self, strategy: TradeStrategy, symbol: str, chosen: ChosenStrategy) -> None:
        self._strategy: TradeStrategy = strategy
        self._symbol: str = symbol
        self._chosen: ChosenStrategy = chosen
        self._calls: int = 0
        self._asked: int = 0

    def asks(self, prices: Prices) -> bool:
        """Do what `TradeStrategy.asks` does, some prices by one call, beside a twin.

        Raises:
            ValueError: It did otherwise than it says, or than it does one by one.
        """
        while prices.taken < prices.count:
            some = prices.some(CHUNK)
            self._calls += 1
            is_proven = self._asked >= ASKED or self._calls > FIRST
            if is_proven and self._calls % EVERY:
                place = _place_asked(self._strategy, some)
            else:
                place = self._compared(some)
            if place < len(some):
                prices.taken += place + 1
                return True
            prices.taken += place
        return False

    def _compared(self, prices: list[float]) -> int:
        twin = self._chosen.make(self._symbol)
        if not isinstance(twin, TradeStrategy):
            raise ValueError(f"{self._symbol}: made anew, it follows no prices")
        twin.restore(self._strategy.state())
        place = _place_asked(self._strategy, prices)
        for n, price in enumerate(prices[: place + 1]):
            asks = twin.asks(Prices([price]))
            if asks is not (n == place):
                said = f"price {n + 1} of {len(prices)} {'asks' if asks else 'does not ask'}"
                raise ValueError(f"follow(): {said} by itself, as a night hands it; {REMEDY}")
        if twin.state() != self._strategy.state():
            said = f"{place + 1} prices one by one, as a night hands them, leave other attributes"
            raise ValueError(f"follow(): {said}; {REMEDY}")
        self._asked += place < len(prices)
        return place


def _place_asked(strategy: TradeStrategy, prices: list[float]) -> int:
    """Return the place of the price at which a strategy asks; how many there are for none."""
    handed = Prices(prices)
    asks = strategy.asks(handed)
    return handed.taken - 1 if asks else handed.taken
