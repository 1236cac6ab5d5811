"""Tick for a strategy: numbers to read, refilled for the next tick.

The core has one `Tick` for each symbol and fills it from each `market_tick`; a driver without
events gets it once and fills it from columns. A strategy reads it during `on_tick` or through its
view, and must not keep it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, final

from minibot.cores.event_id import EventId, named
from minibot.cores.protocol import ShownTick
from minibot.events.cells import float_at, int_at
from minibot.events.model import Event, JsonObject, MarketTick
from minibot.features.lossless import floats_from, floats_text

if TYPE_CHECKING:
    from minibot.strategies.symbol_state import SymbolState


class TickFiller(Protocol):
    """Filler of a tick that is rarely read: the view calls it before each read of the tick."""

    def fill_tick(self) -> None:
        """Fill the tick with the newest touch that it does not show yet; else change nothing."""
        ...


@final
class Tick(ShownTick):
    """A trade, or a quote that changed the touch; the last one of its symbol.

    Attributes:
        symbol: The exchange's name of the market, such as BTCUSDT.
        owner: The core's own state of the symbol.
        filler: Fills it before the view shows it; None if each tick is filled at once.
        event: Its event, while the core processes it; None for a tick without one.
        ts, scaled: See `ShownTick`.
        price: Price of the last trade, also in a quote.
        bid, bid_qty, ask, ask_qty: The touch.
        is_trade: Whether it is a trade, else a quote.
        is_taker_buy: Whether the trade took the ask.
        at: Offset of its cells, while it is filled from columns.
    """

    __slots__ = (
        *("_exchange_ts", "_qty", "_qtys", "_times", "ask", "ask_qty", "at", "bid", "bid_qty"),
        *("event", "filler", "is_taker_buy", "is_trade", "owner", "price", "symbol"),
    )

    def __init__(self, symbol: str) -> None:
        """Start at nothing."""
        super().__init__()
        self.symbol: str = symbol
        self.owner: SymbolState | None = None
        self.filler: TickFiller | None = None
        self.event: Event | None = None
        self.price: float = 0.0
        self.bid: float = 0.0
        self.bid_qty: float = 0.0
        self.ask: float = 0.0
        self.ask_qty: float = 0.0
        self.is_trade: bool = False
        self.is_taker_buy: bool = False
        self._exchange_ts: int = 0
        self._qty: float = 0.0
        # Cells of all rows of a block; without them both values are above.
        self._times: bytes | None = None
        self._qtys: bytes | None = None
        self.at: int = 0

    @property
    def exchange_ts(self) -> int:
        """The exchange's own time in ms; `ts` if it gave none."""
        times = self._times
        return self._exchange_ts if times is None else int_at(times, self.at)

    @exchange_ts.setter
    def exchange_ts(self, ts: int) -> None:
        self._exchange_ts, self._times = ts, None

    @property
    def qty(self) -> float:
        """Quantity of this trade, base; 0 in a quote."""
        qtys = self._qtys
        if qtys is None:
            return self._qty
        return float_at(qtys, self.at) if self.is_trade else 0.0

    @qty.setter
    def qty(self, qty: float) -> None:
        self._qty, self._qtys = qty, None

    def read_from(self, times: bytes, qtys: bytes) -> None:
        """Leave the exchange's time and the quantity, which few strategies read, in their cells.

        Args:
            times: Cells of whole numbers; the tick's begins at `at`.
            qtys: Cells of floats.
        """
        self._times, self._qtys = times, qtys

    def fill(self, payload: MarketTick, ts: int) -> None:
        """Take the values of an event of this symbol."""
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

    def ref(self, seq: int) -> EventId:
        """Return the id of its event, which it has or would have as line `seq`."""
        event = self.event
        return self.scaled.ref(seq) if event is None else named(event.id, event.run_id)

    def state(self) -> JsonObject:
        """Return every bit of it as canonical JSON values."""
        numbers = (self.price, self.qty, self.bid, self.bid_qty, self.ask, self.ask_qty)
        return {
            "exchange_ts": self.exchange_ts,
            "is_taker_buy": self.is_taker_buy,
            "is_trade": self.is_trade,
            "numbers": floats_text(numbers),
            "ts": self.ts,
        }

    def restore(self, state: JsonObject) -> None:
        """Take over what `state` described."""
        self.exchange_ts = state["exchange_ts"]
        self.is_taker_buy = state["is_taker_buy"]
        self.is_trade = state["is_trade"]
        self.ts = state["ts"]
        numbers = floats_from(state["numbers"])
        self.price, self.qty, self.bid, self.bid_qty, self.ask, self.ask_qty = numbers
