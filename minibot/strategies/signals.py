"""Signals of decisions, written out when they are read."""

from __future__ import annotations

from typing import final

from minibot.cores.messages import SignalMessage
from minibot.events.model import Payload, Signal
from minibot.events.money import amount_text
from minibot.events.native import mypyc_attr
from minibot.strategies.decision import Decision
from minibot.strategies.selection import ChosenStrategy


@mypyc_attr(acyclic=True)
@final
class DecidedSignal(SignalMessage):
    """Signal of a strategy's decision about a symbol; `StrategyCore` makes one.

    Attributes:
        chosen: The strategy; its name and its parameters' hash stand in the signal.
        decision: What it said.
    """

    chosen: ChosenStrategy
    decision: Decision

    def _written(self) -> Payload:
        chosen, decision, wish = self.chosen, self.decision, self.wish
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
            notional=amount_text(wish.notional) if wish is not None and wish.notional else None,
            share_bps=wish.share_bps or None if wish is not None else None,
        )
