"""Promises of all indicators: warm-up, restoring, no look-ahead, equal numbers anywhere."""

from __future__ import annotations

import ast
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.features.adx import Adx
from minibot.features.atr import WilderAtr
from minibot.features.bollinger import BollingerBands
from minibot.features.donchian import Donchian
from minibot.features.ema import Ema
from minibot.features.lossless import is_finite
from minibot.features.macd import Macd
from minibot.features.order_flow import OrderFlowImbalance
from minibot.features.rate_of_change import RateOfChange
from minibot.features.rsi import WilderRsi
from minibot.features.sma import Sma
from minibot.features.stochastic import Stochastic
from minibot.features.volatility import RealisedVolatility
from minibot.features.vwap import SessionVwap, Vwap
from minibot.features.wilder import WilderMean
from minibot.kernel.canonical import decode, encode
from tests.waiting import DEADLINE_S

Row = tuple[float, float, float, float]
PRICE = st.floats(min_value=0.0001, max_value=1e7)
NO_PRICE = st.sampled_from([math.nan, math.inf, -math.inf, 0.0])
ROWS = st.lists(st.tuples(PRICE, PRICE, PRICE, PRICE), min_size=1, max_size=50)
LONG_ROWS = st.lists(st.tuples(PRICE, PRICE, PRICE, PRICE), min_size=20, max_size=50)

Picked = Callable[[Row], Sequence[float]]
# How each indicator is made with a period, which part of a row it takes, and its warm-up.
KINDS: dict[str, tuple[Callable[[int], Any], Picked, Callable[[int], int]]] = {
    "adx": (Adx, lambda row: row[:3], lambda n: 2 * n),
    "bollinger": (BollingerBands, lambda row: row[:1], lambda n: n),
    "donchian": (Donchian, lambda row: row[:2], lambda n: n),
    "ema": (Ema, lambda row: row[:1], lambda n: n),
    "macd": (lambda n: Macd(n, n + 2, 3), lambda row: row[:1], lambda n: n + 4),
    "rsi": (WilderRsi, lambda row: row[:1], lambda n: n + 1),
    "atr": (WilderAtr, lambda row: row[:3], lambda n: n),
    "rate_of_change": (RateOfChange, lambda row: row[:1], lambda n: n + 1),
    "session_vwap": (
        lambda n: SessionVwap(n * 1_000_000),
        lambda row: (int(row[0]), *row),
        lambda n: 1,
    ),
    "sma": (Sma, lambda row: row[:1], lambda n: n),
    "stochastic": (Stochastic, lambda row: row[:3], lambda n: n + 4),
    "volatility": (RealisedVolatility, lambda row: row[:1], lambda n: n + 1),
    "vwap": (Vwap, lambda row: row, lambda n: n),
    "wilder": (WilderMean, lambda row: row[:1], lambda n: n),
    "order_flow": (OrderFlowImbalance, lambda row: row, lambda n: n + 1),
}
each_kind = pytest.mark.parametrize("kind", list(KINDS))


def bits(value: float | None) -> str:
    return "none" if value is None else value.hex()


def series(kind: str, period: int, rows: Sequence[Row]) -> list[str]:
    make, pick, _ = KINDS[kind]
    indicator = make(period)
    found = []
    for row in rows:
        indicator.update(*pick(row))
        found.append(bits(indicator.value))
    return found


@settings(max_examples=50, deadline=None)  # Rows take longer to draw than all indicators to read.
@given(rows=ROWS, period=st.integers(1, 20))
def test_indicator_before_warmup_has_no_value(rows: list[Row], period: int) -> None:
    """A value stands from the `warmup`-th update on and never before; `count` counts them."""
    for kind, (make, pick, warmup) in KINDS.items():
        indicator = make(period)
        assert indicator.warmup == warmup(period), kind
        for count, row in enumerate(rows, start=1):
            indicator.update(*pick(row))

            assert indicator.count == count, kind
            assert indicator.is_ready == (count >= warmup(period)), kind
            assert (indicator.value is not None) == indicator.is_ready, kind


