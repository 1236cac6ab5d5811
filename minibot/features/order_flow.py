"""Order-flow imbalance at the touch: the side to which the last changes of the touch pushed."""

from __future__ import annotations

from collections import deque
from typing import Any

from minibot.features.indicator import Indicator, period_of
from minibot.features.lossless import floats_from, floats_text, optional_from, optional_text


class OrderFlowImbalance(Indicator):
    """Net pressure of the last `period` changes of the touch, from -1 (selling) to 1 (buying).

    A change adds what came to the bid or left the ask, and subtracts what left the bid or came to
    the ask; a better price counts its whole size, a worse one removes the whole former size. The
    sum of the changes is divided by the sum of their absolute values, so that it needs no unit.
    Without any change of size it is 0.

    Source:
        Cont, Kukanov, Stoikov, The Price Impact of Order Book Events, 2014, section 2.
    """

    __slots__ = ("_ask", "_ask_qty", "_bid", "_bid_qty", "_pushes", "period")

    def __init__(self, period: int) -> None:
        """Start empty; raises ValueError for a period below 1."""
        self.period: int = period_of(period)
        super().__init__(period + 1)
        self._bid: float | None = None
        self._bid_qty: float = 0.0
        self._ask: float = 0.0
        self._ask_qty: float = 0.0
        self._pushes: deque[float] = deque(maxlen=period)

    def update(self, bid: float, bid_qty: float, ask: float, ask_qty: float) -> None:
        """Take the next touch."""
        self.count += 1
        if self._bid is not None:
            push = 0.0
            if bid >= self._bid:
                push = push + bid_qty
            if bid <= self._bid:
                push = push - self._bid_qty
            if ask <= self._ask:
                push = push - ask_qty
            if ask >= self._ask:
                push = push + self._ask_qty
            self._pushes.append(push)
        self._bid = bid
        self._bid_qty = bid_qty
        self._ask = ask
        self._ask_qty = ask_qty

    @property
    def value(self) -> float | None:
        """The imbalance from -1 to 1, or None before it is ready."""
        if self.count < self.warmup:
            return None
        net = 0.0
        size = 0.0
        for push in self._pushes:
            net = net + push
            size = size + abs(push)
        return 0.0 if size == 0.0 else net / size

    def state(self) -> dict[str, Any]:
        """Return all that later values depend on, as canonical JSON values."""
        return {
            "ask": floats_text((self._ask, self._ask_qty)),
            "bid": [optional_text(self._bid), self._bid_qty.hex()],
            "count": self.count,
            "period": self.period,
            "pushes": floats_text(self._pushes),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> OrderFlowImbalance:
        """Return the imbalance that `state` described."""
        restored = cls(state["period"])
        restored.count = state["count"]
        restored._ask, restored._ask_qty = floats_from(state["ask"])
        restored._bid = optional_from(state["bid"][0])
        restored._bid_qty = float.fromhex(state["bid"][1])
        restored._pushes.extend(floats_from(state["pushes"]))
        return restored
