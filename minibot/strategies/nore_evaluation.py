"""Evaluation of `nore_strategy_v1` at one moment, in numbers: the only place of its filters.

`strategies.nore_explanation` puts it into words and judges nothing.
"""

from __future__ import annotations

from typing import Final, final

from minibot.accounting.order_rules import TRADING
from minibot.events.model import BUY, HOLD, SELL
from minibot.events.reasons import (
    BOOK_UNUSABLE,
    CONFIDENCE_TOO_LOW,
    COOLDOWN,
    COST_GATE,
    FEATURE_MISSING,
    IN_POSITION,
    LIQUIDITY_TOO_LOW,
    NO_INSTRUMENT,
    NO_POSITION,
    NO_SETUP,
    NOT_TRADING,
    RANK_TOO_LOW,
    RUN_ENDING,
    SCORE_TOO_LOW,
    SPREAD_TOO_WIDE,
    STALE_TICK,
    WARMUP,
)
from minibot.features.order_flow import OrderFlowImbalance
from minibot.features.touch import spread_bps
from minibot.strategies.bar_indicators import BarIndicators
from minibot.strategies.parameters import StrategyParameters
from minibot.strategies.readings import Readings, read, trend_bps
from minibot.strategies.rules import Opinion, opinion
from minibot.strategies.view import View

ENTRY_POINTS: Final = 50
EXIT_POINTS: Final = 60
TREND_POINTS: Final = 10
QUALITY_POINTS: Final = 20
# Four times the least accepted notional: a fill of the default size takes a quarter of it.
AMPLE_TOUCH: Final = 4.0


