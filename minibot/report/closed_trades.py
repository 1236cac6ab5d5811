"""Closed trades of runs, each with why it was entered and left, and their sums by group."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any, Final

from minibot.accounting.performance import Performance
from minibot.engine.lookup import lines_from
from minibot.engine.recorded_run import Recorded
from minibot.events.model import HOLD, Fill, JsonObject
from minibot.events.money import amount_text
from minibot.events.names import FILLS, ORDER_INTENTS, RISK_ACTIONS, SIGNALS, TICKS
from minibot.events.unit_sizes import SECOND_MS
from minibot.report.records import RunRecord, facts_of
from minibot.report.trade_reasons import TradeReasons
from minibot.report.trades import TradeLog

DAY: Final = "day"
PAIR: Final = "pair"
REASON: Final = "reason"
EXIT_OF: Final = "exit"
GROUPS: Final = (DAY, PAIR, REASON, EXIT_OF)


@dataclass(frozen=True, slots=True)
class ClosedTrade:
    """Round trip that has ended.

    Attributes:
        symbol: The traded symbol.
        opened_ts: Market time of the first purchase, Unix ms; of a carried position's oldest lot,
            which an earlier run bought.
        closed_ts: Market time of the last sale.
        fees: In the quote asset, a decimal string.
        net: P&L after fees, likewise.
        entered: Reason code of the signal that caused the first purchase; `CARRIED` where the run
            bought nothing of it, empty where it is unknown.
        left: Reason code of the risk action that caused the last sale; empty where it is unknown.
    """

    symbol: str
    opened_ts: int
    closed_ts: int
    fees: str
    net: str
    entered: str
    left: str

    def to_json(self) -> JsonObject:
        """Return the trade as one JSON object."""
        return asdict(self)


@dataclass(slots=True)
class TradeSum:
    """Sum of some closed trades."""

    trades: int = 0
    won: int = 0
    fees: Decimal = Decimal(0)
    net: Decimal = Decimal(0)

    def add(self, trade: ClosedTrade) -> None:
        """Add a trade."""
        self.trades += 1
        self.won += Decimal(trade.net) > 0
        self.fees += Decimal(trade.fees)
        self.net += Decimal(trade.net)

    def merge(self, other: TradeSum) -> None:
        """Add another sum."""
        self.trades += other.trades
        self.won += other.won
        self.fees += other.fees
        self.net += other.net

    def to_json(self) -> dict[str, Any]:
        """Return the sum; amounts as decimal strings."""
        return {
            "trades": self.trades,
            "won": self.won,
            "fees": f"{self.fees:f}",
            "result": f"{self.net:f}",
        }


def closed_trades(log: TradeLog, reasons: TradeReasons) -> list[ClosedTrade]:
    """Return the closed trades of a log in the order in which they were opened."""
    return [
        ClosedTrade(
            trip.symbol,
            trip.opened_ts,
            trip.closed_ts,
            amount_text(trip.fees),
            amount_text(trip.net),
            reasons.entered_because(trip),
            "" if (action := reasons.exit_of(trip)) is None else action.reason_code,
        )
        for trip in log.trips
        if trip.is_closed
    ]


def trades_of(record: RunRecord) -> list[ClosedTrade]:
    """Return the closed trades of a run, from the facts with its report or from its queues.

    Raises:
        RunStop: A queue is damaged.
    """
    kept = (facts_of(record) or {}).get("trades")
    if kept is not None:
        return [ClosedTrade(**each) for each in kept]
    return read_trades(Recorded.open(record.run_dir))


def read_trades(recorded: Recorded) -> list[ClosedTrade]:
    """Return the closed trades of a run from its queues.

    The market is read only where a carried position is traded, up to its first mark.

    Raises:
        IntegrityError: A queue is damaged, or the run has no opening.
    """
    performance = Performance(recorded.opening()[1], recorded.quote_asset)
    log, reasons = TradeLog(performance.carried), TradeReasons()
    for _, event in recorded.events(FILLS):
        if isinstance(event.payload, Fill):
            market = (one for _, one in recorded.events(TICKS))
            performance.take_first_mark(event.payload.symbol, market)
        log.on_fill(event)
    for _, event in recorded.events(ORDER_INTENTS):
        reasons.take(event)
    # Most signals wish nothing, and most risk actions answer to them; decoding all takes seconds.
    for queue, passed_over in ((SIGNALS, f'"{HOLD}"'), (RISK_ACTIONS, '"BLOCK"')):
        for line in lines_from(recorded, queue, 1):
            if passed_over.encode() not in line.json:
                reasons.take(recorded.decode(queue, line))
    return closed_trades(log, reasons)


def group_of(by: str, zone: tzinfo = UTC) -> Callable[[ClosedTrade], str]:
    """Return how a trade is grouped: by one of `GROUPS`; its day is that of its end in a zone."""
    if by == DAY:
        return lambda trade: f"{datetime.fromtimestamp(trade.closed_ts // SECOND_MS, zone):%F}"
    if by == PAIR:
        return lambda trade: trade.symbol
    if by == REASON:
        return lambda trade: trade.entered
    return lambda trade: trade.left


def sums_by(
    trades: Iterable[ClosedTrade], key: Callable[[ClosedTrade], str]
) -> dict[str, TradeSum]:
    """Return the sum of each group, in the order of their names."""
    found: dict[str, TradeSum] = {}
    for trade in trades:
        found.setdefault(key(trade), TradeSum()).add(trade)
    return dict(sorted(found.items()))
