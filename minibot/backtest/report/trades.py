"""Round trips of a backtest, each with its entry and exit reason.

`report.trades` decides which fills make a trip and what it earned, for nights and backtests alike;
this module follows fills back to their causes: fill, intent, then signal or risk action.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from minibot.backtest.report import ratios
from minibot.events.model import EXIT, Event, Fill, JsonObject, OrderIntent, RiskAction, Signal
from minibot.events.money import UNIT, parse_amount
from minibot.replay.explain.checks import left_words
from minibot.report.trades import CARRIED, RoundTrip, TradeLog

if TYPE_CHECKING:
    from minibot.engine.run_result import BacktestResult

OPEN: Final = "open"
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Trade:
    """One round trip, numbered from 1 in the order of the entries.

    Attributes:
        entry_reason: Reason code of the signal behind its first entry; `unknown` where none is
            found. `carried_in` where the run sold a position from before it and bought no more.
        exit_reason: Reason code of the risk action behind its last exit; `unknown` where none is
            found, `open` while any of the position is held.
        left_because: Reason of its last exit in words, such as the stop that was hit; empty where
            `exit_reason` is `open` or `unknown`.
    """

    number: int
    trip: RoundTrip
    entry_reason: str
    exit_reason: str
    left_because: str = ""

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
        }


def trades_of(result: BacktestResult) -> list[Trade]:
    """Return the round trips of a result in order of their entries; a symbol's last may be open."""
    log = TradeLog(result.performance.carried)
    fills: dict[str, Fill] = {}
    for event in result.of("fills"):
        log.on_fill(event)
        if isinstance(event.payload, Fill):
            fills[event.id] = event.payload
    why = _Why(result)
    return [
        Trade(number, trip, *why.of([fills[fill_id] for fill_id in trip.fills], trip.is_closed))
        for number, trip in enumerate(log.trips, start=1)
    ]


def traded_notional(fills: Iterable[Event]) -> int:
    """Return the notional of all purchases and sales, hundred-millionths of quote."""
    return sum(
        parse_amount(event.payload.qty) * parse_amount(event.payload.price) // UNIT
        for event in fills
        if isinstance(event.payload, Fill)
    )


class _Why:
    """Index from a fill to the reason codes behind it."""

    def __init__(self, result: BacktestResult) -> None:
        self._causes: dict[str, Event] = {}
        self._intents: dict[str, Event] = {}
        self._triggers: dict[str, RiskAction] = {}
        for item in result.derived:
            payload = item.event.payload
            if isinstance(payload, Signal | RiskAction):
                self._causes[item.event.id] = item.event
                if isinstance(payload, RiskAction) and payload.action == EXIT:
                    # A triggered exit names the intent of the resting order as its cause.
                    named = dict.fromkeys(item.event.cause_ids or (), payload)
                    self._triggers.update(named)
            elif isinstance(payload, OrderIntent):
                self._intents[payload.client_order_id] = item.event

    def of(self, fills: list[Fill], is_closed: bool) -> tuple[str, str, str]:
        """Return the entry and exit reason of a trip's fills, and the exit that was hit."""
        entries = [fill for fill in fills if fill.side == "BUY"]
        exits = [fill for fill in fills if fill.side != "BUY"]
        entry = self._cause(entries[0], Signal) if entries else None
        if not is_closed or not exits:
            return _code(entry, entries), OPEN, ""
        left = self._cause(exits[-1], RiskAction)
        words = left_words(left) if isinstance(left, RiskAction) else ""
        return _code(entry, entries), _code(left, exits), words

    def _cause(
        self, fill: Fill, kind: type[Signal] | type[RiskAction]
    ) -> Signal | RiskAction | None:
        intent = self._intents.get(fill.client_order_id)
        trigger = None if intent is None else self._triggers.get(intent.id)
        if trigger is not None and isinstance(trigger, kind):
            return trigger
        causes = () if intent is None else intent.cause_ids or ()
        for cause in causes:
            event = self._causes.get(cause)
            if event is not None and isinstance(event.payload, kind):
                return event.payload
        return None


def _code(cause: Signal | RiskAction | None, fills: list[Fill]) -> str:
    if cause is not None:
        return str(cause.reason_code)
    return UNKNOWN if fills else CARRIED
