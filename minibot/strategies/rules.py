"""The two rule families of `nore_strategy_v1`: momentum and mean reversion.

Each rule compares named readings with named thresholds; `opinion` returns the rule that applies.
Filters, thresholds of score and confidence, and the decision itself are elsewhere.

Entries (when flat)
    momentum_up          momentum_bps >= momentum_bps_min, RSI between its extremes, return > 0
    reversion_oversold   RSI <= rsi_oversold, price below its slow average by reversion_bps_min
    conflicting          oversold while momentum_down holds: a falling knife, no opinion
Exits (when long)
    momentum_down        momentum_bps <= -momentum_bps_min and return < 0
    reversion_overbought RSI >= rsi_overbought, price above its slow average by reversion_bps_min
    reversion_done       a position bought as reversion, and the price is back at its slow average

Strength (0-25) grows from the threshold of the rule to three times it; it is 25 if the threshold is
0, and for reversion_done, which has none. RSI points (0-15) grow from the worst RSI that the rule
admits to the best.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, final

from minibot.cores.core_profile import StrategySection
from minibot.events.decimals import decimal_text, decimal_texts
from minibot.events.model import BUY, HOLD, SELL, Check
from minibot.events.reasons import (
    CONFLICTING,
    MOMENTUM_DOWN,
    MOMENTUM_UP,
    REVERSION_DONE,
    REVERSION_OVERBOUGHT,
    REVERSION_OVERSOLD,
)
from minibot.strategies.parameters import StrategyParameters
from minibot.strategies.readings import Readings

STRENGTH_POINTS = 25
RSI_POINTS = 15
RSI_MIDDLE = 50.0
READINGS: Final = ("rsi", "momentum_bps", "return_bps", "reversion_bps", "atr_bps")
"""Names of the readings in the checks of a signal, in their order."""
ALL_MET: Final = (True,) * len(READINGS)
NOTHING: Final = "none"
"""Demand of a rule on a reading that it does not use."""


@final
class Opinion:
    """Opinion of a rule: a side, its reason code, and its strength."""

    __slots__ = ("code", "rsi_points", "side", "strength")

    def __init__(self, side: str, code: str, strength: int, rsi_points: int) -> None:
        self.side: str = side
        self.code: str = code
        self.strength: int = strength
        self.rsi_points: int = rsi_points


def opinion(
    readings: Readings, parameters: StrategyParameters, *, is_long: bool, entry_code: str
) -> Opinion | None:
    """Return the opinion of the rules, or None if no rule applies.

    When long, exits come before entries; when flat, entries before exits. An opinion that the
    position does not allow is left to the filters (`no_position`, `in_position`).
    """
    if is_long:
        return _exit(readings, parameters, entry_code) or _entry(readings, parameters)
    return _entry(readings, parameters) or _exit(readings, parameters, "")


class ReadingTexts(NamedTuple):
    """Readings with two places, in the order of `READINGS`."""

    rsi: str
    momentum_bps: str
    return_bps: str
    reversion_bps: str
    atr_bps: str


def reading_texts(readings: Readings) -> ReadingTexts:
    """Return the readings as text."""
    values = (
        readings.rsi,
        readings.momentum_bps,
        readings.return_bps,
        readings.reversion_bps,
        readings.atr_bps,
    )
    return ReadingTexts(*decimal_texts(values, 2))


def clause_of(
    opinion: Opinion, readings: Readings, texts: ReadingTexts, parameters: StrategyParameters
) -> str:
    """Return a rule's opinion on the readings as a clause of a sentence."""
    section, code = parameters.section, opinion.code
    rsi, momentum, moved = decimal_text(readings.rsi, 1), texts.momentum_bps, texts.return_bps
    if code == CONFLICTING:
        return f"conflicting: rsi {rsi} is oversold, but momentum {momentum} bps still falls"
    if code == MOMENTUM_UP:
        return (
            f"momentum {momentum} bps >= {section.momentum_bps_min}, rsi {rsi} < "
            f"{section.rsi_overbought}, return {moved} bps > 0"
        )
    if code == MOMENTUM_DOWN:
        return f"momentum {momentum} bps <= -{section.momentum_bps_min}, return {moved} bps < 0"
    if code == REVERSION_OVERSOLD:
        return (
            f"rsi {rsi} <= {section.rsi_oversold} and price {texts.reversion_bps} bps >= "
            f"{section.reversion_bps_min} below its average"
        )
    above = decimal_text(-readings.reversion_bps, 2)
    if code == REVERSION_OVERBOUGHT:
        return (
            f"rsi {rsi} >= {section.rsi_overbought} and price {above} bps >= "
            f"{section.reversion_bps_min} above its average"
        )
    return f"price {above} bps >= 0 above its average, the aim of this reversion"


def reading_checks(
    readings: Readings,
    texts: ReadingTexts,
    parameters: StrategyParameters,
    demands: Mapping[str, tuple[str, ...]],
    opinion: Opinion | None,
) -> list[Check]:
    """Return every reading with the demand of the applying rule (`none` if there is no demand).

    If no rule applies, the thresholds are those with which one would.

    Args:
        readings: The readings of the moment.
        texts: The readings as text.
        parameters: Parameters of the strategy.
        demands: Result of `demands_of` for them.
        opinion: The opinion of the rules.
    """
    demanded = demands["" if opinion is None else opinion.code]
    if opinion is None:
        met = _met_without_rule(readings, parameters)
    elif opinion.side != HOLD:
        met = ALL_MET
    else:
        met = tuple([demand == NOTHING for demand in demanded])
    return list(map(Check, READINGS, texts, demanded, met))


