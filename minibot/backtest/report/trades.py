"""Round trips of a backtest, each with its entry and exit reason.

`report.trades` decides which fills make a trip and what it earned, `report.trade_reasons` why it
was entered and left, for nights and backtests alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from minibot.backtest.report import ratios
from minibot.events.model import Event, Fill, JsonObject
from minibot.events.money import UNIT, parse_amount
from minibot.events.names import FILLS, ORDER_INTENTS
from minibot.replay.explain.checks import left_words
from minibot.report.trade_reasons import TradeReasons
from minibot.report.trades import RoundTrip, Step, TradeLog

if TYPE_CHECKING:
    from minibot.engine.run_result import BacktestResult

OPEN: Final = "open"
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Trade:
    """One round trip, numbered from 1 in the order of the entries.

    Attributes:
        entry_reason: Reason code of the signal that caused its first entry; `unknown` if none is
            found. `carried_in` if the run sold a position from before it and bought no more.
        exit_reason: Reason code of the risk action that caused its last exit; `unknown` if none is
            found, `open` while any of the position is held.
        left_because: Reason of its last exit in words, such as the stop that was hit; empty if
            `exit_reason` is `open` or `unknown`.
        steps: Its orders with their reasons, if more than one bought or more than one sold.
    """

    number: int
    trip: RoundTrip
    entry_reason: str
    exit_reason: str
    left_because: str = ""
    steps: tuple[tuple[Step, str], ...] = ()

    @property
    def symbol(self) -> str:
        """The symbol that was traded."""
        return self.trip.symbol

    @property
    def is_closed(self) -> bool:
        """True when everything that was bought has been sold."""
        return self.trip.is_closed

    @property
    def net(self) -> int:
        """Net P&L of a closed trade after fees, hundred-millionths of quote."""
        return self.trip.net

    @property
    def held_ms(self) -> int:
        """Time from the first entry to the last exit of a closed trade, ms."""
        return self.trip.closed_ts - self.trip.opened_ts

    @property
    def ratio(self) -> float:
        """Net P&L over the cost, with the start value of a carried position; 0 without a cost."""
        return self.trip.net / self.trip.paid if self.trip.paid else 0.0

    def to_json(self) -> JsonObject:
        """Return the trade as one JSON object; money as decimal strings."""
        shown = {name: value for name, value in self.trip.to_json().items() if name != "fills"}
        return {
            "number": self.number,
            "entry_reason": self.entry_reason,
            "exit_reason": self.exit_reason,
            "left_because": self.left_because,
            "fills": len(self.trip.fills),
            **shown,
            "return": ratios.text(self.ratio) if self.is_closed else None,
            **({"steps": self._steps()} if self.steps else {}),
        }

    def _steps(self) -> list[JsonObject]:
        return [{**step.to_json(), "because": why} for step, why in self.steps]


def trades_of(result: BacktestResult) -> list[Trade]:
    """Return the round trips of a result in order of their entries; a symbol's last may be open."""
    log, reasons = TradeLog(result.performance.carried), TradeReasons()
    for event in result.of(FILLS):
        log.on_fill(event)
    for event in result.of(ORDER_INTENTS):
        reasons.take(event)
    for item in result.derived:
        if item.queue != ORDER_INTENTS:
            reasons.take(item.event)
    return [_trade(number, trip, reasons) for number, trip in enumerate(log.trips, start=1)]


def _trade(number: int, trip: RoundTrip, reasons: TradeReasons) -> Trade:
    entered, steps = reasons.entered_because(trip) or UNKNOWN, reasons.steps_of(trip)
    if not trip.is_closed:
        return Trade(number, trip, entered, OPEN, steps=steps)
    action = reasons.exit_of(trip)
    if action is None:
        return Trade(number, trip, entered, UNKNOWN, steps=steps)
    return Trade(number, trip, entered, action.reason_code, left_words(action), steps)


def traded_notional(fills: Iterable[Event]) -> int:
    """Return the notional of all purchases and sales, hundred-millionths of quote."""
    return sum(
        parse_amount(event.payload.qty) * parse_amount(event.payload.price) // UNIT
        for event in fills
        if isinstance(event.payload, Fill)
    )
