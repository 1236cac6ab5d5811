"""`nore_strategy_v1`: momentum and mean reversion on closed bars, behind filters that say no.

It is asked at each closed live bar of `bar_interval` and answers BUY, SELL or HOLD with a score,
a confidence and one sentence. In doubt it holds: a value that is missing, old or not a number never
becomes an order. The first filter that fails gives the reason; all checks made are listed.

Filters, in this order
    no_instrument, not_trading    the exchange's rules are known and the symbol trades
    warmup                        every indicator of `bar_interval` has its bars
    feature_missing               every reading is a finite number
    stale_tick                    the last tick is at most `tick_age_ms_max` old (now - ts)
    book_unusable                 the touch is a touch: two sides, not crossed, no open depth gap
    spread_too_wide               spread at most `spread_bps_max`
    liquidity_too_low             notional at the side we would take: ask to buy, bid to sell, the
                                  thinner one while no rule speaks
    no_setup, conflicting         a rule speaks (`strategies.rules`)
    no_position, in_position      a sale needs a position, a purchase none
    run_ending                    no purchase once `run_ending` was said; `halt` and `lock_symbol`
                                  are left to risk, whose BLOCK records what they cost
    cooldown                      a purchase waits `cooldown_ms` after any signal or sale, a sale
                                  only after a sale: an exit must not wait for its entry
    cost_gate                     (`cost_gate` only) a purchase needs `cost_gate_atr_mult` x ATR to
                                  pay two taker fees and the spread
    score_too_low, confidence_too_low

Score (0-100)
    entry: 50 + strength (0-25) + RSI points (0-15) + trend (+10 with, -10 against, 0 unknown)
    exit:  60 + strength (0-25) + RSI points (0-15)
    The trend is the sign of fast minus slow average over `trend_interval`: an influence, never a
    condition. While it lacks bars it says so with its count and counts 0.

Confidence (0-100)
    20 + 20 x (1 - spread / max) + 20 x (touch notional / 4 min) + 20 x (1 - tick age / max)
    + 10 + 10 x order-flow imbalance in our direction (10 while it is unknown)

`horizon_ms` is the configured one. A HOLD carries the score and confidence of the opinion that was
refused, or 0 when there was none.
"""

from __future__ import annotations

from minibot.events.model import BUY, HOLD, SELL, Gap, JsonObject
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
    RUN_ENDING,
    SCORE_TOO_LOW,
    SPREAD_TOO_WIDE,
    STALE_TICK,
    WARMUP,
)
from minibot.features.order_flow import OrderFlowImbalance
from minibot.features.touch import spread_bps, touch_notional
from minibot.strategies.bar_indicators import BarIndicators
from minibot.strategies.bars import ClosedBar
from minibot.strategies.checklist import Checklist, number_text
from minibot.strategies.decision import Decision
from minibot.strategies.declaration import Needs, Settings
from minibot.strategies.parameters import StrategyParameters
from minibot.strategies.protocol import Strategy
from minibot.strategies.readings import Readings, read, trend_bps
from minibot.strategies.rules import Opinion, opinion, reading_checks
from minibot.strategies.tick import Tick
from minibot.strategies.view import View

NAME = "nore_strategy_v1"

ENTRY_POINTS = 50
EXIT_POINTS = 60
TREND_POINTS = 10
QUALITY_POINTS = 20
# Four times the least that is accepted: a fill of the default size then takes a quarter of it.
AMPLE_TOUCH = 4.0


