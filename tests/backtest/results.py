"""Results made by hand: round trips with their causes, equity and prices."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from minibot.accounting.performance import Performance
from minibot.backtest.report.review import Review
from minibot.engine.run_result import BacktestResult, Derived, EquityPoint, PriceBar
from minibot.events.model import (
    BUY,
    SELL,
    Check,
    Event,
    Fill,
    MarketTick,
    OrderIntent,
    Payload,
    RiskAction,
    RunOpening,
    Signal,
)
from minibot.runtime.configuration.config import load_config

PROJECT: Final = Path(__file__).resolve().parents[2]
MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
# A Wednesday, 2025-01-01 00:00 UTC.
START: Final = 1_735_689_600_000
CASH: Final = "10000"


class Trip(NamedTuple):
    """Round trip: times of entry and exit (None: never), prices, and reasons."""

    opened: int
    closed: int | None
    bought: str
    sold: str
    entry: str = "momentum_up"
    exit: str = "take_profit"
    qty: str = "0.01"
    fee: str = "0.1"
    symbol: str = "BTCUSDT"


def tick_at(price: str, symbol: str = "BTCUSDT") -> MarketTick:
    """Return a trade at a price, with the touch at the same."""
    return MarketTick(
        symbol=symbol,
        price=price,
        kind="trade",
        bid=price,
        bid_qty="1",
        ask=price,
        ask_qty="1",
        recv_mono_ns=0,
    )


class ResultMaker:
    """Maker of events that a backtest would derive."""

    def __init__(self, sources: Sequence[str] = ("tape:made",)) -> None:
        raw = load_config(PROJECT / "config" / "nore-demo.v1.json", []).raw
        opening = RunOpening(cash={"USDT": CASH}, lots=(), budgets_used={})
        self.result = BacktestResult(raw, tuple(sources), Performance(opening, "USDT"))
        self._seqs: dict[str, int] = {}

    def add(self, queue: str, ts: int, payload: Payload, *causes: str) -> str:
        """Derive an event and return its id."""
        seq = self._seqs[queue] = self._seqs.get(queue, 0) + 1
        event = Event(ts, f"{queue}-{seq}", "role", "run", "0" * 64, payload, causes, seq)
        self.result.derived.append(Derived(queue, seq, event))
        return event.id

    def order(self, trip: Trip, ts: int, side: str) -> None:
        """Derive one order of a trip with its causes and its fill."""
        price = trip.bought if side == BUY else trip.sold
        checks = (Check("rsi", str(20 + ts // MINUTE % 50), "<= 30", True),)
        reason = trip.entry if side == BUY else "momentum_down"
        signal = Signal(trip.symbol, side, 70, 80, 60_000, "because", reason, checks)
        causes = [self.add("signals", ts, signal)]
        action = RiskAction("ALLOW" if side == BUY else "EXIT", "allowed", trip.symbol)
        if side != BUY:
            action = RiskAction("EXIT", trip.exit, trip.symbol)
        causes.insert(0, self.add("risk_actions", ts, action, causes[0]))
        number = self._seqs.get("order_intents", 0) + 1
        purpose = "ENTRY" if side == BUY else "EXIT"
        intent = OrderIntent(trip.symbol, side, trip.qty, "MARKET", f"client-{number}", purpose)
        causes = [self.add("order_intents", ts, intent, *causes)]
        fill = Fill(
            *(f"order-{number}", f"client-{number}", trip.symbol, side, trip.qty, price),
            *(trip.fee, "USDT", "TAKER"),
        )
        self.add("fills", ts, fill, *causes)
        self.result.performance.on_fill(fill, ts)
        self.tick(trip.symbol, price, ts)

    def tick(self, symbol: str, price: str, ts: int) -> None:
        """Mark a symbol, and equity with it."""
        self.result.performance.on_tick(tick_at(price, symbol))
        self.result.equity.append(EquityPoint(ts, self.result.performance.equity))
        value = float(price)
        bar = PriceBar(ts - ts % MINUTE, value, value, value, value)
        self.result.prices.setdefault(symbol, []).append(bar)


def made(trips: Sequence[Trip] = (), *, days: int = 1, **fields: Any) -> BacktestResult:
    """Return the result of some round trips over some days from `START`."""
    maker = ResultMaker()
    result = maker.result
    result.from_ts, result.to_ts = START, START + days * DAY
    orders = [(trip.opened, at, trip, BUY) for at, trip in enumerate(trips)]
    orders += [
        (trip.closed, at, trip, SELL) for at, trip in enumerate(trips) if trip.closed is not None
    ]
    for after, _, trip, side in sorted(orders, key=lambda order: order[:2]):
        maker.order(trip, START + after, side)
    if not result.equity or result.equity[-1].ts < result.to_ts:
        result.equity.append(EquityPoint(result.to_ts, result.performance.equity))
    result.inputs = {"market_tick": len(result.equity)}
    # A given digest, because no decisions were made.
    result._digest = fields.pop("digest", "d" * 64)
    for name, value in fields.items():
        setattr(result, name, value)
    return result


def many(count: int, days: int) -> BacktestResult:
    """Return a result with very many round trips, winning and losing."""
    step = days * DAY // count
    return made(
        [
            Trip(at * step, at * step + step // 2, "100", str(100 + Decimal(at % 7 - 3) / 10))
            for at in range(count)
        ],
        days=days,
    )


def reviewed(trips: Sequence[Trip] = (), *, days: int = 1, **fields: Any) -> Review:
    """Return the review of such a result."""
    return Review.of(made(trips, days=days, **fields))
