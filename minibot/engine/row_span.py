"""Row spans: ticks of a market as rows, which a source may yield instead of events.

Every backtest loads this module, so it names array types without importing numpy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, runtime_checkable

from minibot.engine.market_source import Root

if TYPE_CHECKING:
    from minibot.engine.tick_table import TickTable


class RowSpan(NamedTuple):
    """Rows `first` to `last` (excluded) of a table: at least one, without events between them."""

    table: TickTable
    first: int
    last: int


Item: TypeAlias = Root | RowSpan


@runtime_checkable
class Striding(Protocol):
    """A source that can yield rows instead of events."""

    def stretches(self) -> Iterator[Item] | None:
        """Return the market of `roots` with ticks as row spans; None if they have to be events."""
        ...
