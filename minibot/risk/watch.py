"""Watch of risk: three questions of a market of bars, to choose the ticks that matter to risk."""

from __future__ import annotations

from typing import final

from minibot.events.unit_sizes import NEVER
from minibot.risk.risk_state import RiskState


@final
class RiskWatch:
    """Levels of exits and orders on their way, read from the state of risk.

    Args:
        state: The state of the core, which is not copied.
    """

    __slots__ = ("_state",)

    def __init__(self, state: RiskState) -> None:
        self._state: RiskState = state

    def levels(self, symbol: str) -> tuple[int, ...]:
        """Return the bids at which a position acts: stop, target, rungs, next recovery row, if set.

        The tuple is empty without a position, or while the venue's rules are unknown.
        """
        state = self._state
        market = state.positions.held.get(symbol)
        if market is None or market.holding is None or market.rules is None:
            return ()
        exits = market.exits or state.exits_of(market)
        return state.exits.levels(exits, market.holding, market.rules)

    def until(self, symbol: str) -> int:
        """Return when the target of a position's age changes next, or a time never reached."""
        market = self._state.positions.held.get(symbol)
        exits = None if market is None else market.exits
        if exits is None or exits.plan is None or not exits.plan.qty:
            return NEVER
        return exits.plan.age_until

    def is_waiting(self, symbol: str) -> bool:
        """Return whether an order of the symbol is not settled; resting orders do not count."""
        return self._state.positions.has_order(symbol)