class NoreStrategyV1(Strategy):
    """The rules and filters of this module for one symbol.

    Attributes:
        bars, trend: Indicators over `bar_interval` and `trend_interval`.
        flow: Order flow at the touch.
        is_after_gap: Trades were missing, and no live bar has found the indicators ready since.
    """

    def __init__(self, settings: Settings) -> None:
        """Start with empty indicators.

        Raises:
            RunStop: CONFIG_INVALID, when parameters contradict each other.
        """
        parameters = StrategyParameters.from_config(settings.profile)
        self.parameters: StrategyParameters = parameters
        self.flow: OrderFlowImbalance = OrderFlowImbalance(parameters.flow_touches)
        self.bars: BarIndicators = BarIndicators(parameters.bar_interval, parameters)
        self.trend: BarIndicators = BarIndicators(parameters.trend_interval, parameters)
        self.is_after_gap: bool = False

    @staticmethod
    def needs(settings: Settings) -> Needs:
        """Return both intervals; the bars themselves live on in the indicators alone."""
        parameters = StrategyParameters.from_config(settings.profile)
        intervals = (parameters.bar_interval, parameters.trend_interval)
        return Needs(intervals, history=0, hole_bars_max=parameters.ema_slow)

    def on_tick(self, tick: Tick, view: View) -> Decision | None:
        """Follow the order flow; only quotes count as changes of the touch."""
        if not tick.is_trade:
            self.flow.update(tick.bid, tick.bid_qty, tick.ask, tick.ask_qty)
        return None

    def on_bar(self, bar: ClosedBar, view: View) -> Decision | None:
        """Feed the indicators; decide at each live bar of `bar_interval`."""
        if bar.interval != self.bars.interval:
            self.trend.feed(bar)
            return None
        if not self.bars.feed(bar, is_strict=self.is_after_gap) or not bar.is_live:
            return None
        if self.bars.is_ready:
            self.is_after_gap = False
        return self.decide(view)

    def on_gap(self, gap: Gap, view: View) -> None:
        """Distrust what a gap touched: order flow starts anew (the tick's age guards the touch).

        If trades were missing, the next bars have to follow on the last one without a hole, as they
        do when the market role fetched them. Bars made from ticks have nobody to fetch them, so the
        indicators start anew at once, the trend unless the gap is shorter than one of its bars.
        """
        self.flow = OrderFlowImbalance(self.flow.period)
        if "bookTicker" in gap.stream:
            return
        self.is_after_gap = True
        if self.parameters.bars_from_ticks:
            self.bars.reset()
            if gap.to_ts - gap.from_ts >= self.trend.length_ms:
                self.trend.reset()

    def state(self) -> JsonObject:
        """Return the state as canonical JSON values."""
        return {
            "bars": self.bars.state(),
            "flow": self.flow.state(),
            "is_after_gap": self.is_after_gap,
            "trend": self.trend.state(),
        }

    def restore(self, state: JsonObject) -> None:
        """Take over what `state` described."""
        self.bars.restore(state["bars"])
        self.flow = OrderFlowImbalance.from_state(state["flow"])
        self.is_after_gap = state["is_after_gap"]
        self.trend.restore(state["trend"])

    def decide(self, view: View) -> Decision:
        """Return the decision about the symbol at market time `view.now`."""
        checklist = Checklist()
        readings = self._prepare(view, checklist)
        if readings is None:
            return _hold(checklist)
        said = opinion(readings, self.parameters, is_long=view.is_long, entry_code=view.entry_code)
        spread = self._filter_market(view, said, checklist)
        self._note_readings(view, readings, said, checklist)
        if said is None or said.side == HOLD or spread is None:
            self._refuse_without_setup(said, readings, checklist)
            return _hold(checklist)
        self._filter_state(view, said, checklist)
        if said.side == BUY and self.parameters.cost_gate:
            self._filter_costs(readings, spread, checklist)
        score = self._score(view, said)
        confidence = self._confidence(view, said, spread)
        self._filter_strength(score, confidence, checklist)
        if checklist.code:
            return _hold(checklist, score, confidence)
        reason = f"{said.side}: {said.clause}; score {score}, confidence {confidence}"
        return Decision(said.side, score, confidence, said.code, reason, tuple(checklist.checks))

    # --- filters ------------------------------------------------------------------------------

    def _prepare(self, view: View, checklist: Checklist) -> Readings | None:
        """Return the readings, or None when something is missing that all else needs."""
        status = view.status or "unknown"
        is_trading = checklist.require(
            status == "TRADING",
            ("instrument_status", status, "TRADING"),
            NOT_TRADING if view.status else NO_INSTRUMENT,
            f"instrument status {status}, not TRADING"
            if view.status
            else f"no instrument rules of {view.symbol} yet",
        )
        bars = self.bars
        counted = f"{bars.count}/{bars.warmup} bars of {bars.interval}"
        since = " since the gap" if self.is_after_gap else ""
        is_warm = checklist.require(
            bars.is_ready,
            (f"bars_{bars.interval}", str(bars.count), f">= {bars.warmup}"),
            WARMUP,
            f"warmup {counted}{since}",
        )
        if not (is_trading and is_warm):
            return None
        readings = read(bars)
        if readings is None:
            checklist.require(
                False,
                ("readings", "missing", "finite"),
                FEATURE_MISSING,
                f"a reading over {bars.interval} bars is missing or not a number",
            )
        return readings

    def _filter_market(
        self, view: View, said: Opinion | None, checklist: Checklist
    ) -> float | None:
        """Check age, touch, spread and liquidity; return the spread, None without a touch."""
        section = self.parameters.section
        age = None if view.tick_ts < 0 else view.now - view.tick_ts
        checklist.require(
            age is not None and age <= self.parameters.tick_age_ms_max,
            (
                "tick_age_ms",
                "missing" if age is None else str(age),
                f"<= {section['tick_age_ms_max']}",
            ),
            STALE_TICK,
            "no tick yet" if age is None else f"tick age {age} ms > {section['tick_age_ms_max']}",
        )
        spread = spread_bps(view.bid, view.ask)
        what = "gap in the depth stream" if view.is_book_broken else "touch missing or crossed"
        is_usable = spread is not None and not view.is_book_broken
        checklist.require(
            is_usable,
            ("book", "usable" if is_usable else what, "usable"),
            BOOK_UNUSABLE,
            f"book unusable: {what}",
        )
        checklist.require(
            spread is not None and spread <= self.parameters.spread_bps_max,
            ("spread_bps", number_text(spread, 2), f"<= {section['spread_bps_max']}"),
            SPREAD_TOO_WIDE,
            f"spread {number_text(spread, 2)} bps > {section['spread_bps_max']}",
        )
        place, notional = _touch(view, said)
        checklist.require(
            notional >= self.parameters.touch_notional_min,
            ("touch_notional", number_text(notional, 2), f">= {section['touch_notional_min']}"),
            LIQUIDITY_TOO_LOW,
            f"{number_text(notional, 2)} at the {place} < {section['touch_notional_min']}",
        )
        return spread

    def _note_readings(
        self, view: View, readings: Readings, said: Opinion | None, checklist: Checklist
    ) -> None:
        checklist.checks += reading_checks(readings, self.parameters, said)
        trend = trend_bps(self.trend)
        lacking = f"warmup {self.trend.count}/{self.trend.slow.warmup}"
        text = lacking if trend is None else number_text(trend, 2)
        checklist.note(f"trend_{self.trend.interval}_bps", text, "optional")

    def _refuse_without_setup(
        self, said: Opinion | None, readings: Readings, checklist: Checklist
    ) -> None:
        """Give the reason to hold when no rule spoke for a side and no filter refused."""
        section = self.parameters.section
        if said is not None:
            checklist.require(
                said.side != HOLD, ("setup", said.code, "one"), said.code, said.clause
            )
            return
        checklist.require(
            False,
            ("setup", "none", "one"),
            NO_SETUP,
            f"no setup: momentum {number_text(readings.momentum_bps, 2)} bps "
            f"(+-{section['momentum_bps_min']}), rsi {number_text(readings.rsi, 1)} "
            f"({section['rsi_oversold']}, {section['rsi_overbought']}), price "
            f"{number_text(-readings.reversion_bps, 2)} bps from its average "
            f"(+-{section['reversion_bps_min']})",
        )

    def _filter_state(self, view: View, said: Opinion, checklist: Checklist) -> None:
        held = view.held.text if view.is_long else "flat"
        is_buy = said.side == BUY
        checklist.require(
            view.is_long != is_buy,
            ("position", held, "flat" if is_buy else "long"),
            IN_POSITION if is_buy else NO_POSITION,
            f"already long {held}, though {said.clause}"
            if is_buy
            else f"no position to sell, though {said.clause}",
        )
        if is_buy:
            checklist.require(
                not view.is_ending,
                ("run", "ending" if view.is_ending else "open", "open"),
                RUN_ENDING,
                f"the run is ending, though {said.clause}",
            )
        since = view.now - (max(view.buy_ts, view.sell_ts) if is_buy else view.sell_ts)
        cooldown = self.parameters.cooldown_ms
        is_cool = since >= cooldown
        checklist.require(
            is_cool,
            ("since_signal_ms", f"over {cooldown}" if is_cool else str(since), f">= {cooldown}"),
            COOLDOWN,
            f"cooldown: last signal {since} ms ago < {cooldown}",
        )

    def _filter_costs(self, readings: Readings, spread: float, checklist: Checklist) -> None:
        expected = self.parameters.cost_gate_atr_mult * readings.atr_bps
        costs = 2.0 * self.parameters.taker_fee_bps + spread
        checklist.require(
            expected >= costs,
            ("expected_bps", number_text(expected, 2), f">= {number_text(costs, 2)}"),
            COST_GATE,
            f"expected move {number_text(expected, 2)} bps < {number_text(costs, 2)} of costs",
        )

    def _filter_strength(self, score: int, confidence: int, checklist: Checklist) -> None:
        score_min = self.parameters.score_min
        checklist.require(
            score >= score_min,
            ("score", str(score), f">= {score_min}"),
            SCORE_TOO_LOW,
            f"score {score} < {score_min}",
        )
        confidence_min = self.parameters.confidence_min
        checklist.require(
            confidence >= confidence_min,
            ("confidence", str(confidence), f">= {confidence_min}"),
            CONFIDENCE_TOO_LOW,
            f"confidence {confidence} < {confidence_min}",
        )

    # --- points -------------------------------------------------------------------------------

    def _score(self, view: View, said: Opinion) -> int:
        points = said.strength + said.rsi_points
        if said.side == SELL:
            return EXIT_POINTS + points
        trend = trend_bps(self.trend)
        if trend is None or trend == 0.0:
            return ENTRY_POINTS + points
        return ENTRY_POINTS + points + (TREND_POINTS if trend > 0.0 else -TREND_POINTS)

    def _confidence(self, view: View, said: Opinion, spread: float) -> int:
        parameters = self.parameters
        _, notional = _touch(view, said)
        age = parameters.tick_age_ms_max if view.tick_ts < 0 else view.now - view.tick_ts
        imbalance = self.flow.value
        towards = 0.0 if imbalance is None else imbalance
        if said.side == SELL:
            towards = -towards
        return (
            QUALITY_POINTS
            + _quality(1.0 - _share(spread, parameters.spread_bps_max))
            + _quality(_share(notional, AMPLE_TOUCH * parameters.touch_notional_min))
            + _quality(1.0 - _share(float(age), float(parameters.tick_age_ms_max)))
            + _quality((1.0 + towards) / 2.0)
        )


def _touch(view: View, said: Opinion | None) -> tuple[str, float]:
    """Return the side of the touch that would be taken, and its notional."""
    bid = touch_notional(view.bid, view.bid_qty)
    ask = touch_notional(view.ask, view.ask_qty)
    if said is None or said.side == HOLD:
        return ("bid", bid) if bid < ask else ("ask", ask)
    return ("ask", ask) if said.side == BUY else ("bid", bid)


def _share(value: float, whole: float) -> float:
    """Return value of the whole, held between 0 and 1; of nothing everything is all."""
    if whole <= 0.0:
        return 1.0
    share = value / whole
    if share <= 0.0:
        return 0.0
    return share if share < 1.0 else 1.0


def _quality(share: float) -> int:
    return int(share * QUALITY_POINTS)


def _hold(checklist: Checklist, score: int = 0, confidence: int = 0) -> Decision:
    return Decision(
        HOLD,
        score,
        confidence,
        checklist.code,
        f"HOLD: {checklist.sentence}",
        tuple(checklist.checks),
    )
