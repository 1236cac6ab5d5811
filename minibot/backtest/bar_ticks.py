"""The ticks inside bars on their way through the cores: numbers, and only those that count.

`intrabar` puts at least four ticks into each bar. They go to the cores without an event, a text or
a parse. A bar is quiet while nothing is held, nothing is ordered, no end is near and the strategy
does not listen to trades: of its ticks only the last one leaves a trace then, so that the others,
and the beat behind it, are counted and not told. What comes out is what all of them give as
events, which a test holds against each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from minibot.backtest.drawing import PriceCharts
from minibot.backtest.intrabar import Quiet, Shown
from minibot.backtest.result import NO_CMDLINE, BacktestResult, EquityPoint
from minibot.backtest.sources import Root, Watch
from minibot.events.exact_tick import ExactTick
from minibot.events.model import Beat, Event, MarketTick, Payload
from minibot.events.money import UNIT
from minibot.events.order import Core
from minibot.events.reference import place_id
from minibot.replay.lockstep import Lockstep
from minibot.strategies.core import StrategyCore
from minibot.strategies.nore_strategy_v1 import NoreStrategyV1
from minibot.strategies.protocol import Strategy
from minibot.strategies.tick import Tick

MARKET: Final = "market_role"
# What strategies do with a trade that do nothing with it: the base class, and `nore_strategy_v1`,
# whose order flow is made of quotes.
DEAF: Final = (Strategy.on_tick, NoreStrategyV1.on_tick)


def is_deaf(core: Core) -> bool:
    """Return whether a strategy's core keeps nothing of a trade but the tick itself."""
    if not isinstance(core, StrategyCore):
        return False
    chosen = core.chosen
    return chosen.cls.on_tick in DEAF and not chosen.bars_from_ticks


class BarTicks:
    """The ticks of one symbol's bars.

    Args:
        symbol: The market.
        lockstep: Whose cores take them.
        run_id: Stands in the event of a tick, where one is asked for.
        result: Where equity goes.
        charts: Where prices go.

    Attributes:
        seq: The line of `market_ticks` that was told or counted last, were it written.
        inputs: How many events of each type that makes.
    """

    def __init__(
        self,
        symbol: str,
        lockstep: Lockstep,
        run_id: str,
        result: BacktestResult,
        charts: PriceCharts,
    ) -> None:
        self.seq = 0
        self.inputs: dict[type[Payload], int] = {}
        self._symbol = symbol
        self._lockstep = lockstep
        self._run_id = run_id
        self._result = result
        self._charts = charts
        self._is_quiet: Callable[[int], bool] = lambda end_ts: False
        tick = lockstep.strategy_tick(symbol)
        # There is none where a core is somebody's own, who may want to see every tick.
        self._is_deaf = tick is not None and is_deaf(lockstep.cores["strategy_role"])
        self._tick: Tick = tick or Tick(symbol)
        self._exact = ExactTick(symbol, self, run_id)
        self._shown = Shown(0, 0, 0, 0)
        self._mids: list[int] = []

    def quietness(self, watch: Watch, close_ts: int) -> Callable[[int], bool]:
        """Return what tells whether a bar that ends at a time may be passed over.

        Args:
            watch: Knows whether an order is on its way.
            close_ts: When the end is announced: nothing is quiet from then on.
        """
        symbol, portfolio = self._symbol, self._result.performance.portfolio

        def is_quiet(end_ts: int) -> bool:
            return (
                end_ts < close_ts
                and not portfolio.has_lots(symbol)
                and not watch.is_waiting(symbol)
            )

        if self._is_deaf:
            self._is_quiet = is_quiet
        return self._is_quiet

    @staticmethod
    def ts_of(item: Shown | Quiet) -> int:
        """Return when the last tick of an item comes."""
        return item.at if isinstance(item, Shown) else item.last.at

    def passes_over(self, root: Root) -> bool:
        """Count an event; tell whether it need not be told: a beat while nothing waits for time."""
        self.seq += 1
        kind = type(root.payload)
        self.inputs[kind] = self.inputs.get(kind, 0) + 1
        return kind is Beat and self._is_quiet(root.ts)

    def take(self, item: Shown | Quiet) -> None:
        """Tell a tick, or the last one of a quiet bar."""
        charts, symbol = self._charts, self._symbol
        shown = item if isinstance(item, Shown) else item.last
        count = 1
        if isinstance(item, Quiet):
            # Nothing is held, so that what passes has no part in equity.
            count += len(item.passed)
            for at, bid in item.passed:
                self._draw(charts.on_price(symbol, bid / UNIT, at))
        self.seq += count
        self.inputs[MarketTick] = self.inputs.get(MarketTick, 0) + count
        self._mids.append((shown.bid + shown.ask) // 2)
        self._draw(charts.on_price(symbol, shown.bid / UNIT, shown.at))
        self._tell(shown)

    def settle(self) -> None:
        """Look at equity on the ticks since the last look: before a fill, and at the end."""
        if self._mids:
            self._result.performance.on_mids(self._symbol, self._mids)
            self._mids = []

    def _draw(self, start: int) -> None:
        if start:
            self.settle()
            self._result.equity.append(EquityPoint(start, self._result.performance.equity))

    def _tell(self, shown: Shown) -> None:
        self._shown = shown
        bid, ask, qty, at = shown
        tick, exact = self._tick, self._exact
        tick.ts = tick.exchange_ts = at
        tick.price = tick.bid = bid / UNIT
        tick.ask = ask / UNIT
        tick.bid_qty = tick.ask_qty = qty / UNIT
        tick.is_trade = True
        exact.ts = at
        exact.bid = bid
        exact.ask = ask
        exact.bid_qty = exact.ask_qty = qty
        self._lockstep.feed_tick(tick, exact, self.seq)

    def event(self, seq: int) -> Event:
        """Return the event of the tick that was told last."""
        shown = self._shown
        payload = shown.payload(self._symbol)
        return Event(shown.at, place_id(seq), MARKET, self._run_id, NO_CMDLINE, payload)
