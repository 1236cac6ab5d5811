"""All that the strategy knows of one symbol, kept up to date by events and judged by rules.

`SymbolView` decides nothing: it holds the instrument, the touch, the indicators, the position and
what was said last. The rules stand in the strategy's own file.
"""

from __future__ import annotations

from minibot.events.model import BUY, SELL, Bar, Book, Fill, Gap, Instrument, JsonObject, MarketTick
from minibot.events.numbers import PLACES_MAX, parse_fixed
from minibot.features.lossless import float_from, float_text, floats_from, floats_text
from minibot.features.order_flow import OrderFlowImbalance
from minibot.strategies.bars import BarIndicators, ClosedBar, TickBars
from minibot.strategies.parameters import StrategyParameters
from minibot.strategies.position import Position

NEVER = -(10**15)
"""A market time so long ago that every cooldown has run out."""


class SymbolView:
    """The state of one symbol.

    Attributes:
        status: The instrument's status, empty before the first `instrument` event.
        tick_ts: `ts` of the last tick, None before the first.
        bid, bid_qty, ask, ask_qty: The touch of the last tick.
        bars, trend: Indicators over `bar_interval` and `trend_interval`.
        is_book_broken: A gap in the depth stream has not been followed by a book yet.
        is_after_gap: Trades were missing, and no live bar has found the indicators ready since.
        entry_code: Reason code of the last BUY, which tells a reversion from a momentum trade.
        buy_ts, sell_ts: Market time of the last BUY, and of the last SELL or sale.
        said_code, said_hold_ts: What stands in the journal: the last signal's reason code, and
            the market time of the last HOLD.
    """

    __slots__ = (
        "ask",
        "ask_qty",
        "bars",
        "base_asset",
        "bid",
        "bid_qty",
        "buy_ts",
        "entry_code",
        "flow",
        "is_after_gap",
        "is_book_broken",
        "notional_min",
        "position",
        "qty_min",
        "said_code",
        "said_hold_ts",
        "sell_ts",
        "status",
        "symbol",
        "tick_bars",
        "tick_trend",
        "tick_ts",
        "trend",
    )

    def __init__(self, symbol: str, parameters: StrategyParameters) -> None:
        """Start knowing nothing."""
        self.symbol: str = symbol
        self.status: str = ""
        self.base_asset: str = ""
        self.qty_min: int = 0
        self.notional_min: float = 0.0
        self.tick_ts: int | None = None
        self.bid: float = 0.0
        self.bid_qty: float = 0.0
        self.ask: float = 0.0
        self.ask_qty: float = 0.0
        self.flow: OrderFlowImbalance = OrderFlowImbalance(parameters.flow_touches)
        self.bars: BarIndicators = BarIndicators(parameters.bar_interval, parameters)
        self.trend: BarIndicators = BarIndicators(parameters.trend_interval, parameters)
        self.tick_bars: TickBars = TickBars(parameters.bar_interval, parameters.ema_slow)
        self.tick_trend: TickBars = TickBars(parameters.trend_interval, parameters.ema_slow)
        self.is_book_broken: bool = False
        self.is_after_gap: bool = False
        self.position: Position = Position(symbol)
        self.entry_code: str = ""
        self.buy_ts: int = NEVER
        self.sell_ts: int = NEVER
        self.said_code: str = ""
        self.said_hold_ts: int = NEVER

    @property
    def is_long(self) -> bool:
        """Whether something is held that can be sold."""
        return self.position.is_long(self.qty_min, self.notional_min, self.bid)

    def on_instrument(self, instrument: Instrument) -> None:
        """Take the rules of the symbol."""
        self.status = instrument.status
        self.base_asset = instrument.base_asset
        self.qty_min = parse_fixed(instrument.qty_min, PLACES_MAX)
        self.notional_min = float(instrument.notional_min)

    def on_touch(self, tick: MarketTick, ts: int) -> None:
        """Take the touch of a tick; only quotes count as changes of the touch."""
        self.tick_ts = ts
        self.bid = float(tick.bid)
        self.bid_qty = float(tick.bid_qty)
        self.ask = float(tick.ask)
        self.ask_qty = float(tick.ask_qty)
        if tick.kind == "quote":
            self.flow.update(self.bid, self.bid_qty, self.ask, self.ask_qty)

    def on_trade(self, tick: MarketTick, ts: int) -> bool:
        """Take a trade into the bars made from ticks; return whether a `bar_interval` closed."""
        trade_ts = ts if tick.exchange_ts is None else tick.exchange_ts
        price = float(tick.price)
        for closed in self.tick_trend.add(trade_ts, price):
            self.trend.feed(closed)
        is_closed = False
        for closed in self.tick_bars.add(trade_ts, price):
            is_closed = self._feed(closed, is_live=True) or is_closed
        return is_closed

    def on_bar(self, bar: Bar) -> bool:
        """Take a closed bar; return whether it moved the indicators of `bar_interval`."""
        closed = ClosedBar(bar.open_ts, float(bar.high), float(bar.low), float(bar.close))
        if bar.interval == self.bars.interval:
            return self._feed(closed, is_live=not bar.is_history)
        if bar.interval == self.trend.interval:
            self.trend.feed(closed)
        return False

    def _feed(self, closed: ClosedBar, *, is_live: bool) -> bool:
        is_taken = self.bars.feed(closed, is_strict=self.is_after_gap)
        if is_taken and is_live and self.bars.is_ready:
            self.is_after_gap = False
        return is_taken

    def on_book(self, book: Book) -> None:
        """Take note that the book stands again."""
        if book.bids and book.asks:
            self.is_book_broken = False

    def on_gap(self, gap: Gap, *, bars_from_ticks: bool) -> bool:
        """Distrust what a gap has touched; return whether bars are among it.

        In the depth stream: the book is unusable until the next `book`. In the quotes: order flow
        starts anew (the age of the tick guards the touch itself). In the trades, or in a stream of
        another name: the next bars have to follow on the last one without a hole, as they do when
        the market role fetched what was missing; else the indicators start anew. Bars made from
        ticks have nobody to fetch them, so they start anew at once; the trend then survives a gap
        that is shorter than one of its bars.
        """
        if "depth" in gap.stream:
            self.is_book_broken = True
            return False
        self.flow = OrderFlowImbalance(self.flow.period)
        if "bookTicker" in gap.stream:
            return False
        self.is_after_gap = True
        if bars_from_ticks:
            self.bars.reset()
            self.tick_bars.reset()
            if gap.to_ts - gap.from_ts >= self.trend.length_ms:
                self.trend.reset()
                self.tick_trend.reset()
        return True

    def on_fill(self, fill: Fill, now: int) -> None:
        """Apply a fill to the position; a sale starts the cooldown, whoever asked for it."""
        self.position.apply(fill, self.base_asset)
        if fill.side != BUY:
            self.sell_ts = now

    def on_said(self, side: str, reason_code: str, now: int) -> None:
        """Remember what was written to the journal."""
        self.said_code = reason_code
        if side == BUY:
            self.buy_ts = now
            self.entry_code = reason_code
        elif side == SELL:
            self.sell_ts = now
        else:
            self.said_hold_ts = now

    def state(self) -> JsonObject:
        """Return the state as canonical JSON values."""
        return {
            "bars": self.bars.state(),
            "base_asset": self.base_asset,
            "buy_ts": self.buy_ts,
            "entry_code": self.entry_code,
            "flow": self.flow.state(),
            "is_after_gap": self.is_after_gap,
            "is_book_broken": self.is_book_broken,
            "notional_min": float_text(self.notional_min),
            "position": self.position.state(),
            "qty_min": str(self.qty_min),
            "said_code": self.said_code,
            "said_hold_ts": self.said_hold_ts,
            "sell_ts": self.sell_ts,
            "status": self.status,
            "tick_bars": self.tick_bars.state(),
            "tick_trend": self.tick_trend.state(),
            "tick_ts": self.tick_ts,
            "touch": floats_text((self.bid, self.bid_qty, self.ask, self.ask_qty)),
            "trend": self.trend.state(),
        }

    def restore(self, state: JsonObject) -> None:
        """Take over what `state` described."""
        self.bars.restore(state["bars"])
        self.base_asset = state["base_asset"]
        self.buy_ts = state["buy_ts"]
        self.entry_code = state["entry_code"]
        self.flow = OrderFlowImbalance.from_state(state["flow"])
        self.is_after_gap = state["is_after_gap"]
        self.is_book_broken = state["is_book_broken"]
        self.notional_min = float_from(state["notional_min"])
        self.position.restore(state["position"])
        self.qty_min = int(state["qty_min"])
        self.said_code = state["said_code"]
        self.said_hold_ts = state["said_hold_ts"]
        self.sell_ts = state["sell_ts"]
        self.status = state["status"]
        self.tick_bars.restore(state["tick_bars"])
        self.tick_trend.restore(state["tick_trend"])
        self.tick_ts = state["tick_ts"]
        self.bid, self.bid_qty, self.ask, self.ask_qty = floats_from(state["touch"])
        self.trend.restore(state["trend"])
