"""All that risk decides by: limits, positions, budgets, exits, locks, and the time of this step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from minibot.events.model import JsonObject
from minibot.events.reference import Remembered
from minibot.risk.budgets import Budgets
from minibot.risk.exits import ExitRules, Exits, SymbolExits
from minibot.risk.headroom import Headroom, headroom_of
from minibot.risk.limits import Limits
from minibot.risk.locks import Locks
from minibot.risk.positions import Market, Positions


@final
class Situation:
    """The state of the risk core; decisions read it, and only what was sent changes it."""

    __slots__ = (
        *("budgets", "decided", "exits", "is_stopped", "limits", "locks", "now", "positions"),
        *("reason", "universe"),
    )

    def __init__(self, config: JsonObject) -> None:
        """Take limits and exits from the resolved configuration; nothing is known of the world."""
        self.limits: Limits = Limits(config)
        self.exits: Exits = Exits(ExitRules(config))
        self.budgets: Budgets = Budgets(self.limits)
        self.positions: Positions = Positions(self.limits.quote_asset, self.limits.taker_rate)
        self.locks: Locks = Locks()
        # The signals that were acted on, each for as long as it is not stale anyway.
        self.decided: Remembered = Remembered()
        self.now: int = 0
        self.reason: str = ""
        self.is_stopped: bool = False
        # The symbols that entries are allowed in; None while no `universe` event has come.
        self.universe: frozenset[str] | None = None

    def exits_of(self, market: Market) -> SymbolExits:
        """Return what the exits of a market remember, and let it know from here on."""
        exits = market.exits = self.exits.of(market.symbol)
        return exits

    def headroom(self, symbol: str | None) -> Headroom:
        """Return what is left of each limit before entries are refused."""
        market = None if symbol is None else self.positions.of(symbol)
        return headroom_of(market, self.positions, self.budgets, self.now)

    def state(self) -> JsonObject:
        """Return all of it as canonical JSON values."""
        return {
            "positions": self.positions.state(),
            "budgets": self.budgets.state(),
            "exits": self.exits.state(),
            "locks": self.locks.state(),
            "decided": self.decided.state(),
            "now": self.now,
            "reason": self.reason,
            "is_stopped": self.is_stopped,
            "universe": None if self.universe is None else sorted(self.universe),
        }

    @staticmethod
    def from_state(config: JsonObject, state: Mapping[str, Any]) -> Situation:
        """Return the situation that `state` described."""
        restored = Situation(config)
        limits = restored.limits
        restored.positions = Positions.from_state(
            limits.quote_asset, limits.taker_rate, state["positions"]
        )
        restored.budgets = Budgets.from_state(limits, state["budgets"])
        restored.exits = Exits.from_state(restored.exits.rules, state["exits"])
        restored.locks = Locks.from_state(state["locks"])
        restored.decided = Remembered.from_state(state["decided"])
        restored.now = state["now"]
        restored.reason = state["reason"]
        restored.is_stopped = state["is_stopped"]
        universe = state.get("universe")
        restored.universe = None if universe is None else frozenset(universe)
        return restored