def _met_without_rule(readings: Readings, parameters: StrategyParameters) -> tuple[bool, ...]:
    return (
        not parameters.rsi_oversold < readings.rsi < parameters.rsi_overbought,
        abs(readings.momentum_bps) >= parameters.momentum_bps_min,
        True,
        abs(readings.reversion_bps) >= parameters.reversion_bps_min,
        True,
    )


def demands_of(section: StrategySection) -> dict[str, tuple[str, ...]]:
    """Return the demands on `READINGS` by the code of their rule; by "" those without a rule."""
    oversold, overbought = section.rsi_oversold, section.rsi_overbought
    momentum, reversion = section.momentum_bps_min, section.reversion_bps_min
    either = f">= {momentum} or <= -{momentum}"
    aside = f">= {reversion} or <= -{reversion}"
    return {
        MOMENTUM_UP: (f"{oversold} to {overbought}", f">= {momentum}", "> 0", NOTHING, NOTHING),
        MOMENTUM_DOWN: (NOTHING, f"<= -{momentum}", "< 0", NOTHING, NOTHING),
        REVERSION_OVERSOLD: (f"<= {oversold}", NOTHING, NOTHING, f">= {reversion}", NOTHING),
        REVERSION_OVERBOUGHT: (f">= {overbought}", NOTHING, NOTHING, f"<= -{reversion}", NOTHING),
        REVERSION_DONE: (NOTHING, NOTHING, NOTHING, "<= 0", NOTHING),
        CONFLICTING: (NOTHING, f"> -{momentum}", NOTHING, NOTHING, NOTHING),
        "": (f"<= {oversold} or >= {overbought}", either, NOTHING, aside, NOTHING),
    }


def _entry(readings: Readings, parameters: StrategyParameters) -> Opinion | None:
    if _is_momentum_up(readings, parameters):
        return _momentum_up(readings, parameters)
    if not _is_oversold(readings, parameters):
        return None
    if _is_momentum_down(readings, parameters):
        return Opinion(HOLD, CONFLICTING, 0, 0)
    return _oversold(readings, parameters)


def _exit(readings: Readings, parameters: StrategyParameters, entry_code: str) -> Opinion | None:
    if _is_momentum_down(readings, parameters):
        return _momentum_down(readings, parameters)
    if _is_overbought(readings, parameters):
        return _overbought(readings, parameters)
    if entry_code == REVERSION_OVERSOLD and readings.reversion_bps <= 0.0:
        return _reversion_done(readings)
    return None


def _is_momentum_up(readings: Readings, parameters: StrategyParameters) -> bool:
    return (
        readings.momentum_bps >= parameters.momentum_bps_min
        and parameters.rsi_oversold < readings.rsi < parameters.rsi_overbought
        and readings.return_bps > 0.0
    )


def _is_momentum_down(readings: Readings, parameters: StrategyParameters) -> bool:
    return readings.momentum_bps <= -parameters.momentum_bps_min and readings.return_bps < 0.0


def _is_oversold(readings: Readings, parameters: StrategyParameters) -> bool:
    return (
        readings.rsi <= parameters.rsi_oversold
        and readings.reversion_bps >= parameters.reversion_bps_min
    )


def _is_overbought(readings: Readings, parameters: StrategyParameters) -> bool:
    return (
        readings.rsi >= parameters.rsi_overbought
        and -readings.reversion_bps >= parameters.reversion_bps_min
    )


def _momentum_up(readings: Readings, parameters: StrategyParameters) -> Opinion:
    top = parameters.rsi_overbought
    return Opinion(
        BUY,
        MOMENTUM_UP,
        _strength(readings.momentum_bps, parameters.momentum_bps_min),
        _points((top - readings.rsi) / (top - RSI_MIDDLE), RSI_POINTS),
    )


def _oversold(readings: Readings, parameters: StrategyParameters) -> Opinion:
    bottom = parameters.rsi_oversold
    return Opinion(
        BUY,
        REVERSION_OVERSOLD,
        _strength(readings.reversion_bps, parameters.reversion_bps_min),
        _points((bottom - readings.rsi) / bottom, RSI_POINTS),
    )


def _momentum_down(readings: Readings, parameters: StrategyParameters) -> Opinion:
    return Opinion(
        SELL,
        MOMENTUM_DOWN,
        _strength(-readings.momentum_bps, parameters.momentum_bps_min),
        _points((RSI_MIDDLE - readings.rsi) / RSI_MIDDLE, RSI_POINTS),
    )


def _overbought(readings: Readings, parameters: StrategyParameters) -> Opinion:
    top = parameters.rsi_overbought
    return Opinion(
        SELL,
        REVERSION_OVERBOUGHT,
        _strength(-readings.reversion_bps, parameters.reversion_bps_min),
        _points((readings.rsi - top) / (100.0 - top), RSI_POINTS),
    )


def _reversion_done(readings: Readings) -> Opinion:
    return Opinion(
        SELL,
        REVERSION_DONE,
        STRENGTH_POINTS,
        _points((readings.rsi - RSI_MIDDLE) / RSI_MIDDLE, RSI_POINTS),
    )


def _strength(value: float, threshold: float) -> int:
    """Return 0 points at the threshold, all at three times it, and all if it is zero."""
    if threshold <= 0.0:
        return STRENGTH_POINTS
    return _points((value / threshold - 1.0) / 2.0, STRENGTH_POINTS)


def _points(share: float, points: int) -> int:
    """Return the whole points of a share, which is limited to 0 to 1."""
    if share <= 0.0:
        return 0
    return points if share >= 1.0 else int(share * points)
