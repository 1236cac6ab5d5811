"""Row spans: a market's ticks as rows, which a source may yield instead of events.

Loaded by every backtest, so that it knows of arrays by name alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, runtime_checkable

from minibot.engine.market_source import Root

if TYPE_CHECKING:
    from minibot.engine.tick_table import TickTable


class RowSpan(NamedTuple):
    """Rows `first` to `last` (excluded) of a table: at least one, and nothing between them."""

    table: TickTable
    first: int
    last: int


Item: TypeAlias = Root | RowSpan


@runtime_checkable
class Striding(Protocol):
    """A source that can give rows instead of the events that they stand for."""

    def stretches(self) -> Iterator[Item] | None:
        """Return the market of `roots`, ticks as row spans; None where they have to be events."""
        ...
