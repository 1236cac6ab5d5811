"""Watch of risk: what a market of bars may ask, so that it shows the ticks that matter to risk."""

from __future__ import annotations

from typing import final

from minibot.events.unit_sizes import NEVER
from minibot.risk.risk_state import RiskState


@final
class RiskWatch:
    """Levels of exits and orders on their way, read from the state of risk.

    Args:
        state: The core's own.
    """

    __slots__ = ("_state",)

    def __init__(self, state: RiskState) -> None:
        self._state: RiskState = state

    def levels(self, symbol: str) -> tuple[int, ...]:
        """Return the bids at which the open position is left: stop, target and rungs, if set."""
        state = self._state
        market = state.positions.held.get(symbol)
        if market is None or market.holding is None or market.rules is None:
            return ()
        exits = market.exits or state.exits_of(market)
        return state.exits.levels(exits, market.holding, market.rules)

    def until(self, symbol: str) -> int:
        """Return the time at which levels of a position change without a tick; `NEVER` for none."""
        market = self._state.positions.held.get(symbol)
        exits = None if market is None else market.exits
        if exits is None or exits.plan is None or not exits.plan.qty:
            return NEVER
        return exits.plan.age_until

    def is_waiting(self, symbol: str) -> bool:
        """Return whether an order of the symbol is not settled."""
        return self._state.positions.has_order(symbol)
