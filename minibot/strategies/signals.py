"""The signal of a decision, written out when somebody reads it."""

from __future__ import annotations

from typing import final

from minibot.events.messages import SIGNALS, WRITERS, SignalMessage
from minibot.events.model import Payload, Signal
from minibot.events.native import mypyc_attr
from minibot.events.reference import Ref, derived
from minibot.strategies.chosen import Chosen
from minibot.strategies.decision import Decision


@mypyc_attr(acyclic=True)
@final
class DecidedSignal(SignalMessage):
    """What a strategy decided about a symbol; `signal_of` makes one."""

    _chosen: Chosen
    _decision: Decision

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


def signal_of(
    chosen: Chosen, symbol: str, decision: Decision, ts: int, seq: int, cause: Ref
) -> DecidedSignal:
    """Return the signal of a decision.

    Args:
        chosen: The strategy; its name and its parameters' hash stand in the signal.
        symbol: The market.
        decision: What it said.
        ts: Of the tick or bar because of which it was said.
        seq: Its line.
        cause: Its id.
    """
    signal = DecidedSignal()
    signal.place = SIGNALS
    signal.ts = ts
    signal.tick_seq = seq
    signal.cause = cause
    signal._ref = derived(WRITERS[SIGNALS], cause, 0)  # Which risk asks for.
    signal.symbol = symbol
    signal.side = decision.side
    signal.horizon_ms = chosen.horizon_ms
    signal._chosen = chosen
    signal._decision = decision
    return signal
