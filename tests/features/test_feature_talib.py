"""Indicators of the catalogue beside TA-Lib's values, and what each says of itself."""

from __future__ import annotations

import csv
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minibot.features.adx import Adx
from minibot.features.atr import WilderAtr
from minibot.features.bollinger import BollingerBands
from minibot.features.donchian import Donchian
from minibot.features.ema import Ema
from minibot.features.macd import Macd
from minibot.features.rsi import WilderRsi
from minibot.features.sma import Sma
from minibot.features.stochastic import Stochastic
from minibot.features.vwap import SessionVwap, Vwap
from minibot.features.wilder import WilderMean
from tests.features.walk import WalkBar, compared, walk

FILE = Path(__file__).with_name("talib_values.csv")
# Relative to the figure; absolute below 1, where an oscillator is next to 0.
TOLERANCE = 1e-9
CATALOGUE = (
    *(Adx, BollingerBands, Donchian, Ema, Macd, SessionVwap, Sma, Stochastic, Vwap),
    *(WilderAtr, WilderMean, WilderRsi),
)
Feed = Callable[[WalkBar], tuple[float, ...]]


def close(bar: WalkBar) -> tuple[float, ...]:
    return (bar.close,)


def whole(bar: WalkBar) -> tuple[float, ...]:
    return (bar.high, bar.low, bar.close)


# Indicator, its part of a bar, and its figures by column.
CASES: dict[str, tuple[Callable[[], Any], Feed, dict[str, str]]] = {
    "sma": (lambda: Sma(20), close, {"sma_20": "value"}),
    "ema": (lambda: Ema(20), close, {"ema_20": "value"}),
    "rsi": (lambda: WilderRsi(14), close, {"rsi_14": "value"}),
    "atr": (lambda: WilderAtr(14), whole, {"atr_14": "value"}),
    "bollinger": (
        lambda: BollingerBands(20),
        close,
        {"bollinger_upper": "upper", "bollinger_middle": "value", "bollinger_lower": "lower"},
    ),
    "macd": (
        Macd,
        close,
        {"macd": "value", "macd_signal": "signal", "macd_histogram": "histogram"},
    ),
    "donchian": (
        lambda: Donchian(20),
        lambda bar: (bar.high, bar.low),
        {"donchian_upper": "upper", "donchian_lower": "lower"},
    ),
    "stochastic": (
        Stochastic,
        whole,
        {"stochastic_k": "value", "stochastic_d": "signal"},
    ),
    "stochastic_fast": (
        lambda: Stochastic(5, 1, 3),
        whole,
        {"stochastic_fast_k": "value", "stochastic_fast_d": "signal"},
    ),
    "adx": (
        Adx,
        whole,
        {"adx_14": "value", "adx_plus": "plus", "adx_minus": "minus"},
    ),
}


def talib_values() -> dict[int, dict[str, float]]:
    """Return TA-Lib's values by bar and column."""
    lines = [line for line in FILE.read_text().splitlines() if not line.startswith("#")]
    return {
        int(row["bar"]): {name: float(text) for name, text in row.items() if name != "bar"}
        for row in csv.DictReader(lines)
    }


@pytest.mark.parametrize("name", list(CASES))
def test_indicator_from_bar_500_on_equals_talib(name: str) -> None:
    """Whoever compares with a chart of TA-Lib finds the same figures."""
    make, feed, figures = CASES[name]
    indicator, expected = make(), talib_values()
    assert sorted(expected) == list(compared())

    for index, bar in enumerate(walk()):
        indicator.update(*feed(bar))
        for column, figure in figures.items() if index in expected else ():
            value = expected[index][column]
            distance = abs(getattr(indicator, figure) - value)
            assert distance <= TOLERANCE * max(1.0, abs(value)), (index, column)


def test_every_column_of_talib_is_compared() -> None:
    """No figure is left out unseen."""
    columns = {column for _, _, figures in CASES.values() for column in figures}

    assert columns == set(next(iter(talib_values().values())))


def test_vwap_of_a_window_and_of_a_session_equals_its_definition() -> None:
    """Turnover over volume: of the last bars, and of all bars since midnight UTC."""
    bars, hour_ms = walk(300), 3_600_000
    window, session = Vwap(20), SessionVwap(86_400_000)
    for index, bar in enumerate(bars):
        window.update(*bar)
        session.update(index * hour_ms, *bar)

        assert session.value == pytest.approx(plain_vwap(bars[index // 24 * 24 : index + 1]))
        if index >= 19:
            assert window.value == pytest.approx(plain_vwap(bars[index - 19 : index + 1]))


def plain_vwap(bars: list[WalkBar]) -> float:
    turnover = sum((bar.high + bar.low + bar.close) / 3 * bar.volume for bar in bars)
    return turnover / sum(bar.volume for bar in bars)


@pytest.mark.parametrize("indicator", CATALOGUE)
def test_docstring_of_indicator_says_methods_formula_seed_and_warmup(indicator: type[Any]) -> None:
    """A reader needs no source to know what a figure is; every public figure is named."""
    text = inspect.getdoc(indicator) or ""
    assert all(f"{part}:\n" in text for part in ("Methods", "Formula", "Seed", "Warm-up"))
    figures = {name for name, item in vars(indicator).items() if isinstance(item, property)}
    figures |= {"value", "update"}
    figures -= {"is_ready"}

    assert [
        name for name in sorted(figures) if f"`{name}`" not in text and name + "(" not in text
    ] == []
