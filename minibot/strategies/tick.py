"""One tick as a strategy sees it: numbers to read, refilled for the next tick.

The core keeps one `Tick` and fills it from each `market_tick`; whoever drives the core without
events fills its own from columns. A strategy reads it during `on_tick` and keeps none of it.
"""

from __future__ import annotations

from typing import final

from minibot.events.model import MarketTick


@final
class Tick:
    """A trade, or a quote that changed the touch.

    Attributes:
        symbol: The exchange's name of the market, such as BTCUSDT.
        ts: Market time at which it was received, ms.
        exchange_ts: The exchange's own time, ms; `ts` where it gave none.
        price: Of the last trade, also in a quote.
        qty: Of this trade, base; 0 in a quote.
        bid, bid_qty, ask, ask_qty: The touch.
        is_trade: A trade, else a quote.
        is_taker_buy: The trade took the ask.
    """

    __slots__ = (
        "ask",
        "ask_qty",
        "bid",
        "bid_qty",
        "exchange_ts",
        "is_taker_buy",
        "is_trade",
        "price",
        "qty",
        "symbol",
        "ts",
    )

    def __init__(self, symbol: str = "") -> None:
        """Start at nothing."""
        self.symbol: str = symbol
        self.ts: int = 0
        self.exchange_ts: int = 0
        self.price: float = 0.0
        self.qty: float = 0.0
        self.bid: float = 0.0
        self.bid_qty: float = 0.0
        self.ask: float = 0.0
        self.ask_qty: float = 0.0
        self.is_trade: bool = False
        self.is_taker_buy: bool = False

    def fill(self, payload: MarketTick, ts: int) -> None:
        """Take over an event's values."""
        self.symbol = payload.symbol
        self.ts = ts
        exchange_ts = payload.exchange_ts
        self.exchange_ts = ts if exchange_ts is None else exchange_ts
        self.price = float(payload.price)
        qty = payload.qty
        self.qty = 0.0 if qty is None else float(qty)
        self.bid = float(payload.bid)
        self.bid_qty = float(payload.bid_qty)
        self.ask = float(payload.ask)
        self.ask_qty = float(payload.ask_qty)
        self.is_trade = payload.kind == "trade"
        self.is_taker_buy = payload.taker_side == "BUY"
