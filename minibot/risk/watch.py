"""Watch of risk: queries by which a market of bars finds the ticks that matter to risk."""

from __future__ import annotations

from typing import final

from minibot.events.unit_sizes import NEVER
from minibot.risk.risk_state import RiskState


@final
class RiskWatch:
    """Levels of exits, orders and positions, read from the state of risk.

    Args:
        state: The state of the core, which is not copied.

    Attributes:
        entered_at_low: Number of positions opened at the low of a bar, after its high.
    """

    __slots__ = ("_state", "entered_at_low")

    def __init__(self, state: RiskState) -> None:
        self._state: RiskState = state
        self.entered_at_low: int = 0

    def levels(self, symbol: str) -> tuple[int, ...]:
        """Return the bids at which risk acts on a position: stop, target, rungs, recovery row.

        The tuple is empty without a position, or while the venue's rules are unknown.
        """
        state = self._state
        market = state.positions.held.get(symbol)
        if market is None or market.holding is None or market.rules is None:
            return ()
        exits = state.exits_of(market)
        return state.exits.levels(exits, market.holding, market.rules)

    def until(self, symbol: str) -> int:
        """Return when the target by age of a position changes next; `NEVER` if it does not."""
        market = self._state.positions.held.get(symbol)
        exits = None if market is None else market.exits
        if exits is None or exits.plan is None or not exits.plan.qty:
            return NEVER
        return exits.plan.age_until

    def is_waiting(self, symbol: str) -> bool:
        """Return whether an order of the symbol is not settled.

        A resting order counts only if its target is a quote, which has to meet a touch to rest.
        """
        positions = self._state.positions
        market = positions.held.get(symbol)
        resting = None if market is None else positions.resting(market)
        return positions.has_order(symbol) or (resting is not None and resting.has_quote)

    def is_held(self, symbol: str) -> bool:
        """Return whether the symbol has an open position; dust is none."""
        market = self._state.positions.held.get(symbol)
        return market is not None and market.holding is not None

    def is_bidding(self, symbol: str) -> bool:
        """Return whether a purchase of the symbol rests, as a limit or as a maker's quote."""
        quotes = self._state.quotes.open.get(symbol, ())
        return any([not quote.is_waiting for quote in quotes])

    def is_due(self, symbol: str, bid: int) -> bool:
        """Return whether a bid is at or beyond the stop or the target of a position."""
        state = self._state
        market = state.positions.held.get(symbol)
        if market is None or market.holding is None or market.rules is None:
            return False
        stop, target, _ = state.exits.bounds(state.exits_of(market), market.holding, market.rules)
        return bid <= stop or bid >= target

    def on_entry_at_low(self) -> None:
        """Count a position opened at the low of a bar, after its high."""
        self.entered_at_low += 1
