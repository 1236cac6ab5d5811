"""The signal of a decision, written out when somebody reads it."""

from __future__ import annotations

from typing import final

from minibot.events.messages import SIGNALS, SignalMessage
from minibot.events.model import Payload, Signal
from minibot.events.native import mypyc_attr
from minibot.events.reference import Ref
from minibot.strategies.chosen import Chosen
from minibot.strategies.decision import Decision


@mypyc_attr(acyclic=True)
@final
class DecidedSignal(SignalMessage):
    """What a strategy decided about a symbol.

    Args:
        chosen: The strategy; its name and its parameters' hash stand in the signal.
        symbol: The market.
        decision: What it said.
        ts, seq, cause: Of the tick or bar because of which it was said.
    """

    def __init__(
        self, chosen: Chosen, symbol: str, decision: Decision, ts: int, seq: int, cause: Ref
    ) -> None:
        # All in one place: of three constructors one above the other each costs a call.
        self.place = SIGNALS
        self.ts = ts
        self.tick_seq = seq
        self.cause = cause
        self.symbol = symbol
        self.side = decision.side
        self.horizon_ms = chosen.horizon_ms
        self._chosen: Chosen = chosen
        self._decision: Decision = decision

    def _written(self) -> Payload:
        chosen, decision = self._chosen, self._decision
        return Signal(
            symbol=self.symbol,
            side=self.side,
            score=decision.score,
            confidence=decision.confidence,
            horizon_ms=self.horizon_ms,
            reason=decision.reason,
            reason_code=decision.reason_code,
            checks=decision.checks,
            strategy=chosen.name,
            params_hash=chosen.params_hash,
        )