@final
class Evaluation:
    """One decision in numbers; values of filters that were not evaluated are not set.

    Attributes:
        code: Reason code of the first filter that failed; empty if the opinion becomes an order.
        is_trading, is_warm: Results of the first two filters.
        readings: The readings; None if one is missing or an earlier filter failed.
        opinion: The opinion of the rules on the readings; None without one.
        age_ms: Age of the last tick; None before the first.
        is_fresh, is_usable, is_narrow, is_liquid: Results of the market's filters.
        place, notional: The side of the touch that would be taken, and its displayed notional.
        trend: Trend over the longer interval in bps; None while it has only `trend_bars` bars.
        is_asked: Whether the filters for an opinion were evaluated.
        is_placed, is_open, is_cool, pays, is_scored, is_confident: Results of these filters.
        rank: Rank in the last scan; None without one. Judged only for a purchase with `rank_max`.
        is_ranked: Result of that filter.
        score, confidence: Score and confidence of the opinion; 0 without one.
    """

    __slots__ = (
        *("age_ms", "bars", "code", "confidence", "costs", "expected", "held", "is_after_gap"),
        *("is_asked", "is_book_broken", "is_confident", "is_cool", "is_fresh", "is_liquid"),
        *("is_long", "is_narrow", "is_open", "is_placed", "is_ranked", "is_scored", "is_trading"),
        *("is_usable", "is_warm", "notional", "pays", "place", "rank", "readings", "opinion"),
        *("score", "since_ms", "spread", "status", "symbol", "trend", "trend_bars"),
    )

    # At most bars, some of these are not evaluated.
    age_ms: int | None
    is_fresh: bool
    spread: float | None
    is_book_broken: bool
    is_usable: bool
    is_narrow: bool
    place: str
    notional: float
    is_liquid: bool
    trend: float | None
    trend_bars: int
    is_long: bool
    held: int
    is_placed: bool
    is_open: bool
    since_ms: int
    is_cool: bool
    expected: float
    costs: float
    pays: bool
    rank: int | None
    is_ranked: bool
    is_scored: bool
    is_confident: bool

    def __init__(
        self,
        view: View,
        bars: BarIndicators,
        trend: BarIndicators,
        flow: OrderFlowImbalance,
        parameters: StrategyParameters,
        is_after_gap: bool,
    ) -> None:
        """Judge the symbol of a view at `view.now`."""
        self.code: str = ""
        self.symbol: str = view.symbol
        self.status: str = view.status
        self.bars: int = bars.count
        self.is_after_gap: bool = is_after_gap
        self.is_trading: bool = view.status == TRADING
        self.is_warm: bool = bars.is_ready
        self.readings: Readings | None = None
        self.opinion: Opinion | None = None
        self.is_asked: bool = False
        self.score: int = 0
        self.confidence: int = 0
        if not self.is_trading:
            self._fail(NOT_TRADING if view.status else NO_INSTRUMENT)
        if not self.is_warm:
            self._fail(WARMUP)
        if not self.code:
            self._judge(view, bars, trend, flow, parameters)

    def _fail(self, code: str) -> None:
        """Set the reason code of a failed filter, unless an earlier one failed."""
        if not self.code:
            self.code = code

    def _judge(
        self,
        view: View,
        bars: BarIndicators,
        trend: BarIndicators,
        flow: OrderFlowImbalance,
        parameters: StrategyParameters,
    ) -> None:
        readings = self.readings = read(bars)
        if readings is None:
            self.code = FEATURE_MISSING
            return
        self.is_long = view.is_long
        judged = opinion(readings, parameters, is_long=self.is_long, entry_code=view.entry_code)
        self.opinion = judged
        self._judge_market(view, judged, parameters)
        self.trend = trend_bps(trend)
        self.trend_bars = trend.count
        spread = self.spread
        if judged is None:
            self._fail(NO_SETUP)
        elif judged.side == HOLD:
            self._fail(judged.code)
        elif spread is not None:
            self.is_asked = True
            self._judge_state(view, judged, parameters)
            self.pays = self.is_ranked = True
            if judged.side == BUY:
                if parameters.cost_gate:
                    self._judge_costs(readings, spread, parameters)
                if parameters.rank_max is not None:
                    self._judge_rank(view, parameters.rank_max)
            self.score = self._score(judged)
            self.confidence = self._confidence(judged, spread, flow.value, parameters)
            self.is_scored = self.score >= parameters.score_min
            if not self.is_scored:
                self._fail(SCORE_TOO_LOW)
            self.is_confident = self.confidence >= parameters.confidence_min
            if not self.is_confident:
                self._fail(CONFIDENCE_TOO_LOW)

    def _judge_market(
        self, view: View, opinion: Opinion | None, parameters: StrategyParameters
    ) -> None:
        """Judge age, touch, spread and liquidity."""
        tick = view.tick
        self.age_ms = age_ms = None if tick.ts < 0 else view.now - tick.ts
        self.is_fresh = is_fresh = age_ms is not None and age_ms <= parameters.tick_age_ms_max
        if not is_fresh:
            self._fail(STALE_TICK)
        self.spread = spread = spread_bps(tick.bid, tick.ask)
        self.is_book_broken = is_broken = view.is_book_broken
        self.is_usable = is_usable = spread is not None and not is_broken
        if not is_usable:
            self._fail(BOOK_UNUSABLE)
        self.is_narrow = is_narrow = spread is not None and spread <= parameters.spread_bps_max
        if not is_narrow:
            self._fail(SPREAD_TOO_WIDE)
        bid, ask = tick.bid * tick.bid_qty, tick.ask * tick.ask_qty
        # The side that would be taken; the thinner one while there is no opinion.
        takes_bid = bid < ask if opinion is None or opinion.side == HOLD else opinion.side != BUY
        self.place = "bid" if takes_bid else "ask"
        self.notional = notional = bid if takes_bid else ask
        self.is_liquid = is_liquid = notional >= parameters.touch_notional_min
        if not is_liquid:
            self._fail(LIQUIDITY_TOO_LOW)

    def _judge_state(self, view: View, opinion: Opinion, parameters: StrategyParameters) -> None:
        is_buy = opinion.side == BUY
        self.held = view.held.qty
        self.is_placed = self.is_long != is_buy
        if not self.is_placed:
            self._fail(IN_POSITION if is_buy else NO_POSITION)
        last_ts = view.sell_ts
        self.is_open = True
        if is_buy:
            self.is_open = not view.is_ending
            if not self.is_open:
                self._fail(RUN_ENDING)
            if view.buy_ts > last_ts:
                last_ts = view.buy_ts
        self.since_ms = view.now - last_ts
        self.is_cool = self.since_ms >= parameters.cooldown_ms
        if not self.is_cool:
            self._fail(COOLDOWN)

    def _judge_costs(
        self, readings: Readings, spread: float, parameters: StrategyParameters
    ) -> None:
        self.expected = parameters.cost_gate_atr_mult * readings.atr_bps
        self.costs = 2.0 * parameters.taker_fee_bps + spread
        self.pays = self.expected >= self.costs
        if not self.pays:
            self._fail(COST_GATE)

    def _judge_rank(self, view: View, rank_max: int) -> None:
        self.rank = rank = view.rank
        self.is_ranked = rank is not None and rank <= rank_max
        if not self.is_ranked:
            self._fail(RANK_TOO_LOW)

    # --- points -------------------------------------------------------------------------------

    def _score(self, opinion: Opinion) -> int:
        points = opinion.strength + opinion.rsi_points
        if opinion.side == SELL:
            return EXIT_POINTS + points
        trend = self.trend
        if trend is None or trend == 0.0:
            return ENTRY_POINTS + points
        return ENTRY_POINTS + points + (TREND_POINTS if trend > 0.0 else -TREND_POINTS)

    def _confidence(
        self,
        opinion: Opinion,
        spread: float,
        imbalance: float | None,
        parameters: StrategyParameters,
    ) -> int:
        most_ms = parameters.tick_age_ms_max
        age_ms = most_ms if self.age_ms is None else self.age_ms
        towards = 0.0 if imbalance is None else imbalance
        if opinion.side == SELL:
            towards = -towards
        narrow = 1.0 - _share(spread, parameters.spread_bps_max)
        ample = _share(self.notional, AMPLE_TOUCH * parameters.touch_notional_min)
        fresh = 1.0 - _share(float(age_ms), float(most_ms))
        points = QUALITY_POINTS
        for share in (narrow, ample, fresh, (1.0 + towards) / 2.0):
            points += int(share * QUALITY_POINTS)
        return points


def _share(value: float, whole: float) -> float:
    """Return a value as a share of the whole, limited to 0 to 1; 1 if the whole is 0."""
    if whole <= 0.0:
        return 1.0
    share = value / whole
    if share <= 0.0:
        return 0.0
    return share if share < 1.0 else 1.0