@each_kind
@pytest.mark.parametrize("period", [0, -3])
def test_indicator_without_period_is_refused(kind: str, period: int) -> None:
    """A period below one is refused."""
    with pytest.raises(ValueError, match="period"):
        KINDS[kind][0](period)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(rows=LONG_ROWS, period=st.integers(1, 6), cut=st.integers(0, 15))
def test_indicator_restored_mid_stream_goes_on_bit_by_bit(
    rows: list[Row], period: int, cut: int
) -> None:
    """An indicator restored through canonical JSON gives the same bits for ever."""
    for kind, (make, pick, _) in KINDS.items():
        indicator = make(period)
        for row in rows[:cut]:
            indicator.update(*pick(row))
        state = decode(encode(indicator.state()))
        restored = type(indicator).from_state(state)
        assert encode(restored.state()) == encode(indicator.state()), kind
        for row in rows[cut:]:
            indicator.update(*pick(row))
            restored.update(*pick(row))

            assert bits(restored.value) == bits(indicator.value), kind
        assert (restored.count, restored.warmup) == (indicator.count, indicator.warmup), kind


@pytest.mark.slow
@pytest.mark.row("C-13")
@settings(max_examples=50, deadline=None)
@given(rows=ROWS, future=ROWS, period=st.integers(1, 12))
def test_indicator_future_rows_leave_the_past_unchanged(
    rows: list[Row], future: list[Row], period: int
) -> None:
    """Later rows change no bit of earlier values."""
    for kind in KINDS:
        seen = series(kind, period, rows + future)[: len(rows)]

        assert seen == series(kind, period, rows), kind


@pytest.mark.parametrize("kind", ["ema", "rsi"])
def test_indicator_fed_nan_stays_unusable(kind: str) -> None:
    """A smoothed value that once saw NaN never looks like a number again."""
    make, _, _ = KINDS[kind]
    indicator = make(3)
    for value in [1.0, 2.0, float("nan"), *([3.0] * 20)]:
        indicator.update(value)

    assert indicator.value is not None
    assert not is_finite(indicator.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, True), (-1e308, True), (float("inf"), False), (float("-inf"), False)],
)
def test_finite_tells_numbers_from_infinities(value: float, expected: bool) -> None:
    """NaN and infinities are not finite."""
    assert is_finite(value) is expected
    assert not is_finite(float("nan"))


@pytest.mark.process
@pytest.mark.row("S-27")
def test_indicators_in_two_fresh_processes_give_the_same_bits() -> None:
    """Two processes with other hash seeds give the same bits."""
    digests = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, str(Path(__file__).with_name("feature_digest.py"))]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S
        )
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout.strip())

    assert len(digests) == 1
    assert len(digests.pop()) == 64


@pytest.mark.row("S-27")
def test_features_import_nothing_that_differs_between_systems(project: Path) -> None:
    """Features import no numpy and of `math` only sqrt, which IEEE 754 rounds exactly, and isqrt.

    The root of whole numbers is exact. Of `operator`, which contains a power function too, only
    named functions are allowed.
    """
    parts = {"math": {"sqrt", "isqrt"}, "operator": {"length_hint"}}
    allowed = {"__future__", "collections", "collections.abc", "typing", "minibot.features"}
    for path in sorted((project / "minibot" / "features").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                pytest.fail(f"{path.name}: import {node.names[0].name}")
            if isinstance(node, ast.BinOp):
                assert not isinstance(node.op, ast.Pow), f"{path.name}: ** is libm's pow"
            if not isinstance(node, ast.ImportFrom) or node.module is None:
                continue
            if node.module in parts:
                assert {name.name for name in node.names} <= parts[node.module]
                continue
            assert node.module in allowed or node.module.startswith("minibot.features."), (
                node.module
            )
