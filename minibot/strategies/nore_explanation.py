"""Explanation of `nore_strategy_v1`: every check of a moment, and one sentence for a person.

Nothing is judged here: `strategies.nore_evaluation` holds the results, and this puts them into
words. It is called when a decision is journaled, shown or explained, not at each bar.
"""

from __future__ import annotations

from typing import final

from minibot.accounting.order_rules import TRADING
from minibot.events.decimals import decimal_text
from minibot.events.model import BUY, HOLD, Check
from minibot.features.lossless import is_finite
from minibot.strategies.decision import Words
from minibot.strategies.nore_evaluation import Evaluation
from minibot.strategies.parameters import StrategyParameters
from minibot.strategies.position import qty_text
from minibot.strategies.readings import Readings
from minibot.strategies.rules import (
    Opinion,
    ReadingTexts,
    clause_of,
    demands_of,
    reading_checks,
    reading_texts,
)


@final
class Thresholds:
    """Thresholds of a strategy as text for its checks, formatted once.

    Args:
        parameters: Parameters of the strategy.
        warmup: Bars that the indicators need.
        trend_warmup: Bars that the trend needs.
    """

    __slots__ = (
        *("age", "bars", "bars_name", "confidence", "cool_ms", "demands", "long_ago", "notional"),
        *("parameters", "rank", "score", "spread", "trend_name", "trend_warmup", "warmup"),
    )

    def __init__(self, parameters: StrategyParameters, warmup: int, trend_warmup: int) -> None:
        section = parameters.section
        self.parameters: StrategyParameters = parameters
        self.warmup: int = warmup
        self.trend_warmup: int = trend_warmup
        self.bars_name: str = f"bars_{parameters.bar_interval}"
        self.bars: str = f">= {warmup}"
        self.age: str = f"<= {section.tick_age_ms_max}"
        self.spread: str = f"<= {section.spread_bps_max}"
        self.notional: str = f">= {section.touch_notional_min}"
        self.trend_name: str = f"trend_{parameters.trend_interval}_bps"
        self.cool_ms: str = f">= {parameters.cooldown_ms}"
        self.long_ago: str = f"over {parameters.cooldown_ms}"
        self.rank: str = f"<= {parameters.rank_max}"
        self.score: str = f">= {parameters.score_min}"
        self.confidence: str = f">= {parameters.confidence_min}"
        self.demands: dict[str, tuple[str, ...]] = demands_of(section)


