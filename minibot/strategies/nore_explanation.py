"""Explanation of `nore_strategy_v1`: every check of a moment, and one sentence for a person.

Nothing is judged here: what passed stands in the moment (`strategies.nore_evaluation`), and this
says it. It is called when a decision is journaled, shown or explained, and not at each bar.
"""

from __future__ import annotations

from typing import final

from minibot.accounting.order_rules import TRADING
from minibot.events.model import BUY, HOLD, Check
from minibot.strategies.checklist import Checklist, number_text
from minibot.strategies.decision import Words
from minibot.strategies.nore_evaluation import Evaluation
from minibot.strategies.parameters import StrategyParameters
from minibot.strategies.position import qty_text
from minibot.strategies.readings import Readings
from minibot.strategies.rules import Opinion, clause_of, reading_checks


@final
class NoreExplanation(Words):
    """The words for one moment.

    Args:
        moment: What was judged.
        parameters: By which.
        warmup: Bars that the indicators need.
        trend_warmup: Bars that the trend needs.
    """

    def __init__(
        self, moment: Evaluation, parameters: StrategyParameters, warmup: int, trend_warmup: int
    ) -> None:
        self._moment: Evaluation = moment
        self._parameters: StrategyParameters = parameters
        self._warmup: int = warmup
        self._trend_warmup: int = trend_warmup

    def write(self) -> tuple[str, tuple[Check, ...]]:
        """Return the reason and the checks."""
        moment, checklist = self._moment, Checklist()
        self._begin(checklist)
        readings, said = moment.readings, moment.said
        clause = ""
        if readings is not None:
            clause = "" if said is None else clause_of(said, readings, self._parameters)
            self._market(checklist)
            self._readings(readings, said, checklist)
            if said is None or not moment.is_asked:
                self._setup(readings, said, clause, checklist)
            else:
                self._state(said, clause, checklist)
                self._strength(checklist)
        if moment.code or said is None:
            return f"HOLD: {checklist.sentence}", tuple(checklist.checks)
        points = f"score {moment.score}, confidence {moment.confidence}"
        return f"{said.side}: {clause}; {points}", tuple(checklist.checks)

    def _begin(self, checklist: Checklist) -> None:
        moment, interval = self._moment, self._parameters.bar_interval
        status = moment.status or "unknown"
        checklist.require(
            moment.is_trading,
            ("instrument_status", status, TRADING),
            moment.code,
            f"instrument status {status}, not TRADING"
            if moment.status
            else f"no instrument rules of {moment.symbol} yet",
        )
        counted = f"{moment.bars}/{self._warmup} bars of {interval}"
        since = " since the gap" if moment.is_after_gap else ""
        checklist.require(
            moment.is_warm,
            (f"bars_{interval}", str(moment.bars), f">= {self._warmup}"),
            moment.code,
            f"warmup {counted}{since}",
        )
        if moment.is_trading and moment.is_warm and moment.readings is None:
            checklist.require(
                False,
                ("readings", "missing", "finite"),
                moment.code,
                f"a reading over {interval} bars is missing or not a number",
            )

    def _market(self, checklist: Checklist) -> None:
        moment, section = self._moment, self._parameters.section
        age, age_max = moment.age_ms, section.tick_age_ms_max
        checklist.require(
            moment.is_fresh,
            ("tick_age_ms", "missing" if age is None else str(age), f"<= {age_max}"),
            moment.code,
            "no tick yet" if age is None else f"tick age {age} ms > {age_max}",
        )
        what = "gap in the depth stream" if moment.is_book_broken else "touch missing or crossed"
        checklist.require(
            moment.is_usable,
            ("book", "usable" if moment.is_usable else what, "usable"),
            moment.code,
            f"book unusable: {what}",
        )
        spread, spread_max = number_text(moment.spread, 2), section.spread_bps_max
        checklist.require(
            moment.is_narrow,
            ("spread_bps", spread, f"<= {spread_max}"),
            moment.code,
            f"spread {spread} bps > {spread_max}",
        )
        notional, notional_min = number_text(moment.notional, 2), section.touch_notional_min
        checklist.require(
            moment.is_liquid,
            ("touch_notional", notional, f">= {notional_min}"),
            moment.code,
            f"{notional} at the {moment.place} < {notional_min}",
        )

    def _readings(self, readings: Readings, said: Opinion | None, checklist: Checklist) -> None:
        moment = self._moment
        checklist.checks += reading_checks(readings, self._parameters, said)
        lacking = f"warmup {moment.trend_bars}/{self._trend_warmup}"
        text = lacking if moment.trend is None else number_text(moment.trend, 2)
        checklist.note(f"trend_{self._parameters.trend_interval}_bps", text, "optional")

    def _setup(
        self, readings: Readings, said: Opinion | None, clause: str, checklist: Checklist
    ) -> None:
        """Return why no rule wants a side, or that earlier filters left nothing to check."""
        code, section = self._moment.code, self._parameters.section
        if said is not None:
            checklist.require(said.side != HOLD, ("setup", said.code, "one"), code, clause)
            return
        checklist.require(
            False,
            ("setup", "none", "one"),
            code,
            f"no setup: momentum {number_text(readings.momentum_bps, 2)} bps "
            f"(+-{section.momentum_bps_min}), rsi {number_text(readings.rsi, 1)} "
            f"({section.rsi_oversold}, {section.rsi_overbought}), price "
            f"{number_text(-readings.reversion_bps, 2)} bps from its average "
            f"(+-{section.reversion_bps_min})",
        )

    def _state(self, said: Opinion, clause: str, checklist: Checklist) -> None:
        moment = self._moment
        is_buy, code = said.side == BUY, moment.code
        held = qty_text(moment.held) if moment.is_long else "flat"
        checklist.require(
            moment.is_placed,
            ("position", held, "flat" if is_buy else "long"),
            code,
            f"already long {held}, though {clause}"
            if is_buy
            else f"no position to sell, though {clause}",
        )
        if is_buy:
            checklist.require(
                moment.is_open,
                ("run", "open" if moment.is_open else "ending", "open"),
                code,
                f"the run is ending, though {clause}",
            )
        since, cooldown = moment.since_ms, self._parameters.cooldown_ms
        checklist.require(
            moment.is_cool,
            (
                "since_signal_ms",
                f"over {cooldown}" if moment.is_cool else str(since),
                f">= {cooldown}",
            ),
            code,
            f"cooldown: last signal {since} ms ago < {cooldown}",
        )
        if is_buy and self._parameters.cost_gate:
            expected, costs = number_text(moment.expected, 2), number_text(moment.costs, 2)
            checklist.require(
                moment.pays,
                ("expected_bps", expected, f">= {costs}"),
                code,
                f"expected move {expected} bps < {costs} of costs",
            )

    def _strength(self, checklist: Checklist) -> None:
        moment, parameters = self._moment, self._parameters
        score, confidence = moment.score, moment.confidence
        checklist.require(
            moment.is_scored,
            ("score", str(score), f">= {parameters.score_min}"),
            moment.code,
            f"score {score} < {parameters.score_min}",
        )
        checklist.require(
            moment.is_confident,
            ("confidence", str(confidence), f">= {parameters.confidence_min}"),
            moment.code,
            f"confidence {confidence} < {parameters.confidence_min}",
        )
