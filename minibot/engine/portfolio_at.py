"""Portfolio of a recorded run at a market time: its opening, and its fills up to then."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from minibot.accounting.portfolio import Portfolio
from minibot.engine.recorded_run import Recorded
from minibot.events.model import Event, Fill, RunOpening
from minibot.events.names import CONTROL, FILLS
from minibot.events.reasons import SCHEMA_INVALID
from minibot.kernel.errors import InvariantError

# A market time later than any possible fill.
ALWAYS_MS: Final = 10**15


def portfolio_at(recorded: Recorded, ts: int = ALWAYS_MS) -> Portfolio:
    """Return the run's portfolio at a market time, from its opening and its fills up to then.

    By default all fills count.

    Raises:
        IntegrityError: The fills are damaged at any line, or `control` is damaged.
        InvariantError: `control` does not begin with the opening.
    """
    fills = (event for _, event in recorded.events(FILLS))
    return portfolio_after(recorded, (event for event in fills if event.ts <= ts))


def portfolio_after(recorded: Recorded, events: Iterable[Event]) -> Portfolio:
    """Return the run's opening portfolio after the fills among some events.

    Raises:
        IntegrityError: `control` is damaged.
        InvariantError: `control` does not begin with the opening.
    """
    first = next(recorded.events(CONTROL), None)
    opening = None if first is None else first[1].payload
    if not isinstance(opening, RunOpening):
        raise InvariantError("replay", SCHEMA_INVALID, "control does not begin with run_opening")
    portfolio = Portfolio.from_opening(opening)
    for event in events:
        if isinstance(event.payload, Fill):
            portfolio.apply(event.payload, event.ts)
    return portfolio