@final
class NoreExplanation(Words):
    """Explanation of one moment, by the thresholds of its strategy."""

    __slots__ = ("_moment", "_thresholds")

    def __init__(self, moment: Evaluation, thresholds: Thresholds) -> None:
        self._moment: Evaluation = moment
        self._thresholds: Thresholds = thresholds

    def write(self) -> tuple[str, tuple[Check, ...]]:
        """Return the reason and the checks."""
        moment, thresholds = self._moment, self._thresholds
        readings, opinion = moment.readings, moment.opinion
        checks = self._begin()
        if readings is None:
            return f"HOLD: {self._unready()}", tuple(checks)
        texts = reading_texts(readings)
        checks += self._market()
        checks += reading_checks(
            readings, texts, thresholds.parameters, thresholds.demands, opinion
        )
        lacking = f"warmup {moment.trend_bars}/{thresholds.trend_warmup}"
        text = lacking if moment.trend is None else decimal_text(moment.trend, 2)
        checks.append(Check(thresholds.trend_name, text, "optional", True))
        if opinion is None or not moment.is_asked:
            is_one = opinion is not None and opinion.side != HOLD
            checks.append(
                Check("setup", "none" if opinion is None else opinion.code, "one", is_one)
            )
        else:
            checks += self._state(opinion)
            checks += self._strength()
        if moment.code or opinion is None:
            return f"HOLD: {self._refusal(readings, texts)}", tuple(checks)
        clause = clause_of(opinion, readings, texts, thresholds.parameters)
        points = f"score {moment.score}, confidence {moment.confidence}"
        return f"{opinion.side}: {clause}; {points}", tuple(checks)

    # --- checks -------------------------------------------------------------------------------

    def _begin(self) -> list[Check]:
        moment, thresholds = self._moment, self._thresholds
        status, bars = moment.status or "unknown", str(moment.bars)
        checks = [
            Check("instrument_status", status, TRADING, moment.is_trading),
            Check(thresholds.bars_name, bars, thresholds.bars, moment.is_warm),
        ]
        if moment.is_trading and moment.is_warm and moment.readings is None:
            checks.append(Check("readings", "missing", "finite", False))
        return checks

    def _market(self) -> list[Check]:
        moment, thresholds = self._moment, self._thresholds
        age = "missing" if moment.age_ms is None else str(moment.age_ms)
        book = "usable" if moment.is_usable else _unusable(moment)
        spread, notional = number_text(moment.spread, 2), number_text(moment.notional, 2)
        return [
            Check("tick_age_ms", age, thresholds.age, moment.is_fresh),
            Check("book", book, "usable", moment.is_usable),
            Check("spread_bps", spread, thresholds.spread, moment.is_narrow),
            Check("touch_notional", notional, thresholds.notional, moment.is_liquid),
        ]

    def _state(self, opinion: Opinion) -> list[Check]:
        moment, thresholds = self._moment, self._thresholds
        is_buy = opinion.side == BUY
        held = qty_text(moment.held) if moment.is_long else "flat"
        checks = [Check("position", held, "flat" if is_buy else "long", moment.is_placed)]
        if is_buy:
            run = "open" if moment.is_open else "ending"
            checks.append(Check("run", run, "open", moment.is_open))
        since = thresholds.long_ago if moment.is_cool else str(moment.since_ms)
        checks.append(Check("since_signal_ms", since, thresholds.cool_ms, moment.is_cool))
        if is_buy and thresholds.parameters.cost_gate:
            expected, costs = number_text(moment.expected, 2), number_text(moment.costs, 2)
            checks.append(Check("expected_bps", expected, f">= {costs}", moment.pays))
        if is_buy and thresholds.parameters.rank_max is not None:
            rank = "none" if moment.rank is None else str(moment.rank)
            checks.append(Check("rank", rank, thresholds.rank, moment.is_ranked))
        return checks

    def _strength(self) -> list[Check]:
        moment, thresholds = self._moment, self._thresholds
        confidence = str(moment.confidence)
        return [
            Check("score", str(moment.score), thresholds.score, moment.is_scored),
            Check("confidence", confidence, thresholds.confidence, moment.is_confident),
        ]

    # --- the first filter that failed ---------------------------------------------------------

    def _unready(self) -> str:
        """Return the sentence on the first failed filter of those before the market's."""
        moment = self._moment
        interval = self._thresholds.parameters.bar_interval
        if not moment.is_trading:
            if not moment.status:
                return f"no instrument rules of {moment.symbol} yet"
            return f"instrument status {moment.status}, not TRADING"
        if not moment.is_warm:
            since = " since the gap" if moment.is_after_gap else ""
            return f"warmup {moment.bars}/{self._thresholds.warmup} bars of {interval}{since}"
        return f"a reading over {interval} bars is missing or not a number"

    def _refusal(self, readings: Readings, texts: ReadingTexts) -> str:
        """Return the sentence on the first filter that failed, in the order of the filters."""
        moment, opinion = self._moment, self._moment.opinion
        if not (moment.is_fresh and moment.is_usable and moment.is_narrow and moment.is_liquid):
            return self._market_refusal()
        if opinion is None:
            return self._no_setup(readings, texts)
        return self._opinion_refusal(opinion, readings, texts)

    def _market_refusal(self) -> str:
        moment, section = self._moment, self._thresholds.parameters.section
        if moment.age_ms is None:
            return "no tick yet"
        if not moment.is_fresh:
            return f"tick age {moment.age_ms} ms > {section.tick_age_ms_max}"
        if not moment.is_usable:
            return f"book unusable: {_unusable(moment)}"
        if not moment.is_narrow:
            return f"spread {number_text(moment.spread, 2)} bps > {section.spread_bps_max}"
        notional = number_text(moment.notional, 2)
        return f"{notional} at the {moment.place} < {section.touch_notional_min}"

    def _no_setup(self, readings: Readings, texts: ReadingTexts) -> str:
        section = self._thresholds.parameters.section
        return (
            f"no setup: momentum {texts.momentum_bps} bps "
            f"(+-{section.momentum_bps_min}), rsi {decimal_text(readings.rsi, 1)} "
            f"({section.rsi_oversold}, {section.rsi_overbought}), price "
            f"{decimal_text(-readings.reversion_bps, 2)} bps from its average "
            f"(+-{section.reversion_bps_min})"
        )

    def _opinion_refusal(self, opinion: Opinion, readings: Readings, texts: ReadingTexts) -> str:
        moment, parameters = self._moment, self._thresholds.parameters
        if opinion.side == HOLD or not (moment.is_placed and moment.is_open):
            clause = clause_of(opinion, readings, texts, parameters)
            if opinion.side == HOLD:
                return clause
            if moment.is_placed:
                return f"the run is ending, though {clause}"
            if opinion.side == BUY:
                return f"already long {qty_text(moment.held)}, though {clause}"
            return f"no position to sell, though {clause}"
        if not moment.is_cool:
            return f"cooldown: last signal {moment.since_ms} ms ago < {parameters.cooldown_ms}"
        if not moment.pays:
            expected, costs = number_text(moment.expected, 2), number_text(moment.costs, 2)
            return f"expected move {expected} bps < {costs} of costs"
        if not moment.is_ranked:
            if moment.rank is None:
                return f"no rank in the last scan, where {parameters.rank_max} is the worst allowed"
            return f"rank {moment.rank} of the last scan > {parameters.rank_max}"
        if not moment.is_scored:
            return f"score {moment.score} < {parameters.score_min}"
        return f"confidence {moment.confidence} < {parameters.confidence_min}"


def number_text(value: float | None, places: int) -> str:
    """Return a value with a fixed number of places, or `missing` for None, NaN and infinities."""
    if value is None or not is_finite(value):
        return "missing"
    return decimal_text(value, places)


def _unusable(moment: Evaluation) -> str:
    return "gap in the depth stream" if moment.is_book_broken else "touch missing or crossed"
