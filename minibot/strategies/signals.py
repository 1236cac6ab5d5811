"""Signals of decisions, formatted when they are read."""

from __future__ import annotations

from typing import Any, final

from minibot.cores.messages import SignalMessage
from minibot.cores.wish import Wish
from minibot.events.decimals import format_fixed
from minibot.events.model import Payload, Signal
from minibot.events.money import PLACES, RATE_PLACES
from minibot.events.native import mypyc_attr
from minibot.strategies.decision import Decision
from minibot.strategies.selection import ChosenStrategy


@mypyc_attr(acyclic=True)
@final
class DecidedSignal(SignalMessage):
    """Signal of a strategy's decision about a symbol; `StrategyCore` makes one.

    Attributes:
        chosen: The strategy; the signal contains its name and the hash of its parameters.
        decision: The strategy's decision.
    """

    chosen: ChosenStrategy
    decision: Decision

    def _written(self) -> Payload:
        chosen, decision, wish = self.chosen, self.decision, self.wish
        # By position: with unpacking, keyword arguments take three times as long.
        return Signal(
            self.symbol,
            self.side,
            decision.score,
            decision.confidence,
            self.horizon_ms,
            decision.reason,
            decision.reason_code,
            decision.checks,
            chosen.name,
            chosen.params_hash,
            **({} if wish is None else _wish_fields(wish)),
        )


def _wish_fields(wish: Wish) -> dict[str, Any]:
    """Return the fields of a signal for the parts that a wish has."""
    amounts = {
        "notional": (wish.notional, PLACES),
        "stop_price": (wish.stop, PLACES),
        "target_price": (wish.target, PLACES),
        "trail_distance": (wish.trail, PLACES),
        "trail_bps": (wish.trail_bps, RATE_PLACES),
        "trail_atr": (wish.trail_atr, RATE_PLACES),
        "limit_price": (wish.limit, PLACES),
        "qty": (wish.qty, PLACES),
    }
    found: dict[str, Any] = {
        name: format_fixed(amount, places) for name, (amount, places) in amounts.items() if amount
    }
    return found | ({"share_bps": wish.share_bps} if wish.share_bps else {})
