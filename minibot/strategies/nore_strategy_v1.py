"""`nore_strategy_v1`: momentum and mean reversion on closed bars, behind filters that say no.

At each closed live bar of `bar_interval` it answers BUY, SELL or HOLD with a score, a confidence
and one sentence. In doubt it holds: a value that is missing, old or not a number never becomes an
order. The first filter that fails gives the reason; all checks made are listed. Trading and warm-up
are always judged, the readings only after both. The market's filters and the rules are judged only
with all readings; those on position, costs, rank and points only with a touch and an opinion too.

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
    run_ending                    no purchase after `run_ending`; `halt` and `lock_symbol` are left
                                  to risk, whose BLOCK records what they cost
    cooldown                      a purchase waits `cooldown_ms` after the last BUY, SELL or sale, a
                                  sale only after a SELL or sale: an exit must not wait for its
                                  entry; a signal that risk blocked counts, a HOLD does not
    cost_gate                     (`cost_gate` only) a purchase needs `cost_gate_atr_mult` x ATR to
                                  pay two taker fees and the spread
    rank_too_low                  (`rank_max` only) a purchase needs a rank in the last scan, and
                                  none worse than `rank_max`
    score_too_low, confidence_too_low

Score (0-100)
    entry: 50 + strength (0-25) + RSI points (0-15) + trend (+10 with, -10 against, 0 unknown)
    exit:  60 + strength (0-25) + RSI points (0-15)
    The trend is the sign of fast minus slow average over `trend_interval`: an influence, never a
    condition. While it lacks bars it counts 0, and its check shows the number of bars.

Confidence (0-100)
    20 + 20 x (1 - spread / max) + 20 x (touch notional / 4 min) + 20 x (1 - tick age / max)
    + 10 + 10 x order-flow imbalance in our direction (10 while it is unknown)

`horizon_ms` is the configured one. A HOLD carries the score and confidence of the BUY or SELL that
was refused; 0 without such an opinion, and without a touch, when an opinion gets no points.
"""

from __future__ import annotations

from typing import Final

from minibot.cores.closed_bar import ClosedBar
from minibot.events.model import HOLD, Gap, JsonObject
from minibot.features.order_flow import OrderFlowImbalance
from minibot.strategies.bar_indicators import BarIndicators
from minibot.strategies.decision import Decision, decision_of
from minibot.strategies.declaration import Needs, Settings
from minibot.strategies.nore_evaluation import Evaluation
from minibot.strategies.nore_explanation import NoreExplanation, Thresholds
from minibot.strategies.parameters import StrategyParameters
from minibot.strategies.protocol import Strategy
from minibot.strategies.tick import Tick
from minibot.strategies.view import View

NAME: Final = "nore_strategy_v1"


class NoreStrategyV1(Strategy):
    """The rules and filters of this module for one symbol.

    Attributes:
        bars, trend: Indicators over `bar_interval` and `trend_interval`.
        flow: Order flow at the touch.
        thresholds: Thresholds of the checks, as text.
        is_after_gap: Whether trades were missing and no live bar has had ready indicators since.
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
        self.thresholds: Thresholds = Thresholds(
            parameters, self.bars.warmup, self.trend.slow.warmup
        )

    @staticmethod
    def needs(settings: Settings) -> Needs:
        """Return both intervals; bars are kept only in the indicators."""
        parameters = StrategyParameters.from_config(settings.profile)
        intervals = (parameters.bar_interval, parameters.trend_interval)
        return Needs(intervals, history=0, hole_bars_max=parameters.ema_slow, trades=False)

    def on_tick(self, tick: Tick, view: View) -> Decision | None:
        """Follow the order flow by quotes, the only changes of the touch."""
        self.flow.update(tick.bid, tick.bid_qty, tick.ask, tick.ask_qty)
        return None

    def on_bar(self, bar: ClosedBar, view: View) -> Decision | None:
        """Feed the indicators; decide at each live bar of `bar_interval`."""
        if bar.interval != self.bars.interval:
            self.trend.feed(bar)
            return None
        if not self.bars.feed(bar, is_strict=self.is_after_gap) or not bar.is_live:
            return None
        if self.is_after_gap and self.bars.is_ready:
            self.is_after_gap = False
        return self.decide(view)

    def on_gap(self, gap: Gap, view: View) -> None:
        """Reset the values that a gap spoils: order flow (the tick's age guards the touch).

        If trades were missing, the next bars must follow the last one without a hole, as they do
        after the market role has fetched them. Bars made from ticks cannot be fetched, so the
        indicators start again at once, the trend only if the gap is not shorter than its bars.
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
        moment = Evaluation(
            view, self.bars, self.trend, self.flow, self.parameters, self.is_after_gap
        )
        opinion = moment.opinion
        side, code = HOLD, moment.code
        if opinion is not None and not code:
            side, code = opinion.side, opinion.code
        words = NoreExplanation(moment, self.thresholds)
        return decision_of(side, moment.score, moment.confidence, code, "", (), words)
