"""View of one symbol for a strategy: the touch, the rules, the bars and its position.

The core keeps it up to date; a strategy only reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple, final

from minibot.cores.closed_bar import ClosedBar
from minibot.cores.messages import ActionMessage
from minibot.events.decimals import PLACES_MAX, parse_fixed
from minibot.events.model import FeedValue, Instrument, JsonObject, PositionPlan
from minibot.events.names import STRATEGY_ROLE
from minibot.events.reasons import CONFIG_INVALID
from minibot.features.lossless import float_from, float_text
from minibot.kernel.errors import InvariantError
from minibot.strategies.bars import BarSeries
from minibot.strategies.declaration import Needs
from minibot.strategies.plots import Plots
from minibot.strategies.position import UNITS, Position
from minibot.strategies.prices import Prices
from minibot.strategies.tick import Tick

NEVER = -(10**15)
"""A market time so long ago that every cooldown has run out."""

UNLOCKED = -1
FOR_EVER = 10**15


class FeedReading(NamedTuple):
    """The newest value of a feed: exact value, time from which it is valid (ms), and age (ms)."""

    value: Decimal
    ts: int
    age_ms: int


class PlanReading(NamedTuple):
    """The levels of a position as risk reported them last; None for a level that is off.

    Reasons are the reason codes of an exit at the stop or target in force.
    """

    stop: Decimal | None
    stop_reason: str | None
    target: Decimal | None
    target_reason: str | None
    rungs: tuple[Decimal, ...]


@final
class View:
    """The state of one symbol.

    Attributes:
        symbol: The exchange's name of the market, such as BTCUSDT.
        status: The instrument's status (`TRADING`), empty before the first `instrument` event.
        is_book_broken: Whether no book has come since a gap in the depth stream.
        is_ending: Whether the run is ending, so that risk allows no more purchases.
        is_halted: Whether an operator has halted purchases.
        locked_until_ts: Time until which an operator has locked this symbol, ms; -1 if not locked.
        risk_action, risk_code: Risk's last action on this symbol (ALLOW, BLOCK, REDUCE, EXIT,
            PROTECT, WITHDRAW, ADJUST) and its reason code; empty before the first.
        entry_code: Reason code of the last BUY.
        buy_ts, sell_ts: Market time of the last BUY, and of the last SELL or sale.
        held: The position as the core computes it.
        ranks: The rank of each symbol in the last scan; empty without a scanner.
    """

    __slots__ = (
        "_bare",
        "_feeds",
        "_headroom",
        "_last_action",
        "_newest",
        "_now",
        "_plan",
        "_plots",
        "_prices",
        "_series",
        "_tick",
        "_views",
        "base_asset",
        "buy_ts",
        "entry_code",
        "held",
        "is_book_broken",
        "is_ending",
        "is_halted",
        "locked_until_ts",
        "notional_min",
        "qty_min",
        "ranks",
        "risk_action",
        "risk_code",
        "sell_ts",
        "status",
        "symbol",
    )

    def __init__(
        self, symbol: str, needs: Needs, views: dict[str, View], feeds: dict[str, FeedValue | None]
    ) -> None:
        """Start empty; `views` and `feeds` are shared by all symbols."""
        self.symbol: str = symbol
        self._views: dict[str, View] = views
        self._feeds: dict[str, FeedValue | None] = feeds
        self._now: int = 0
        # The trades shown by price now; None during a tick or bar.
        self._prices: Prices | None = None
        self._tick: Tick = Tick(symbol)
        self.status: str = ""
        self.base_asset: str = ""
        self.qty_min: int = 0
        self.notional_min: float = 0.0
        self.is_book_broken: bool = False
        self.is_ending: bool = False
        self.is_halted: bool = False
        self.locked_until_ts: int = UNLOCKED
        self.risk_action: str = ""
        self.risk_code: str = ""
        self._headroom: dict[str, str] = {}
        # Risk's last action; its headroom is read when it is needed.
        self._last_action: ActionMessage | None = None
        # The plan that risk reported last; None without a position or plan.
        self._plan: PositionPlan | None = None
        self.entry_code: str = ""
        self.buy_ts: int = NEVER
        self.sell_ts: int = NEVER
        self.held: Position = Position(symbol)
        self.ranks: Mapping[str, int] = {}
        self._plots: Plots | None = None
        self._series: dict[str, BarSeries] = {}
        # Time of the last bar; intervals whose bars the strategy keeps itself.
        self._newest: BarSeries | None = None
        self._bare: tuple[str, ...] = () if needs.history else needs.intervals
        if needs.history:
            for interval in needs.intervals:
                self._series[interval] = BarSeries(interval, needs.history, needs.hole_bars_max)

    # --- for strategies -----------------------------------------------------------------------

    @property
    def now(self) -> int:
        """Market time of this call in ms; it never goes back."""
        prices = self._prices
        if prices is None:
            return self._now
        prices.fill_tick()
        return prices.ts

    @property
    def tick(self) -> Tick:
        """The last tick; its `ts` is -1 before the first."""
        tick = self._tick
        if tick.filler is not None:
            tick.filler.fill_tick()
        return tick

    @property
    def price(self) -> float:
        """The price of the last trade, 0 before the first."""
        return self.tick.price

    @property
    def bid(self) -> float:
        """The best bid, 0 before the first tick."""
        return self.tick.bid

    @property
    def bid_qty(self) -> float:
        """Size at the best bid, base."""
        return self.tick.bid_qty

    @property
    def ask(self) -> float:
        """The best ask, 0 before the first tick."""
        return self.tick.ask

    @property
    def ask_qty(self) -> float:
        """Size at the best ask, base."""
        return self.tick.ask_qty

    @property
    def tick_ts(self) -> int:
        """Market time at which the last tick was received, ms; -1 before the first."""
        return self.tick.ts

    @property
    def position(self) -> Decimal:
        """The exact base amount held; 0 when flat."""
        return Decimal(self.held.text)

    @property
    def entry_price_avg(self) -> Decimal | None:
        """The average entry price before fees; None when flat."""
        text = self.held.entry_price_avg_text
        return Decimal(text) if text else None

    @property
    def is_long(self) -> bool:
        """True if a position is held that the exchange would let us sell.

        A rest below the minimum quantity or notional cannot be sold and counts as flat; else it
        would keep the strategy from ever buying again.
        """
        held = self.held.qty
        if held <= 0 or held < self.qty_min:
            return False
        bid = self.tick.bid
        return bid <= 0.0 or held / UNITS * bid >= self.notional_min

    @property
    def may_buy(self) -> bool:
        """True unless the run's end or an operator forbids a purchase; limits are left to risk."""
        return not (self.is_ending or self.is_halted or self.now < self.locked_until_ts)

    @property
    def rank(self) -> int | None:
        """The symbol's rank in the last scan, 1 for the best; None without a score or a scanner."""
        return self.ranks.get(self.symbol)

    @property
    def plan(self) -> PlanReading | None:
        """The levels in force, as risk told them at the last fill or beat; None without any.

        A beat comes each second. In a backtest of bars one comes after each bar, so a level that
        moved within a bar is visible at the next one.
        """
        plan = self._plan
        if plan is None:
            return None
        return PlanReading(
            None if plan.stop is None else Decimal(plan.stop),
            plan.stop_reason,
            None if plan.target is None else Decimal(plan.target),
            plan.target_reason,
            tuple([Decimal(rung) for rung in plan.rungs or ()]),
        )

    def headroom(self, name: str) -> Decimal | None:
        """Return how much of a limit remained at risk's last action on this symbol.

        Args:
            name: A name in the `headroom` of a `risk_action`, such as `night_loss` or `cash`.

        Returns:
            The exact rest in the limit's unit; None before any such action, or if it has no limit
            of this name.
        """
        text = self._left().get(name)
        return None if text is None else Decimal(text)

    def of(self, symbol: str) -> View | None:
        """Return the present view of another symbol; None before any event of it.

        Of bars that close together, one symbol's comes first: in a backtest by the order of its
        sources, in a night as they arrive. The other's view then still shows the bar before.
        """
        other = self._views.get(symbol)
        if other is not None and other.now < self.now:
            other._now = self.now  # Its time is that of its own last input.
        return other

    def feed(self, name: str) -> FeedReading | None:
        """Return the newest value of a feed; None before the first.

        Raises:
            InvariantError: The strategy has not declared it.
        """
        if name not in self._feeds:
            raise InvariantError(
                STRATEGY_ROLE,
                CONFIG_INVALID,
                f"view.feed({name!r}): not declared; add it to Needs(feeds=...)",
            )
        newest = self._feeds[name]
        if newest is None:
            return None
        return FeedReading(Decimal(newest.value), newest.value_ts, self.now - newest.value_ts)

    def bars(self, interval: str) -> tuple[ClosedBar, ...]:
        """Return the closed bars of an interval, oldest first, up to the declared number.

        Raises:
            InvariantError: The strategy has not declared them, or a history of none.
        """
        series = self._series.get(interval)
        if series is None:
            why = "not declared; add it to Needs(intervals=...)"
            if interval in self._bare:
                why = "none is kept; ask for some by Needs(history=...)"
            raise InvariantError(STRATEGY_ROLE, CONFIG_INVALID, f"view.bars({interval!r}): {why}")
        return series.bars

    def plot(self, name: object, value: object) -> None:
        """Add a value, such as an indicator's, to a line on the page of a backtest.

        At night and in a replay it does nothing; no decision depends on it. A line near the price
        is drawn on it, any other in a panel of its own.

        Args:
            name: The name of the line; at most 8 lines of a symbol.
            value: A finite number, or None while it is not known.

        Raises:
            InvariantError: It cannot be drawn.
        """
        plots = self._plots
        if plots is not None:
            plots.add(self.symbol, self.now, name, value)

    # --- inputs from the core -----------------------------------------------------------------

    def show_prices(self, prices: Prices | None) -> None:
        """Use time and tick of trades that are shown by price, until None."""
        self._prices = prices
        self._tick.filler = prices

    def keep_plots(self, plots: Plots) -> None:
        """Keep the lines that the strategy plots from now on."""
        self._plots = plots

    def take_bar(self, bar: ClosedBar) -> bool:
        """Keep a closed bar; return whether to pass it to the strategy."""
        series = self._newest
        if series is None or series.interval != bar.interval:
            series = self._series.get(bar.interval)
            if series is None:
                return bar.interval in self._bare
            self._newest = series
        return series.add(bar)

    def take_instrument(self, instrument: Instrument) -> None:
        """Take the rules of the symbol."""
        self.status = instrument.status
        self.base_asset = instrument.base_asset
        self.qty_min = parse_fixed(instrument.qty_min, PLACES_MAX)
        self.notional_min = float(instrument.notional_min)

    def take_risk_action(self, action: ActionMessage) -> None:
        """Take a risk action."""
        self.risk_action = action.action
        self.risk_code = action.reason_code
        if action.has_headroom():
            self._last_action = action

    def take_plan(self, plan: PositionPlan) -> None:
        """Take the levels that risk reported; a closed position has none."""
        self._plan = plan if plan.original_qty is not None else None

    def _left(self) -> dict[str, str]:
        if self._last_action is not None:
            self._headroom = dict(self._last_action.headroom() or {})
            self._last_action = None
        return self._headroom

    def state(self) -> JsonObject:
        """Return the state as canonical JSON values."""
        return {
            "base_asset": self.base_asset,
            "buy_ts": self.buy_ts,
            "entry_code": self.entry_code,
            "is_book_broken": self.is_book_broken,
            "is_ending": self.is_ending,
            "is_halted": self.is_halted,
            "locked_until_ts": self.locked_until_ts,
            "notional_min": float_text(self.notional_min),
            **({} if self._plan is None else {"plan": self._plan.to_json()}),
            "now": self.now,
            "position": self.held.state(),
            "qty_min": str(self.qty_min),
            "risk": [self.risk_action, self.risk_code, dict(self._left())],
            "sell_ts": self.sell_ts,
            "series": {name: series.state() for name, series in sorted(self._series.items())},
            "status": self.status,
            "tick": self.tick.state(),
        }

    def restore(self, state: JsonObject) -> None:
        """Take over what `state` described."""
        self.base_asset = state["base_asset"]
        self.buy_ts = state["buy_ts"]
        self.entry_code = state["entry_code"]
        self.is_book_broken = state["is_book_broken"]
        self.is_ending = state["is_ending"]
        self.is_halted = state["is_halted"]
        self.locked_until_ts = state["locked_until_ts"]
        self.notional_min = float_from(state["notional_min"])
        self._now = state["now"]
        self.held.restore(state["position"])
        self.qty_min = int(state["qty_min"])
        self.risk_action, self.risk_code, headroom = state["risk"]
        self._headroom = dict(headroom)
        self._last_action = None
        self._plan = PositionPlan.from_json(state["plan"]) if "plan" in state else None
        self.sell_ts = state["sell_ts"]
        for name, series in self._series.items():
            series.restore(state["series"][name])
        self.status = state["status"]
        self.tick.restore(state["tick"])
