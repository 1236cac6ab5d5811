"""Edge of a strategy by its closed trades: the mean net result of a trade, and how sure it is.

The standard error of the mean is the trades' standard deviation over the root of their number. A
strategy without any edge has a mean of more than two standard errors about once in forty times.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from minibot.events.model import JsonObject
from minibot.report.figures import counted, money, signed

ERRORS_MIN: Final = 2
"""Standard errors by which the mean has to exceed zero: about one chance in forty."""
TRADES_MIN: Final = 30
"""Trades below which nothing is concluded."""


class Edge(NamedTuple):
    """Mean net result of a trade in the quote asset, with its standard error."""

    trades: int
    mean: Decimal
    error: Decimal

    @property
    def is_enough(self) -> bool:
        """True if there are `TRADES_MIN` trades or more."""
        return self.trades >= TRADES_MIN

    @property
    def is_shown(self) -> bool:
        """True if the trades are enough and their mean exceeds `ERRORS_MIN` standard errors."""
        return self.is_enough and self.mean > ERRORS_MIN * self.error


def edge_of(trades: Sequence[JsonObject]) -> Edge:
    """Return the edge of a document's closed trades; below two the error is 0."""
    nets = [Decimal(trade["net"]) for trade in trades if trade["net"] is not None]
    count = len(nets)
    if count < 2:
        return Edge(count, sum(nets, Decimal(0)), Decimal(0))
    mean = sum(nets, Decimal(0)) / count
    variance = sum(((net - mean) ** 2 for net in nets), Decimal(0)) / (count - 1)
    return Edge(count, mean, (variance / count).sqrt())


def edge_text(edge: Edge, asset: str) -> str:
    """Return in one line whether the trades show an edge."""
    if not edge.is_enough:
        return f"not shown by {counted(edge.trades, 'trade')}: {TRADES_MIN} are the least"
    mean = f"the mean trade made {signed(_exact(edge.mean))} {asset} after fees"
    error = f"with a standard error of {money(_exact(edge.error))}"
    if edge.is_shown:
        return f"perhaps: {mean}, {error}; it counts on days that nobody searched"
    least = money(_exact(ERRORS_MIN * edge.error))
    return f"none: {mean}, {error}; an edge would be above +{least}"


def _exact(amount: Decimal) -> str:
    """Return an amount in hundred-millionths, the exactness of all money."""
    return f"{amount:.8f}"
