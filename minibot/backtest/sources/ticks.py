"""Source of ticks: columns of ticks or trades as a market, fast as no frame is parsed.

Bars are built from the trades by the market role's own builder, and beats come each second of
market time, as in the feed. Columns hold no book. Columns of trades hold no touch, so each trade
gets a modelled one: the bid is the trade's price if the taker sold, the ask if the taker bought.
The other side is `backtest.spread_bps` away, rounded up to whole price increments, at least one.
A bid is at least one increment, and its ask the same distance above. Both sizes are the trade's
quantity.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice

from minibot.accounting.order_rules import OrderRules
from minibot.backtest.sources.bars import rules_assumed, touch_model
from minibot.data.columns import Columns
from minibot.data.klines import report_of
from minibot.data.market_source import Texts, ticks_of, trade_rows
from minibot.data.ticks import IS_TAKER_SELL, TRADES
from minibot.data.treatment import Treatment
from minibot.engine.market_source import NOBODY, REAL_TIME, Root, Watch
from minibot.engine.row_span import Item
from minibot.events.decimals import format_fixed
from minibot.events.model import BUY, SELL, Beat, Instrument, MarketTick
from minibot.events.money import parse_amount
from minibot.events.unit_sizes import BPS_UNITS, NEVER, NS_PER_MS, SECOND_MS
from minibot.exchanges.base import Trade
from minibot.exchanges.venues import SIMULATED
from minibot.market.bars import BarBuilder, next_close
from minibot.market.settings import feed_config
from minibot.runtime.configuration.config import Config
from minibot.simulator.venue.instruments import symbol_infos

# The fastest of this many messages gives the best estimate of the exchange's clock skew.
SKEW_TICKS = 400


class TickSource:
    """One file of columns of ticks or trades.

    Args:
        columns: Open, of kind `ticks` or `trades`.
        config: Its intervals and its model of a missing touch are used.
        name: The source word as given.
    """

    def __init__(self, columns: Columns, config: Config, name: str) -> None:
        header = columns.header
        self.name = name
        self.symbols: tuple[str, ...] = (columns.symbol,)
        self.origin_ms = int(header["first_ts"])
        # Later than the last tick, which belongs to the market.
        self.end_ms: int | None = int(header["end_ts"])
        self.interval_ms = SECOND_MS
        self._columns = columns
        self._config = config
        self._model = touch_model(config)
        self._instrument = self._rules()
        self.assumptions = self._assumed()

    def _rules(self) -> Instrument:
        header, symbol = self._columns.header, self.symbols[0]
        sample = {"p": str(header["price_increment"]), "q": str(header["qty_increment"])}
        return SIMULATED.rules.parse(symbol_infos(self.symbols, {}, {symbol: sample})[symbol])

    def _assumed(self) -> tuple[str, ...]:
        settled = report_of(self._columns).settled(Treatment())
        texts = (*rules_assumed(self._instrument), *((settled,) if settled else ()))
        if self._columns.kind != TRADES:
            return texts
        spread = format_fixed(self._model.spread_bps, 2)
        return (
            f"{self.symbols[0]}: trades alone; touch at the trade's price on the taker's side, "
            f"spread {spread} bps, at least one price increment; size shown as large as the trade",
            *texts,
        )

    def roots(self, watch: Watch = NOBODY) -> Iterator[Root]:
        """Yield the rules, then ticks with the bars and beats that they cause."""
        symbol, origin = self.symbols[0], self.origin_ms
        settings = feed_config(self._config, self.symbols, origin, REAL_TIME)
        builders = [BarBuilder(symbol, name, settings.grace_ms) for name in settings.intervals]
        step_ms, skew_ms = settings.beat_interval_ms, self._skew_ms()
        yield Root(self._instrument, origin)
        beat, last = origin + step_ms, origin
        closes = NEVER
        for tick, ts in self._ticks():
            while (due := min(beat, closes)) <= ts:
                for builder in builders:
                    for bar in builder.on_clock(due + skew_ms):
                        yield Root(bar, due)
                if due == beat:
                    yield Root(Beat((due - origin) // step_ms, {symbol: due - last}), due)
                    beat += step_ms
                closes = next_close(builders) - skew_ms
            if tick.kind == "trade":
                trade = _trade(tick, ts)
                for builder in builders:
                    for bar in builder.on_trade(trade, tick.recv_mono_ns):
                        yield Root(bar, ts)
                closes = next_close(builders) - skew_ms
            last = ts
            yield Root(tick, ts)

    def stretches(self) -> Iterator[Item] | None:
        """Return the items of `roots` with the ticks as rows; None where they have to be events."""
        # Loaded where rows are walked: arrays are a good part of a start.
        from minibot.engine.tick_bars import with_bars
        from minibot.engine.tick_table import table_of

        step = OrderRules.of(self._instrument).price_step
        table = table_of(self._columns, self._model.spread_bps, step)
        if table is None:
            return None
        settings = feed_config(self._config, self.symbols, self.origin_ms, REAL_TIME)
        rows = with_bars(table, settings, self.origin_ms, self._skew_ms())
        return chain((Root(self._instrument, self.origin_ms),), rows)

    def _ticks(self) -> Iterator[tuple[MarketTick, int]]:
        if self._columns.kind == TRADES:
            return self._touched()
        ticks = ticks_of(self._columns)
        return ((tick, tick.recv_mono_ns // NS_PER_MS) for tick in ticks)

    def _skew_ms(self) -> int:
        """Return the lead of the exchange's clock over the recording's, ms."""
        skew_ms = self._columns.header.get("skew_ms")
        if skew_ms is not None:
            return int(skew_ms)
        firsts = islice(self._ticks(), SKEW_TICKS)
        known = [tick.exchange_ts - ts for tick, ts in firsts if tick.exchange_ts is not None]
        return max(known, default=0)

    def _touched(self) -> Iterator[tuple[MarketTick, int]]:
        """Yield trades with a modelled touch."""
        texts, symbol = Texts(), self.symbols[0]
        rules = OrderRules.of(self._instrument)
        step, bps = rules.price_step, self._model.spread_bps
        for ts, price, qty, trade_id, flags in trade_rows(self._columns):
            wide = -(-price * bps // BPS_UNITS)
            wide = max(step, -(-wide // step) * step)
            is_sell = flags & IS_TAKER_SELL
            bid = price if is_sell else max(step, price - wide)
            shown = texts[qty]
            yield (
                MarketTick(
                    symbol=symbol,
                    price=texts[price],
                    kind="trade",
                    bid=texts[bid],
                    bid_qty=shown,
                    ask=texts[bid + wide],
                    ask_qty=shown,
                    recv_mono_ns=ts * NS_PER_MS,
                    exchange_ts=ts,
                    qty=shown,
                    taker_side=SELL if is_sell else BUY,
                    trade_id=trade_id,
                ),
                ts,
            )


def _trade(tick: MarketTick, ts: int) -> Trade:
    exchange_ts = ts if tick.exchange_ts is None else tick.exchange_ts
    qty = tick.qty or "0"
    return Trade(
        *(tick.symbol, tick.trade_id or 0, tick.price, parse_amount(tick.price)),
        *(qty, parse_amount(qty), exchange_ts, tick.taker_side or BUY),
    )
