"""Symbol state: everything that the core keeps for one symbol."""

from __future__ import annotations

from typing import final

from minibot.events.intervals import longest_first
from minibot.events.model import Check, FeedValue, JsonObject
from minibot.strategies.bars import TickBars
from minibot.strategies.decision import Decision, decision_of
from minibot.strategies.protocol import Strategy
from minibot.strategies.selection import ChosenStrategy, give_back, state_of
from minibot.strategies.view import NEVER, View


@final
class SymbolState:
    """One symbol: its view, its strategy, its bars being built, and its last decision.

    Attributes:
        builders: Bars being made from trades; empty unless `strategy.bars_from_ticks`.
        path: The strategy's file, or the name of a shipped one.
        decision, decided_ts: The last decision, even if it was not written, and its market time.
        journaled_code, hold_journaled_ts: Reason code of the last written signal, and market time
            of the last written HOLD.
    """

    __slots__ = (
        "builders",
        "decided_ts",
        "decision",
        "hold_journaled_ts",
        "journaled_code",
        "path",
        "strategy",
        "view",
    )

    def __init__(
        self,
        symbol: str,
        chosen: ChosenStrategy,
        views: dict[str, View],
        feeds: dict[str, FeedValue | None],
    ) -> None:
        """Start empty, with the views of the other symbols and the feeds of all."""
        self.view: View = View(symbol, chosen.needs, views, feeds)
        views[symbol] = self.view
        self.view.tick.owner = self
        self.strategy: Strategy = chosen.make(symbol)
        self.path: str = chosen.path
        intervals = chosen.needs.intervals if chosen.bars_from_ticks else ()
        self.builders: list[TickBars] = [
            TickBars(interval, chosen.needs.hole_bars_max) for interval in longest_first(intervals)
        ]
        self.decision: Decision | None = None
        self.decided_ts: int = -1
        self.journaled_code: str = ""
        self.hold_journaled_ts: int = NEVER

    def state(self) -> JsonObject:
        """Return the state as canonical JSON values."""
        return {
            **self.view.state(),
            "builders": [builder.state() for builder in self.builders],
            "said": None if self.decision is None else _decision_state(self.decision),
            "said_code": self.journaled_code,
            "said_hold_ts": self.hold_journaled_ts,
            "said_ts": self.decided_ts,
            "strategy": state_of(self.strategy, self.path),
        }

    def restore(self, state: JsonObject) -> None:
        """Take over what `state` described."""
        self.view.restore(state)
        for builder, builder_state in zip(self.builders, state["builders"], strict=True):
            builder.restore(builder_state)
        self.decision = None if state["said"] is None else _decision_from(state["said"])
        self.journaled_code = state["said_code"]
        self.hold_journaled_ts = state["said_hold_ts"]
        self.decided_ts = state["said_ts"]
        give_back(self.strategy, state["strategy"], self.path)


def _decision_state(decision: Decision) -> JsonObject:
    return {
        "checks": [check.to_json() for check in decision.checks],
        "confidence": decision.confidence,
        "reason": decision.reason,
        "reason_code": decision.reason_code,
        "score": decision.score,
        "side": decision.side,
    }


def _decision_from(state: JsonObject) -> Decision:
    return decision_of(
        side=state["side"],
        score=state["score"],
        confidence=state["confidence"],
        reason_code=state["reason_code"],
        reason=state["reason"],
        checks=tuple(Check(**check) for check in state["checks"]),
    )
